//! Why a command failed, and what the shell is told of it.

use std::io;
use std::process::ExitCode;

use tonic_types::StatusExt;

use crate::api::pb;
use crate::config;

use super::decision::Decision;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration is wrong.
    #[error("{0}")]
    Config(#[from] config::Error),
    /// The command line is wrong in a way that its grammar does not show.
    #[error("{0}")]
    Usage(String),
    /// No service answers there.
    #[error("cannot reach {server}: is `assistd serve` running? ({reason})")]
    Unreachable {
        /// The address that was tried.
        server: String,
        /// What happened.
        reason: String,
    },
    /// The service answered with an error.
    #[error("{}", describe(.0))]
    Refused(Box<tonic::Status>),
    /// What was asked for was done and went wrong, and the output has said so already.
    #[error("failed")]
    Reported,
    /// A run ended without an answer.
    #[error("{0}")]
    Run(String),
    /// A run waits for an answer that nobody has given here: how it can be given.
    #[error("not answered: the run waits. {0}")]
    Undecided(String),
    /// Ctrl-C.
    #[error("interrupted")]
    Interrupted,
    /// Standard input or output failed.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The service, or one of the built-in servers, could not run.
    #[error("{0}")]
    Service(Box<dyn std::error::Error + Send + Sync>),
}

impl Error {
    /// Wraps what kept the service from running.
    pub fn service(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Error::Service(error.into())
    }

    /// A run waits for this, and nobody answers it here.
    pub fn undecided(action: &pb::PendingAction) -> Self {
        let run = &action.run;
        let id = &action.id;
        Error::Undecided(match Decision::of(action).map(Decision::flags) {
            Some((likely, others)) => {
                format!("Answer with\n  assistd actions answer {run} {id} {likely}\nor with {others} instead")
            }
            None => format!("A newer assistd can answer {id} of {run}"),
        })
    }

    /// 1 for a failure, 2 for wrong usage or configuration, 130 for an interrupt, as shells have it.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Error::Config(_) | Error::Usage(_) => ExitCode::from(2),
            Error::Interrupted => ExitCode::from(130),
            _ if self.is_broken_pipe() => ExitCode::SUCCESS,
            _ => ExitCode::FAILURE,
        }
    }

    /// Whether there is nothing to add: the output has said it, or whoever read it has gone, as `head` does.
    pub fn is_silent(&self) -> bool {
        matches!(self, Error::Reported | Error::Interrupted) || self.is_broken_pipe()
    }

    fn is_broken_pipe(&self) -> bool {
        matches!(self, Error::Io(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }
}

impl From<tonic::Status> for Error {
    fn from(status: tonic::Status) -> Self {
        Error::Refused(Box::new(status))
    }
}

/// The message, with the reason that the contract promises, and the fields that are wrong.
fn describe(status: &tonic::Status) -> String {
    let details = status.get_error_details();
    let code = match details.error_info() {
        Some(info) => format!("{:?}, {}", status.code(), info.reason),
        None => format!("{:?}", status.code()),
    };
    let mut text = format!("{} ({code})", status.message());
    if let Some(request) = details.bad_request() {
        for violation in &request.field_violations {
            text.push_str(&format!("\n  {}: {}", violation.field, violation.description));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use tonic_types::ErrorDetails;

    use super::*;

    #[test]
    fn an_error_from_the_service_shows_its_reason_and_fields() {
        let mut details = ErrorDetails::new();
        details.set_error_info(
            "VALIDATION_FAILED",
            "assistant.v1",
            std::collections::HashMap::new(),
        );
        details.add_bad_request_violation("message", "must not be empty");
        let status = tonic::Status::with_error_details(tonic::Code::InvalidArgument, "bad request", details);
        let text = Error::from(status).to_string();
        assert_eq!(
            text,
            "bad request (InvalidArgument, VALIDATION_FAILED)\n  message: must not be empty"
        );
    }

    #[test]
    fn a_reader_that_has_gone_is_no_failure() {
        let error = Error::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert!(error.is_silent());
        assert_eq!(
            format!("{:?}", error.exit_code()),
            format!("{:?}", ExitCode::SUCCESS)
        );
    }
}
