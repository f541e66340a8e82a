//! COPY and ADD.

use super::command;
use super::flags::Flags;
use super::missing;
use crate::ast::{Heredoc, Node};
use crate::diagnostic::{Diagnostic, Result};
use crate::text::Word;

/// `COPY [flags] source… destination`, and ADD alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copy {
    /// What is copied, in order.
    pub sources: Vec<CopySource>,
    /// Where to.
    pub destination: Word,
    /// COPY only: stage or image it comes from; it holds no variables.
    pub from: Option<Word>,
    /// Owner of what is made.
    pub chown: Option<Word>,
    /// Mode of what is made.
    pub chmod: Option<Word>,
    /// ADD only: digest that the download must have.
    pub checksum: Option<Word>,
    /// Patterns of what is left out.
    pub exclude: Vec<Word>,
}

/// Something to copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CopySource {
    /// A path or pattern, or a URL.
    Path(Word),
    /// A file with this content.
    Heredoc(Heredoc),
}

const COMMON: [&str; 3] = ["chown", "chmod", "exclude"];

pub(super) fn parse_copy(node: &Node) -> Result<Copy> {
    let flags = Flags::check(node, &[&COMMON[..], &["from"]].concat(), &["link", "parents"])?;
    let from = flags.value("from")?.map(|text| text.to_word());
    if let Some(from) = &from {
        if from.text.contains('$') {
            let error = Diagnostic::error("COPY --from can't hold a variable", from.span);
            return Err(error.hint("name a stage FROM the variable and copy from that"));
        }
        if from.text.is_empty() {
            return Err(Diagnostic::error("COPY --from needs a stage or an image", from.span));
        }
    }
    Ok(Copy { from, ..parse(node, &flags)? })
}

pub(super) fn parse_add(node: &Node) -> Result<Copy> {
    let flags = Flags::check(node, &[&COMMON[..], &["checksum"]].concat(), &["link", "keep-git-dir", "unpack"])?;
    let checksum = flags.value("checksum")?.map(|text| text.to_word());
    Ok(Copy { checksum, ..parse(node, &flags)? })
}

fn parse(node: &Node, flags: &Flags<'_>) -> Result<Copy> {
    let mut words = match command::json(&node.arguments)? {
        Some(words) => words,
        None => node.arguments.split_blanks(),
    };
    let destination = match words.pop() {
        Some(word) if !words.is_empty() => word,
        Some(word) => {
            return Err(missing(node, "a source and a destination").hint(format!("{:?} stands alone", word.text)));
        }
        None => return Err(missing(node, "a source and a destination")),
    };
    if destination.text.is_empty() {
        return Err(Diagnostic::error("the destination is empty", destination.span));
    }
    if !node.heredocs.is_empty() && Heredoc::parse_marker(&destination.text).is_some() {
        return Err(Diagnostic::error("a heredoc can't be the destination", destination.span));
    }
    let mut heredocs = node.heredocs.iter();
    let mut sources = Vec::with_capacity(words.len());
    for word in words {
        if word.text.is_empty() {
            return Err(Diagnostic::error("a source is empty", word.span));
        }
        let marker = Heredoc::parse_marker(&word.text);
        sources.push(match marker.and_then(|marker| heredocs.clone().next().filter(|next| next.name == marker.name)) {
            Some(heredoc) => {
                heredocs.next();
                CopySource::Heredoc(heredoc.clone())
            }
            None => CopySource::Path(word),
        });
    }
    Ok(Copy {
        sources,
        destination,
        from: None,
        chown: flags.value("chown")?.map(|text| text.to_word()),
        chmod: flags.value("chmod")?.map(|text| text.to_word()),
        checksum: None,
        exclude: flags.values("exclude")?.map(|(text, _)| text.to_word()).collect(),
    })
}
