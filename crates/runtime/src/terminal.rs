//! A terminal of its own for a process, joined to the caller's.

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::os::unix::net::UnixListener;

use rustix::io::Errno;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use rustix::termios::{OptionalActions, Termios, Winsize, tcgetattr, tcgetwinsize, tcsetattr, tcsetwinsize};

/// Where the runtime sends the terminal's master side: a socket in the bundle directory.
pub(crate) const SOCKET_NAME: &str = "console.sock";

/// Listens in the bundle directory. It is named through a descriptor, because a socket's path may
/// have 107 bytes only.
pub(crate) fn listen(bundle: &OwnedFd) -> std::io::Result<UnixListener> {
    UnixListener::bind(format!("/proc/self/fd/{}/{SOCKET_NAME}", bundle.as_raw_fd()))
}

/// Takes the terminal's master side from the runtime.
pub(crate) fn accept(listener: &UnixListener) -> std::io::Result<OwnedFd> {
    let (socket, _) = listener.accept()?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut name = [0u8; 4096];
    recvmsg(&socket, &mut [IoSliceMut::new(&mut name)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    ancillary
        .drain()
        .find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
            _ => None,
        })
        .ok_or_else(|| std::io::Error::other("the runtime sent no terminal"))
}

/// Gives `terminal` the size of `like`.
pub(crate) fn copy_size(like: impl AsFd, terminal: impl AsFd) {
    if let Ok(size @ Winsize { ws_row: 1.., ws_col: 1.., .. }) = tcgetwinsize(like) {
        let _: Result<(), Errno> = tcsetwinsize(terminal, size);
    }
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
