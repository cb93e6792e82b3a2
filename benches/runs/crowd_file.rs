//! Fills an SQLite file with long threads, past the service, which would take hours.

use std::path::Path;

use sqlx::{AssertSqlSafe, Connection, Executor};

use super::sqlite;

/// Messages of a thread; every second one is a run's answer to the one before.
pub const MESSAGES: u64 = 1_000;

/// What a run has besides its names, its place and its times: as the service wrote it.
const COPIED: &str = "state, detail, message, active, usage, last_sequence, reserved_sequence, start_time, \
                      expire_time, pending, waited, waits_since, snapshot, queued, owner, fence";

/// The id of a thread.
pub fn thread_name(index: u64) -> String {
    format!("thread_{index:032x}")
}

/// Adds threads to a file that holds one run. No process may have it open.
pub async fn fill(path: &Path, threads: u64) {
    let mut connection = sqlite::connect(path).await;
    // Nobody needs it after a crash.
    for pragma in [
        "PRAGMA journal_mode = OFF",
        "PRAGMA synchronous = OFF",
        "PRAGMA cache_size = -262144",
        "PRAGMA foreign_keys = OFF",
    ] {
        connection.execute(pragma).await.unwrap();
    }
    let template = "CREATE TEMP TABLE template AS SELECT * FROM runs LIMIT 1; \
                    CREATE TEMP TABLE numbers (number INTEGER PRIMARY KEY)";
    connection.execute(template).await.unwrap();
    let numbers = format!(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {MESSAGES}) \
         INSERT INTO numbers SELECT i FROM n"
    );
    connection.execute(AssertSqlSafe(numbers)).await.unwrap();

    let thread = "INSERT INTO threads (number, id, create_time, update_time) \
                  SELECT $1, $2, create_time + $1, create_time + $1 FROM template";
    let messages = "INSERT INTO messages (thread, position, id, role, content, run, incomplete, create_time) \
         SELECT $1, numbers.number - 1, printf('msg_%016x%016x', $1, numbers.number), CASE numbers.number % 2 WHEN 1 THEN 'user' ELSE 'assistant' END, \
         json_array(json_object('text', printf('message %d: what is said in it is about as long as what people \
say to one another when they talk of something', numbers.number))), \
         CASE numbers.number % 2 WHEN 0 THEN printf('run_%016x%016x', $1, numbers.number) END, 0, create_time + $1 + numbers.number \
         FROM template, numbers ORDER BY numbers.number";
    let runs = format!(
        "INSERT INTO runs (id, thread, first_position, last_position, create_time, end_time, has_events, {COPIED}) \
         SELECT printf('run_%016x%016x', $1, n.number), $1, n.number - 2, n.number - 1, create_time + $1 + n.number, \
         end_time + $1 + n.number, 0, {COPIED} FROM template, (SELECT number FROM numbers WHERE number % 2 = 0) n \
         ORDER BY n.number"
    );
    let mut transaction = connection.begin().await.unwrap();
    for index in 0..threads {
        // The first numbers are the service's.
        let number = i64::try_from(index).unwrap() + 1_000;
        sqlx::query(thread)
            .bind(number)
            .bind(thread_name(index))
            .execute(&mut *transaction)
            .await
            .unwrap();
        for sql in [messages, &runs] {
            sqlx::query(AssertSqlSafe(sql.to_owned()))
                .bind(number)
                .execute(&mut *transaction)
                .await
                .unwrap();
        }
    }
    transaction.commit().await.unwrap();
    connection.execute("PRAGMA journal_mode = WAL").await.unwrap();
    connection.close().await.unwrap();
    settle(path);
}

/// Waits until the file is on the disk, and has the system read it once: what is measured is neither the disk writing
/// what was filled in nor how fast it finds what memory could hold.
fn settle(path: &Path) {
    let mut file = std::fs::File::options()
        .read(true)
        .write(true)
        .open(path)
        .unwrap();
    file.sync_all().unwrap();
    std::io::copy(&mut file, &mut std::io::sink()).unwrap();
}
