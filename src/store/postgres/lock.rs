//! What holds off other processes while a batch is decided.
//!
//! What a batch reads must still hold when it is written. So it locks, in an order that is the same for all, the
//! request ids that it names and the threads that it touches, also by their runs, and reads only then: a statement sees what was
//! committed before it began, and a lock that had to be waited for was given back by a commit.

use sqlx::postgres::PgConnection;

use crate::store::batch::Operation;
use crate::store::decode::{self, Columns};

use super::desk::Setback;
use super::sheet::Sheet;

/// A request id need not be there yet, so it is not a row that is locked, but the idea of one.
const LOCK: &str = "WITH requested AS MATERIALIZED ( \
         SELECT pg_advisory_xact_lock(key) FROM (SELECT DISTINCT hashtextextended(id, 0) AS key \
         FROM unnest($1::text[]) AS named (id) ORDER BY key) AS keys), \
     held AS MATERIALIZED (SELECT number FROM threads WHERE number IN ( \
         SELECT number FROM threads WHERE id = ANY($2::text[]) \
         UNION SELECT thread FROM runs WHERE id = ANY($3::text[])) ORDER BY id FOR UPDATE) \
     SELECT number FROM held WHERE (SELECT count(*) FROM requested) >= 0";

/// Locks what the operations name, until the transaction ends. The numbers of the threads that are there: one
/// that another process adds from now on is not, and adding it again fails.
pub(super) async fn lock(
    connection: &mut PgConnection,
    operations: &[Operation],
) -> Result<Vec<i64>, Setback> {
    let requests: Vec<_> = operations.iter().filter_map(Operation::request).collect();
    let threads: Vec<_> = operations.iter().filter_map(Operation::thread).collect();
    let runs: Vec<_> = operations.iter().flat_map(Operation::runs).collect();
    if requests.is_empty() && threads.is_empty() && runs.is_empty() {
        return Ok(Vec::new());
    }
    let mut sheet = Sheet::default();
    sheet
        .column(&requests, |request| request.id.as_str())
        .column(&threads, |thread| thread.as_str())
        .column(&runs, |run| run.as_str());
    let rows = sheet.query(LOCK, connection).await?;
    let mut numbers = Vec::with_capacity(rows.len());
    for row in &rows {
        numbers.push(decode::column(row, "number", Columns::number)?);
    }
    Ok(numbers)
}
