//! Where things stand: byte spans of the source, and text that remembers where it came from.
//!
//! An instruction's text is put together from several lines, and words from pieces of it. A
//! [`Text`] knows for each of its bytes which byte of the source it was:
//!
//! ```text
//! source   RUN one \⏎    # why⏎  two
//! text     "RUN one   two"    pieces (0 → 0), (8 → 21)
//! ```

use std::fmt;
use std::ops::{Deref, Range};
use std::sync::Arc;

/// A range of bytes of the source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Span {
    /// First byte.
    pub start: usize,
    /// Behind the last byte.
    pub end: usize,
}

impl Span {
    /// From `start` to before `end`.
    pub fn new(start: usize, end: usize) -> Span {
        Span { start, end: end.max(start) }
    }

    /// The smallest span with both in it.
    pub fn to(self, other: Span) -> Span {
        Span { start: self.start.min(other.start), end: self.end.max(other.end) }
    }
}

/// A piece of text as the user wrote it, and where.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Word {
    /// The text, variables not yet expanded.
    pub text: String,
    /// Where it stands.
    pub span: Span,
}

impl Word {
    /// A word of `text` at `span`.
    pub fn new(text: impl Into<String>, span: Span) -> Word {
        Word { text: text.into(), span }
    }
}

/// What separates words.
pub(crate) fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\x0b' | '\x0c')
}

/// Text made of pieces of the source. To clone it or to cut it copies nothing.
#[derive(Clone, Default)]
pub struct Text {
    joined: Arc<Joined>,
    from: usize,
    to: usize,
}

#[derive(Default)]
struct Joined {
    string: String,
    /// `(offset in the string, offset in the source)` of the pieces' first bytes, ascending; none if
    /// this is the source.
    pieces: Vec<(usize, usize)>,
}

/// Puts pieces of the source together.
#[derive(Default)]
pub(crate) struct Joiner(Joined);

impl Joiner {
    /// Adds `string`, which begins at byte `start` of the source.
    pub fn push(&mut self, string: &str, start: usize) {
        let Joined { string: text, pieces } = &mut self.0;
        match pieces.last() {
            _ if text.is_empty() => *pieces = vec![(0, start)],
            Some(&(at, source)) if source + (text.len() - at) == start => {}
            _ => pieces.push((text.len(), start)),
        }
        text.push_str(string);
    }

    /// All of it.
    pub fn finish(self) -> Text {
        let to = self.0.string.len();
        Text { joined: Arc::new(self.0), from: 0, to }
    }
}

impl Text {
    /// The text `string` that begins at byte `start` of the source.
    pub fn new(string: &str, start: usize) -> Text {
        let mut joiner = Joiner::default();
        joiner.push(string, start);
        joiner.finish()
    }

    /// The source itself.
    pub(crate) fn of_source(string: String) -> Text {
        Joiner(Joined { string, pieces: Vec::new() }).finish()
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        self.joined.string.get(self.from..self.to).unwrap_or_default()
    }

    /// Byte of the source that byte `at` of the text was.
    pub fn source_offset(&self, at: usize) -> usize {
        let at = self.from + at;
        let pieces = &self.joined.pieces;
        let index = pieces.partition_point(|&(start, _)| start <= at);
        match index.checked_sub(1).and_then(|index| pieces.get(index)) {
            Some(&(start, source)) => source + (at - start),
            None => at,
        }
    }

    /// Where bytes `range` of the text stand in the source.
    pub fn span(&self, range: Range<usize>) -> Span {
        let start = self.source_offset(range.start);
        let end = match range.end.checked_sub(1) {
            Some(last) if range.end > range.start => self.source_offset(last) + 1,
            _ => start,
        };
        Span::new(start, end)
    }

    /// Where the whole text stands.
    pub fn full_span(&self) -> Span {
        self.span(0..self.len())
    }

    /// Bytes `range`, which must lie between characters; else an empty text.
    pub fn slice(&self, range: Range<usize>) -> Text {
        match self.get(range.clone()) {
            Some(_) => Text { joined: self.joined.clone(), from: self.from + range.start, to: self.from + range.end },
            None => Text::default(),
        }
    }

    /// The text from byte `start` on.
    pub fn from(&self, start: usize) -> Text {
        self.slice(start..self.len())
    }

    /// The text without blanks at both ends.
    pub fn trim(self) -> Text {
        let text = self.as_str().trim_start();
        let from = self.to - text.len();
        Text { to: from + text.trim_end().len(), from, ..self }
    }

    /// Bytes `range` as a word.
    pub fn word(&self, range: Range<usize>) -> Word {
        Word { text: self.get(range.clone()).unwrap_or_default().to_owned(), span: self.span(range) }
    }

    /// All of it as a word.
    pub fn to_word(&self) -> Word {
        self.word(0..self.len())
    }

    /// The words between blanks; quotes count for nothing.
    pub fn split_blanks(&self) -> Vec<Word> {
        let mut words = Vec::new();
        let mut start = None;
        for (at, c) in self.char_indices() {
            match (is_blank(c), start) {
                (true, Some(from)) => {
                    words.push(self.word(from..at));
                    start = None;
                }
                (false, None) => start = Some(at),
                _ => {}
            }
        }
        words.extend(start.map(|from| self.word(from..self.len())));
        words
    }
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl PartialEq for Text {
    fn eq(&self, other: &Text) -> bool {
        self.as_str() == other.as_str() && self.full_span() == other.full_span()
    }
}

impl Eq for Text {}

impl fmt::Display for Text {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self)
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Text").field("text", &self.as_str()).field("span", &self.full_span()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pure_text_remembers_its_source() {
        let mut joiner = Joiner::default();
        joiner.push("RUN one ", 0);
        joiner.push("  two", 21);
        joiner.push("!", 26);
        let text = joiner.finish();
        assert_eq!(text.as_str(), "RUN one   two!");
        assert_eq!(text.span(4..7), Span::new(4, 7));
        assert_eq!(text.span(10..14), Span::new(23, 27));
        let rest = text.from(4);
        assert_eq!(rest.split_blanks(), [Word::new("one", Span::new(4, 7)), Word::new("two!", Span::new(23, 27))]);
        assert_eq!(rest.slice(6..9).full_span(), Span::new(23, 26));
        assert_eq!(text.slice(8..10).trim().as_str(), "");
    }
}
