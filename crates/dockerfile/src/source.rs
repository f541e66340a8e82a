//! A Dockerfile's text with its name, and the lines and columns of its bytes.

use crate::diagnostic::Diagnostic;
use crate::text::Span;

/// A Dockerfile's text.
#[derive(Clone, Debug)]
pub struct Source {
    name: String,
    text: String,
    line_starts: Vec<usize>,
    defect: Option<Diagnostic>,
}

impl Source {
    /// The text `bytes` of the file `name`, which is used in messages only. Bytes that are no
    /// text are reported when it is parsed.
    pub fn new(name: impl Into<String>, bytes: &[u8]) -> Source {
        let (text, bad) = match std::str::from_utf8(bytes) {
            Ok(text) => (text.to_owned(), bytes.iter().position(|&byte| byte == 0)),
            Err(error) => (String::from_utf8_lossy(bytes).into_owned(), Some(error.valid_up_to())),
        };
        let defect = bad.map(|at| {
            let message = if bytes.get(at) == Some(&0) {
                "a NUL byte: this is no text file"
            } else {
                "a byte that is not UTF-8 text"
            };
            // What stands in the text for a byte that is none has more bytes.
            let length = text.get(at..).and_then(|rest| rest.chars().next()).map_or(0, char::len_utf8);
            Diagnostic::error(message, Span::new(at, at + length))
        });
        let line_starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Source { name: name.into(), text, line_starts, defect }
    }

    /// The file's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What keeps the bytes from being text.
    pub(crate) fn defect(&self) -> Option<&Diagnostic> {
        self.defect.as_ref()
    }

    /// Line and column of a byte, both from 1; columns count characters.
    pub fn line_column(&self, offset: usize) -> (usize, usize) {
        let line = self.line_starts.partition_point(|&start| start <= offset).max(1);
        let start = self.line_starts.get(line - 1).copied().unwrap_or(0);
        let before = self.text.get(start..offset.min(self.text.len())).unwrap_or_default();
        (line, before.chars().count() + 1)
    }

    /// The line with byte `offset`, without its end, and where it starts.
    pub fn line(&self, offset: usize) -> (usize, &str) {
        let line = self.line_starts.partition_point(|&start| start <= offset).max(1);
        let start = self.line_starts.get(line - 1).copied().unwrap_or(0);
        let end = self.line_starts.get(line).copied().unwrap_or(self.text.len());
        (start, self.text.get(start..end).unwrap_or_default().trim_end_matches(['\n', '\r']))
    }

    /// The text of `span`.
    pub fn slice(&self, span: Span) -> &str {
        self.text.get(span.start..span.end).unwrap_or_default()
    }
}
