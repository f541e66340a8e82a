//! A switch by which the caller ends processes that are run for it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{EventfdFlags, eventfd};

/// Once it is set, every process that was given it is killed. Several may be given the same one.
#[derive(Debug)]
pub struct Stop(OwnedFd);

impl Stop {
    /// A switch that is not set.
    ///
    /// # Errors
    /// No descriptor can be had.
    pub fn new() -> std::io::Result<Stop> {
        Ok(Stop(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?))
    }

    /// Sets it, for good.
    pub fn set(&self) {
        // It fails only where it is set so often already that the count is full.
        let _ = rustix::io::write(&self.0, &1u64.to_ne_bytes());
    }
}

impl AsFd for Stop {
    /// Readable once the switch is set.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
