//! Which tools were approved.

use std::sync::Arc;

use async_trait::async_trait;
use sqlx::SqlSafeStr;
use sqlx::postgres::PgRow;

use crate::run::error::Error;
use crate::run::ports;
use crate::run::ports::Pinned;
use crate::store::query::{Readers as _, Value, named};
use crate::store::{decode, row};

use super::readers::Readers;

const PINNED: &str = "SELECT tool, fingerprint FROM tool_pins WHERE server = $1";

/// In one order, so that two processes that pin the same tools do not wait for each other.
const PIN: &str = "INSERT INTO tool_pins (server, tool, fingerprint) SELECT $1, key, value FROM json_each_text($2::json) \
                   ORDER BY key ON CONFLICT (server, tool) DO NOTHING";

const ACCEPT: &str = "INSERT INTO tool_pins (server, tool, fingerprint) SELECT $1, key, value FROM json_each_text($2::json) \
     ORDER BY key ON CONFLICT (server, tool) DO UPDATE SET fingerprint = excluded.fingerprint";

/// See the [module](self).
pub(super) struct Pins {
    readers: Arc<Readers>,
}

impl Pins {
    /// Over these connections.
    pub(super) fn new(readers: Arc<Readers>) -> Self {
        Self { readers }
    }

    /// One statement, a transaction of its own.
    async fn statement(&self, sql: &'static str, values: Vec<Value>) -> Result<Vec<PgRow>, Error> {
        self.readers.rows(sql.into_sql_str(), values).await
    }
}

#[async_trait]
impl ports::Pins for Pins {
    async fn pinned(&self, server: &str) -> Result<Pinned, Error> {
        decode::pins(&self.statement(PINNED, named([server])).await?)
    }

    async fn pin(&self, server: &str, tools: &Pinned) -> Result<Pinned, Error> {
        let pinned = self.pinned(server).await?;
        if tools.keys().all(|tool| pinned.contains_key(tool)) {
            return Ok(pinned);
        }
        self.statement(PIN, named([server, &*row::json(tools)?])).await?;
        self.pinned(server).await
    }

    async fn accept(&self, server: &str, tools: &Pinned) -> Result<(), Error> {
        let values = named([server, &*row::json(tools)?]);
        self.statement(ACCEPT, values).await.map(drop)
    }
}
