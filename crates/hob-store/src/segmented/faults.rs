//! Faults on order: lets tests see what a log does when its disk is full or fails.
//!
//! The system cannot be asked for these errors without special rights, so the writer asks here before each write
//! and sync. Without an order, which is always but in tests, nothing happens.

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Errors that the next writes and syncs shall meet.
#[derive(Debug, Default)]
pub struct Faults {
    orders: Mutex<Orders>,
}

#[derive(Debug, Default)]
struct Orders {
    write: Option<(i32, usize)>,
    sync: Option<i32>,
}

impl Faults {
    /// From now on every write puts down `written_bytes` and then fails with the system's error `errno`.
    pub fn fail_writes(&self, errno: i32, written_bytes: usize) {
        self.orders().write = Some((errno, written_bytes));
    }

    /// From now on every sync fails with the system's error `errno`.
    pub fn fail_syncs(&self, errno: i32) {
        self.orders().sync = Some(errno);
    }

    /// From now on nothing fails.
    pub fn heal(&self) {
        *self.orders() = Orders::default();
    }

    /// How many bytes of a write to put down before failing it, and the error to fail it with.
    pub(super) fn write(&self) -> Option<(usize, io::Error)> {
        self.orders().write.map(|(errno, written)| (written, io::Error::from_raw_os_error(errno)))
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        match self.orders().sync {
            Some(errno) => Err(io::Error::from_raw_os_error(errno)),
            None => Ok(()),
        }
    }

    fn orders(&self) -> MutexGuard<'_, Orders> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
