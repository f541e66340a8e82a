//! What the sources of a copy are: patterns matched in a tree that is not trusted.

use std::ffi::OsString;
use std::io::Read;
use std::path::{Path, PathBuf};

use layers::Decompressor;
use rootfs::{Event, Metadata, Next, Root, walk_below};
use store::{LayerTree, Mounted, Store};

use super::pattern::{self, Pattern};
use super::{CopyError, CopyOptions, Meaning, Tree};
use crate::image::Image;

/// A tree that is copied from, held as long as this lives.
pub(super) struct SourceTree<'s> {
    pub root: Root,
    _layers: Option<LayerTree>,
    _mounted: Option<Mounted<'s>>,
}

/// Something that is to be copied.
pub(super) struct Item {
    /// As the user wrote it, or as the pattern matched: relative to the tree.
    pub path: PathBuf,
    /// The same with symlinks followed.
    pub real: PathBuf,
    /// Its name, unless it is the tree's top.
    pub name: Option<OsString>,
    /// What it is; a symlink only where those are kept.
    pub metadata: Metadata,
    /// Set if it is an archive to be unpacked.
    pub archive: Option<Archive>,
}

/// That a file is an archive.
pub(super) struct Archive;

/// How sources are matched.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Matching {
    /// A symlink that is a source is copied, not what it points to.
    pub keeps_symlinks: bool,
    /// `**` stands for any number of directories.
    pub crosses_directories: bool,
}

impl Matching {
    pub fn of(options: &CopyOptions<'_>) -> Matching {
        Matching { keeps_symlinks: options.keep_symlinks, crosses_directories: options.meaning == Meaning::Buildah }
    }
}

/// Whether `text` is a pattern rather than a path.
pub(super) fn has_pattern(text: &str) -> bool {
    text.split('/').any(pattern::is_pattern)
}

impl<'s> SourceTree<'s> {
    pub fn open(store: &'s Store, tree: &Tree) -> Result<SourceTree<'s>, CopyError> {
        let directory = |path: &Path| {
            Root::open(path)
                .map_err(|error| CopyError::From { name: path.display().to_string(), reason: error.to_string() })
        };
        let name = match tree {
            Tree::Host => return Ok(SourceTree { root: directory(Path::new("/"))?, _layers: None, _mounted: None }),
            Tree::Directory(path) => return Ok(SourceTree { root: directory(path)?, _layers: None, _mounted: None }),
            Tree::Named(name) => name,
        };
        let failed = |reason: String| CopyError::From { name: name.clone(), reason };
        // As Buildah: a container of that name comes before an image.
        if let Ok(container) = store.container(name) {
            let mounted = store.mounted(&container.id)?;
            return Ok(SourceTree { root: Root::open(mounted.path())?, _layers: None, _mounted: Some(mounted) });
        }
        let image = match Image::find(store, name) {
            Ok(image) => image,
            Err(error) => return Err(failed(error.to_string())),
        };
        let top = image.top_layer().ok_or_else(|| failed("the image has no files".to_owned()))?;
        let layers = store.open_layer_tree(top)?;
        let root = Root::open(layers.path())?;
        Ok(SourceTree { root, _layers: Some(layers), _mounted: None })
    }

    /// All that `text`, a path or pattern, stands for, in the order of bytes. A path is there; a pattern
    /// may match nothing.
    pub fn find(&self, text: &str, look_for_archives: bool, matching: Matching) -> Result<Vec<Item>, CopyError> {
        let mut paths = vec![PathBuf::new()];
        let mut has_pattern = false;
        for part in text.split('/').filter(|part| !part.is_empty() && *part != ".") {
            if part == ".." {
                // Nothing is above the tree.
                for path in &mut paths {
                    path.pop();
                }
            } else if part == "**" && matching.crosses_directories {
                has_pattern = true;
                paths = self.descend(&paths)?;
            } else if pattern::is_pattern(part) {
                has_pattern = true;
                let pattern = Pattern::parse(part).map_err(|_| CopyError::BadPattern(text.to_owned()))?;
                paths = self.expand(&paths, &pattern)?;
            } else {
                paths.iter_mut().for_each(|path| path.push(part));
            }
        }
        if matching.crosses_directories {
            paths.sort();
            paths.dedup();
        }
        let mut items = Vec::new();
        for path in paths {
            let real = match (path.parent(), path.file_name()) {
                (Some(parent), Some(name)) if matching.keeps_symlinks => self.root.resolve(parent)?.join(name),
                _ => self.root.resolve(&path)?,
            };
            let metadata = match self.root.metadata_if_exists(&real)? {
                Some(metadata) if matching.keeps_symlinks || !metadata.is_symlink() => metadata,
                _ if has_pattern => continue,
                _ => return Err(CopyError::Missing(text.to_owned())),
            };
            let mut archive = None;
            if look_for_archives && metadata.is_file() {
                archive = self.is_archive(&real)?.then_some(Archive);
            }
            let name = path.file_name().map(ToOwned::to_owned);
            items.push(Item { path, real, name, metadata, archive });
        }
        Ok(items)
    }

    /// The file `name`, which is no pattern, in the tree's top; it may be an archive.
    pub fn named(&self, name: &std::ffi::OsStr) -> Result<Item, CopyError> {
        let path = PathBuf::from(name);
        let metadata = self.root.metadata(&path)?;
        let archive = self.is_archive(&path)?.then_some(Archive);
        Ok(Item { real: path.clone(), name: Some(name.to_owned()), path, metadata, archive })
    }

    fn expand(&self, paths: &[PathBuf], pattern: &Pattern) -> Result<Vec<PathBuf>, CopyError> {
        let mut matches = Vec::new();
        for path in paths {
            let dir = match self.root.open_dir_following(path) {
                Ok(dir) => dir,
                Err(error) if error.is_not_found() => continue,
                Err(error) => return Err(error.into()),
            };
            let names = dir.names()?;
            matches.extend(
                names.iter().filter(|name| pattern.matches(&name.to_string_lossy())).map(|name| path.join(name)),
            );
        }
        Ok(matches)
    }

    /// The directories of `paths`, and all below them; no symlink below them is followed.
    fn descend(&self, paths: &[PathBuf]) -> Result<Vec<PathBuf>, CopyError> {
        let mut found = Vec::new();
        for path in paths {
            let dir = match self.root.open_dir_following(path) {
                Ok(dir) => dir,
                Err(error) if error.is_not_found() => continue,
                Err(error) => return Err(error.into()),
            };
            found.push(path.clone());
            walk_below(&dir, |event| {
                if let Event::Entry(entry) = event
                    && entry.metadata.is_dir()
                {
                    found.push(path.join(entry.path));
                }
                Ok::<_, rootfs::Error>(Next::Descend)
            })?;
        }
        Ok(found)
    }

    /// Whether the file, uncompressed, begins as a tar does and is not empty.
    fn is_archive(&self, path: &Path) -> Result<bool, CopyError> {
        let file = self.root.open_file(path)?;
        let Ok(decompressor) = Decompressor::new(file) else { return Ok(false) };
        let mut block = Vec::with_capacity(512);
        let read = decompressor.take(512).read_to_end(&mut block);
        Ok(read.is_ok() && layers::is_tar_header(&block))
    }
}
