//! A terminal of its own for a process, joined to the caller's.
//!
//! The runtime in the foreground makes the process's terminal itself and joins it to its own
//! standard streams. Those are a second terminal, made here, so that this works wherever the
//! caller's streams lead to; it is in raw mode from the beginning, so that it changes nothing.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, Termios, Winsize, tcgetattr, tcgetwinsize, tcsetattr, tcsetwinsize};

/// A new terminal in raw mode: the master side and the side for the runtime.
pub(crate) fn open() -> Result<(OwnedFd, OwnedFd), Errno> {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    grantpt(&master)?;
    unlockpt(&master)?;
    let name = ptsname(&master, Vec::new())?;
    let slave = rustix::fs::open(name, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty())?;
    let mut raw = tcgetattr(&slave)?;
    raw.make_raw();
    tcsetattr(&slave, OptionalActions::Now, &raw)?;
    Ok((master, slave))
}

/// Gives `terminal` the size of the first of `models` that is a terminal with a size.
pub(crate) fn copy_size(models: &[&dyn AsFd], terminal: impl AsFd) {
    let sizes = models.iter().filter_map(|model| tcgetwinsize(model.as_fd()).ok());
    if let Some(size) = sizes.into_iter().find(|size| matches!(size, Winsize { ws_row: 1.., ws_col: 1.., .. })) {
        let _: Result<(), Errno> = tcsetwinsize(terminal, size);
    }
}

/// Rows and columns.
pub(crate) fn size(terminal: &OwnedFd) -> (u16, u16) {
    tcgetwinsize(terminal).map(|size| (size.ws_row, size.ws_col)).unwrap_or_default()
}

/// While it lives, the caller's terminal passes every key on instead of acting on it.
#[derive(Debug)]
pub(crate) struct RawMode {
    terminal: OwnedFd,
    before: Termios,
}

impl RawMode {
    /// Sets `terminal` to raw mode; `None` if it is no terminal.
    pub fn set(terminal: OwnedFd) -> Option<RawMode> {
        let before = tcgetattr(&terminal).ok()?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(&terminal, OptionalActions::Drain, &raw).ok()?;
        Some(RawMode { terminal, before })
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        let _ = tcsetattr(&self.terminal, OptionalActions::Drain, &self.before);
    }
}
