//! Lines to the syntax tree, and from there to typed instructions.

use std::sync::Arc;

use crate::ast::{Ast, Flag, Node};
use crate::diagnostic::{Diagnostic, Severity};
use crate::directive::Check;
use crate::instruction::{Instruction, Kind};
use crate::lexer::{Lexer, LogicalLine};
use crate::source::Source;
use crate::text::{Joiner, Span, Text, is_blank};

/// A Dockerfile that was read.
#[derive(Clone, Debug, Default)]
pub struct Dockerfile {
    /// What is written.
    pub ast: Ast,
    /// What it means, for each node without an error.
    pub instructions: Vec<Arc<Instruction>>,
    /// What the directive `check` says.
    pub check: Option<Check>,
    /// What is wrong with it, in the order of the file.
    pub diagnostics: Vec<Diagnostic>,
}

impl Dockerfile {
    /// The errors among the diagnostics.
    pub fn errors(&self) -> impl Iterator<Item = &Diagnostic> {
        self.diagnostics.iter().filter(|diagnostic| diagnostic.severity == Severity::Error)
    }
}

/// Instructions with errors that are reported: more than that is no Dockerfile with errors but
/// another file.
const MAX_ERRORS: usize = 1000;

/// Instructions that a file can have. No image could hold so many steps.
const MAX_INSTRUCTIONS: usize = 300_000;

/// Reads a Dockerfile. Never fails: what is wrong is in the result, and the rest is read on.
/// Takes time linear in the length of the text.
pub fn parse(source: &Source) -> Dockerfile {
    let (mut dockerfile, is_whole) = read(source);
    let nodes = &dockerfile.ast.nodes;
    if !is_whole || nodes.is_empty() && dockerfile.errors().next().is_some() {
        return dockerfile;
    }
    let end = Span::new(source.text().len(), source.text().len());
    let error = if nodes.is_empty() {
        Some(Diagnostic::error("no instruction in this file: expected FROM", end))
    } else if let Some(node) = first_outside_stage(&dockerfile.ast) {
        let message = format!("{} before the first FROM: only ARG can stand there", node.keyword.as_str());
        Some(Diagnostic::error(message, node.keyword.full_span()))
    } else if !nodes.iter().any(|node| is_keyword(node, "FROM")) {
        Some(Diagnostic::error("no FROM in this file", end))
    } else {
        None
    };
    if let Some(error) = error {
        dockerfile.diagnostics.push(error);
        dockerfile.diagnostics.sort_by_key(|diagnostic| diagnostic.span.start);
    }
    dockerfile
}

/// Reads instructions that need not begin with FROM, as ONBUILD triggers and `--change` have them.
pub fn parse_instructions(source: &Source) -> Dockerfile {
    read(source).0
}

/// Reads instructions, and tells whether it read all.
fn read(source: &Source) -> (Dockerfile, bool) {
    if let Some(defect) = source.defect() {
        return (Dockerfile { diagnostics: vec![defect.clone()], ..Dockerfile::default() }, false);
    }
    let mut lexer = Lexer::new(source.whole());
    let mut diagnostics = Vec::new();
    let mut nodes = Vec::new();
    let mut instructions = Vec::new();
    let escape = lexer.lines.escape;
    let mut errors = 0;
    let is_whole = loop {
        let Some(line) = lexer.next() else { break true };
        let node = node(line);
        if nodes.len() == MAX_INSTRUCTIONS {
            let message = format!("more than {MAX_INSTRUCTIONS} instructions: the rest is not read");
            diagnostics.push(Diagnostic::error(message, node.keyword.full_span()));
            break false;
        }
        match Instruction::parse(&node, escape, &mut diagnostics) {
            Ok(instruction) => instructions.push(Arc::new(instruction)),
            Err(diagnostic) => {
                diagnostics.push(diagnostic);
                errors += 1;
            }
        }
        let span = node.span;
        nodes.push(node);
        if errors == MAX_ERRORS {
            diagnostics.push(Diagnostic::error("too many errors: the rest is not read", span));
            break false;
        }
    };
    let lines = lexer.lines;
    diagnostics.extend(lines.diagnostics);
    let check = lines.directives.iter().find(|directive| directive.name.text == "check");
    let check =
        check.and_then(|directive| Check::parse(&directive.value).map_err(|error| diagnostics.push(error)).ok());
    diagnostics.sort_by_key(|diagnostic| diagnostic.span.start);
    let (directives, comments) = (lines.directives, lines.comments);
    let ast = Ast { directives, escape, nodes, comments, text: source.whole().clone() };
    (Dockerfile { ast, instructions, check, diagnostics }, is_whole)
}

fn is_keyword(node: &Node, keyword: &str) -> bool {
    node.keyword.eq_ignore_ascii_case(keyword)
}

fn first_outside_stage(ast: &Ast) -> Option<&Node> {
    ast.nodes.iter().find(|node| !is_keyword(node, "ARG")).filter(|node| {
        // An unknown word is reported as such.
        !is_keyword(node, "FROM") && Kind::is_known(node.keyword.as_str())
    })
}

/// The parts of a logical line.
#[derive(Clone, Debug, Default)]
pub(crate) struct Parts {
    pub keyword: Text,
    pub flags: Vec<Flag>,
    pub arguments: Text,
}

pub(crate) fn split(text: &Text, escape: char) -> Parts {
    let (keyword, rest) = split_keyword(text);
    let (flags, arguments) = flags(rest, escape);
    Parts { keyword, flags, arguments }
}

fn node(line: LogicalLine) -> Node {
    let LogicalLine { text, parts: Parts { keyword, flags, arguments }, heredocs, span, blank_inside: blank } = line;
    Node { keyword, flags, arguments, text: text.trim(), heredocs, span, blank }
}

/// The instruction inside an ONBUILD.
pub(crate) fn inner_node(outer: &Node, escape: char) -> Node {
    let Parts { keyword, flags, arguments } = split(&outer.arguments, escape);
    let text = outer.arguments.clone().trim();
    Node { keyword, flags, arguments, text, heredocs: outer.heredocs.clone(), span: outer.span, blank: None }
}

fn split_keyword(text: &Text) -> (Text, Text) {
    let string = text.as_str();
    let start = string.len() - string.trim_start().len();
    let end = string.get(start..).and_then(|rest| rest.find(is_blank)).map_or(string.len(), |at| start + at);
    (text.slice(start..end), text.from(end).trim())
}

/// Takes the `--flags` from the front. Quotes and escapes in them are taken away.
fn flags(text: Text, escape: char) -> (Vec<Flag>, Text) {
    let mut flags = Vec::new();
    let mut position = 0;
    loop {
        let string = text.as_str();
        let rest = string.get(position..).unwrap_or_default();
        let start = position + (rest.len() - rest.trim_start().len());
        let Some(body) = string.get(start..).and_then(|rest| rest.strip_prefix("--")) else {
            return (flags, if start == 0 { text.trim() } else { text.from(start).trim() });
        };
        let mut plain = Joiner::default();
        let mut quote = None;
        let mut chars = body.char_indices();
        let mut end = string.len();
        while let Some((at, c)) = chars.next() {
            let at = start + 2 + at;
            match (c, quote) {
                (c, None) if c.is_whitespace() => {
                    end = at;
                    break;
                }
                ('\'' | '"', None) => quote = Some(c),
                (c, Some(open)) if c == open => quote = None,
                (c, _) if c == escape => {
                    if let Some((at, c)) = chars.next() {
                        plain.push(c.encode_utf8(&mut [0; 4]), text.source_offset(start + 2 + at));
                    }
                }
                (c, _) => plain.push(c.encode_utf8(&mut [0; 4]), text.source_offset(at)),
            }
        }
        position = end;
        let plain = plain.finish();
        if plain.is_empty() && end == start + 2 {
            // A bare -- ends the flags.
            return (flags, text.from(end).trim());
        }
        let span = text.span(start..end);
        let equals = plain.find('=');
        let name = plain.word(0..equals.unwrap_or(plain.len()));
        flags.push(Flag { name, value: equals.map(|at| plain.from(at + 1)), span });
    }
}
