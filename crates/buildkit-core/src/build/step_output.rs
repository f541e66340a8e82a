//! What a step's program writes, as events.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::thread;

use rustix::pipe::{PipeFlags, pipe_with};

use crate::event::{Event, Events, StepId, Stream};
use crate::run::Stdio;

/// A line longer than this is told in pieces: memory does not depend on what a program writes.
const LONGEST_LINE: usize = 8 << 10;

/// Runs `start` with `stdin`, and streams whose lines become events of the step `id`. All of them are
/// told when this returns.
pub(super) fn with_lines<T>(
    events: Events<'_>,
    id: StepId,
    stdin: OwnedFd,
    start: impl FnOnce(Stdio) -> T,
) -> io::Result<T> {
    let (output, stdout) = pipe_with(PipeFlags::CLOEXEC)?;
    let (errors, stderr) = pipe_with(PipeFlags::CLOEXEC)?;
    thread::scope(|scope| {
        for (from, stream) in [(output, Stream::Stdout), (errors, Stream::Stderr)] {
            let tell = move || tell_lines(from, |line| events(Event::Output { id, stream, line }));
            thread::Builder::new().name("step output".into()).spawn_scoped(scope, tell)?;
        }
        Ok(start(Stdio::Descriptors { stdin, stdout, stderr }))
    })
}

/// Hands on each line until nobody can write any more.
fn tell_lines(from: OwnedFd, mut tell: impl FnMut(String)) {
    let mut from = File::from(from);
    let mut buffer = [0; 8 << 10];
    let mut line = Vec::new();
    loop {
        let read = match from.read(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Ok(0) | Err(_) => break,
            Ok(length) => buffer.get(..length).unwrap_or_default(),
        };
        for piece in read.split_inclusive(|byte| *byte == b'\n') {
            let room = LONGEST_LINE.saturating_sub(line.len());
            let (now, later) = piece.split_at(piece.len().min(room));
            line.extend_from_slice(now);
            if line.ends_with(b"\n") || !later.is_empty() {
                tell(text(&line));
                line.clear();
                line.extend_from_slice(later);
            }
            if line.ends_with(b"\n") {
                tell(text(&line));
                line.clear();
            }
        }
    }
    if !line.is_empty() {
        tell(text(&line));
    }
}

fn text(line: &[u8]) -> String {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(line)).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn lines_of(content: &[u8]) -> Vec<String> {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).expect("a pipe");
        let content = content.to_vec();
        let writing = thread::spawn(move || File::from(writer).write_all(&content).expect("written"));
        let mut lines = Vec::new();
        tell_lines(reader, |line| lines.push(line));
        writing.join().expect("no panic");
        lines
    }

    #[test]
    fn pure_lines_are_told_whole() {
        assert_eq!(lines_of(b"a\n\nb\r\nc"), ["a", "", "b", "c"]);
        assert_eq!(lines_of(b"\xff\n"), ["\u{fffd}"]);
        assert!(lines_of(b"").is_empty());
    }

    #[test]
    fn pure_endless_lines_are_told_in_pieces() {
        let long = vec![b'x'; 3 * LONGEST_LINE + 5];
        let lines = lines_of(&long);
        assert!(lines.iter().all(|line| line.len() <= LONGEST_LINE));
        assert_eq!(lines.concat().len(), long.len());
    }
}
