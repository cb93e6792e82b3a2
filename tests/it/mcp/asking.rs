//! Servers that ask people.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use assistd::run::action::{Question, Reply};
use assistd::run::event::Progress;
use assistd::run::ports::{Caller, Toolbox};
use serde_json::{Map, json};
use tokio::sync::{Barrier, Notify};

use super::peer::{Listening, Seen};
use super::{call, loopback, pool, tool_of};

/// A caller who answers every question with a name, and counts them.
#[derive(Default)]
struct Answering(Mutex<Vec<Question>>);

#[async_trait::async_trait]
impl Caller for Answering {
    fn progress(&self, _: Progress) {}

    async fn ask(&self, question: Question) -> Reply {
        self.0.lock().unwrap().push(question);
        Reply::Accept(Map::from_iter([("name".to_owned(), json!("Ada"))]))
    }
}

#[tokio::test]
async fn a_question_of_a_server_reaches_the_caller_in_both_eras() {
    for is_old in [false, true] {
        let seen = Arc::<Seen>::default();
        seen.is_old.store(is_old, Ordering::SeqCst);
        seen.has_asking.store(true, Ordering::SeqCst);
        let server = Listening::start(loopback(), &seen).await;
        let pool = pool(json!({"a": {"url": server.url()}})).await;
        let caller = Arc::new(Answering::default());
        let output = pool
            .call(&tool_of(&pool, "a__ask"), Map::new(), caller.clone())
            .await;
        assert_eq!(
            output.expect("an output").text(),
            r#"accept {"name":"Ada"}"#,
            "old: {is_old}"
        );
        {
            let asked = caller.0.lock().unwrap();
            assert_eq!((asked.len(), asked[0].message.as_str()), (1, "who are you?"));
            assert!(asked[0].requested_schema.is_some());
        }
        let nobody = call(&pool, "a__ask", json!({})).await;
        assert_eq!(nobody.expect("an output").text(), "cancel null", "old: {is_old}");
        pool.shutdown().await;
    }
}

/// A caller of this name, who answers when all of them are asked.
struct Together(&'static str, Arc<Barrier>);

#[async_trait::async_trait]
impl Caller for Together {
    fn progress(&self, _: Progress) {}

    async fn ask(&self, _: Question) -> Reply {
        self.1.wait().await;
        Reply::Accept(Map::from_iter([("name".to_owned(), json!(self.0))]))
    }
}

#[tokio::test]
async fn questions_of_several_calls_at_once_reach_each_its_own_caller_in_both_eras() {
    for is_old in [false, true] {
        let seen = Arc::<Seen>::default();
        seen.is_old.store(is_old, Ordering::SeqCst);
        seen.has_asking.store(true, Ordering::SeqCst);
        let server = Listening::start(loopback(), &seen).await;
        let pool = pool(json!({"a": {"url": server.url()}})).await;
        let tool = tool_of(&pool, "a__ask");
        let together = Arc::new(Barrier::new(3));
        let called = ["Ada", "Bob", "Cyd"].map(|name| {
            let caller = Arc::new(Together(name, together.clone()));
            let called = pool.call(&tool, Map::new(), caller);
            async move { (name, called.await.expect("an output").text()) }
        });
        for (name, text) in futures::future::join_all(called).await {
            let expected = json!({"name": name});
            assert_eq!(text, format!("accept {expected}"), "old: {is_old}");
        }
        pool.shutdown().await;
    }
}

/// A caller who is sent to addresses: who goes there and says so, or never says so.
#[derive(Default)]
struct Sent {
    seen: Arc<Seen>,
    says_so: bool,
    asked: Notify,
    urls: Mutex<Vec<String>>,
}

#[async_trait::async_trait]
impl Caller for Sent {
    fn progress(&self, _: Progress) {}

    async fn ask(&self, question: Question) -> Reply {
        self.urls.lock().unwrap().push(question.url);
        self.asked.notify_one();
        if !self.says_so {
            std::future::pending::<()>().await;
        }
        self.seen.is_visited.store(true, Ordering::SeqCst);
        Reply::Accept(Map::new())
    }
}

#[tokio::test]
async fn a_call_that_needs_somebody_at_an_address_is_made_again_when_somebody_was_there() {
    for says_so in [true, false] {
        let seen = Arc::<Seen>::default();
        seen.is_old.store(true, Ordering::SeqCst);
        seen.has_asking.store(true, Ordering::SeqCst);
        let server = Listening::start(loopback(), &seen).await;
        let pool = pool(json!({"a": {"url": server.url()}})).await;
        let nobody = call(&pool, "a__visit", json!({})).await.expect("an output");
        assert!(nobody.is_error);
        assert_eq!(nobody.text(), "log in first: nobody has been where it points");
        let caller = Arc::new(Sent {
            seen: seen.clone(),
            says_so,
            ..Sent::default()
        });
        let tool = tool_of(&pool, "a__visit");
        let called = pool.call(&tool, Map::new(), caller.clone());
        let told = async {
            caller.asked.notified().await;
            if !says_so {
                let told = call(&pool, "a__complete", json!({})).await;
                assert_eq!(told.expect("an output").text(), "told");
            }
        };
        let (called, ()) = futures::join!(called, told);
        assert_eq!(called.expect("an output").text(), "welcome", "says so: {says_so}");
        assert_eq!(*caller.urls.lock().unwrap(), ["https://login.example/"]);
        pool.shutdown().await;
    }
}
