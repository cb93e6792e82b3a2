//! A place in a PostgreSQL server, and what is written there.

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Executor};

/// The server, without a port.
const HOST: &str = "127.0.0.1";
const PORT: u16 = 5432;
const USER: &str = "postgres";

/// A schema of its own.
pub struct Place {
    server: PgConnectOptions,
    schema: String,
}

/// What the server has written, for whomever.
#[derive(Clone, Copy)]
pub struct Written {
    pub transactions: i64,
    pub bytes: i64,
}

impl Place {
    /// None when no server answers.
    pub async fn create() -> Option<Self> {
        let server = PgConnectOptions::new_without_pgpass()
            .host(HOST)
            .port(PORT)
            .username(USER);
        let server = server.disable_statement_logging();
        let mut connection = server.connect().await.ok()?;
        let schema = format!("assistd_bench_{}", uuid::Uuid::now_v7().simple());
        let create = AssertSqlSafe(format!("CREATE SCHEMA {schema}"));
        connection.execute(create).await.unwrap();
        Some(Self { server, schema })
    }

    /// The server itself.
    pub fn address() -> (&'static str, u16) {
        (HOST, PORT)
    }

    /// How the configuration names it, by way of this port.
    pub fn url(&self, port: u16) -> String {
        let schema = &self.schema;
        format!("postgres://{USER}@{HOST}:{port}/{USER}?sslmode=disable&options[search_path]={schema}")
    }

    pub async fn connect(&self) -> PgConnection {
        self.server.connect().await.unwrap()
    }

    /// Deletes all of it.
    pub async fn drop_schema(self) {
        let sql = format!(
            "SET client_min_messages = warning; DROP SCHEMA {} CASCADE",
            self.schema
        );
        self.connect().await.execute(AssertSqlSafe(sql)).await.unwrap();
    }
}

/// What the server has written until now. Other users of it count, too.
pub async fn written(connection: &mut PgConnection) -> Written {
    let sql = "SELECT (SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()), \
               (pg_current_wal_lsn() - '0/0'::pg_lsn)::bigint";
    let (transactions, bytes) = sqlx::query_as(sql).fetch_one(connection).await.unwrap();
    Written { transactions, bytes }
}
