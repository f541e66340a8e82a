//! A terminal of its own for a process, joined to the caller's.
//!
//! The runtime in the foreground makes the process's terminal itself and joins it to its own
//! standard streams. Those are a second terminal, made here, so that this works wherever the
//! caller's streams lead to; it is in raw mode from the beginning, so that it changes nothing.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdGetfdFlags, pidfd_getfd};
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

/// Gives the terminals that the runtime has made the size of `terminal`. crun takes no notice of its
/// own terminal's new size.
pub(crate) fn hand_size_on(terminal: &OwnedFd, runtime: Pid, handle: BorrowedFd<'_>) {
    let files = std::fs::read_dir(format!("/proc/{}/fd", runtime.as_raw_nonzero())).into_iter().flatten().flatten();
    for file in files {
        let is_master = std::fs::read_link(file.path()).is_ok_and(|target| target.ends_with("ptmx"));
        let number = file.file_name().to_str().and_then(|name| name.parse().ok()).filter(|_| is_master);
        if let Some(master) = number.and_then(|fd| pidfd_getfd(handle, fd, PidfdGetfdFlags::empty()).ok()) {
            copy_size(&[terminal], master);
        }
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
