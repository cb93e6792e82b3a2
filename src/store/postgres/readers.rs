//! Where reads go: past the writer, to connections of their own.

use std::time::Duration;

use sqlx::SqlStr;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgRow};

use crate::run::error::Error;
use crate::store::pool::Pool;
use crate::store::query::{self, Section, Value};
use crate::store::unavailable;

use super::{connect, fault};

/// Reads at the same time, of this process.
const CONNECTION_LIMIT: usize = 8;

/// How long a read may take, with waiting for its turn.
const PATIENCE: Duration = Duration::from_secs(15);

/// See the [module](self).
pub(super) struct Readers {
    pool: Pool<PgConnection>,
}

impl Readers {
    /// Of this database.
    pub(super) fn new(options: PgConnectOptions) -> Self {
        Self {
            pool: Pool::new(options, CONNECTION_LIMIT, connect::CONNECT_TIMEOUT),
        }
    }

    async fn read(&self, sql: SqlStr, values: Vec<Value>) -> Result<Vec<PgRow>, Error> {
        loop {
            let mut taken = self.pool.take().await.map_err(fault::error)?;
            let arguments = query::arguments::<sqlx::Postgres>(values.clone())?;
            let rows = sqlx::query_with(sql.clone(), arguments)
                .fetch_all(&mut taken.connection)
                .await;
            match rows {
                Ok(rows) => {
                    taken.keep();
                    return Ok(rows);
                }
                // The server has been away, perhaps, since it was last used: then all of them are of no use.
                Err(cause) if taken.is_old && fault::breaks_connection(&cause) => self.pool.forget_idle(),
                Err(cause) => {
                    if !fault::breaks_connection(&cause) {
                        taken.keep();
                    }
                    return Err(fault::error(cause));
                }
            }
        }
    }
}

impl query::Readers for Readers {
    const KIND: &'static str = "postgres";

    // The text goes into json and not into jsonb, which cannot hold every text.
    const PENDING: Section = Section {
        select: "SELECT * FROM (SELECT t.id AS thread_id, r.id, j.action::text AS action, \
                 (j.action -> 'create_time' ->> 'secs_since_epoch')::bigint * 1000000 \
                 + (j.action -> 'create_time' ->> 'nanos_since_epoch')::bigint / 1000 AS cursor_0, \
                 r.number * 65536 + j.place - 1 AS cursor_1 \
                 FROM runs r JOIN threads t ON t.number = r.thread \
                 CROSS JOIN LATERAL json_array_elements(r.pending::json) WITH ORDINALITY AS j (action, place) \
                 WHERE r.pending IS NOT NULL) AS waiting WHERE true",
        key: ("cursor_0", "cursor_1"),
    };

    type Row = PgRow;

    async fn rows(&self, sql: SqlStr, values: Vec<Value>) -> Result<Vec<PgRow>, Error> {
        tokio::time::timeout(PATIENCE, self.read(sql, values))
            .await
            .unwrap_or_else(|_| Err(unavailable("the server does not answer in time")))
    }
}
