//! What each layer of an image holds, and how much of it nobody sees: files that a later layer hides
//! (by a whiteout, an opaque directory or something else in their place) or writes anew.
//!
//! ```text
//! layers, top first ──walk──▶ files, each against what the layers over it have on its path
//! ```

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use oci::{ImageId, LayerId};
use rootfs::{Next, Root, walk};
use store::Store;

/// So many files of a layer are named.
const NAMED: usize = 8;

/// What a layer holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LayerContents {
    /// The layer.
    pub id: Option<LayerId>,
    /// How the image's history says it was made.
    pub created_by: String,
    /// Bytes of its files. A file with several names counts once.
    pub bytes: u64,
    /// How many files it has, directories and deletions left out.
    pub files: u64,
    /// How many names of layers below it deletes: whiteouts and opaque directories.
    pub deletions: u64,
    /// The largest files, the largest first.
    pub largest: Vec<(PathBuf, u64)>,
    /// Bytes of its files that later layers hide.
    pub hidden: u64,
    /// Bytes of its files that later layers write anew.
    pub rewritten: u64,
    /// The largest of those files, the largest first.
    pub lost: Vec<LostFile>,
}

/// A file of a layer that the image does not show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LostFile {
    /// Its path.
    pub path: PathBuf,
    /// Its bytes.
    pub bytes: u64,
    /// Position, from 0, of the layer that has done it.
    pub by: usize,
    /// Whether that layer has a file of its own there.
    pub is_rewritten: bool,
}

/// An image whose layers could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LayerContentsError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The image failed.
    #[error(transparent)]
    Image(#[from] crate::image::ImageError),
    /// The store's layers do not say what they change.
    #[error("with the driver vfs each layer is a whole tree, which does not say what it hides of those below")]
    WholeTrees,
    /// A layer's files failed.
    #[error(transparent)]
    Rootfs(#[from] rootfs::Error),
}

/// What the layers of an image hold, the lowest first.
pub fn of_image(store: &Store, id: &ImageId) -> Result<Vec<LayerContents>, LayerContentsError> {
    let image = crate::image::Image::find(store, id.as_str())?;
    let Some(top) = &image.record().layer else { return Ok(Vec::new()) };
    if store.driver() == store::Driver::Vfs {
        return Err(LayerContentsError::WholeTrees);
    }
    let stack = store.layer_stack(top)?;
    let directories =
        stack.iter().rev().map(|layer| store.layer_diff_directory(&layer.id)).collect::<Result<Vec<_>, _>>()?;
    let roots = directories.iter().map(Root::open).collect::<Result<Vec<_>, _>>()?;
    let mut all = of_directories(&roots)?;
    let history = image.config().history.iter().filter(|entry| !entry.empty_layer);
    for (contents, entry) in all.iter_mut().zip(history) {
        contents.created_by.clone_from(&entry.created_by);
    }
    for (contents, layer) in all.iter_mut().zip(stack) {
        contents.id = Some(layer.id);
    }
    Ok(all)
}

/// What an upper layer does to a path of those below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    /// Deletes it, with all that is in it.
    Whiteout,
    /// Has a directory there that shows nothing of theirs.
    Opaque,
    /// Has a directory there.
    Directory,
    /// Has something else there.
    File,
}

/// What the layers over the one that is being walked have: the lowest of them that matters for a path,
/// by its position.
type Marks = HashMap<PathBuf, (usize, Mark)>;

/// A file that is not seen: by whose doing, and whether that layer has a file there.
type Lost = Option<(usize, bool)>;

/// The layers with these diff directories, top first; gives them the lowest first.
fn of_directories(roots: &[Root]) -> Result<Vec<LayerContents>, rootfs::Error> {
    let mut marks = Marks::new();
    let mut all = Vec::new();
    for (from_top, root) in roots.iter().enumerate() {
        let position = roots.len() - 1 - from_top;
        let (contents, own) = of_layer(root, &marks)?;
        all.push(contents);
        for (path, mark) in own {
            match (mark, marks.get(&path)) {
                // What already hides more stays.
                (Mark::Directory, Some(_)) => {}
                _ => _ = marks.insert(path, (position, mark)),
            }
        }
    }
    all.reverse();
    Ok(all)
}

fn of_layer(root: &Root, marks: &Marks) -> Result<(LayerContents, Vec<(PathBuf, Mark)>), rootfs::Error> {
    let mut contents = LayerContents::default();
    let mut own = Vec::new();
    let mut files: Vec<(PathBuf, u64, Lost)> = Vec::new();
    // Where the inode of a file with several names is in `files`.
    let mut linked: HashMap<(u64, u64), usize> = HashMap::new();
    // For each directory on the way down, whether what is in it is lost.
    let mut above: Vec<Lost> = Vec::new();
    walk(root, |event| {
        let entry = match event {
            rootfs::Event::Entry(entry) => entry,
            rootfs::Event::Leave(_) => {
                above.pop();
                return Ok::<_, rootfs::Error>(Next::Descend);
            }
        };
        let metadata = &entry.metadata;
        let inherited = above.last().copied().flatten();
        if metadata.is_whiteout() {
            contents.deletions += 1;
            own.push((entry.path.to_owned(), Mark::Whiteout));
            return Ok(Next::Descend);
        }
        if metadata.is_dir() {
            let is_opaque =
                layers::is_opaque(entry.dir, entry.name, false)? || layers::is_opaque(entry.dir, entry.name, true)?;
            contents.deletions += u64::from(is_opaque);
            own.push((entry.path.to_owned(), if is_opaque { Mark::Opaque } else { Mark::Directory }));
            above.push(inherited.or_else(|| below_is_lost(marks, entry.path)));
            return Ok(Next::Descend);
        }
        own.push((entry.path.to_owned(), Mark::File));
        contents.files += 1;
        let lost = inherited.or_else(|| is_lost(marks, entry.path));
        let bytes = if metadata.is_file() { metadata.size } else { 0 };
        let key = (metadata.device, metadata.inode);
        match linked.get(&key).and_then(|index| files.get_mut(*index)) {
            // Its bytes are seen if one of its names is.
            Some((_, _, earlier)) => *earlier = earlier.and(lost),
            None => {
                if metadata.nlink > 1 {
                    linked.insert(key, files.len());
                }
                files.push((entry.path.to_owned(), bytes, lost));
            }
        }
        Ok(Next::Descend)
    })?;
    add_up(&mut contents, files);
    Ok((contents, own))
}

/// Whether the upper layers show another thing than this layer's file at `path`.
fn is_lost(marks: &Marks, path: &Path) -> Lost {
    let (by, mark) = marks.get(path)?;
    Some((*by, *mark == Mark::File))
}

/// Whether the upper layers show nothing of what this layer has in the directory at `path`.
fn below_is_lost(marks: &Marks, path: &Path) -> Lost {
    let (by, mark) = marks.get(path)?;
    (*mark != Mark::Directory).then_some((*by, false))
}

fn add_up(contents: &mut LayerContents, mut files: Vec<(PathBuf, u64, Lost)>) {
    files.sort_by(|(path, bytes, _), (other_path, other_bytes, _)| other_bytes.cmp(bytes).then(path.cmp(other_path)));
    for (path, bytes, lost) in files {
        contents.bytes += bytes;
        if contents.largest.len() < NAMED && bytes > 0 {
            contents.largest.push((path.clone(), bytes));
        }
        let Some((by, is_rewritten)) = lost else { continue };
        *(if is_rewritten { &mut contents.rewritten } else { &mut contents.hidden }) += bytes;
        if contents.lost.len() < NAMED && bytes > 0 {
            contents.lost.push(LostFile { path, bytes, by, is_rewritten });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    use rootfs::{Device, FileType};

    struct Layers(tempfile::TempDir);

    impl Layers {
        fn new(count: usize) -> Layers {
            let dir = tempfile::tempdir().expect("temp dir");
            (0..count).for_each(|number| fs::create_dir(dir.path().join(number.to_string())).expect("made"));
            Layers(dir)
        }

        fn write(&self, layer: usize, path: &str, bytes: usize) {
            let path = self.0.path().join(layer.to_string()).join(path);
            fs::create_dir_all(path.parent().expect("in a layer")).expect("made");
            fs::write(path, vec![0; bytes]).expect("written");
        }

        fn root(&self, layer: usize) -> Root {
            Root::open(self.0.path().join(layer.to_string())).expect("a layer")
        }

        fn whiteout(&self, layer: usize, path: &str) {
            let root = self.root(layer);
            let parent = Path::new(path).parent().expect("relative");
            root.create_dir_all(parent, 0o755, rootfs::Owner::ROOT).expect("made");
            root.mknod(path, FileType::CharDevice, 0, Device::default()).expect("made");
        }

        fn opaque(&self, layer: usize, path: &str) {
            let root = self.root(layer);
            root.create_dir_all(path, 0o755, rootfs::Owner::ROOT).expect("made");
            root.set_xattr(path, "trusted.overlay.opaque", b"y").expect("set");
        }

        /// Bytes, hidden and rewritten bytes of each layer, the lowest first.
        fn sums(&self, count: usize) -> Vec<(u64, u64, u64)> {
            let roots: Vec<Root> = (0..count).rev().map(|number| self.root(number)).collect();
            let all = of_directories(&roots).expect("read");
            all.iter().map(|contents| (contents.bytes, contents.hidden, contents.rewritten)).collect()
        }
    }

    #[test]
    fn root_bytes_are_hidden_or_rewritten_by_the_next_layer_that_has_the_path() {
        let layers = Layers::new(3);
        layers.write(0, "etc/same", 1);
        layers.write(0, "etc/again", 10);
        layers.write(0, "gone/file", 100);
        layers.write(0, "gone/deep/file", 200);
        layers.write(0, "opaque/file", 1000);
        layers.write(0, "becomes-dir", 2000);
        layers.write(0, "becomes-file/file", 4000);
        layers.write(1, "etc/again", 20);
        layers.whiteout(1, "gone");
        layers.opaque(1, "opaque");
        layers.write(1, "opaque/new", 30);
        layers.write(1, "becomes-dir/file", 40);
        layers.write(1, "becomes-file", 50);
        layers.write(2, "etc/again", 5);
        layers.write(2, "gone/file", 6);
        assert_eq!(layers.sums(3), [(7311, 7300, 10), (140, 0, 20), (11, 0, 0)]);
        let roots = [layers.root(2), layers.root(1), layers.root(0)];
        let all = of_directories(&roots).expect("read");
        let lost = |path: &str| all[0].lost.iter().find(|lost| lost.path == Path::new(path)).cloned();
        // It is back in the third layer, but the second one has deleted it.
        let gone = LostFile { path: "gone/file".into(), bytes: 100, by: 1, is_rewritten: false };
        assert_eq!(lost("gone/file"), Some(gone));
        assert_eq!(lost("etc/again").map(|lost| (lost.by, lost.is_rewritten)), Some((1, true)));
        assert_eq!(lost("etc/same"), None);
        assert_eq!(all[0].largest.first(), Some(&(PathBuf::from("becomes-file/file"), 4000)));
        assert_eq!((all[1].deletions, all[1].files), (2, 4));
    }

    #[test]
    fn root_a_file_with_two_names_is_seen_by_either() {
        let layers = Layers::new(2);
        for name in ["a", "b"] {
            layers.write(0, &format!("{name}/one"), 100);
            let dir = layers.0.path().join("0").join(name);
            fs::hard_link(dir.join("one"), dir.join("two")).expect("linked");
            layers.whiteout(1, &format!("{name}/one"));
        }
        layers.whiteout(1, "b/two");
        assert_eq!(layers.sums(2), [(200, 100, 0), (0, 0, 0)]);
    }

    #[test]
    fn root_what_comes_back_after_an_opaque_directory_or_a_deletion_does_not_unhide() {
        let layers = Layers::new(4);
        layers.write(0, "dir/file", 1);
        layers.opaque(1, "dir");
        layers.write(2, "dir/file", 10);
        layers.whiteout(3, "dir");
        assert_eq!(layers.sums(4), [(1, 1, 0), (0, 0, 0), (10, 10, 0), (0, 0, 0)]);
    }
}
