//! Where things stand: byte spans of the source, and text that remembers where it came from.
//!
//! An instruction's text is put together from several lines, and words from pieces of it. A
//! [`Text`] knows for each of its bytes which byte of the source it was:
//!
//! ```text
//! source   RUN one \⏎    # why⏎  two
//! text     "RUN one   two"    pieces (0 → 0), (8 → 21)
//! ```

use std::ops::Range;

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

/// Text made of pieces of the source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Text {
    string: String,
    /// Offset in the source of the first piece.
    start: usize,
    /// `(offset in the string, offset in the source)` of the other pieces' first bytes, ascending.
    pieces: Vec<(usize, usize)>,
}

impl Text {
    /// The text `string` that begins at byte `start` of the source.
    pub fn new(string: &str, start: usize) -> Text {
        Text { string: string.to_owned(), start, pieces: Vec::new() }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.string
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.string.is_empty()
    }

    /// Adds `string`, which begins at byte `start` of the source.
    pub fn push(&mut self, string: &str, start: usize) {
        let end = self.string.len();
        let (at, source) = self.pieces.last().copied().unwrap_or((0, self.start));
        if end == 0 {
            self.pieces.clear();
            self.start = start;
        } else if source + (end - at) != start {
            self.pieces.push((end, start));
        }
        self.string.push_str(string);
    }

    /// Byte of the source that byte `at` of the text was.
    pub fn source_offset(&self, at: usize) -> usize {
        let index = self.pieces.partition_point(|&(start, _)| start <= at);
        match index.checked_sub(1).and_then(|index| self.pieces.get(index)) {
            Some(&(start, source)) => source + (at - start),
            None => self.start + at,
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
        self.span(0..self.string.len())
    }

    /// Bytes `range`, which must lie between characters; else an empty text.
    pub fn slice(&self, range: Range<usize>) -> Text {
        let Some(string) = self.string.get(range.clone()) else { return Text::default() };
        let start = self.source_offset(range.start);
        let from = self.pieces.partition_point(|&(at, _)| at <= range.start);
        let inside = self.pieces.iter().skip(from).take_while(|&&(at, _)| at < range.end);
        let pieces = inside.map(|&(at, source)| (at - range.start, source)).collect();
        Text { string: string.to_owned(), start, pieces }
    }

    /// The text from byte `start` on.
    pub fn from(&self, start: usize) -> Text {
        self.slice(start..self.string.len())
    }

    /// The text without blanks at both ends.
    pub fn trim(self) -> Text {
        if !self.string.starts_with(char::is_whitespace) && !self.string.ends_with(char::is_whitespace) {
            return self;
        }
        let start = self.string.len() - self.string.trim_start().len();
        self.slice(start..start.max(self.string.trim_end().len()))
    }

    /// Bytes `range` as a word.
    pub fn word(&self, range: Range<usize>) -> Word {
        Word { text: self.string.get(range.clone()).unwrap_or_default().to_owned(), span: self.span(range) }
    }

    /// All of it as a word.
    pub fn to_word(&self) -> Word {
        self.word(0..self.string.len())
    }

    /// The words between blanks; quotes count for nothing.
    pub fn split_blanks(&self) -> Vec<Word> {
        let mut words = Vec::new();
        let mut start = None;
        for (at, c) in self.string.char_indices() {
            match (is_blank(c), start) {
                (true, Some(from)) => {
                    words.push(self.word(from..at));
                    start = None;
                }
                (false, None) => start = Some(at),
                _ => {}
            }
        }
        words.extend(start.map(|from| self.word(from..self.string.len())));
        words
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pure_text_remembers_its_source() {
        let mut text = Text::new("RUN one ", 0);
        text.push("  two", 21);
        text.push("!", 26);
        assert_eq!(text.as_str(), "RUN one   two!");
        assert_eq!(text.span(4..7), Span::new(4, 7));
        assert_eq!(text.span(10..14), Span::new(23, 27));
        let rest = text.from(4);
        assert_eq!(rest.split_blanks(), [Word::new("one", Span::new(4, 7)), Word::new("two!", Span::new(23, 27))]);
        assert_eq!(rest.slice(6..9).full_span(), Span::new(23, 26));
        assert_eq!(text.slice(8..10).trim().as_str(), "");
    }
}
