//! COPY and ADD: files from a directory, an image, a container, the network or the instruction
//! itself into a working container. Both the commands and the Dockerfile's instructions are this.
//!
//! ```text
//! sources ──pattern──▶ items (symlinks followed) ┐
//! destination ──resolved inside the container────┴▶ put: directories merge, anything else in the
//!                                                   way is replaced; nothing leaves either tree
//! ```
//!
//! The content of a directory is copied, not the directory; several sources, or a slash at the end,
//! make the destination a directory (one pattern is one source, whatever it matches); a source that
//! is a symlink is followed, one below a copied directory stays a symlink. In the rest, Dockerfiles mean what BuildKit takes them for and the
//! commands what Buildah does ([`Meaning`]):
//!
//! | | Buildah | BuildKit |
//! |---|---|---|
//! | a file to a symlink that points to a file | replaces the symlink | replaces what it points to |
//! | a file to a symlink that points nowhere | makes a directory there | makes a file there |
//! | patterns that all match nothing | are an error | copy nothing |
//! | `**` in a pattern | is any number of directories | is `*` |
//! | a URL without a file name | is an error | is called `__unnamed__` |
//! | a directory left out by an ignore file, but not all in it | has mode 755 | is as in the source |
//! | an owner for what an archive holds | is not given | is given |
//! | an octal mode | is that of what is copied | and of parent directories that are made |
//! | the time of a directory whose content is copied | stays with the source | comes along |
//!
//! What BuildKit refuses and Buildah does is done: a file takes a directory's place, and the other
//! way round; names of owners are looked up with `link` too.

mod chmod; // 644, u+x
mod content_digest; // file:…, dir:…, multi:…
mod destination; // where the sources go
mod error; // what can go wrong
mod fetch; // URLs
mod fill; // contents of files, beside the walk
mod linked; // what becomes a layer of its own at the commit
mod parents; // --parents: what a pattern includes
mod pattern; // Go's filepath.Match
mod put; // into the container
mod remote; // sources that are brought here first
mod source; // what the patterns match
mod source_digest; // what the sources are, for the cache

use std::path::PathBuf;

use dockerfile::ignore::Ignore;
use dockerfile::instruction::Checksum;
use rootfs::{Owner, Root};

pub use chmod::{Chmod, InvalidMode};
pub use content_digest::ContentDigest;
use content_digest::ContentHasher;
use destination::{Destination, Load};
pub use error::CopyError;
use fetch::Waiting;
pub(crate) use fetch::shown_url;
pub use linked::copy_linked;
use parents::Parents;
use put::Put;
pub(crate) use put::is_carried_xattr;
use remote::Fetched;
use source::{Item, Matching, SourceTree};
pub use source_digest::{SourceDigest, SourceEntry, digest_tree};

use crate::git::{GitOptions, GitSource};
use crate::secret::Secrets;
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
    /// The address of a git repository.
    Git(String),
    /// A file with this name and content.
    Content {
        /// Its name where the destination is a directory.
        name: String,
        /// What is in it.
        content: Vec<u8>,
    },
}

impl Source {
    /// What a word is taken for: a repository or a URL if it looks like one, else a path.
    pub fn parse(text: &str) -> Source {
        if GitSource::parse(text).is_some() {
            Source::Git(text.to_owned())
        } else if text.starts_with("http://") || text.starts_with("https://") {
            Source::Url(text.to_owned())
        } else {
            Source::Path(text.to_owned())
        }
    }

    /// Whether it is a pattern rather than one path.
    pub fn is_pattern(&self) -> bool {
        matches!(self, Source::Path(text) if source::has_pattern(text))
    }
}

/// Whose rules hold where Buildah and BuildKit differ; the module's documentation lists them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// Those of Buildah, for its commands and its builds.
    Buildah,
    /// Those of Dockerfiles.
    BuildKit,
}

/// Which archives (tar, plain or compressed) are unpacked instead of copied. They keep their
/// modes, and their owners unless told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unpack {
    /// None.
    Nothing,
    /// Those that are paths.
    Local,
    /// Downloads too.
    All,
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
    /// Whose rules hold.
    pub meaning: Meaning,
    /// Which archives are unpacked.
    pub unpack: Unpack,
    /// Make the sources' parent directories in the destination, those after `/./` only if that is
    /// in the source; `**` in a pattern crosses directories.
    pub parents: bool,
    /// Write as if nothing were in the container: no symlink on the way to the destination is
    /// followed, and whatever is in the way of a directory is replaced.
    pub link: bool,
    /// Copy a source that is a symlink as a symlink.
    pub keep_symlinks: bool,
    /// A pattern may match nothing; where all do, nothing is done.
    pub may_match_nothing: bool,
    /// Time of what is copied, in seconds since 1970; by default that of the source.
    pub timestamp: Option<i64>,
    /// Owner of what is made: `user`, `user:group`, names looked up in the container; a single
    /// number is both. By default root.
    pub chown: Option<String>,
    /// Without `chown`: keep the owners.
    pub preserve_owner: bool,
    /// Mode of what is made.
    pub chmod: Option<Chmod>,
    /// Leave the set-user-ID and set-group-ID bits of what is copied out.
    pub drop_set_ids: bool,
    /// What stays out, by its path in the tree: the context's ignore file.
    pub ignore: Ignore,
    /// What stays out, by its path below the copied directory, or by its name: `--exclude`.
    pub exclude: Ignore,
    /// Digest that the download, or beginning of the hash that the commit must have; for a single
    /// URL or repository.
    pub checksum: Option<Checksum>,
    /// Whether `.git` of a repository comes along, if the address does not say so; by default not.
    pub keep_git_dir: Option<bool>,
    /// How repositories are reached.
    pub git: GitOptions,
    /// Where `HTTP_AUTH_TOKEN_<host>`, `HTTP_AUTH_HEADER_<host>`, `GIT_AUTH_TOKEN[.<host>]` and
    /// `GIT_AUTH_HEADER[.<host>]` are looked up.
    pub secrets: Option<&'a Secrets>,
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
            meaning: Meaning::Buildah,
            unpack: Unpack::Nothing,
            parents: false,
            link: false,
            keep_symlinks: false,
            may_match_nothing: false,
            timestamp: None,
            chown: None,
            preserve_owner: false,
            chmod: None,
            drop_set_ids: false,
            ignore: Ignore::default(),
            exclude: Ignore::default(),
            checksum: None,
            keep_git_dir: None,
            git: GitOptions::default(),
            secrets: None,
            remotes: None,
        }
    }

    /// Whether it is no error if all patterns match nothing.
    fn patterns_are_optional(&self) -> bool {
        self.may_match_nothing || self.meaning == Meaning::BuildKit
    }
}

/// Copies into `container`, and gives the digest of what was copied, for the history.
///
/// What was copied before an error stays.
pub fn copy(container: &WorkingContainer<'_>, options: &CopyOptions<'_>) -> Result<ContentDigest, CopyError> {
    let store = container.store();
    let mounted = store.mounted(container.id())?;
    let working_dir = &container.state().config.config.working_dir;
    let copied = || Prepared::new(store, options)?.copy_into(&Root::open(mounted.path())?, working_dir);
    let result = copied();
    drop(mounted);
    result
}

/// Sources that have been found, ready to be copied.
pub struct Prepared<'s, 'o> {
    store: &'s store::Store,
    options: &'o CopyOptions<'o>,
    tree: Option<SourceTree<'s>>,
    found: Vec<Found<'s, 'o>>,
}

/// A source with what it comes to.
enum Found<'s, 'o> {
    Items(&'o str, Vec<Item>),
    Parents(Parents),
    Fetched(Fetched<'s>),
    Url(&'o str, Option<Waiting>),
    Content(&'o str, &'o [u8]),
}

impl<'s, 'o> Prepared<'s, 'o> {
    /// Finds the sources; repositories and what is unpacked are brought here.
    pub fn new(store: &'s store::Store, options: &'o CopyOptions<'o>) -> Result<Prepared<'s, 'o>, CopyError> {
        check_checksum(options)?;
        let mut tree = None;
        let mut found = Vec::new();
        for source in &options.sources {
            if matches!(source, Source::Path(_)) && tree.is_none() {
                tree = Some(SourceTree::open(store, &options.from)?);
            }
            found.push(match (source, &tree) {
                (Source::Path(text), Some(tree)) if options.parents => Found::Parents(parents::find(tree, text)?),
                (Source::Path(text), Some(tree)) => {
                    let items = tree.find(text, options.unpack != Unpack::Nothing, Matching::of(options))?;
                    Found::Items(text, items)
                }
                (Source::Path(_), None) => return Err(CopyError::NoSources),
                (Source::Url(url), _) if options.unpack == Unpack::All => {
                    Found::Fetched(remote::download(store, url, options)?)
                }
                (Source::Url(url), _) => Found::Url(url, None),
                (Source::Git(address), _) => Found::Fetched(remote::repository(store, address, options)?),
                (Source::Content { name, content }, _) => Found::Content(name, content),
            });
        }
        let is_optional = options.patterns_are_optional();
        match found.first() {
            Some(Found::Items(text, _)) if !is_optional && found.iter().all(Found::is_empty) => {
                Err(CopyError::NoMatch((*text).to_owned()))
            }
            _ => Ok(Prepared { store, options, tree, found }),
        }
    }

    /// Copies into `root`, where relative destinations begin in `working_dir`; gives the digest of
    /// what was copied, for the history.
    ///
    /// What was copied before an error stays.
    pub fn copy_into(&self, root: &Root, working_dir: &str) -> Result<ContentDigest, CopyError> {
        let mut hasher = ContentHasher::default();
        if self.options.meaning == Meaning::BuildKit && self.found.iter().all(|found| found.is_empty()) {
            hasher.start("multi");
            return hasher.finish().ok_or(CopyError::NoSources);
        }
        Ok(self.copy_beside(root, root, working_dir)?.0)
    }

    /// The same with what owners and the destination mean looked up in another tree, `named_in`; gives the
    /// destination's directory as well.
    fn copy_beside(
        &self,
        named_in: &Root,
        root: &Root,
        working_dir: &str,
    ) -> Result<(ContentDigest, PathBuf), CopyError> {
        let Prepared { store, options, tree, found } = self;
        let mut hasher = ContentHasher::default();
        if options.may_match_nothing && found.iter().all(|found| found.is_empty()) {
            return Err(CopyError::NoSources);
        }
        let chown = options.chown.as_deref().map(|user| owner(named_in, user)).transpose()?;
        let load = Load { needs_directory: found.len() > 1 || found.iter().any(Found::is_directory) };
        let target =
            destination::find(named_in, working_dir, &options.destination, load, options.meaning, options.link)?;
        let owner = match chown {
            Some(owner) => Some(owner),
            None if options.preserve_owner => None,
            None => Some(Owner::ROOT),
        };
        make_destination(root, &target, owner.unwrap_or(Owner::ROOT), options)?;
        let nothing = Ignore::default();
        fill::with_fillers(|fillers| {
            for source in found {
                let ignore = if matches!(source, Found::Fetched(_)) { &nothing } else { &options.ignore };
                let (hasher, target) = (&mut hasher, &target);
                let mut put = Put { root, target, owner, given_owner: chown, store, options, ignore, hasher, fillers };
                match (source, tree) {
                    (Found::Items(text, items), Some(tree)) => {
                        let mut copied = 0;
                        // Of several files that one pattern gives the same new name, the last one keeps it.
                        let lost = if target.name.is_some() { items.len().saturating_sub(1) } else { 0 };
                        for item in items.iter().skip(lost) {
                            copied += put.item(tree, item)?;
                        }
                        // What is left out of a context is not there for BuildKit, and may lack.
                        let may_lack = items.is_empty() || options.patterns_are_optional() && source::has_pattern(text);
                        if copied == 0 && !may_lack {
                            return Err(CopyError::AllIgnored((*text).to_owned()));
                        }
                    }
                    (Found::Parents(parents), Some(tree)) => put.parents(tree, parents)?,
                    (Found::Items(..) | Found::Parents(_), None) => return Err(CopyError::NoSources),
                    (Found::Fetched(fetched), _) => {
                        for item in &fetched.items {
                            put.item(&fetched.tree, item)?;
                        }
                    }
                    (Found::Url(url, waiting), _) => fetch::fetch(&mut put, url, waiting.as_ref())?,
                    (Found::Content(name, content), _) => put.content(name, content)?,
                }
            }
            Ok(())
        })?;
        Ok((hasher.finish().ok_or(CopyError::NoSources)?, target.dir))
    }
}

impl Found<'_, '_> {
    fn count(&self) -> usize {
        match self {
            Found::Items(_, items) => items.len(),
            Found::Fetched(fetched) => fetched.items.len(),
            Found::Parents(_) | Found::Url(..) | Found::Content(..) => 1,
        }
    }

    fn is_empty(&self) -> bool {
        self.count() == 0
    }

    fn is_directory(&self) -> bool {
        let is_directory = |item: &Item| item.metadata.is_dir() || item.archive.is_some();
        match self {
            Found::Items(_, items) => items.iter().any(is_directory),
            Found::Fetched(fetched) => fetched.items.iter().any(is_directory),
            Found::Parents(_) => true,
            Found::Url(..) | Found::Content(..) => false,
        }
    }
}

/// A checksum is for one thing from the network, and for its kind.
fn check_checksum(options: &CopyOptions<'_>) -> Result<(), CopyError> {
    let reason = match (&options.checksum, options.sources.as_slice()) {
        (None, _) | (Some(Checksum::Digest(_)), [Source::Url(_)]) | (Some(Checksum::Commit(_)), [Source::Git(_)]) => {
            return Ok(());
        }
        (_, [Source::Url(_)]) => "the checksum of a URL is sha256: and 64 hexadecimal digits",
        (_, [Source::Git(_)]) => "the checksum of a repository is the hash of a commit",
        (_, [Source::Path(_) | Source::Content { .. }]) => "checksum flag is not supported for local sources",
        _ => "a checksum is for a single URL or repository",
    };
    let source_text = match options.sources.first() {
        Some(Source::Path(text) | Source::Url(text) | Source::Git(text)) => text.clone(),
        Some(Source::Content { name, .. }) => name.clone(),
        None => String::new(),
    };
    Err(CopyError::Unsupported { source_text, reason })
}

fn make_destination(
    root: &Root,
    target: &Destination,
    owner: Owner,
    options: &CopyOptions<'_>,
) -> Result<(), CopyError> {
    let octal = options.chmod.as_ref().and_then(Chmod::octal).filter(|_| options.meaning == Meaning::BuildKit);
    let mode = octal.map_or(0o755, |mode| mode & 0o777);
    if options.link {
        return destination::make_fresh(root, &target.dir, mode, owner);
    }
    Ok(root.create_dir_all(&target.dir, mode, owner)?)
}

/// Whom `user` means in the container.
pub(crate) fn owner(root: &Root, user: &str) -> Result<Owner, CopyError> {
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
