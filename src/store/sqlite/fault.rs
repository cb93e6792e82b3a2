//! What SQLite's errors mean to the service.

use crate::run::error::Error;

/// Turns an error of SQLite into one of the service.
///
/// What an operator can mend, or what mends itself, is `STORE_UNAVAILABLE`; everything else is a defect.
pub(super) fn error(cause: sqlx::Error) -> Error {
    match trouble(&cause) {
        Some(trouble) => unavailable(trouble).caused_by(cause),
        None => Error::internal(cause),
    }
}

pub(super) use crate::store::unavailable;

/// Whether another process has the lock.
pub(super) fn is_busy(cause: &sqlx::Error) -> bool {
    matches!(code(cause), Some(5 | 6))
}

/// Whether the connection itself may be broken, and a new one may not be. One that was opened while the file could
/// not be written stays read-only.
pub(super) fn breaks_connection(cause: &sqlx::Error) -> bool {
    !matches!(cause, sqlx::Error::Database(_)) || matches!(code(cause), Some(8 | 10 | 11 | 14 | 26))
}

/// What is wrong outside the service, if it is that: the same may work another time. The codes: <https://www.sqlite.org/rescode.html>.
pub(super) fn trouble(cause: &sqlx::Error) -> Option<&'static str> {
    match cause {
        sqlx::Error::Io(_) => return Some("input or output fails"),
        sqlx::Error::WorkerCrashed => return Some("its connection is lost"),
        _ => {}
    }
    Some(match code(cause)? {
        3 | 14 | 23 => "the file cannot be opened",
        5 | 6 | 15 => "another process holds it",
        7 => "there is not enough memory",
        8 => "it is read-only",
        9 => "it was interrupted",
        10 => "input or output fails",
        11 | 26 => "the file is damaged",
        13 => "the disk is full",
        _ => return None,
    })
}

/// SQLite's primary result code.
fn code(cause: &sqlx::Error) -> Option<u32> {
    let extended: u32 = cause.as_database_error()?.code()?.parse().ok()?;
    Some(extended & 0xff)
}
