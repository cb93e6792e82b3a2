//! Schema changes: the same on every database but for what keeps other processes away meanwhile.

use sqlx::SqlSafeStr;
use sqlx::migrate::{Migrate, MigrateError, MigrationType, Migrator};

use crate::run::error::{Error, Reason};

/// A schema change: its number, what it is about, and its text.
pub(super) type Migration = (i64, &'static str, &'static str);

/// Why a schema is not up to date.
#[derive(Debug)]
pub(super) enum Failure {
    /// The database says no.
    Database(sqlx::Error),
    /// What it holds is not what this version can work with.
    Unfit(String),
}

impl From<sqlx::Error> for Failure {
    fn from(cause: sqlx::Error) -> Self {
        Self::Database(cause)
    }
}

impl Failure {
    /// The error for the operator: `STORE_UNAVAILABLE`, and names the place.
    pub(super) fn at(self, place: &str) -> Error {
        match self {
            Self::Database(cause) => {
                // Its own words: with them, sqlx shows a line of the server's source code.
                let said = cause.as_database_error().map(|error| error.message().to_owned());
                match said {
                    Some(said) => cannot_open(place, said),
                    None => cannot_open(place, cause),
                }
            }
            Self::Unfit(reason) => cannot_open(place, reason),
        }
    }
}

/// Applies what has not been applied. The connection must be in a transaction that no other process can change
/// the schema beside.
pub(super) async fn migrate(connection: &mut impl Migrate, known: &[Migration]) -> Result<(), Failure> {
    let migrations = known.iter().map(|&(version, description, sql)| {
        let (kind, sql) = (MigrationType::Simple, sql.into_sql_str());
        sqlx::migrate::Migration::new(version, description.into(), kind, sql, false)
    });
    let mut migrator = Migrator::with_migrations(migrations.collect());
    // Its own lock would outlive the transaction.
    migrator.set_locking(false);
    match migrator.run_direct(None, connection, false).await {
        Ok(()) => Ok(()),
        Err(MigrateError::Execute(cause) | MigrateError::ExecuteMigration(cause, _)) => Err(cause.into()),
        Err(MigrateError::VersionMissing(version)) => Err(Failure::Unfit(format!(
            "it was written by a newer version of assistd (its schema has version {version}, this one knows up \
             to {})",
            known.last().map_or(0, |&(version, ..)| version)
        ))),
        Err(other) => Err(Failure::Unfit(other.to_string())),
    }
}

/// `STORE_UNAVAILABLE` at the start, where the reader is the operator: it names the place.
pub(super) fn cannot_open(place: &str, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    let cause = cause.into();
    Error::new(
        Reason::StoreUnavailable,
        format!("cannot open the store {place}: {cause}"),
    )
    .caused_by(cause)
}
