//! Who made a call, for the tool to turn to.

use async_trait::async_trait;

use crate::run::action::{Question, Reply};
use crate::run::event::Progress;
use crate::run::id::RunId;

/// Who made a call, as far as its tool may turn to them while it goes on.
#[async_trait]
pub trait Caller: Send + Sync {
    /// The tool is this far.
    fn progress(&self, progress: Progress);

    /// The run that made the call; none for a call outside any run.
    fn run(&self) -> Option<&RunId> {
        None
    }

    /// Asks a person on the server's behalf, and waits for the reply as long as it takes: the time that is given to
    /// the call stands still meanwhile. Where nobody can be asked, the reply is [`Reply::Cancel`].
    async fn ask(&self, question: Question) -> Reply {
        let _ = question;
        Reply::Cancel
    }
}

/// A caller who only hears of the progress.
impl<F: Fn(Progress) + Send + Sync> Caller for F {
    fn progress(&self, progress: Progress) {
        self(progress);
    }
}
