//! A Dockerfile in its canonical form.
//!
//! Keywords in capitals, one blank between words, no blanks at the ends of lines, at most one
//! blank line between instructions and none inside them, directives as `# name=value`, lines that
//! end with `\n`. What means something stays: heredocs to the byte, comments, the lines in which a
//! long instruction is written and their indentation, which the shell gets to see.

use std::borrow::Cow;
use std::sync::Arc;

use crate::ast::{Ast, Node};
use crate::instruction::{Command, Instruction, Kind};
use crate::lexer::{continued, is_directive};
use crate::parser::Dockerfile;
use crate::source::Source;
use crate::text::{Span, Word};

/// The text of `file`, which was read from `source`, in canonical form. It means the same, and is
/// its own canonical form. An instruction with an error stays as it is written.
///
/// ```
/// use dockerfile::{Source, format, parse};
///
/// let source = Source::new("Dockerfile", b"from  alpine as base\n\n\n# greet\nrun   echo hi \\\n  there  \n");
/// let text = format(&source, &parse(&source));
/// assert_eq!(text, "FROM alpine AS base\n\n# greet\nRUN echo hi \\\n  there\n");
/// ```
pub fn format(source: &Source, file: &Dockerfile) -> String {
    let mut writer = Writer { source, text: String::with_capacity(source.text().len()), end: None, at_top: true };
    let mut instructions = file.instructions.iter().peekable();
    for item in items(&file.ast) {
        match item {
            Item::Directive(span, name, value) => {
                writer.gap(span, false);
                writer.line(&format!("# {name}={value}"));
            }
            Item::Comment(comment) => {
                let text = file.ast.comment(comment);
                writer.gap(comment, is_directive(text));
                writer.at_top = false;
                writer.line(text.trim_end());
            }
            Item::Node(node) => {
                writer.gap(node.span, false);
                writer.at_top = false;
                let instruction =
                    instructions.next_if(|instruction| instruction.keyword.full_span() == node.keyword.full_span());
                writer.node(node, instruction.map(Arc::as_ref), file.ast.escape);
            }
        }
    }
    writer.rest();
    writer.text
}

/// What stands in a file.
enum Item<'a> {
    Directive(Span, &'a str, &'a str),
    Comment(Span),
    Node(&'a Node),
}

impl Item<'_> {
    fn start(&self) -> usize {
        match self {
            Item::Directive(span, ..) => span.start,
            Item::Comment(comment) => comment.start,
            Item::Node(node) => node.span.start,
        }
    }
}

/// Everything in order; comments inside instructions belong to those.
fn items(ast: &Ast) -> Vec<Item<'_>> {
    let directives = ast.directives.iter().map(|directive| {
        let span = directive.name.span.to(directive.value.span);
        Item::Directive(span, &directive.name.text, &directive.value.text)
    });
    let outside = |comment: &Span| {
        let start = comment.start;
        let before = ast.nodes.partition_point(|node| node.span.start <= start);
        let node = before.checked_sub(1).and_then(|index| ast.nodes.get(index));
        node.is_none_or(|node| node.span.end <= start)
    };
    let comments = ast.comments.iter().copied().filter(outside).map(Item::Comment);
    let mut items: Vec<Item<'_>> = directives.chain(comments).chain(ast.nodes.iter().map(Item::Node)).collect();
    items.sort_by_key(Item::start);
    items
}

struct Writer<'a> {
    source: &'a Source,
    text: String,
    /// End of what was written last, in the source.
    end: Option<usize>,
    /// Only directives are written so far.
    at_top: bool,
}

impl Writer<'_> {
    fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    /// What was not read, as it is written.
    fn rest(&mut self) {
        let rest = self.source.text().get(self.end.unwrap_or(0)..).unwrap_or_default();
        if !rest.trim().is_empty() {
            self.text.push_str(rest.trim_start_matches(['\r', '\n']));
        }
    }

    /// The blank line before what stands at `span`, if one was there; or one that keeps a comment
    /// from becoming a directive.
    fn gap(&mut self, span: Span, looks_like_directive: bool) {
        let blank = self.end.is_some_and(|end| {
            let closed = self.source.text().get(..end).is_some_and(|before| before.ends_with('\n'));
            let between = self.source.slice(Span::new(end, span.start));
            between.matches('\n').count() + usize::from(closed) > 1
        });
        if blank || (looks_like_directive && self.at_top) {
            self.text.push('\n');
        }
        self.end = Some(span.end);
    }

    fn node(&mut self, node: &Node, instruction: Option<&Instruction>, escape: char) {
        let head_end = node.heredocs.first().map_or(node.span.end, |heredoc| heredoc.span.start);
        let head = self.source.slice(Span::new(node.span.start, head_end));
        let mut lines = lines_of(head, escape);
        let is_one = !lines.iter().skip(1).any(|line| !is_comment(line));
        if let (Some(instruction), Some(first)) = (instruction, lines.first_mut()) {
            // Without the blanks behind it, a last escape character would go on with the next line.
            let words = self.words(node, instruction).filter(|words| is_one && continued(words, escape).is_none());
            match words {
                Some(words) => *first = words.into(),
                None => *first = with_keyword(node, first).into(),
            }
        }
        for line in lines {
            self.line(&line);
        }
        let heredocs = self.source.slice(Span::new(head_end, node.span.end));
        self.text.push_str(heredocs);
        if !heredocs.is_empty() && !heredocs.ends_with('\n') {
            self.text.push('\n');
        }
    }

    /// The instruction on one line, if blanks are nothing but separators in it.
    fn words(&self, node: &Node, instruction: &Instruction) -> Option<String> {
        // What stands behind a bare -- must not become a flag.
        let is_bare = node.arguments.as_str().starts_with("--");
        if !node.heredocs.is_empty() || is_bare {
            return None;
        }
        let written = |word: &Word| self.source.slice(word.span).to_owned();
        let mut words: Vec<String> = vec![instruction.name()];
        words.extend(node.flags.iter().map(|flag| self.source.slice(flag.span).to_owned()));
        match &instruction.kind {
            Kind::From(_) => {
                let mut arguments = node.arguments.split_blanks();
                if let Some(word) = arguments.get_mut(1) {
                    word.text.make_ascii_uppercase();
                }
                words.extend(arguments.into_iter().map(|word| word.text));
            }
            Kind::Expose(ports) => words.extend(ports.iter().map(written)),
            Kind::Run(run) => words.push(self.exec(&run.command)?),
            Kind::Cmd(command) | Kind::Entrypoint(command) => words.push(self.exec(command)?),
            Kind::Shell(list) => words.push(self.list(list)),
            _ => return None,
        }
        Some(words.join(" "))
    }

    fn exec(&self, command: &Command) -> Option<String> {
        match command {
            Command::Exec(list) => Some(self.list(list)),
            Command::Shell(_) => None,
        }
    }

    fn list(&self, list: &[Word]) -> String {
        let items: Vec<&str> = list.iter().map(|word| self.source.slice(word.span)).collect();
        format!("[{}]", items.join(", "))
    }
}

/// The lines of an instruction as they are, without what means nothing.
fn lines_of(head: &str, escape: char) -> Vec<Cow<'_, str>> {
    let mut lines: Vec<Cow<'_, str>> = Vec::new();
    let mut goes_on = false;
    for (index, written) in head.split_inclusive('\n').enumerate() {
        let line = written.trim_end_matches(['\n', '\r']);
        let trimmed = line.trim_end();
        if trimmed.is_empty() && index > 0 {
            continue;
        }
        if index > 0 && is_comment(trimmed) {
            lines.push(trimmed.into());
            continue;
        }
        goes_on = continued(line, escape).is_some();
        lines.push(match goes_on {
            true => line.trim_end_matches([' ', '\t']).into(),
            // Without the blanks it would go on with the next line.
            false if trimmed.ends_with(escape) && trimmed.len() < line.len() => {
                written.strip_suffix('\n').unwrap_or(written).into()
            }
            false => trimmed.into(),
        });
    }
    if goes_on {
        drop_continuation(&mut lines, escape);
    }
    lines
}

/// The first line of an instruction with its keyword in capitals and one blank behind it.
fn with_keyword(node: &Node, line: &str) -> String {
    let keyword = &node.keyword;
    let is_whole = keyword.full_span().end - keyword.full_span().start == keyword.len();
    if !is_whole || keyword.full_span().start != node.span.start {
        return line.to_owned();
    }
    let arguments = line.get(keyword.len()..).unwrap_or_default().trim_start_matches([' ', '\t']);
    let gap = if arguments.is_empty() { "" } else { " " };
    format!("{}{gap}{arguments}", keyword.to_ascii_uppercase())
}

fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with('#')
}

/// Takes the continuation from the last line that is no comment: the file ends, and there is
/// nothing to go on with. Lines that were nothing else go.
fn drop_continuation(lines: &mut Vec<Cow<'_, str>>, escape: char) {
    while let Some(last) = (0..lines.len()).rev().find(|&index| index == 0 || !is_comment(&lines[index])) {
        let Some(kept) = continued(&lines[last], escape).map(|kept| kept.trim_end().to_owned()) else { return };
        if last > 0 && kept.is_empty() {
            lines.remove(last);
            continue;
        }
        // Another escape character before it would become the continuation.
        if !kept.ends_with(escape) {
            lines[last] = kept.into();
        }
        // The comments behind it are no part of the instruction any more.
        lines.iter_mut().skip(last + 1).for_each(|line| *line = line.trim_start().to_owned().into());
        return;
    }
}
