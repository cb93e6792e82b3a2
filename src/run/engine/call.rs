//! One call of a tool, bounded in time.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use crate::run::catalogue::Tool;
use crate::run::error::{Error, Reason};
use crate::run::event::Progress;
use crate::run::id::CallId;
use crate::run::message::ToolOutput;
use crate::run::ports::{OnProgress, Toolbox};
use crate::run::state::Input;

/// How far a call is.
pub(super) type Report = (CallId, Progress);

/// A call that a run wants made.
pub(super) struct PendingCall {
    pub(super) call: CallId,
    pub(super) tool: Arc<Tool>,
    pub(super) arguments: Map<String, Value>,
}

/// Makes a call of a run. Whatever goes wrong is an output that the model can read.
pub(super) async fn perform(
    toolbox: Arc<dyn Toolbox>,
    pending: PendingCall,
    timeout: Duration,
    progress: mpsc::Sender<Report>,
) -> Input {
    let PendingCall {
        call,
        tool,
        arguments,
    } = pending;
    let reporting = call.clone();
    let on_progress: OnProgress = Box::new(move |report| {
        // A report that finds no room is dropped: the next one says more.
        let _ = progress.try_send((reporting.clone(), report));
    });
    let started = Instant::now();
    let output = match bounded(toolbox.as_ref(), &tool, arguments, timeout, on_progress).await {
        Ok(output) => output,
        Err(error) => {
            tracing::info!(%call, tool = tool.name(), %error, "a tool call failed");
            ToolOutput::failure(error.message())
        }
    };
    Input::CallDone {
        call,
        output,
        duration: started.elapsed(),
    }
}

/// Calls a tool, giving up when it neither answers nor reports progress for as long as `timeout`.
pub(super) async fn bounded(
    toolbox: &dyn Toolbox,
    tool: &Tool,
    arguments: Map<String, Value>,
    timeout: Duration,
    on_progress: OnProgress,
) -> Result<ToolOutput, Error> {
    let moved = Arc::new(Notify::new());
    let notify = Arc::clone(&moved);
    let watched: OnProgress = Box::new(move |progress: Progress| {
        notify.notify_one();
        on_progress(progress);
    });
    let mut call = pin!(toolbox.call(tool, arguments, watched));
    let mut patience = pin!(tokio::time::sleep(timeout));
    loop {
        tokio::select! {
            biased;
            result = &mut call => return result,
            () = moved.notified() => patience.as_mut().reset(Instant::now() + timeout),
            () = &mut patience => {
                let message = format!("the tool {} did not answer within {timeout:?}", tool.name());
                return Err(Error::new(Reason::DeadlineExceeded, message).with("tool", tool.name()));
            }
        }
    }
}
