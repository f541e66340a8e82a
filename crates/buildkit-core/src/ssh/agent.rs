//! An SSH agent (draft-miller-ssh-agent) for steps: over a Unix socket, for as long as they run.

use std::io::{Read, Write};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Mode, OFlags};
use rustix::pipe::{PipeFlags, pipe_with};

use super::{SocketOwner, Source};

/// No message is longer than this many bytes, as with OpenSSH.
const LONGEST: usize = 256 << 10;

const FAILURE: u8 = 5;
const REQUEST_IDENTITIES: u8 = 11;
const IDENTITIES_ANSWER: u8 = 12;
const SIGN_REQUEST: u8 = 13;
const SIGN_RESPONSE: u8 = 14;

/// An agent that answers; it ends when this is dropped.
#[derive(Debug)]
pub struct Served {
    path: PathBuf,
    stop: Option<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl Served {
    /// Its socket.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Serves `source` over a new socket `name` in `dir`.
pub(super) fn serve(source: Source, dir: &Path, name: &str, owner: SocketOwner) -> std::io::Result<Served> {
    let listener = with_short_name(dir, name, |path| UnixListener::bind(path))?;
    let path = dir.join(name);
    std::os::unix::fs::lchown(&path, Some(owner.uid), Some(owner.gid))?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(owner.mode & 0o777))?;
    let (stopped, stop) = pipe_with(PipeFlags::CLOEXEC)?;
    let thread = std::thread::Builder::new().name("ssh agent".into()).spawn(move || {
        while wait(&listener, &stopped) {
            let Ok((stream, _)) = listener.accept() else { continue };
            let source = source.clone();
            // It ends with the step, whose end of the connection goes away.
            let _ = std::thread::Builder::new().name("ssh agent".into()).spawn(move || answer_all(&source, stream));
        }
    })?;
    Ok(Served { path, stop: Some(stop), thread: Some(thread) })
}

/// A socket's name has 107 bytes at most, which a path in the store may exceed.
fn with_short_name<T>(dir: &Path, name: &str, action: impl FnOnce(&Path) -> std::io::Result<T>) -> std::io::Result<T> {
    let dir = rustix::fs::open(dir, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    action(&Path::new("/proc/self/fd").join(dir.as_raw_fd().to_string()).join(name))
}

fn connect(path: &Path) -> std::io::Result<UnixStream> {
    match (path.parent(), path.file_name().and_then(|name| name.to_str())) {
        (Some(dir), Some(name)) if path.is_absolute() => with_short_name(dir, name, |path| UnixStream::connect(path)),
        _ => UnixStream::connect(path),
    }
}

/// Waits for a connection. False if there will be none.
fn wait(listener: &UnixListener, stopped: &OwnedFd) -> bool {
    loop {
        let mut sources = [
            PollFd::from_borrowed_fd(listener.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(stopped.as_fd(), PollFlags::empty()),
        ];
        match poll(&mut sources, None) {
            Err(rustix::io::Errno::INTR) => continue,
            Err(_) => return false,
            Ok(_) => return !sources.last().is_some_and(|stopped| stopped.revents().contains(PollFlags::HUP)),
        }
    }
}

fn answer_all(source: &Source, mut stream: UnixStream) {
    let mut other = match source {
        Source::Socket(path) => connect(path).ok(),
        Source::Keys(_) => None,
    };
    while let Some(request) = read_message(&mut stream) {
        let reply = match (source, &mut other, request.first()) {
            (Source::Keys(_), _, _) => answer(source, &request),
            (Source::Socket(_), Some(other), Some(&(REQUEST_IDENTITIES | SIGN_REQUEST))) => {
                write_message(other, &request).ok().and_then(|()| read_message(other))
            }
            _ => None,
        };
        if write_message(&mut stream, &reply.unwrap_or_else(|| vec![FAILURE])).is_err() {
            return;
        }
    }
}

/// What the agent says; `None` stands for a refusal.
fn answer(source: &Source, request: &[u8]) -> Option<Vec<u8>> {
    let Source::Keys(keys) = source else { return None };
    let (kind, mut rest) = request.split_first()?;
    match *kind {
        REQUEST_IDENTITIES => {
            let mut reply = vec![IDENTITIES_ANSWER];
            reply.extend(u32::try_from(keys.len()).ok()?.to_be_bytes());
            for key in keys.iter() {
                put(&mut reply, &key.public)?;
                put(&mut reply, key.comment().as_bytes())?;
            }
            Some(reply)
        }
        SIGN_REQUEST => {
            let (public, data) = (take(&mut rest)?, take(&mut rest)?);
            let flags = u32::from_be_bytes(rest.try_into().ok()?);
            let key = keys.iter().find(|key| key.public == public)?;
            let mut reply = vec![SIGN_RESPONSE];
            put(&mut reply, &key.sign(data, flags)?)?;
            Some(reply)
        }
        _ => None,
    }
}

/// Adds a string: its length, then its bytes.
fn put(to: &mut Vec<u8>, bytes: &[u8]) -> Option<()> {
    to.extend(u32::try_from(bytes.len()).ok()?.to_be_bytes());
    to.extend(bytes);
    Some(())
}

/// Takes a string off.
fn take<'a>(from: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, rest) = from.split_first_chunk::<4>()?;
    let (bytes, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
    *from = rest;
    Some(bytes)
}

/// The next message; `None` at the end, and for one that is too long.
fn read_message(from: &mut impl Read) -> Option<Vec<u8>> {
    let mut length = [0; 4];
    from.read_exact(&mut length).ok()?;
    let length = u32::from_be_bytes(length) as usize;
    if length > LONGEST {
        return None;
    }
    let mut message = vec![0; length];
    from.read_exact(&mut message).ok()?;
    Some(message)
}

fn write_message(to: &mut impl Write, message: &[u8]) -> std::io::Result<()> {
    let length = u32::try_from(message.len()).map_err(std::io::Error::other)?;
    to.write_all(&[&length.to_be_bytes()[..], message].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pure_messages_that_are_none_are_refused() {
        let source = Source::Keys(Vec::new().into());
        assert_eq!(answer(&source, &[REQUEST_IDENTITIES]), Some(vec![IDENTITIES_ANSWER, 0, 0, 0, 0]));
        let sign = [&[SIGN_REQUEST][..], &[0, 0, 0, 1, b'k'], &[0, 0, 0, 1, b'd'], &[0, 0, 0, 0]].concat();
        for length in 0..=sign.len() {
            assert_eq!(answer(&source, &sign[..length]), None, "{length}");
        }
        // Add, remove, lock, extension.
        for kind in [17, 18, 19, 22, 25, 27, 255] {
            assert_eq!(answer(&source, &[kind, 0, 0, 0, 0]), None);
        }
        for bytes in [&b""[..], b"\0\0", b"\xff\xff\xff\xff", b"\0\0\0\x05abc"] {
            assert_eq!(read_message(&mut &bytes[..]), None);
        }
    }

    #[test]
    fn tree_agent_has_its_socket_for_a_while() {
        let dir = tempfile::tempdir().expect("temp dir");
        let dir = dir.path().join("long".repeat(40));
        std::fs::create_dir(&dir).expect("mkdir");
        let owner = SocketOwner { mode: 0o620, uid: 0, gid: 0 };
        let served = serve(Source::Keys(Vec::new().into()), &dir, "agent", owner).expect("served");
        assert_eq!(std::fs::metadata(served.path()).expect("stat").permissions().mode() & 0o777, 0o620);
        let ask = |path: &Path| {
            let mut stream = connect(path)?;
            write_message(&mut stream, &[REQUEST_IDENTITIES])?;
            Ok::<_, std::io::Error>(read_message(&mut stream))
        };
        assert_eq!(ask(served.path()).expect("answer"), Some(vec![IDENTITIES_ANSWER, 0, 0, 0, 0]));
        // Another agent that is asked on behalf of a step.
        let other = serve(Source::Socket(served.path().to_owned()), &dir, "other", owner).expect("served");
        assert_eq!(ask(other.path()).expect("answer"), Some(vec![IDENTITIES_ANSWER, 0, 0, 0, 0]));
        let path = served.path().to_owned();
        drop(served);
        assert!(!path.exists() && ask(&path).is_err());
        assert_eq!(ask(other.path()).expect("answer"), Some(vec![FAILURE]));
    }
}
