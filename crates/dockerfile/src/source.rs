//! A Dockerfile's text with its name, and the lines and columns of its bytes.

use std::sync::OnceLock;

use crate::diagnostic::Diagnostic;
use crate::text::{Span, Text};

/// A Dockerfile's text, which may be that of several files.
#[derive(Clone, Debug)]
pub struct Source {
    /// The files: the line each begins with, from 0, and its name.
    files: Vec<(usize, String)>,
    text: Text,
    line_starts: OnceLock<Vec<usize>>,
    defect: Option<Diagnostic>,
}

impl Source {
    /// The text `bytes` of the file `name`, which is used in messages only. Bytes that are no
    /// text are reported when it is parsed.
    pub fn new(name: impl Into<String>, bytes: &[u8]) -> Source {
        Source::of_text(vec![(0, name.into())], bytes)
    }

    /// The texts of several files, one behind the other, as one Dockerfile.
    pub fn joined(files: &[(String, Vec<u8>)]) -> Source {
        let mut text = Vec::new();
        let mut begins = Vec::new();
        for (name, bytes) in files {
            if text.last().is_some_and(|&byte| byte != b'\n') {
                text.push(b'\n');
            }
            begins.push((text.iter().filter(|&&byte| byte == b'\n').count(), name.clone()));
            text.extend_from_slice(bytes);
        }
        Source::of_text(begins, &text)
    }

    fn of_text(files: Vec<(usize, String)>, bytes: &[u8]) -> Source {
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
        Source { files, text: Text::of_source(text), line_starts: OnceLock::new(), defect }
    }

    /// Where the lines begin; nobody asks as long as nothing is wrong.
    fn line_starts(&self) -> &[usize] {
        let starts = || std::iter::once(0).chain(self.text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        self.line_starts.get_or_init(starts)
    }

    /// The file's name; of several, the first one's.
    pub fn name(&self) -> &str {
        self.files.first().map_or("", |(_, name)| name)
    }

    /// The file that a byte is of, and the line that the file begins with, from 0.
    fn file(&self, offset: usize) -> (usize, &str) {
        let line = self.line_starts().partition_point(|&start| start <= offset).saturating_sub(1);
        let file = self.files.iter().rfind(|(begin, _)| *begin <= line);
        file.map_or((0, ""), |(begin, name)| (*begin, name))
    }

    /// `file:line:column` of a byte.
    pub fn position(&self, offset: usize) -> String {
        let (line, column) = self.line_column(offset);
        format!("{}:{line}:{column}", self.file(offset).1)
    }

    /// The name of the file that a byte is of.
    pub fn name_at(&self, offset: usize) -> &str {
        self.file(offset).1
    }

    /// The text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The text, to be cut into pieces.
    pub(crate) fn whole(&self) -> &Text {
        &self.text
    }

    /// What keeps the bytes from being text.
    pub(crate) fn defect(&self) -> Option<&Diagnostic> {
        self.defect.as_ref()
    }

    /// Line and column of a byte in its file, both from 1; columns count characters.
    pub fn line_column(&self, offset: usize) -> (usize, usize) {
        let line = self.line_starts().partition_point(|&start| start <= offset).max(1);
        let start = self.line_starts().get(line - 1).copied().unwrap_or(0);
        let before = self.text.get(start..offset.min(self.text.len())).unwrap_or_default();
        (line.saturating_sub(self.file(offset).0).max(1), before.chars().count() + 1)
    }

    /// The line with byte `offset`, without its end, and where it starts.
    pub fn line(&self, offset: usize) -> (usize, &str) {
        let line = self.line_starts().partition_point(|&start| start <= offset).max(1);
        let start = self.line_starts().get(line - 1).copied().unwrap_or(0);
        let end = self.line_starts().get(line).copied().unwrap_or(self.text.len());
        (start, self.text.get(start..end).unwrap_or_default().trim_end_matches(['\n', '\r']))
    }

    /// The text of `span`.
    pub fn slice(&self, span: Span) -> &str {
        self.text.get(span.start..span.end).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pure_joined_files_keep_their_lines() {
        let file = |name: &str, text: &str| (name.to_owned(), text.as_bytes().to_vec());
        let source = Source::joined(&[file("a", "FROM x\nRUN y"), file("b", "RUN z\n\n"), file("c", "CMD w")]);
        assert_eq!(source.text(), "FROM x\nRUN y\nRUN z\n\nCMD w");
        let position = |text: &str| source.position(source.text().find(text).expect("there"));
        assert_eq!(
            [position("x"), position("y"), position("z"), position("CMD")],
            ["a:1:6", "a:2:5", "b:1:5", "c:1:1"]
        );
        assert_eq!((source.name(), source.name_at(source.text().len())), ("a", "c"));
    }
}
