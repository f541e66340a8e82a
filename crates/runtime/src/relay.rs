//! Standard streams: handed to the process as they are, or copied by a thread each.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::thread::JoinHandle;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::FileType;
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};

use crate::tail::Tail;

/// Whether a stream is better not handed over. The runtime gives the process's user what it
/// inherits, which must not happen to a file or a terminal of someone else; and a process on the
/// caller's terminal could type into it.
pub(crate) fn needs_relay(stream: impl AsFd, uid: u32) -> bool {
    let Ok(stat) = rustix::fs::fstat(stream) else { return false };
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Fifo | FileType::Socket => false,
        FileType::CharacterDevice => (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev)) != (1, 3),
        _ => stat.st_uid != uid,
    }
}

/// Threads that copy streams while a process runs.
#[derive(Debug, Default)]
pub(crate) struct Relays {
    /// Copies of what the process writes; they end when nobody can write any more.
    outputs: Vec<JoinHandle<()>>,
    /// The copy of what the process reads, and the pipe whose closing ends it.
    input: Option<(JoinHandle<()>, OwnedFd)>,
}

impl Relays {
    /// Gives the process a pipe whose content is copied to `stream`; `tail` keeps its end.
    pub fn output(&mut self, stream: OwnedFd, tail: Option<Tail>) -> std::io::Result<OwnedFd> {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
        self.copy_output(reader, stream, tail)?;
        Ok(writer)
    }

    /// Gives the process a pipe that is filled from `stream`.
    pub fn input(&mut self, stream: OwnedFd) -> std::io::Result<OwnedFd> {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
        self.copy_input(stream, writer, &[])?;
        Ok(reader)
    }

    /// Copies from one descriptor to the other until the first has ended.
    pub fn copy_output(&mut self, from: OwnedFd, to: OwnedFd, tail: Option<Tail>) -> std::io::Result<()> {
        let copy = move || copy(&from, &to, None, tail.as_ref());
        self.outputs.push(std::thread::Builder::new().name("output".into()).spawn(copy)?);
        Ok(())
    }

    /// Copies from one descriptor to the other until the first has ended, which the other is told
    /// by `last_words`, or until [`Relays::finish`].
    pub fn copy_input(&mut self, from: OwnedFd, to: OwnedFd, last_words: &'static [u8]) -> std::io::Result<()> {
        let (stop, stopper) = pipe_with(PipeFlags::CLOEXEC)?;
        let copy = move || {
            copy(&from, &to, Some(&stop), None);
            let _ = rustix::io::write(&to, last_words);
            if !last_words.is_empty() {
                // A terminal's master side is shared with the output: it stays open.
                let mut ends = [PollFd::new(&stop, PollFlags::empty())];
                let _ = rustix::io::retry_on_intr(|| poll(&mut ends, None));
            }
        };
        self.input = Some((std::thread::Builder::new().name("input".into()).spawn(copy)?, stopper));
        Ok(())
    }

    /// Waits for all output; the process has ended.
    pub fn finish(&mut self) {
        if let Some((thread, stopper)) = self.input.take() {
            drop(stopper);
            let _ = thread.join();
        }
        for thread in self.outputs.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Drop for Relays {
    fn drop(&mut self) {
        self.finish();
    }
}

/// Copies until `from` has ended, `to` takes no more, or `stop` is closed at its other end.
fn copy(from: &OwnedFd, to: &OwnedFd, stop: Option<&OwnedFd>, tail: Option<&Tail>) {
    let mut buffer = vec![0u8; 64 << 10];
    loop {
        if let Some(stop) = stop {
            let mut ends = [PollFd::new(from, PollFlags::IN), PollFd::new(stop, PollFlags::empty())];
            match poll(&mut ends, None) {
                Err(Errno::INTR) => continue,
                Err(_) => return,
                Ok(_) if ends[1].revents().contains(PollFlags::HUP) => return,
                Ok(_) => {}
            }
        }
        let length = match rustix::io::read(from, &mut buffer) {
            Ok(0) => return,
            Ok(length) => length,
            Err(Errno::INTR | Errno::AGAIN) => {
                let _ = poll(&mut [PollFd::new(from, PollFlags::IN)], None);
                continue;
            }
            // A terminal whose last user is gone.
            Err(_) => return,
        };
        let mut rest = buffer.get(..length).unwrap_or_default();
        if let Some(tail) = tail {
            tail.push(rest);
        }
        while !rest.is_empty() {
            match rustix::io::write(to, rest) {
                Ok(written) => rest = rest.get(written..).unwrap_or_default(),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    let _ = poll(&mut [PollFd::new(to, PollFlags::OUT)], None);
                }
                Err(_) => return,
            }
        }
    }
}

/// A stream that is always at its end, and takes everything.
pub(crate) fn null() -> std::io::Result<OwnedFd> {
    Ok(File::options().read(true).write(true).open("/dev/null")?.into())
}

/// Whether both are the same file, not only two of the same content.
pub(crate) fn same_file(one: impl AsFd, other: impl AsFd) -> bool {
    match (rustix::fs::fstat(one), rustix::fs::fstat(other)) {
        (Ok(one), Ok(other)) => (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino),
        _ => false,
    }
}
