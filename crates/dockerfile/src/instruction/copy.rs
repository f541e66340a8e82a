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
    /// COPY only: stage or image it comes from. A variable in it is Buildah's way.
    pub from: Option<Word>,
    /// Owner of what is made.
    pub chown: Option<Word>,
    /// Mode of what is made.
    pub chmod: Option<Word>,
    /// ADD only: what the download's content or the git commit must be, see [`Checksum`].
    pub checksum: Option<Word>,
    /// ADD only: whether `.git` of a git source comes along.
    pub keep_git_dir: Option<bool>,
    /// ADD only: whether archives are unpacked; by default local ones are.
    pub unpack: Option<bool>,
    /// Whether it makes a layer that does not depend on what is below.
    pub link: bool,
    /// COPY only: whether the sources' parent directories are made in the destination.
    pub parents: bool,
    /// Patterns of what is left out; they hold no variables.
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

/// What `ADD --checksum` asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Checksum {
    /// The digest of a file, `sha256:…`.
    Digest(String),
    /// The commit of a git repository, its hash or the beginning of it in lower case.
    Commit(String),
}

impl Checksum {
    /// Reads `text`, in which variables are put in already.
    pub fn parse(text: &str) -> std::result::Result<Checksum, String> {
        let is_hex = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        match text.split_once(':') {
            Some(("sha256", hex)) if hex.len() == 64 && is_hex(hex) => Ok(Checksum::Digest(text.to_ascii_lowercase())),
            None if text.len() <= 64 && is_hex(text) => Ok(Checksum::Commit(text.to_ascii_lowercase())),
            _ => Err(format!(
                "invalid checksum {text:?}: expected sha256: and 64 hexadecimal digits, or the hash of a git commit"
            )),
        }
    }
}

const COMMON: [&str; 4] = ["chown", "chmod", "exclude", "link"];

pub(super) fn parse_copy(node: &Node) -> Result<Copy> {
    let flags = Flags::check(node, &[&COMMON[..], &["from", "parents"]].concat())?;
    let from = flags.value("from")?.map(|text| text.to_word());
    if let Some(from) = from.as_ref().filter(|from| from.text.is_empty()) {
        return Err(Diagnostic::error("COPY --from needs a stage or an image", from.span));
    }
    let parents = flags.switch("parents")?.unwrap_or(false);
    Ok(Copy { from, parents, ..parse(node, &flags)? })
}

pub(super) fn parse_add(node: &Node) -> Result<Copy> {
    let flags = Flags::check(node, &[&COMMON[..], &["checksum", "keep-git-dir", "unpack"]].concat())?;
    let checksum = flags.value("checksum")?.map(|text| text.to_word()).filter(|word| !word.text.is_empty());
    if let Some(word) = checksum.as_ref().filter(|word| !word.text.contains('$')) {
        Checksum::parse(&word.text).map_err(|message| Diagnostic::error(message, word.span))?;
    }
    let (keep_git_dir, unpack) = (flags.switch("keep-git-dir")?, flags.switch("unpack")?);
    Ok(Copy { checksum, keep_git_dir, unpack, ..parse(node, &flags)? })
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
        keep_git_dir: None,
        unpack: None,
        link: flags.switch("link")?.unwrap_or(false),
        parents: false,
        exclude: flags.values("exclude")?.map(|(text, _)| text.to_word()).collect(),
    })
}
