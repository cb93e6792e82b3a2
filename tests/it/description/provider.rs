//! The providers of tests, none of which lets pass what is not as described.

use std::future::ready;
use std::ops::Deref;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use assistd::simulator::{Recorded, Script, Simulator};

use super::description;

/// A simulator that is judged in everything that it is asked and everything that it answers, and that remembers what it
/// was asked. The test that drops it fails when something was not as described.
#[derive(Debug)]
pub struct Provider {
    /// `None` only while it is taken down.
    simulator: Option<Simulator>,
    judged: Option<Arc<AtomicUsize>>,
}

impl Provider {
    /// A provider of the service under test, on a free port.
    pub async fn new(script: Script) -> Provider {
        let script = script.recording();
        let Some(description) = description() else {
            return Provider::bind(script, None).await;
        };
        let judged = Arc::new(AtomicUsize::new(0));
        let (of_requests, count) = (Arc::clone(&description), Arc::clone(&judged));
        let script = script.described_by(&description).validating(move |request| {
            count.fetch_add(1, Ordering::SeqCst);
            of_requests.request(request)
        });
        Provider::bind(script, Some(judged)).await
    }

    /// One that the test asks itself, so that only its answers are judged.
    pub async fn answering(script: Script) -> Provider {
        let script = match description() {
            Some(description) => {
                script.reviewing(move |method, path, said| description.answer(method, path, said))
            }
            None => script,
        };
        Provider::bind(script, None).await
    }

    async fn bind(script: Script, judged: Option<Arc<AtomicUsize>>) -> Provider {
        let simulator = Simulator::bind(([127, 0, 0, 1], 0).into(), script)
            .await
            .expect("a free port");
        Provider {
            simulator: Some(simulator),
            judged,
        }
    }

    /// Closes its port and every connection, and waits until that is done.
    pub async fn close(mut self) {
        self.look();
        if let Some(simulator) = self.simulator.take() {
            simulator.serve_until(ready(())).await;
        }
    }

    /// What was not as described, where a test is about that.
    pub fn close_with_violations(mut self) -> Vec<String> {
        let simulator = self.simulator.take().expect("it is up");
        simulator.violations()
    }

    /// Panics when something was not as described, or was not looked at.
    fn look(&self) {
        let Some(simulator) = &self.simulator else { return };
        assert_eq!(simulator.violations(), [""; 0], "as OpenAI describes it");
        if let Some(judged) = &self.judged {
            let asked = simulator.requests().len();
            assert!(judged.load(Ordering::SeqCst) >= asked, "each request is judged");
        }
    }
}

impl Deref for Provider {
    type Target = Simulator;

    fn deref(&self) -> &Simulator {
        self.simulator.as_ref().expect("it is up")
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        // A second panic would hide the first.
        if !std::thread::panicking() {
            self.look();
        }
    }
}

/// Judges what a server of a test's own is asked. The test that drops it fails when something was not as described.
#[derive(Debug, Default)]
pub struct Judge {
    verdicts: Verdicts,
}

type Verdicts = Arc<Mutex<Vec<Result<(), String>>>>;

/// Where requests are brought to a judge.
#[derive(Clone, Debug)]
pub struct Bench {
    verdicts: Verdicts,
}

impl Judge {
    /// For the server.
    pub fn bench(&self) -> Bench {
        Bench {
            verdicts: Arc::clone(&self.verdicts),
        }
    }

    fn look(&self) {
        let verdicts = self.verdicts.lock().expect("no test panics here");
        let problems: Vec<&String> = verdicts
            .iter()
            .filter_map(|verdict| verdict.as_ref().err())
            .collect();
        assert!(problems.is_empty(), "as OpenAI describes it: {problems:?}");
    }
}

impl Drop for Judge {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.look();
        }
    }
}

impl Bench {
    /// Judges a request: its request line, such as `post /v1/responses http/1.1`, and its body.
    pub fn request(&self, line: &str, body: &[u8]) {
        let mut words = line.split(' ');
        let method = words.next().unwrap_or_default().to_uppercase();
        let target = words.next().unwrap_or_default();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let request = Recorded {
            method,
            path: path.to_owned(),
            query: query.to_owned(),
            headers: http::HeaderMap::new(),
            body: serde_json::from_slice(body).unwrap_or_default(),
        };
        let verdict = description().map_or(Ok(()), |description| description.request(&request));
        let verdict = verdict.map_err(|objection| objection.text);
        self.verdicts.lock().expect("no test panics here").push(verdict);
    }
}
