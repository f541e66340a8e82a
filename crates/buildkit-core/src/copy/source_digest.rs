//! What the sources of a copy are, so that a step that would copy the same is known again.
//!
//! The digest covers what [`super::put`] would make of the sources, but for times: names, types,
//! modes, contents, link targets, attributes; owners where they are kept.

use std::collections::HashMap;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use dockerfile::ignore::Ignore;
use rootfs::{Dir, Entry, Event, FileType, Metadata, Next, Owner, Root};

use super::put::{carried_xattrs, describe, matches_path};
use super::source::{Item, SourceTree};
use super::{CopyError, Found, Prepared, fetch};
use crate::cache::file_digests::{self, FileDigests};

/// What is to be copied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceDigest {
    /// Digest of all of it, 64 hexadecimal digits.
    pub digest: String,
    /// Each of the files, in the order in which they are copied.
    pub entries: Vec<SourceEntry>,
}

/// A file that is to be copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceEntry {
    /// Its path in the context or tree, or the URL.
    pub path: String,
    /// Type, mode, owner and size; a digest of the rest.
    pub value: String,
}

impl SourceDigest {
    fn of(entries: Vec<SourceEntry>) -> SourceDigest {
        let mut hasher = blake3::Hasher::new();
        for SourceEntry { path, value } in &entries {
            for field in [path, value] {
                hasher.update(&(field.len() as u64).to_le_bytes());
                hasher.update(field.as_bytes());
            }
        }
        SourceDigest { digest: hasher.finalize().to_hex().to_string(), entries }
    }

    /// The same, with paths below the directory `base` told from there: it says nothing of where
    /// that is.
    pub fn relative_to(self, base: &Path) -> SourceDigest {
        let relative = |mut entry: SourceEntry| {
            if let Ok(path) = Path::new("/").join(&entry.path).strip_prefix(base) {
                entry.path = path.to_string_lossy().into_owned();
            }
            entry
        };
        SourceDigest::of(self.entries.into_iter().map(relative).collect())
    }
}

impl Prepared<'_, '_> {
    /// The digest of the sources. Downloads are waited for, unless a checksum stands for them. Files
    /// that `known` remembers are not read.
    pub fn digest(&mut self, known: Option<&FileDigests>) -> Result<SourceDigest, CopyError> {
        let (store, options) = (self.store, self.options);
        for found in &mut self.found {
            if let Found::Url(url, waiting @ None) = found
                && options.checksum.is_none()
            {
                *waiting = Some(fetch::ahead(store, url, options)?);
            }
        }
        let keeps_owners = options.chown.is_none() && options.preserve_owner;
        let mut digester = Digester { known, keeps_owners, entries: Vec::new() };
        for found in &self.found {
            match (found, &self.tree) {
                (Found::Items(_, items), Some(tree)) => {
                    for item in items {
                        digester.item(tree, item, &options.ignore, &options.exclude, &Ignore::default())?;
                    }
                }
                (Found::Parents(parents), Some(tree)) => {
                    for base in &parents.bases {
                        digester.item(tree, base, &options.ignore, &options.exclude, &parents.left_out)?;
                    }
                }
                (Found::Items(..) | Found::Parents(_), None) => {}
                (Found::Fetched(fetched), _) => digester.add("fetched", fetched.identity.clone()),
                (Found::Url(url, Some(waiting)), _) => digester.add(&fetch::shown_url(url), waiting.digest.to_string()),
                (Found::Url(url, None), _) => digester.add(&fetch::shown_url(url), String::new()),
                (Found::Content(name, content), _) => {
                    digester.add(&format!("<<{name}"), blake3::hash(content).to_hex().to_string());
                }
            }
        }
        Ok(digester.finish())
    }
}

/// The digest of `path` in `root` and all below it but what `ignore` leaves out, symlinks followed
/// on the way to it: of what a bind mount shows.
pub fn digest_tree(
    root: &Root,
    path: &str,
    ignore: &Ignore,
    known: Option<&FileDigests>,
) -> Result<SourceDigest, CopyError> {
    let mut digester = Digester { known, keeps_owners: true, entries: Vec::new() };
    let real = root.resolve(path)?;
    let metadata = root.metadata(&real)?;
    digester.path(root, &real, &real, &metadata, [ignore, &Ignore::default(), &Ignore::default()])?;
    Ok(digester.finish())
}

struct Digester<'a> {
    known: Option<&'a FileDigests>,
    keeps_owners: bool,
    entries: Vec<SourceEntry>,
}

impl Digester<'_> {
    fn add(&mut self, path: &str, value: String) {
        self.entries.push(SourceEntry { path: path.to_owned(), value });
    }

    fn finish(self) -> SourceDigest {
        SourceDigest::of(self.entries)
    }

    fn item(
        &mut self,
        tree: &SourceTree<'_>,
        item: &Item,
        ignore: &Ignore,
        exclude: &Ignore,
        left_out: &Ignore,
    ) -> Result<(), CopyError> {
        if !item.metadata.is_dir() {
            let name = Path::new(item.name.as_deref().unwrap_or_default());
            if matches_path(ignore, &item.path) || matches_path(exclude, name) {
                return Ok(());
            }
        }
        self.path(&tree.root, &item.path, &item.real, &item.metadata, [ignore, exclude, left_out])
    }

    /// `path`, which is really at `real`. The first of `left_out` matches paths in the tree, the others
    /// paths below `path`.
    fn path(
        &mut self,
        root: &Root,
        path: &Path,
        real: &Path,
        metadata: &Metadata,
        left_out: [&Ignore; 3],
    ) -> Result<(), CopyError> {
        if real.as_os_str().is_empty() {
            return self.below(root.top(), path, left_out);
        }
        let (dir, name) = root.locate(real)?;
        self.entry(path, &Entry { path, dir: &dir, name: &name, metadata: *metadata }, None)?;
        if metadata.is_dir() {
            self.below(&dir.open_dir(&name)?, path, left_out)?;
        }
        Ok(())
    }

    fn below(&mut self, top: &Dir, path: &Path, [ignore, exclude, inside]: [&Ignore; 3]) -> Result<(), CopyError> {
        let mut links: HashMap<(u64, u64), PathBuf> = HashMap::new();
        rootfs::walk_below::<CopyError>(top, |event| {
            let Event::Entry(entry) = event else { return Ok(Next::Descend) };
            let whole = path.join(entry.path);
            let out = [(ignore, whole.as_path()), (exclude, entry.path), (inside, entry.path)];
            let may_include = |ignore: &Ignore, path: &Path| {
                !matches_path(ignore, path) || ignore.may_include_below(&path.to_string_lossy())
            };
            if out.iter().any(|(ignore, path)| matches_path(ignore, path)) {
                let descends = entry.metadata.is_dir() && out.iter().all(|(ignore, path)| may_include(ignore, path));
                return Ok(if descends { Next::Descend } else { Next::Skip });
            }
            if entry.metadata.file_type == FileType::Socket {
                return Ok(Next::Skip);
            }
            let several = entry.metadata.nlink > 1 && !entry.metadata.is_dir();
            let key = (entry.metadata.device, entry.metadata.inode);
            let first = links.get(&key).filter(|_| several).cloned();
            self.entry(&whole, &entry, first.as_deref())?;
            if several && first.is_none() {
                links.insert(key, entry.path.to_owned());
            }
            Ok(Next::Descend)
        })
    }

    fn entry(&mut self, path: &Path, entry: &Entry<'_>, first_name: Option<&Path>) -> Result<(), CopyError> {
        let metadata = &entry.metadata;
        let owner = if self.keeps_owners { metadata.owner } else { Owner::ROOT };
        let mut value = describe(metadata, metadata.mode, owner);
        let read_error = |source| CopyError::Read { path: path.to_owned(), source };
        let rest = match (first_name, metadata.file_type) {
            (Some(first), _) => format!("link {}", first.display()),
            (None, FileType::File) => {
                let digest = match self.known {
                    Some(known) => known.digest(entry.dir, entry.name, metadata),
                    None => file_digests::read(entry.dir, entry.name),
                };
                oci::digest::to_hex(&digest.map_err(read_error)?)
            }
            (None, FileType::Symlink) => oci::digest::to_hex(entry.dir.read_link(entry.name)?.as_bytes()),
            (None, _) => {
                let xattrs = carried_xattrs(entry)?;
                xattrs.iter().map(|(key, value)| format!("{key:?}={value:?}")).collect::<Vec<_>>().join(" ")
            }
        };
        if !rest.is_empty() {
            value.push(' ');
            value.push_str(&rest);
        }
        // Names that are no text stay apart, too.
        let path = path.to_str().map_or_else(|| format!("{path:?}"), str::to_owned);
        self.entries.push(SourceEntry { path, value });
        Ok(())
    }
}
