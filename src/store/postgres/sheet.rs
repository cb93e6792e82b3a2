//! Many rows as the arguments of one statement: an array for each column.

use sqlx::postgres::{PgArguments, PgConnection, PgHasArrayType, PgRow};
use sqlx::{Arguments, Encode, Postgres, Type};

/// See the [module](self).
#[derive(Default)]
pub(super) struct Sheet {
    arguments: PgArguments,
    failure: Option<sqlx::Error>,
}

impl Sheet {
    /// Adds a column of these rows as the next argument.
    pub(super) fn column<'r, R, T>(&mut self, rows: &'r [R], value: impl Fn(&'r R) -> T) -> &mut Self
    where
        T: Encode<'r, Postgres> + Type<Postgres> + PgHasArrayType,
    {
        let values: Vec<T> = rows.iter().map(value).collect();
        self.value(values)
    }

    /// Adds one value as the next argument.
    pub(super) fn value<'v>(&mut self, value: impl Encode<'v, Postgres> + Type<Postgres>) -> &mut Self {
        if let Err(error) = self.arguments.add(value) {
            self.failure.get_or_insert(sqlx::Error::Encode(error));
        }
        self
    }

    /// Runs a statement with these arguments, and gives back its rows.
    pub(super) async fn query(
        self,
        sql: &'static str,
        connection: &mut PgConnection,
    ) -> Result<Vec<PgRow>, sqlx::Error> {
        if let Some(failure) = self.failure {
            return Err(failure);
        }
        sqlx::query_with(sql, self.arguments).fetch_all(connection).await
    }
}
