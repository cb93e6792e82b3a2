//! What is written to an SQLite file, as its write-ahead log shows it.

use std::fs;
use std::path::{Path, PathBuf};

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Executor};

/// Sizes of the log's own header and of that before each page: <https://sqlite.org/fileformat2.html#walformat>.
const LOG_HEADER: usize = 32;
const FRAME_HEADER: usize = 24;

/// The log of a file, kept from being started over: a reader holds on to its beginning.
pub struct Log {
    path: PathBuf,
    #[expect(dead_code, reason = "the log grows for as long as it is read")]
    reader: SqliteConnection,
}

/// What a log holds.
#[derive(Clone, Copy)]
pub struct Written {
    pub transactions: u64,
    pub bytes: u64,
}

impl Log {
    /// Holds the log of this file. What is written next may start it over once more.
    pub async fn hold(path: &Path) -> Self {
        let mut reader = connect(path).await;
        reader.execute("BEGIN").await.unwrap();
        reader.execute("SELECT count(*) FROM threads").await.unwrap();
        Self {
            path: path.with_extension("db-wal"),
            reader,
        }
    }

    /// What it holds now.
    pub fn written(&self) -> Written {
        let log = fs::read(&self.path).unwrap();
        let number = |place: usize| u32::from_be_bytes(log[place..place + 4].try_into().unwrap());
        let frame = FRAME_HEADER + number(8) as usize;
        let mut written = Written {
            transactions: 0,
            bytes: LOG_HEADER as u64,
        };
        let mut place = LOG_HEADER;
        // Frames with other salts are what is left of the log before.
        while place + frame <= log.len() && log[place + 8..place + 16] == log[16..24] {
            // The last page of a transaction says how large the database is then.
            written.transactions += u64::from(number(place + 4) != 0);
            written.bytes += frame as u64;
            place += frame;
        }
        written
    }
}

/// A connection of the benchmark's own.
pub async fn connect(path: &Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(path);
    options.disable_statement_logging().connect().await.unwrap()
}
