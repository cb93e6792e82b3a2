//! Which tools were approved.

use async_trait::async_trait;

use crate::run::error::Error;
use crate::run::ports::{Pinned, Pins};
use crate::store::query::named;
use crate::store::{decode, row};

use super::statement::Statements;

const PINNED: &str = "SELECT tool, fingerprint FROM tool_pins WHERE server = $1";

const PIN: &str = "INSERT INTO tool_pins (server, tool, fingerprint) SELECT $1, key, value FROM json_each($2) \
                   WHERE true ON CONFLICT (server, tool) DO NOTHING";

const ACCEPT: &str = "INSERT INTO tool_pins (server, tool, fingerprint) SELECT $1, key, value FROM json_each($2) \
                      WHERE true ON CONFLICT (server, tool) DO UPDATE SET fingerprint = excluded.fingerprint";

#[async_trait]
impl Pins for Statements {
    async fn pinned(&self, server: &str) -> Result<Pinned, Error> {
        decode::pins(&self.read(PINNED, named([server])).await?)
    }

    async fn pin(&self, server: &str, tools: &Pinned) -> Result<Pinned, Error> {
        let pinned = self.pinned(server).await?;
        // Nobody is to wait for a writer because a list was read again.
        if tools.keys().all(|tool| pinned.contains_key(tool)) {
            return Ok(pinned);
        }
        self.write(PIN, named([server, &*row::json(tools)?])).await?;
        self.pinned(server).await
    }

    async fn accept(&self, server: &str, tools: &Pinned) -> Result<(), Error> {
        let values = named([server, &*row::json(tools)?]);
        self.write(ACCEPT, values).await.map(drop)
    }
}
