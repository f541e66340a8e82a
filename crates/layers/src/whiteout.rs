//! Deletions: OCI's `.wh.` names ⇄ overlay's device 0:0 and opaque attribute. Nothing else.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use rootfs::{Dir, Root};

/// What a deleted name begins with in a layer (OCI image specification, "Whiteouts").
pub(crate) const PREFIX: &[u8] = b".wh.";
/// The file that hides all that lower layers have in its directory.
pub(crate) const OPAQUE_NAME: &[u8] = b".wh..wh..opq";
/// The value of overlay's opaque attribute.
pub(crate) const OPAQUE_VALUE: &[u8] = b"y";

/// The attribute by which overlay knows an opaque directory.
pub(crate) fn opaque_xattr(userxattr: bool) -> &'static OsStr {
    OsStr::new(if userxattr { "user.overlay.opaque" } else { "trusted.overlay.opaque" })
}

/// Whether the name marks a deletion, or could be taken for one, in a layer.
pub(crate) fn is_reserved(name: &OsStr) -> bool {
    name.as_bytes().starts_with(PREFIX)
}

/// `.wh.<name>`
pub(crate) fn whiteout_name(name: &OsStr) -> OsString {
    OsString::from_vec([PREFIX, name.as_bytes()].concat())
}

/// Whether attribute `key` is overlay's own.
pub(crate) fn is_overlay_xattr(key: &OsStr) -> bool {
    key.as_bytes().starts_with(b"trusted.overlay.") || key.as_bytes().starts_with(b"user.overlay.")
}

/// Whether attribute `key`, which is not overlay's, goes into a layer.
pub(crate) fn is_carried_xattr(key: &OsStr) -> bool {
    let text = key.as_bytes();
    text == b"security.capability" || text == b"security.ima" || (text.starts_with(b"user.") && !is_overlay_xattr(key))
}

/// Whether the directory `name` in `dir`, of a layer on disk, is opaque.
pub fn is_opaque(dir: &Dir, name: &OsStr, userxattr: bool) -> rootfs::Result<bool> {
    Ok(dir.xattr(name, opaque_xattr(userxattr))?.as_deref() == Some(OPAQUE_VALUE))
}

/// Whether the merged view of `lowers`, nearest first, has something at `path`.
pub(crate) fn visible_in(lowers: &[Root], path: &Path, userxattr: bool) -> rootfs::Result<bool> {
    for lower in lowers {
        match look(lower, path, userxattr)? {
            Found::Yes => return Ok(true),
            Found::Hidden => return Ok(false),
            Found::No => {}
        }
    }
    Ok(false)
}

enum Found {
    Yes,
    No,
    /// This layer hides what those below it have there.
    Hidden,
}

fn look(lower: &Root, path: &Path, userxattr: bool) -> rootfs::Result<Found> {
    let mut dir = lower.top().try_clone()?;
    let mut hides_below = false;
    let mut names = path.iter().peekable();
    while let Some(name) = names.next() {
        let Some(metadata) = dir.metadata_if_exists(name)? else {
            return Ok(if hides_below { Found::Hidden } else { Found::No });
        };
        if metadata.is_whiteout() {
            return Ok(Found::Hidden);
        }
        if names.peek().is_none() {
            break;
        }
        if !metadata.is_dir() {
            return Ok(Found::Hidden);
        }
        hides_below |= is_opaque(&dir, name, userxattr)?;
        dir = dir.open_dir(name)?;
    }
    Ok(Found::Yes)
}

/// What a name in a layer means.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Meaning<'n> {
    /// Itself.
    Plain,
    /// `.wh.<name>`: the name is deleted.
    Whiteout(&'n OsStr),
    /// `.wh..wh..opq`: what lower layers have in its directory is hidden.
    Opaque,
    /// `.wh.` of something that is no name.
    Invalid,
}

/// What the last component of a path in a layer means.
pub(crate) fn meaning(name: &OsStr) -> Meaning<'_> {
    if name.as_bytes() == OPAQUE_NAME {
        return Meaning::Opaque;
    }
    match name.as_bytes().strip_prefix(PREFIX) {
        None => Meaning::Plain,
        Some(b"" | b"." | b"..") => Meaning::Invalid,
        Some(deleted) => Meaning::Whiteout(OsStr::from_bytes(deleted)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pure_names_with_the_prefix_have_a_meaning() {
        let check = |name: &str, expected: Meaning<'_>| assert_eq!(meaning(OsStr::new(name)), expected, "{name}");
        check("a", Meaning::Plain);
        check("a.wh.b", Meaning::Plain);
        check(".wh.a", Meaning::Whiteout(OsStr::new("a")));
        check(".wh..a", Meaning::Whiteout(OsStr::new(".a")));
        check(".wh..wh..opq", Meaning::Opaque);
        check(".wh..wh.plnk", Meaning::Whiteout(OsStr::new(".wh.plnk")));
        check(".wh....", Meaning::Whiteout(OsStr::new("...")));
        for name in [".wh.", ".wh..", ".wh..."] {
            check(name, Meaning::Invalid);
        }
    }
}
