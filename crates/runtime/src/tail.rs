//! The end of what a process wrote.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

/// Lines that are kept.
const LINES: usize = 20;
/// Bytes that are kept: memory does not depend on what a process writes.
const BYTES: usize = 16 << 10;

/// Keeps the end of what passes by; clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tail(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    bytes: VecDeque<u8>,
    is_cut: bool,
}

impl Tail {
    /// Takes what was written last.
    pub fn push(&self, bytes: &[u8]) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let start = bytes.len().saturating_sub(BYTES);
        kept.bytes.extend(bytes.iter().skip(start));
        let excess = kept.bytes.len().saturating_sub(BYTES);
        kept.is_cut |= start + excess > 0;
        kept.bytes.drain(..excess);
    }

    /// The last lines. Of a line that was overwritten by carriage returns, what was seen last.
    pub fn lines(&self) -> Vec<String> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_cut = kept.is_cut;
        let text = String::from_utf8_lossy(kept.bytes.make_contiguous());
        let mut lines: Vec<&str> = text.lines().collect();
        // What is left of the first line is no line, unless there is no other.
        if is_cut && lines.len() > 1 {
            lines.remove(0);
        }
        let seen = |line: &str| line.trim_end_matches('\r').rsplit('\r').next().unwrap_or_default().to_owned();
        lines.iter().skip(lines.len().saturating_sub(LINES)).map(|line| seen(line)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines_of(pieces: &[&[u8]]) -> Vec<String> {
        let tail = Tail::default();
        pieces.iter().for_each(|piece| tail.push(piece));
        tail.lines()
    }

    #[test]
    fn pure_tail_has_the_last_lines() {
        assert_eq!(lines_of(&[]), [""; 0]);
        assert_eq!(lines_of(&[b"a\nb", b"c\r\n\n", b"d"]), ["a", "bc", "", "d"]);
        assert_eq!(lines_of(&[b"10%\r50%\r100%\n\xff\n"]), ["100%", "\u{fffd}"]);
        let many: String = (0..1000).map(|number| format!("{number}\n")).collect();
        let expected: Vec<String> = (980..1000).map(|number| number.to_string()).collect();
        assert_eq!(lines_of(&[many.as_bytes()]), expected);
    }

    #[test]
    fn pure_tail_is_bounded() {
        let long = vec![b'x'; 3 * BYTES];
        assert_eq!(lines_of(&[&long]).concat().len(), BYTES);
        assert_eq!(lines_of(&[&long, b"\nend\n"]), ["end"]);
        let tail = Tail::default();
        for _ in 0..100 {
            tail.push(&long);
        }
        assert_eq!(tail.0.lock().expect("lock").bytes.len(), BYTES);
    }
}
