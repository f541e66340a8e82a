//! Commands in shell form or in exec form, and the JSON lists of the latter.

use serde_json::Value;

use crate::ast::Node;
use crate::diagnostic::{Diagnostic, Result};
use crate::text::{Text, Word};

/// A command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// A line for the shell.
    Shell(Word),
    /// The arguments themselves.
    Exec(Vec<Word>),
}

pub(super) fn parse_without_flags(node: &Node) -> Result<Command> {
    super::Flags::none(node)?;
    parse(&node.arguments)
}

/// A JSON list of strings is the exec form, everything else the shell form.
pub(super) fn parse(text: &Text) -> Result<Command> {
    Ok(match json(text)? {
        Some(words) => Command::Exec(words),
        None => Command::Shell(text.to_word()),
    })
}

/// The strings of a JSON list; `None` if the text is none, an error if it holds anything else.
pub(super) fn json(text: &Text) -> Result<Option<Vec<Word>>> {
    let string = text.as_str();
    if !string.trim_start().starts_with('[') {
        return Ok(None);
    }
    let Ok(values) = serde_json::from_str::<Vec<Value>>(string) else { return Ok(None) };
    let mut words = Vec::with_capacity(values.len());
    let mut position = 0;
    for value in values {
        let Value::String(value) = value else {
            return Err(Diagnostic::error("a JSON list here can hold only strings", text.full_span()));
        };
        // What is valid JSON, a list of strings so far, has each string between plain quotes.
        let start = position + string.get(position..).and_then(|rest| rest.find('"')).unwrap_or(0);
        let end = string_end(string, start + 1);
        words.push(Word::new(value, text.span(start..end)));
        position = end;
    }
    Ok(Some(words))
}

fn string_end(text: &str, from: usize) -> usize {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(from) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}
