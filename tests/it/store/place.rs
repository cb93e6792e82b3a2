//! Places for stores.

use std::sync::Arc;

use assistd::run::ports::Store;
use assistd::store::{Config, Location, Url, open};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Executor};

use crate::skip;

/// A store in memory.
pub async fn memory() -> Arc<dyn Store> {
    at(Location::Memory).await
}

/// The store in a file of this directory.
pub async fn file(directory: &tempfile::TempDir) -> Arc<dyn Store> {
    at(Location::File(directory.path().join("data/assistd.db"))).await
}

async fn at(location: Location) -> Arc<dyn Store> {
    open(&Config { location }).await.unwrap().store
}

/// A schema of its own in a PostgreSQL database, dropped with this.
pub struct Postgres {
    server: PgConnectOptions,
    schema: String,
}

impl Postgres {
    /// On the server that `ASSISTD_TEST_POSTGRES` names, or the usual one; none, and loudly, when none answers.
    pub async fn new() -> Option<Self> {
        let address = std::env::var("ASSISTD_TEST_POSTGRES")
            .unwrap_or_else(|_| "postgres://postgres@127.0.0.1:5432/postgres".to_owned());
        let server: PgConnectOptions = address.parse().unwrap();
        let server = server.disable_statement_logging();
        let mut connection = match server.connect().await {
            Ok(connection) => connection,
            Err(error) => {
                skip::skipped(&format!("no PostgreSQL server answers: {error}"));
                return None;
            }
        };
        let schema = format!("assistd_test_{}", uuid::Uuid::now_v7().simple());
        let create = AssertSqlSafe(format!("CREATE SCHEMA {schema}"));
        connection.execute(create).await.unwrap();
        Some(Self { server, schema })
    }

    /// Another store in the same place.
    pub async fn store(&self) -> Arc<dyn Store> {
        at(self.location()).await
    }

    /// Where it is.
    pub fn location(&self) -> Location {
        self.location_by(self.server.get_host(), self.server.get_port(), "")
    }

    /// The same by way of another address, and with more in its query.
    pub fn location_by(&self, host: &str, port: u16, query: &str) -> Location {
        let (user, database) = (self.server.get_username(), self.server.get_database());
        let (database, schema) = (database.unwrap_or(user), &self.schema);
        Location::Postgres(Url::new(format!(
            "postgres://{user}@{host}:{port}/{database}?options[search_path]={schema}&application_name={schema}{query}"
        )))
    }

    /// The server's own address.
    pub fn address(&self) -> (String, u16) {
        (self.server.get_host().to_owned(), self.server.get_port())
    }

    /// A connection of somebody else to the same tables.
    pub async fn stranger(&self) -> PgConnection {
        let options = self.server.clone().options([("search_path", &self.schema)]);
        options.connect().await.unwrap()
    }

    /// Breaks every connection that stores have to this place; how many there were.
    pub async fn cut(&self) -> usize {
        let cut = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = $1";
        let rows = sqlx::query(cut)
            .bind(&self.schema)
            .fetch_all(&mut self.stranger().await)
            .await;
        rows.unwrap().len()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let (server, schema) = (self.server.clone(), self.schema.clone());
        let drop_schema = async move {
            let mut connection = server.connect().await?;
            let sql = format!("SET client_min_messages = warning; DROP SCHEMA {schema} CASCADE");
            connection.execute(AssertSqlSafe(sql)).await
        };
        // A test's own runtime does not wait for anything any more.
        let cleaning = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(drop_schema).unwrap();
        });
        cleaning.join().unwrap();
    }
}
