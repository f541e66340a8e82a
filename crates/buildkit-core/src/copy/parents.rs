//! `--parents`: all that a pattern includes below a directory, with the directories on the way.

use dockerfile::ignore::Ignore;

use super::CopyError;
use super::source::{Item, Matching, SourceTree, has_pattern};

/// Directories, and what below them is copied.
pub(super) struct Parents {
    /// As given.
    pub text: String,
    /// Where the paths that are kept begin: what is before `/./`, else the tree's top.
    pub bases: Vec<Item>,
    /// What is not included.
    pub left_out: Ignore,
    /// Whether it is an error if nothing is included.
    pub required: bool,
}

/// Reads `BASE/./PATTERN`, or `PATTERN`. Symlinks are followed on the way to the base and not
/// below it. A path without wildcards has to be there.
pub(super) fn find(tree: &SourceTree<'_>, text: &str) -> Result<Parents, CopyError> {
    let (base, pattern) = text.split_once("/./").unwrap_or(("/", text));
    // Nothing is above the base.
    let mut parts: Vec<&str> = Vec::new();
    for part in pattern.split('/').filter(|part| !matches!(*part, "" | ".")) {
        match part {
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    let bad = || CopyError::BadPattern(text.to_owned());
    let mut bases = tree.find(base, false, Matching::default())?;
    let required = !has_pattern(text);
    if required {
        bases.iter().try_for_each(|base| match base.metadata.is_dir() {
            true => Ok(()),
            false => Err(CopyError::Missing(text.to_owned())),
        })?;
    }
    bases.retain(|base| base.metadata.is_dir());
    // All but the pattern and what is below it stays out.
    let left_out = match parts.is_empty() {
        true => Ignore::default(),
        false => Ignore::from_patterns(["**", &format!("!{}", parts.join("/"))]).map_err(|_| bad())?,
    };
    Ok(Parents { text: text.to_owned(), bases, left_out, required })
}
