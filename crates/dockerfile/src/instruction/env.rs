//! Names with values: ENV, LABEL and ARG.

use std::ops::Range;

use super::flags::Flags;
use super::missing;
use crate::ast::Node;
use crate::diagnostic::{Diagnostic, Result};
use crate::text::{Text, Word};

/// Names with values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pairs {
    /// In order.
    pub pairs: Vec<Pair>,
    /// Written as `NAME value`, without `=`.
    pub legacy: bool,
}

/// A name with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The name.
    pub name: Word,
    /// The value, quotes included.
    pub value: Word,
}

/// A build argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arg {
    /// The name.
    pub name: Word,
    /// The default value, quotes included.
    pub default: Option<Word>,
}

pub(super) fn parse_pairs(node: &Node, escape: char) -> Result<Pairs> {
    Flags::none(node)?;
    let words = split_quoted(&node.arguments, escape);
    let Some((_, first)) = words.first() else { return Err(missing(node, "a name and a value")) };
    if !first.text.contains('=') {
        let text = node.arguments.as_str();
        let Some(end) = text.find(char::is_whitespace) else {
            let keyword = node.keyword.to_ascii_uppercase();
            let error = Diagnostic::error(format!("{keyword} {} has no value", first.text), first.span);
            return Err(error.hint(format!("write {keyword} {}=value", first.text)));
        };
        let pair = Pair { name: node.arguments.word(0..end), value: node.arguments.from(end).trim().to_word() };
        return Ok(Pairs { pairs: vec![pair], legacy: true });
    }
    let pairs = words.iter().map(|(range, word)| {
        let Some(at) = word.text.find('=') else {
            let error = Diagnostic::error(format!("{:?} is no name=value", word.text), word.span);
            return Err(error.hint("a value with blanks needs quotes"));
        };
        if at == 0 {
            return Err(Diagnostic::error("a name is empty", word.span));
        }
        Ok(split_at(node, range, at))
    });
    Ok(Pairs { pairs: pairs.collect::<Result<_>>()?, legacy: false })
}

pub(super) fn parse_arg(node: &Node, escape: char) -> Result<Vec<Arg>> {
    Flags::none(node)?;
    let words = split_quoted(&node.arguments, escape);
    if words.is_empty() {
        return Err(missing(node, "a name"));
    }
    let args = words.iter().map(|(range, word)| match word.text.find('=') {
        Some(0) => Err(Diagnostic::error("a name is empty", word.span)),
        Some(at) => {
            let Pair { name, value } = split_at(node, range, at);
            Ok(Arg { name, default: Some(value) })
        }
        None => Ok(Arg { name: word.clone(), default: None }),
    });
    args.collect()
}

/// Cuts the `name=value` in `range` of the arguments at its byte `at`.
fn split_at(node: &Node, range: &Range<usize>, at: usize) -> Pair {
    let equals = range.start + at;
    Pair { name: node.arguments.word(range.start..equals), value: node.arguments.word(equals + 1..range.end) }
}

/// The words between blanks that no quotes hold and no escape stands before, and where they are;
/// quotes stay.
fn split_quoted(text: &Text, escape: char) -> Vec<(Range<usize>, Word)> {
    let mut words = Vec::new();
    let mut start = None;
    let mut quote = None;
    let mut chars = text.as_str().char_indices();
    while let Some((at, c)) = chars.next() {
        if quote.is_none() && c.is_whitespace() {
            words.extend(start.take().map(|from| (from..at, text.word(from..at))));
            continue;
        }
        start.get_or_insert(at);
        match quote {
            None if c == '\'' || c == '"' => quote = Some(c),
            Some(open) if c == open => quote = None,
            _ if c == escape && quote != Some('\'') => drop(chars.next()),
            _ => {}
        }
    }
    let end = text.as_str().len();
    words.extend(start.map(|from| (from..end, text.word(from..end))));
    words
}
