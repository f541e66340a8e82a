//! Lines to the syntax tree, and from there to typed instructions.

use crate::ast::{Ast, Flag, Node};
use crate::diagnostic::{Diagnostic, Severity};
use crate::directive::Check;
use crate::instruction::{Instruction, Kind};
use crate::lexer::{self, LogicalLine};
use crate::source::Source;
use crate::text::{Span, Text, Word, is_blank};

/// A Dockerfile that was read.
#[derive(Clone, Debug, Default)]
pub struct Dockerfile {
    /// What is written.
    pub ast: Ast,
    /// What it means, for each node without an error.
    pub instructions: Vec<Instruction>,
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

/// Instructions that are reported: more than that is no Dockerfile with errors but another file.
const MAX_ERRORS: usize = 1000;

/// Reads a Dockerfile. Never fails: what is wrong is in the result, and the rest is read on.
/// Takes time linear in the length of the text.
pub fn parse(source: &Source) -> Dockerfile {
    if let Some(defect) = source.defect() {
        return Dockerfile { diagnostics: vec![defect.clone()], ..Dockerfile::default() };
    }
    let mut dockerfile = parse_instructions(source);
    if dockerfile.ast.nodes.is_empty() && dockerfile.errors().next().is_some() {
        return dockerfile;
    }
    let end = Span::new(source.text().len(), source.text().len());
    if dockerfile.ast.nodes.is_empty() {
        dockerfile.diagnostics.push(Diagnostic::error("no instruction in this file: expected FROM", end));
    } else if let Some(node) = first_outside_stage(&dockerfile.ast) {
        let message = format!("{} before the first FROM: only ARG can stand there", node.keyword.text);
        dockerfile.diagnostics.push(Diagnostic::error(message, node.keyword.span));
    } else if !dockerfile.ast.nodes.iter().any(|node| is_keyword(node, "FROM")) {
        dockerfile.diagnostics.push(Diagnostic::error("no FROM in this file", end));
    }
    dockerfile.diagnostics.sort_by_key(|diagnostic| diagnostic.span.start);
    dockerfile
}

/// Reads instructions that need not begin with FROM, as ONBUILD triggers and `--change` have them.
pub fn parse_instructions(source: &Source) -> Dockerfile {
    if let Some(defect) = source.defect() {
        return Dockerfile { diagnostics: vec![defect.clone()], ..Dockerfile::default() };
    }
    let lines = lexer::lex(source.text());
    let mut diagnostics = lines.diagnostics;
    let mut nodes = Vec::with_capacity(lines.logical.len());
    let mut instructions = Vec::with_capacity(lines.logical.len());
    let check = lines.directives.iter().find(|directive| directive.name.text == "check");
    let check =
        check.and_then(|directive| Check::parse(&directive.value).map_err(|error| diagnostics.push(error)).ok());
    let mut errors = 0;
    for line in lines.logical {
        let node = node(line);
        if errors < MAX_ERRORS {
            match Instruction::parse(&node, lines.escape, &mut diagnostics) {
                Ok(instruction) => instructions.push(instruction),
                Err(diagnostic) => {
                    diagnostics.push(diagnostic);
                    errors += 1;
                    if errors == MAX_ERRORS {
                        diagnostics.push(Diagnostic::error("too many errors: the rest is not read", node.span));
                    }
                }
            }
        }
        nodes.push(node);
    }
    diagnostics.sort_by_key(|diagnostic| diagnostic.span.start);
    let ast = Ast { directives: lines.directives, escape: lines.escape, nodes, comments: lines.comments };
    Dockerfile { ast, instructions, check, diagnostics }
}

fn is_keyword(node: &Node, keyword: &str) -> bool {
    node.keyword.text.eq_ignore_ascii_case(keyword)
}

fn first_outside_stage(ast: &Ast) -> Option<&Node> {
    ast.nodes.iter().find(|node| !is_keyword(node, "ARG")).filter(|node| {
        // An unknown word is reported as such.
        !is_keyword(node, "FROM") && Kind::is_known(&node.keyword.text)
    })
}

/// The parts of a logical line.
#[derive(Clone, Debug, Default)]
pub(crate) struct Parts {
    pub keyword: Word,
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

fn split_keyword(text: &Text) -> (Word, Text) {
    let string = text.as_str();
    let start = string.len() - string.trim_start().len();
    let end = string.get(start..).and_then(|rest| rest.find(is_blank)).map_or(string.len(), |at| start + at);
    (text.word(start..end), text.from(end).trim())
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
        let mut plain = Text::default();
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
        if plain.is_empty() && end == start + 2 {
            // A bare -- ends the flags.
            return (flags, text.from(end).trim());
        }
        let span = text.span(start..end);
        let equals = plain.as_str().find('=');
        let name = plain.word(0..equals.unwrap_or(plain.as_str().len()));
        flags.push(Flag { name, value: equals.map(|at| plain.from(at + 1)), span });
    }
}
