use futures::FutureExt;
use serde_json::json;

use super::super::config::{CallerToken, Endpoint, OAuth, Remote};
use super::*;
use crate::run::event::Progress;
use crate::run::id::{Mint, RunId};

struct Asked(Option<RunId>);

#[async_trait::async_trait]
impl Caller for Asked {
    fn progress(&self, _: Progress) {}

    fn run(&self) -> Option<&RunId> {
        self.0.as_ref()
    }

    async fn ask(&self, question: Question) -> Reply {
        Reply::Accept(serde_json::Map::from_iter([(
            "asked".to_owned(),
            json!(question.message),
        )]))
    }
}

fn server() -> ServerConfig {
    let remote = Remote {
        url: "http://127.0.0.1:1/mcp".to_owned(),
        headers: Vec::new(),
        oauth: OAuth::default(),
        caller_token: CallerToken::Ignore,
    };
    ServerConfig::new("a", Endpoint::Http(remote))
}

fn form(message: &str) -> ElicitRequestParams {
    let schema = json!({"type": "object", "properties": {"asked": {"type": "string"}}});
    serde_json::from_value(json!({"mode": "form", "message": message, "requestedSchema": schema})).unwrap()
}

fn run() -> Option<RunId> {
    Some(RunId::new(&mut Mint::System))
}

fn entered(desk: &Arc<Desk>, callers: Vec<Option<RunId>>) -> Vec<Open> {
    let entered = callers.into_iter().map(|run| desk.enter(Arc::new(Asked(run))));
    entered.collect()
}

#[tokio::test]
async fn a_question_goes_to_the_only_caller_that_it_can_be_for() {
    let same = run();
    for (callers, expected) in [
        (vec![], Some(ElicitationAction::Cancel)),
        (vec![run()], Some(ElicitationAction::Accept)),
        (vec![None], Some(ElicitationAction::Accept)),
        (vec![same.clone(), same], Some(ElicitationAction::Accept)),
        // Not yet.
        (vec![run(), run()], None),
        (vec![None, None], None),
    ] {
        let desk = Arc::new(Desk::new(&server()));
        let open = entered(&desk, callers);
        let asked = desk.elicit(None, form("who?")).now_or_never();
        assert_eq!(asked.map(|result| result.action), expected);
        drop(open);
        assert!(desk.visits().is_empty());
    }
}

#[tokio::test]
async fn a_question_waits_until_it_is_clear_whose_it_is() {
    let answers = |open: &Open| open.visit.answered();
    let gives_up = |_: &Open| {};
    type Ends<'a> = [&'a dyn Fn(&Open); 2];
    let cases: [(Ends<'_>, ElicitationAction); 3] = [
        ([&answers, &answers], ElicitationAction::Accept),
        ([&answers, &gives_up], ElicitationAction::Cancel),
        ([&gives_up, &answers], ElicitationAction::Cancel),
    ];
    for (ends, expected) in cases {
        let desk = Arc::new(Desk::new(&server()));
        let mut open = entered(&desk, vec![run(), run(), run()]);
        let mut asked = std::pin::pin!(desk.elicit(None, form("who?")));
        assert!(asked.as_mut().now_or_never().is_none(), "one of three");
        // Whoever comes now cannot have asked it.
        let _later = desk.enter(Arc::new(Asked(run())));
        for end in ends {
            end(&open[0]);
            drop(open.remove(0));
        }
        assert_eq!(asked.await.action, expected);
    }
}

#[tokio::test]
async fn a_question_on_the_answer_to_a_call_is_of_that_call() {
    let desk = Arc::new(Desk::new(&server()));
    let open = entered(&desk, vec![run(), run()]);
    for (number, open) in open.iter().enumerate() {
        open.visit.sent_as(RequestId::Number(number as i64));
    }
    for (request, expected) in [
        (0, ElicitationAction::Accept),
        (1, ElicitationAction::Accept),
        (7, ElicitationAction::Cancel),
    ] {
        let request = RequestId::Number(request);
        let asked = desk.elicit(Some(&request), form("who?"));
        assert_eq!(asked.now_or_never().map(|result| result.action), Some(expected));
    }
}

#[tokio::test]
async fn what_is_wanted_before_something_that_is_no_call_is_given_or_refused() {
    let mut server = server();
    server.roots = vec!["file:///srv".to_owned()];
    let desk = Desk::new(&server);
    let wanted = |request: Value| {
        let request: InputRequest = serde_json::from_value(request).unwrap();
        desk.fulfil_alone(request)
    };
    let roots = wanted(json!({"method": "roots/list"}));
    assert_eq!(roots, Ok(json!({"roots": [{"uri": "file:///srv"}]})));
    let asks = json!({"method": "elicitation/create", "params": form("who?")});
    assert!(wanted(asks).unwrap_err().starts_with("wants to ask a person"));
    let params = json!({"messages": [], "maxTokens": 5});
    let samples = json!({"method": "sampling/createMessage", "params": params});
    assert!(wanted(samples).unwrap_err().starts_with("wants to ask a model"));
}

#[tokio::test]
async fn what_cannot_be_shown_is_declined() {
    let desk = Arc::new(Desk::new(&server()));
    let _open = desk.enter(Arc::new(Asked(None)));
    let url = |url: &str| {
        let params = json!({"mode": "url", "message": "go", "url": url, "elicitationId": "1"});
        serde_json::from_value::<ElicitRequestParams>(params).unwrap()
    };
    for (params, action, content) in [
        (
            form("who?"),
            ElicitationAction::Accept,
            Some(json!({"asked": "who?"})),
        ),
        (url("https://a.example/"), ElicitationAction::Accept, None),
        (url("javascript:alert(1)"), ElicitationAction::Decline, None),
    ] {
        let result = desk.elicit(None, params).await;
        assert_eq!((result.action, result.content), (action, content));
    }
}
