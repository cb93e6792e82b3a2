//! A few connections for reads, opened when they are needed and kept.

use std::sync::PoisonError;
use std::time::Duration;

use sqlx::{ConnectOptions, Connection};
use tokio::sync::{Semaphore, SemaphorePermit};

/// Connections to one database.
pub(super) struct Pool<C: Connection> {
    options: C::Options,
    permits: Semaphore,
    connect_timeout: Duration,
    idle: std::sync::Mutex<Vec<C>>,
}

/// A connection that is taken out. It is closed when this is dropped, unless it is [kept](Taken::keep): one that
/// may be broken is not, and neither is that of a caller who went away.
pub(super) struct Taken<'p, C: Connection> {
    pub(super) connection: C,
    /// Whether it may have been closed by the other side since it was last used.
    pub(super) is_old: bool,
    pool: &'p Pool<C>,
    _permit: SemaphorePermit<'p>,
}

impl<C: Connection> Pool<C> {
    /// So many connections at most, none yet.
    pub(super) fn new(options: C::Options, limit: usize, connect_timeout: Duration) -> Self {
        Self {
            options,
            permits: Semaphore::new(limit),
            connect_timeout,
            idle: std::sync::Mutex::default(),
        }
    }

    /// Takes out a connection, waiting for one to come back if all are out.
    pub(super) async fn take(&self) -> Result<Taken<'_, C>, sqlx::Error> {
        let permit = self
            .permits
            .acquire()
            .await
            .map_err(|_| sqlx::Error::PoolClosed)?;
        let idle = self.idle().pop();
        let is_old = idle.is_some();
        let connection = match idle {
            Some(connection) => connection,
            None => tokio::time::timeout(self.connect_timeout, self.options.connect())
                .await
                .map_err(|_| sqlx::Error::PoolTimedOut)??,
        };
        Ok(Taken {
            connection,
            is_old,
            pool: self,
            _permit: permit,
        })
    }

    /// Closes those that nobody uses.
    pub(super) fn forget_idle(&self) {
        self.idle().clear();
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<C>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<C: Connection> Taken<'_, C> {
    /// Puts it back for the next one.
    pub(super) fn keep(self) {
        self.pool.idle().push(self.connection);
    }
}
