//! FROM: what a stage begins with.

use super::flags::Flags;
use super::missing;
use crate::ast::Node;
use crate::diagnostic::{Diagnostic, Result};
use crate::text::{Span, Word};

/// `FROM [--platform=…] [--after=…] base [AS name]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct From {
    /// An image, an earlier stage or `scratch`.
    pub base: Word,
    /// The stage's name, in lower case. With a variable, which is Buildah's way, it is as written.
    pub name: Option<Word>,
    /// The platform asked for.
    pub platform: Option<Word>,
    /// Earlier stages that must be built before this one begins.
    pub after: Vec<Word>,
}

pub(super) fn parse(node: &Node) -> Result<From> {
    let flags = Flags::check(node, &["platform", "after"])?;
    let platform = flags.value("platform")?.map(|text| text.to_word());
    let after =
        flags.values("after")?.map(|(text, span)| earlier_stage(&text.to_word(), span)).collect::<Result<_>>()?;
    let words = node.arguments.split_blanks();
    let (base, name) = match words.as_slice() {
        [] => return Err(missing(node, "an image or a stage")),
        [base] => (base, None),
        [base, word, name] if word.text.eq_ignore_ascii_case("as") => (base, Some(stage_name(name)?)),
        [_, word, ..] => {
            let error = Diagnostic::error("FROM takes one image, and perhaps AS and a name behind it", word.span);
            return Err(error.suggest(&word.text, ["AS"]));
        }
    };
    Ok(From { base: base.clone(), name, platform, after })
}

fn earlier_stage(word: &Word, flag: Span) -> Result<Word> {
    if word.text.is_empty() {
        return Err(Diagnostic::error("FROM --after needs a stage", flag));
    }
    Ok(word.clone())
}

/// A name with a variable is checked when that is put in.
fn stage_name(word: &Word) -> Result<Word> {
    if word.text.contains('$') { Ok(word.clone()) } else { word.stage_name() }
}

impl Word {
    /// The word as a stage's name, in lower case. A slash in it is Buildah's way.
    pub fn stage_name(&self) -> Result<Word> {
        let name = self.text.to_lowercase();
        let is_fine = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | '.' | '/');
        if !name.starts_with(|c: char| c.is_ascii_lowercase()) || !name.chars().all(is_fine) {
            let message = format!(
                "invalid stage name {:?}: it begins with a letter and has letters, digits, -, _, . and / only",
                self.text
            );
            return Err(Diagnostic::error(message, self.span));
        }
        Ok(Word::new(name, self.span))
    }
}
