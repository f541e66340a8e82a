//! What is wrong with a Dockerfile, where, and what was probably meant.

use std::fmt::Write as _;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use crate::source::Source;
use crate::text::Span;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Good to know; nothing is wrong.
    Note,
    /// The build can go on.
    Warning,
    /// It can't.
    Error,
}

/// Something to say about a place in a Dockerfile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// One line, lower case, no full stop.
    pub message: String,
    /// Where.
    pub span: Span,
    /// What to do about it.
    pub hint: Option<String>,
}

/// Result of reading a piece of a Dockerfile.
pub type Result<T> = std::result::Result<T, Diagnostic>;

/// Known words that are looked at for a near one.
const MOST_KNOWN: usize = 1000;

/// Longest piece of a line that is shown.
const EXCERPT: usize = 160;

impl Diagnostic {
    /// An error at `span`.
    pub fn error(message: impl Into<String>, span: Span) -> Diagnostic {
        Diagnostic { severity: Severity::Error, message: message.into(), span, hint: None }
    }

    /// A warning at `span`.
    pub fn warning(message: impl Into<String>, span: Span) -> Diagnostic {
        Diagnostic { severity: Severity::Warning, ..Diagnostic::error(message, span) }
    }

    /// A note at `span`.
    pub fn note(message: impl Into<String>, span: Span) -> Diagnostic {
        Diagnostic { severity: Severity::Note, ..Diagnostic::error(message, span) }
    }

    /// With advice.
    pub fn hint(mut self, hint: impl Into<String>) -> Diagnostic {
        self.hint = Some(hint.into());
        self
    }

    /// With the known word that is nearest to `word`, if one is near enough.
    pub fn suggest<'a>(mut self, word: &str, known: impl IntoIterator<Item = &'a str>) -> Diagnostic {
        self.hint = nearest(word, known).map(|near| format!("did you mean {near}?")).or(self.hint);
        self
    }

    /// `file:line:column: message`.
    pub fn line(&self, source: &Source) -> String {
        format!("{}: {}", source.position(self.span.start), printable(&self.message))
    }

    /// The line, the source with the place marked, and the hint. Control characters of the
    /// source are made visible, so that a file cannot drive the terminal.
    pub fn render(&self, source: &Source) -> String {
        let (start, full) = source.line(self.span.start);
        let at = self.span.start.saturating_sub(start).min(full.len());
        // A window of a long line, cut between characters.
        let mut from = if full.len() > EXCERPT { at.saturating_sub(EXCERPT / 2) } else { 0 };
        while !full.is_char_boundary(from) {
            from -= 1;
        }
        let mut to = (from + EXCERPT).min(full.len());
        while !full.is_char_boundary(to) {
            to -= 1;
        }
        let mut excerpt = String::new();
        let mut mark = None;
        let mut end = None;
        for (index, c) in full.get(from..to).unwrap_or_default().char_indices() {
            let index = from + index;
            if index >= at {
                mark.get_or_insert(excerpt.len());
            }
            if start + index >= self.span.end {
                end.get_or_insert(excerpt.len());
            }
            excerpt.push(visible(c));
        }
        let mark = mark.unwrap_or(excerpt.len());
        let end = end.unwrap_or(excerpt.len()).max(mark);
        let mut text = self.line(source);
        if !excerpt.trim().is_empty() {
            let (line, _) = source.line_column(self.span.start);
            let snippet = Snippet::source(&excerpt)
                .line_start(line)
                .fold(false)
                .annotation(AnnotationKind::Primary.span(mark..end));
            let group = Group::with_level(Level::ERROR).element(snippet);
            let _ = write!(text, "\n{}", Renderer::plain().render(&[group]));
        }
        if let Some(hint) = &self.hint {
            let _ = write!(text, "\n  {}", printable(hint));
        }
        text
    }
}

/// The known word nearest to `word`, case left aside; `None` if none is near.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // No known word is long; comparing takes time in the product of the lengths.
    if word.len() > 64 {
        return None;
    }
    let lower = word.to_lowercase();
    let limit = (word.len() / 3).clamp(1, 3);
    known
        .into_iter()
        .take(MOST_KNOWN)
        .filter(|name| name.len().abs_diff(lower.len()) <= limit)
        .map(|name| (strsim::damerau_levenshtein(&lower, &name.to_lowercase()), name))
        .filter(|&(distance, _)| distance <= limit)
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, name)| name)
}

fn visible(c: char) -> char {
    match c {
        '\t' => ' ',
        c if c.is_control() || is_direction(c) => '\u{fffd}',
        c => c,
    }
}

/// Characters that reorder the text around them.
fn is_direction(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn printable(text: &str) -> String {
    text.chars().map(visible).collect()
}
