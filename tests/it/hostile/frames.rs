//! Bodies of gRPC-Web, against the whole service.

use assistd::simulator::Script;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::test_runner::TestCaseError;
use proptest::{prop_assert, prop_assert_eq};

use super::search;
use crate::world::{PATIENCE, World};

/// Bodies of gRPC-Web, most of them almost right.
fn frames() -> impl Strategy<Value = Vec<u8>> {
    let message = prop_oneof![
        Just(b"\x0a\x0bthreads/abc".to_vec()),
        proptest::collection::vec(any::<u8>(), 0..20),
    ];
    let flags = prop_oneof![6 => Just(0_u8), 1 => Just(0x80), 1 => any::<u8>()];
    let frame = (
        flags,
        message,
        prop_oneof![5 => Just(0_i64), 1 => -3..3_i64, 1 => any::<u32>().prop_map(i64::from)],
    );
    let framed = frame.prop_map(|(flags, message, off_by)| {
        let length = i64::try_from(message.len()).unwrap() + off_by;
        let length = u32::try_from(length.clamp(0, u32::MAX.into())).unwrap();
        [&[flags], &length.to_be_bytes()[..], &message].concat()
    });
    proptest::collection::vec(framed, 0..3).prop_map(|frames| frames.concat())
}

#[test]
fn a_body_of_grpc_web_is_answered_whatever_is_in_it() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let world = runtime.block_on(World::new(Script::stand_in()));
    let client = reqwest::Client::builder().timeout(PATIENCE).build().unwrap();
    let url = world.url("/assistant.v1.ThreadService/GetThread");
    let text = prop_oneof![3 => Just(None), 1 => "[A-Za-z0-9+/= ]{0,8}".prop_map(Some)];
    search((frames(), any::<bool>(), text), |(frames, is_text, tail)| {
        let body = if is_text {
            (STANDARD.encode(frames) + &tail.unwrap_or_default()).into_bytes()
        } else {
            frames
        };
        let content_type = if is_text {
            "application/grpc-web-text"
        } else {
            "application/grpc-web"
        };
        let request = client.post(&url).header("content-type", content_type).body(body);
        let answered = runtime.block_on(async {
            let response = request.send().await?;
            let (status, in_head) = (response.status(), response.headers().contains_key("grpc-status"));
            Ok::<_, reqwest::Error>((status.as_u16(), in_head, response.bytes().await?))
        });
        let (status, in_head, answer) =
            answered.map_err(|error| TestCaseError::fail(format!("{error:?}")))?;
        prop_assert_eq!(status, 200);
        let answer = if is_text {
            untexted(&answer)
        } else {
            answer.to_vec()
        };
        let answer = String::from_utf8_lossy(&answer);
        prop_assert!(in_head || answer.contains("grpc-status"), "{}", answer);
        // 2 is UNKNOWN, 13 INTERNAL.
        prop_assert!(
            ["grpc-status:2\r", "grpc-status:13"]
                .iter()
                .all(|bad| !answer.contains(bad)),
            "{}",
            answer
        );
        Ok(())
    });
    runtime.block_on(world.stopped());
}

/// A text of several pieces, each with its own padding.
fn untexted(text: &[u8]) -> Vec<u8> {
    text.chunks(4)
        .flat_map(|letters| STANDARD.decode(letters).unwrap())
        .collect()
}
