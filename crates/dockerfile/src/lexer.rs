//! Lines of the file: directives, comments, continuations, heredocs.
//!
//! A logical line begins at an instruction's name and goes on over every line that ends with the
//! escape character; comments and blank lines in between are no part of it. After the logical
//! line of a RUN, COPY or ADD stand the lines of its heredocs.

use crate::ast::{Directive, Heredoc};
use crate::diagnostic::Diagnostic;
use crate::directive::{foreign_file, foreign_syntax};
use crate::parser::{self, Parts};
use crate::text::{Joiner, Span, Text, Word};
use crate::words;

/// What a file holds besides instructions, as far as it is read.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    pub directives: Vec<Directive>,
    pub escape: char,
    pub comments: Vec<Span>,
    pub diagnostics: Vec<Diagnostic>,
}

/// One instruction's lines.
#[derive(Debug)]
pub(crate) struct LogicalLine {
    pub text: Text,
    pub parts: Parts,
    pub heredocs: Vec<Heredoc>,
    pub span: Span,
    /// A blank line stands inside.
    pub blank_inside: Option<Span>,
}

/// The directives that there are.
const DIRECTIVES: [&str; 3] = ["syntax", "escape", "check"];

/// Reads the lines of a file, one instruction's after the other.
pub(crate) struct Lexer<'a> {
    whole: &'a Text,
    source: &'a str,
    position: usize,
    pub lines: Lines,
}

/// A physical line without its end.
#[derive(Clone, Copy)]
struct Line<'a> {
    text: &'a str,
    start: usize,
}

impl<'a> Line<'a> {
    fn end(&self) -> usize {
        self.start + self.text.len()
    }

    fn span(&self) -> Span {
        Span::new(self.start, self.end())
    }

    /// Without blanks in front.
    fn trim_start(self) -> Line<'a> {
        let text = self.text.trim_start();
        Line { text, start: self.start + (self.text.len() - text.len()) }
    }
}

impl<'a> Lexer<'a> {
    /// Reads what stands before the instructions.
    pub fn new(whole: &'a Text) -> Lexer<'a> {
        let source = whole.as_str();
        let mut lexer = Lexer { whole, source, position: 0, lines: Lines { escape: '\\', ..Lines::default() } };
        if source.starts_with('\u{feff}') {
            lexer.position = '\u{feff}'.len_utf8();
        }
        let start = lexer.position;
        lexer.shebang();
        match foreign_file(source, lexer.position) {
            Some(error) => {
                lexer.lines.diagnostics.push(error);
                lexer.position = source.len();
            }
            None => lexer.directives(start),
        }
        lexer
    }

    /// The next instruction's lines.
    pub fn next(&mut self) -> Option<LogicalLine> {
        loop {
            let line = self.line()?;
            if let Some(logical) = self.instruction(line) {
                return Some(logical);
            }
        }
    }

    fn text(&self, line: Line<'_>) -> Text {
        self.whole.slice(line.start..line.end())
    }

    /// The next physical line.
    fn line(&mut self) -> Option<Line<'a>> {
        let rest = self.source.get(self.position..).filter(|rest| !rest.is_empty())?;
        let start = self.position;
        let length = rest.find('\n').map_or(rest.len(), |at| at + 1);
        self.position += length;
        Some(Line { text: rest.get(..length)?.trim_end_matches(['\n', '\r']), start })
    }

    /// A first line `#!…` is for who runs the file; directives can follow it.
    fn shebang(&mut self) {
        let before = self.position;
        match self.line() {
            Some(line) if line.text.starts_with("#!") => self.lines.comments.push(line.span()),
            _ => self.position = before,
        }
    }

    /// Directives stand at the top, one a line; anything else ends them. Behind a first line
    /// `#!…` there is no `escape`, as in the reference.
    fn directives(&mut self, start: usize) {
        let behind_shebang = self.position != start;
        loop {
            let before = self.position;
            let Some(line) = self.line() else { return };
            let found = directive(line.trim_start()).filter(|it| !(behind_shebang && it.name.text == "escape"));
            let Some(directive) = found else {
                self.position = before;
                return;
            };
            let span = directive.name.span;
            let earlier = self.lines.directives.iter().filter(|old| old.name.text == directive.name.text);
            if earlier.take(2).count() == 1 {
                let message = format!("the directive {} stands here a second time", directive.name.text);
                self.lines.diagnostics.push(Diagnostic::error(message, span));
            }
            if directive.name.text == "escape" {
                match directive.value.text.as_str() {
                    "\\" => self.lines.escape = '\\',
                    "`" => self.lines.escape = '`',
                    other => {
                        let message = format!("invalid escape character {other:?}: expected \\ or `");
                        self.lines.diagnostics.push(Diagnostic::error(message, directive.value.span));
                    }
                }
            }
            if directive.name.text == "syntax" {
                self.lines.diagnostics.extend(foreign_syntax(&directive));
            }
            self.lines.directives.push(directive);
        }
    }

    fn instruction(&mut self, first: Line<'a>) -> Option<LogicalLine> {
        let line = first.trim_start();
        if line.text.is_empty() {
            return None;
        }
        if line.text.starts_with('#') {
            self.lines.comments.push(line.span());
            return None;
        }
        let start = line.start;
        let mut end = line.end();
        let mut blank_inside = None;
        let text = match continued(line.text, self.lines.escape) {
            None => self.text(line),
            Some(_) => self.joined(line, &mut end, &mut blank_inside),
        };
        let parts = parser::split(&text, self.lines.escape);
        let mut heredocs = Vec::new();
        let mut open = false;
        for mut heredoc in markers(&text, &parts, self.lines.escape) {
            let from = self.position;
            let closed = self.heredoc(&mut heredoc);
            // Those behind it have no lines left either: one error says it.
            if !closed && !open {
                open = true;
                let at = text.as_str().find("<<").unwrap_or(0);
                let message = format!("unterminated heredoc: no line is just {:?}", heredoc.name);
                let place = text.span(at..(at + 2).min(text.as_str().len()));
                self.lines.diagnostics.push(Diagnostic::error(message, place));
            }
            heredoc.span = Span::new(from, heredoc.span.end);
            end = self.position;
            heredocs.push(heredoc);
        }
        let span = Span::new(start, end);
        (!text.trim_start().is_empty()).then_some(LogicalLine { text, parts, heredocs, span, blank_inside })
    }

    /// The line with those it goes on over.
    fn joined(&mut self, mut line: Line<'a>, end: &mut usize, blank: &mut Option<Span>) -> Text {
        let mut text = Joiner::default();
        loop {
            let Some(kept) = continued(line.text, self.lines.escape) else {
                text.push(line.text, line.start);
                break;
            };
            text.push(kept, line.start);
            let Some(next) = self.next_of_continuation(blank) else { break };
            line = next;
            *end = line.end();
        }
        text.finish()
    }

    /// The next line that is neither blank nor a comment.
    fn next_of_continuation(&mut self, blank: &mut Option<Span>) -> Option<Line<'a>> {
        loop {
            let line = self.line()?;
            let trimmed = line.trim_start();
            if trimmed.text.is_empty() {
                blank.get_or_insert(Span::new(line.start, line.end()));
            } else if trimmed.text.starts_with('#') {
                self.lines.comments.push(trimmed.span());
            } else {
                return Some(line);
            }
        }
    }

    /// Reads the lines of a heredoc; whether its end was there.
    fn heredoc(&mut self, heredoc: &mut Heredoc) -> bool {
        let start = self.position;
        let is_closed = loop {
            heredoc.span.end = self.position;
            let Some(line) = self.line() else { break false };
            let candidate = if heredoc.strip_tabs { line.text.trim_start_matches('\t') } else { line.text };
            if candidate == heredoc.name {
                break true;
            }
        };
        heredoc.raw = self.source.get(start..heredoc.span.end).unwrap_or_default().to_owned();
        is_closed
    }
}

/// The line without its continuation, if it has one: an escape character at its end that no
/// escape character stands before.
pub(crate) fn continued(line: &str, escape: char) -> Option<&str> {
    let kept = line.trim_end_matches([' ', '\t']).strip_suffix(escape)?;
    (!kept.ends_with(escape)).then_some(kept)
}

/// Whether a comment at the top of a file would be a directive.
pub(crate) fn is_directive(comment: &str) -> bool {
    directive(Line { text: comment, start: 0 }).is_some()
}

fn directive(line: Line<'_>) -> Option<Directive> {
    let comment = line.text.strip_prefix('#')?;
    let (name, value) = comment.split_once('=')?;
    let value_start = line.start + 1 + name.len() + 1;
    let (trimmed, text) = (name.trim(), value.trim());
    let lower = trimmed.to_ascii_lowercase();
    if !DIRECTIVES.contains(&lower.as_str()) || text.is_empty() {
        return None;
    }
    let name_start = line.start + 1 + (name.len() - name.trim_start().len());
    let text_start = value_start + (value.len() - value.trim_start().len());
    Some(Directive {
        name: Word::new(lower, Span::new(name_start, name_start + trimmed.len())),
        value: Word::new(text, Span::new(text_start, text_start + text.len())),
    })
}

/// The heredocs that a logical line announces; a JSON list announces none.
fn markers(text: &Text, parts: &Parts, escape: char) -> Vec<Heredoc> {
    if !text.as_str().contains("<<") {
        return Vec::new();
    }
    let is_keyword = |parts: &Parts, keyword: &str| parts.keyword.eq_ignore_ascii_case(keyword);
    let inner;
    let parts = if is_keyword(parts, "ONBUILD") {
        inner = parser::split(&parts.arguments, escape);
        &inner
    } else {
        parts
    };
    let takes_heredocs = ["RUN", "COPY", "ADD"].iter().any(|name| is_keyword(parts, name));
    if !takes_heredocs || is_json(parts.arguments.as_str()) {
        return Vec::new();
    }
    words::split_raw(text.as_str()).iter().filter_map(|word| Heredoc::parse_marker(word)).collect()
}

fn is_json(arguments: &str) -> bool {
    arguments.starts_with('[') && serde_json::from_str::<Vec<serde_json::Value>>(arguments).is_ok()
}
