//! Several statements and their arguments, sent to SQLite in one go.
//!
//! A statement costs microseconds, handing it to the connection's thread and waiting for the answer costs ten
//! times that. So a batch is two scripts: what it needs to know, and what it writes.
//!
//! Rows go in as `VALUES` lists, padded with rows of nulls to a few sizes, so that all batches together need
//! only a few dozen texts and SQLite finds them prepared.

use sqlx::sqlite::{SqliteArguments, SqliteConnection, SqliteRow};
use sqlx::{Arguments, AssertSqlSafe, Encode, Sqlite, Type};

/// Rows in one `VALUES` list; a longer list is sent as several statements.
const SIZES: [usize; 4] = [1, 4, 16, 64];
const SIZE_LIMIT: usize = 64;

/// See the [module](self).
#[derive(Default)]
pub(super) struct Script {
    sql: String,
    arguments: Row,
}

/// The arguments of a row, to which its columns are added in order.
#[derive(Default)]
pub(super) struct Row {
    values: SqliteArguments,
    failure: Option<sqlx::Error>,
}

impl Row {
    pub(super) fn add<'v>(&mut self, value: impl Encode<'v, Sqlite> + Type<Sqlite>) -> &mut Self {
        if let Err(error) = self.values.add(value) {
            self.failure.get_or_insert(sqlx::Error::Encode(error));
        }
        self
    }
}

impl Script {
    /// Adds a statement without arguments.
    pub(super) fn statement(&mut self, sql: &str) {
        self.sql.push_str(sql);
        self.sql.push(';');
    }

    /// Adds a statement with arguments.
    pub(super) fn with_arguments(&mut self, sql: &str, add: impl FnOnce(&mut Row)) {
        self.statement(sql);
        add(&mut self.arguments);
    }

    /// Adds `{head} (VALUES …) {tail}`, as often as it takes for all rows. The columns of the list are called
    /// `column1`, `column2`, …; `column1` is null in a row that is padding, and `add` must give it a value in
    /// every other.
    pub(super) fn rows<T>(
        &mut self,
        [head, tail]: [&str; 2],
        columns: usize,
        rows: &[T],
        add: impl Fn(&T, &mut Row),
    ) {
        for chunk in rows.chunks(SIZE_LIMIT) {
            let size = SIZES
                .into_iter()
                .find(|&size| size >= chunk.len())
                .unwrap_or(SIZE_LIMIT);
            self.sql.push_str(head);
            self.sql.push_str(" (VALUES ");
            for index in 0..size * columns {
                self.sql.push_str(match (index % columns, index) {
                    (0, 0) => "(?",
                    (0, _) => "),(?",
                    _ => ",?",
                });
            }
            self.sql.push_str(")) ");
            self.statement(tail);
            for row in chunk {
                add(row, &mut self.arguments);
            }
            for _ in chunk.len() * columns..size * columns {
                self.arguments.add(None::<i64>);
            }
        }
    }

    /// Runs it to its end or the first error, and gives back the rows of all its statements.
    pub(super) async fn run(self, connection: &mut SqliteConnection) -> Result<Vec<SqliteRow>, sqlx::Error> {
        if let Some(failure) = self.arguments.failure {
            return Err(failure);
        }
        // Safe: every piece of the text is a literal of this module's callers, values are arguments.
        sqlx::query_with(AssertSqlSafe(self.sql), self.arguments.values)
            .fetch_all(connection)
            .await
    }
}
