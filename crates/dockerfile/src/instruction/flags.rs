//! The flags of an instruction, checked against those it takes.

use crate::ast::{Flag, Node};
use crate::diagnostic::{Diagnostic, Result};
use crate::text::{Span, Text};

pub(super) struct Flags<'n> {
    keyword: &'n str,
    flags: &'n [Flag],
}

impl<'n> Flags<'n> {
    /// Takes the flags if all are `known`.
    pub fn check(node: &'n Node, known: &[&str]) -> Result<Flags<'n>> {
        for flag in &node.flags {
            let name = flag.name.text.as_str();
            if !known.contains(&name) {
                let keyword = node.keyword.to_ascii_uppercase();
                let error = Diagnostic::error(format!("unknown flag --{name} of {keyword}"), flag.span);
                let mut error = error.suggest(name, known.iter().copied());
                error.hint = error.hint.map(|hint| hint.replace("mean ", "mean --"));
                return Err(error);
            }
        }
        Ok(Flags { keyword: node.keyword.as_str(), flags: &node.flags })
    }

    /// For instructions that take no flag.
    pub fn none(node: &'n Node) -> Result<()> {
        match node.flags.first() {
            Some(flag) => {
                let keyword = node.keyword.to_ascii_uppercase();
                Err(Diagnostic::error(format!("{keyword} takes no flag like --{}", flag.name.text), flag.span))
            }
            None => Ok(()),
        }
    }

    /// The instruction's name in capitals.
    fn name(&self) -> String {
        self.keyword.to_ascii_uppercase()
    }

    /// The value of a flag that is given once at most.
    pub fn value(&self, name: &str) -> Result<Option<&'n Text>> {
        let mut values = self.values(name)?;
        match (values.next(), values.next()) {
            (_, Some((_, span))) => Err(Diagnostic::error(format!("{} --{name} is given twice", self.name()), span)),
            (value, None) => Ok(value.map(|(text, _)| text)),
        }
    }

    /// The values of a flag, in order.
    pub fn values(&self, name: &str) -> Result<impl Iterator<Item = (&'n Text, Span)> + use<'n>> {
        let mut values = Vec::new();
        for flag in self.flags.iter().filter(|flag| flag.name.text == name) {
            match &flag.value {
                Some(value) => values.push((value, flag.span)),
                None => {
                    let message = format!("{} --{name} needs a value: --{name}=…", self.name());
                    return Err(Diagnostic::error(message, flag.span));
                }
            }
        }
        Ok(values.into_iter())
    }

    /// The value of a flag that is on or off: `--name`, `--name=true`, `--name=false`.
    pub fn switch(&self, name: &str) -> Result<Option<bool>> {
        let mut given = self.flags.iter().filter(|flag| flag.name.text == name);
        let Some(flag) = given.next() else { return Ok(None) };
        if let Some(second) = given.next() {
            return Err(Diagnostic::error(format!("{} --{name} is given twice", self.name()), second.span));
        }
        let Some(value) = &flag.value else { return Ok(Some(true)) };
        match value.as_str().to_ascii_lowercase().as_str() {
            "true" => Ok(Some(true)),
            "false" => Ok(Some(false)),
            _ => {
                let message = format!("invalid value {:?} of --{name}: expected true or false", value.as_str());
                Err(Diagnostic::error(message, if value.is_empty() { flag.span } else { value.full_span() }))
            }
        }
    }
}
