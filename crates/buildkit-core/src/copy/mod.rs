//! COPY and ADD: files from a directory, an image, a container, the network or the instruction
//! itself into a working container. Both the commands and the Dockerfile's instructions are this.
//!
//! ```text
//! sources ──pattern──▶ items (symlinks followed) ┐
//! destination ──resolved inside the container────┴▶ put: directories merge, anything else in the
//!                                                   way is replaced; nothing leaves either tree
//! ```
//!
//! The rules of what goes where are Buildah's: the content of a directory is copied, not the
//! directory; several items, or a slash at the end, make the destination a directory; a source
//! that is a symlink is followed, one below a copied directory stays a symlink.

mod chmod; // 644, u+x
mod content_digest; // file:…, dir:…, multi:…
mod fetch; // URLs
mod pattern; // Go's filepath.Match
mod put; // into the container
mod source; // what the patterns match

use std::path::{Path, PathBuf};

use dockerfile::ignore::Ignore;
use oci::Digest;
use rootfs::{Owner, Root};

pub use chmod::{Chmod, InvalidMode};
pub use content_digest::ContentDigest;
use content_digest::ContentHasher;
use put::{Destination, Put};
use source::{Item, SourceTree};

use crate::transfer::Remotes;
use crate::working_container::WorkingContainer;

/// Where paths are looked up.
#[derive(Clone, Debug)]
pub enum Tree {
    /// The host; paths are absolute.
    Host,
    /// A build context. Symlinks are followed inside it.
    Directory(PathBuf),
    /// An image or working container of the store, by name or ID. Symlinks are followed inside it.
    Named(String),
}

/// Something to copy.
#[derive(Clone, Debug)]
pub enum Source {
    /// A path or a pattern in the tree.
    Path(String),
    /// An http or https URL.
    Url(String),
    /// A file with this name and content.
    Content {
        /// Its name where the destination is a directory.
        name: String,
        /// What is in it.
        content: Vec<u8>,
    },
}

impl Source {
    /// What Buildah takes a word for: a URL if it begins like one, else a path.
    pub fn parse(text: &str) -> Source {
        if text.starts_with("http://") || text.starts_with("https://") {
            Source::Url(text.to_owned())
        } else {
            Source::Path(text.to_owned())
        }
    }
}

/// What to copy, and how.
pub struct CopyOptions<'a> {
    /// What.
    pub sources: Vec<Source>,
    /// Where to: absolute, or relative to the container's working directory. With a slash at the
    /// end it is a directory.
    pub destination: String,
    /// Where paths are looked up.
    pub from: Tree,
    /// Unpack local archives (tar, plain or compressed) instead of copying them. They keep their
    /// owners and modes.
    pub unpack: bool,
    /// Owner of what is made: `user`, `user:group`, names looked up in the container; a single
    /// number is both. By default root.
    pub chown: Option<String>,
    /// Without `chown`: keep the owners.
    pub preserve_owner: bool,
    /// Mode of what is made.
    pub chmod: Option<Chmod>,
    /// What stays out, by its path in the tree: the context's ignore file.
    pub ignore: Ignore,
    /// What stays out, by its path below the copied directory, or by its name: `--exclude`.
    pub exclude: Ignore,
    /// Digest that the download must have; for a single URL.
    pub checksum: Option<Digest>,
    /// How servers are reached. Without it, URLs are refused.
    pub remotes: Option<&'a Remotes>,
}

impl CopyOptions<'_> {
    /// Copies `sources` from `from` to `destination`, as root's, nothing left out.
    pub fn new(sources: Vec<Source>, from: Tree, destination: impl Into<String>) -> Self {
        CopyOptions {
            sources,
            destination: destination.into(),
            from,
            unpack: false,
            chown: None,
            preserve_owner: false,
            chmod: None,
            ignore: Ignore::default(),
            exclude: Ignore::default(),
            checksum: None,
            remotes: None,
        }
    }
}

/// Why something could not be copied.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CopyError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// A tree could not be read or written.
    #[error(transparent)]
    Tree(#[from] rootfs::Error),
    /// The tree that is copied from cannot be opened.
    #[error("cannot copy from {name:?}: {reason}")]
    From {
        /// The directory, image or container.
        name: String,
        /// Why not.
        reason: String,
    },
    /// Nothing is there.
    #[error("cannot copy {0:?}: no such file or directory")]
    Missing(String),
    /// The pattern matches nothing.
    #[error("cannot copy {0:?}: the pattern matches nothing")]
    NoMatch(String),
    /// The pattern is malformed.
    #[error("cannot copy {0:?}: a malformed pattern")]
    BadPattern(String),
    /// All that was found is left out.
    #[error("cannot copy {0:?}: an ignore file or --exclude leaves out all that it matches")]
    AllIgnored(String),
    /// No sources.
    #[error("nothing to copy: a source is expected")]
    NoSources,
    /// Several things, or a directory, cannot become one file.
    #[error("destination {0:?} already exists and is not a directory")]
    NotADirectory(String),
    /// A user or group that the container does not know.
    #[error("cannot give files to {user:?}: {reason}")]
    User {
        /// As given.
        user: String,
        /// Why not.
        reason: String,
    },
    /// A URL could not be fetched.
    #[error(transparent)]
    Download(#[from] registry::DownloadError),
    /// The HTTP client could not be set up.
    #[error(transparent)]
    Registry(#[from] registry::RegistryError),
    /// The URL has no file name, and the destination gives none.
    #[error("cannot name what {0:?} holds: give a destination that does not end in a slash")]
    NamelessUrl(String),
    /// A kind of source that is not supported here.
    #[error("cannot copy {source_text:?}: {reason}")]
    Unsupported {
        /// As given.
        source_text: String,
        /// Why not.
        reason: &'static str,
    },
    /// The download is not what was expected.
    #[error("{url} has digest {actual}, expected {expected}")]
    WrongDigest {
        /// The URL.
        url: String,
        /// What `--checksum` says.
        expected: Digest,
        /// What came.
        actual: Digest,
    },
    /// An archive could not be unpacked.
    #[error("cannot unpack {path:?}: {source}")]
    Unpack {
        /// The archive.
        path: PathBuf,
        /// What is wrong.
        source: layers::ApplyError,
    },
    /// A file could not be read.
    #[error("cannot read {path:?}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What failed.
        source: std::io::Error,
    },
    /// A file could not be written.
    #[error("cannot write {path:?} in the container: {source}")]
    Write {
        /// The file.
        path: PathBuf,
        /// What failed.
        source: std::io::Error,
    },
}

/// Copies into `container`, and gives the digest of what was copied, for the history.
///
/// What was copied before an error stays.
pub fn copy(container: &WorkingContainer<'_>, options: &CopyOptions<'_>) -> Result<ContentDigest, CopyError> {
    let store = container.store();
    let mounted = store.mounted(container.id())?;
    let result = Root::open(mounted.path()).map_err(CopyError::from).and_then(|root| {
        let working_dir = &container.state().config.config.working_dir;
        copy_into(store, &root, working_dir, options)
    });
    drop(mounted);
    result
}

/// A source with what it comes to.
enum Found<'o> {
    Items(&'o str, Vec<Item>),
    Url(&'o str),
    Content(&'o str, &'o [u8]),
}

fn copy_into(
    store: &store::Store,
    root: &Root,
    working_dir: &str,
    options: &CopyOptions<'_>,
) -> Result<ContentDigest, CopyError> {
    let mut tree = None;
    let mut found = Vec::new();
    for source in &options.sources {
        found.push(match source {
            Source::Path(text) => {
                if tree.is_none() {
                    tree = Some(SourceTree::open(store, &options.from)?);
                }
                let tree = tree.as_ref().ok_or(CopyError::NoSources)?;
                Found::Items(text, tree.find(text, options.unpack)?)
            }
            Source::Url(url) => Found::Url(url),
            Source::Content { name, content } => Found::Content(name, content),
        });
    }
    if options.checksum.is_some() && !matches!(found.as_slice(), [Found::Url(_)]) {
        let source_text = options.sources.first().map(|source| format!("{source:?}")).unwrap_or_default();
        return Err(CopyError::Unsupported { source_text, reason: "a checksum is for a single URL" });
    }
    let chown = options.chown.as_deref().map(|user| owner(root, user)).transpose()?;
    let target = destination(root, working_dir, &options.destination, &found)?;
    let owner = match chown {
        Some(owner) => Some(owner),
        None if options.preserve_owner => None,
        None => Some(Owner::ROOT),
    };
    root.create_dir_all(&target.dir, 0o755, owner.unwrap_or(Owner::ROOT))?;
    let mut hasher = ContentHasher::default();
    for source in &found {
        let mut put = Put { root, target: &target, owner, options, hasher: &mut hasher };
        match source {
            Found::Items(text, items) => {
                let tree = tree.as_ref().ok_or(CopyError::NoSources)?;
                let mut copied = 0;
                for item in items {
                    copied += put.item(tree, item)?;
                }
                if copied == 0 {
                    return Err(CopyError::AllIgnored((*text).to_owned()));
                }
            }
            Found::Url(url) => fetch::fetch(&mut put, url)?,
            Found::Content(name, content) => put.content(name, content)?,
        }
    }
    hasher.finish().ok_or(CopyError::NoSources)
}

/// Where the sources go, resolved inside the container.
fn destination(root: &Root, working_dir: &str, given: &str, found: &[Found<'_>]) -> Result<Destination, CopyError> {
    let working_dir = Path::new("/").join(working_dir);
    let path = working_dir.join(given);
    let count: usize = found.iter().map(|found| if let Found::Items(_, items) = found { items.len() } else { 1 }).sum();
    let names_directory = given.is_empty() || given.ends_with('/') || given.ends_with("/.") || given.ends_with("/..");
    let is_directory = |item: &Item| item.metadata.is_dir() || item.archive.is_some();
    let must_be_directory = names_directory
        || matches!(given, "." | "..")
        || path == working_dir
        || count > 1
        || found.iter().any(|found| matches!(found, Found::Items(_, items) if items.iter().any(is_directory)));
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Ok(Destination { dir: root.resolve(&path)?, name: None });
    };
    if names_directory && path.file_name().is_none() {
        return Ok(Destination { dir: root.resolve(&path)?, name: None });
    }
    let parent = root.resolve(parent)?;
    let file = || Destination { dir: parent.clone(), name: Some(name.to_owned()) };
    let existing = root.metadata_if_exists(parent.join(name))?;
    let resolved = root.resolve(&path)?;
    let target = match existing {
        // A symlink stands for what it points to; a dangling one for a directory to be made.
        Some(metadata) if metadata.is_symlink() => root.metadata_if_exists(&resolved)?,
        other => other,
    };
    match (existing, target) {
        (None, _) if !must_be_directory => Ok(file()),
        (Some(_), Some(target)) if !target.is_dir() => {
            if must_be_directory {
                Err(CopyError::NotADirectory(given.to_owned()))
            } else {
                Ok(file())
            }
        }
        _ => Ok(Destination { dir: resolved, name: None }),
    }
}

/// Whom `user` means in the container.
fn owner(root: &Root, user: &str) -> Result<Owner, CopyError> {
    let (name, group) = user.split_once(':').unwrap_or((user, ""));
    let fail = |reason: String| CopyError::User { user: user.to_owned(), reason };
    if name.is_empty() && group.is_empty() {
        return Err(fail("expected user, user:group or numbers".to_owned()));
    }
    let spec = if group.is_empty() { name.to_owned() } else { format!("{name}:{group}") };
    let resolved = runtime::resolve_user(root, &spec).map_err(|error| fail(error.to_string()))?;
    // One number is user and group alike, unlike in a step's user.
    let is_number = group.is_empty() && name.bytes().all(|b| b.is_ascii_digit());
    Ok(Owner { uid: resolved.uid, gid: if is_number { resolved.uid } else { resolved.gid } })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tree_one_number_is_user_and_group() {
        let dir = tempfile::tempdir().expect("temp dir");
        std::fs::create_dir(dir.path().join("etc")).expect("made");
        std::fs::write(dir.path().join("etc/passwd"), "u:x:7:70::/:\n").expect("written");
        let root = Root::open(dir.path()).expect("root");
        let ids = |user: &str| owner(&root, user).map(|owner| (owner.uid, owner.gid)).ok();
        assert_eq!(
            [ids("7"), ids("u"), ids("7:8"), ids(":8")],
            [Some((7, 7)), Some((7, 70)), Some((7, 8)), Some((0, 8))]
        );
        // The kernel takes the last number for "leave it as it is".
        for user in ["4294967295", "7:4294967295", "+7", "-1", "", ":"] {
            assert_eq!(ids(user), None, "{user:?}");
        }
    }
}
