//! What the service does, whatever door it is asked through: the same request, the same answer, the same error.
//!
//! Each behaviour is written once, in the messages of the contract as ProtoJSON, and runs over every door.

mod door;
mod grpc;
mod json;
mod web;

/// For each behaviour, a module of its name with one test per door.
macro_rules! over_every_door {
    ($($behaviour:ident,)*) => {$(
        mod $behaviour {
            use super::super::door::Form;

            over_every_door!(@ $behaviour {
                grpc: Grpc,
                grpc_web: GrpcWeb,
                grpc_web_text: GrpcWebText,
                json_over_http_1: JsonOverHttp1,
                json_over_http_2: JsonOverHttp2,
                lines_over_http_2: LinesOverHttp2,
            });
        }
    )*};
    (@ $behaviour:ident { $($test:ident: $form:ident,)* }) => {$(
        #[tokio::test]
        async fn $test() {
            super::$behaviour(Form::$form).await;
        }
    )*};
}

mod answers;
mod conversations;
mod quarantine;
mod refusals;
mod resources;
mod runs;
mod spending;
