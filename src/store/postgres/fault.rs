//! What PostgreSQL's errors mean to the service.

use crate::run::error::Error;
use crate::store::unavailable;

/// Turns an error of PostgreSQL into one of the service.
///
/// What an operator can mend, or what mends itself, is `STORE_UNAVAILABLE`; everything else is a defect.
pub(super) fn error(cause: sqlx::Error) -> Error {
    match trouble(&cause) {
        Some(trouble) => unavailable(trouble).caused_by(cause),
        None => Error::internal(cause),
    }
}

/// Whether the transaction lost against another one, of this service or not, and may win the next time.
pub(super) fn is_conflict(cause: &sqlx::Error) -> bool {
    // Serialization, deadlock, lock timeout; then what another process wrote since the facts were read:
    // a foreign key, a unique key, an exclusion.
    matches!(
        code(cause).as_deref(),
        Some("40001" | "40P01" | "23503" | "23505" | "23P01")
    )
}

/// Whether the connection itself may be broken, and a new one may not be.
pub(super) fn breaks_connection(cause: &sqlx::Error) -> bool {
    match code(cause).as_deref() {
        None => !matches!(cause, sqlx::Error::Encode(_) | sqlx::Error::ColumnDecode { .. }),
        Some(code) => code.starts_with("08") || code.starts_with("57P") || code == "25P03",
    }
}

/// What is wrong outside the service, if it is that: the same may work another time. The codes:
/// <https://www.postgresql.org/docs/current/errcodes-appendix.html>.
pub(super) fn trouble(cause: &sqlx::Error) -> Option<&'static str> {
    match cause {
        sqlx::Error::PoolTimedOut => return Some("the server does not answer in time"),
        sqlx::Error::Io(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed => {
            return Some("the server cannot be reached");
        }
        sqlx::Error::Tls(_) => return Some("no secure connection to the server comes about"),
        _ => {}
    }
    let code = code(cause)?;
    Some(match code.as_str() {
        "25006" => "it is read-only",
        "53100" => "the disk is full",
        "53200" => "there is not enough memory",
        "53300" => "the server has no connection left",
        "57014" => "the server takes too long",
        "55P03" | "40001" | "40P01" => "another process holds it",
        "3D000" => "there is no such database",
        "42501" => "the user may not use it",
        "57P03" => "the server is starting or stopping",
        code if code.starts_with("08") || code.starts_with("57P") || code == "25P03" => {
            "the server cannot be reached"
        }
        code if code.starts_with("28") => "the server does not let the user in",
        code if code.starts_with("53") => "the server lacks resources",
        code if code.starts_with("58") => "input or output fails",
        _ => return None,
    })
}

/// The SQLSTATE.
fn code(cause: &sqlx::Error) -> Option<String> {
    Some(cause.as_database_error()?.code()?.into_owned())
}
