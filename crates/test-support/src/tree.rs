//! File tree literals: `tree! { "etc/", "etc/motd" => "hi\n", "motd" -> "etc/motd" }`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// A tree to be written below a directory: entries in the order given.
#[derive(Clone, Debug, Default)]
pub struct Tree(Vec<(String, Entry)>);

#[derive(Clone, Debug)]
enum Entry {
    Dir(u32),
    File(Vec<u8>, u32),
    Symlink(String),
    Hardlink(String),
}

impl Tree {
    /// A tree of nothing.
    pub fn new() -> Tree {
        Tree::default()
    }

    /// Adds a directory with this mode; those above it come with 0755.
    pub fn dir(self, path: &str, mode: u32) -> Tree {
        self.entry(path, Entry::Dir(mode))
    }

    /// Adds a file of mode 0644.
    pub fn file(self, path: &str, content: impl AsRef<[u8]>) -> Tree {
        self.file_with_mode(path, content, 0o644)
    }

    /// Adds a file.
    pub fn file_with_mode(self, path: &str, content: impl AsRef<[u8]>, mode: u32) -> Tree {
        self.entry(path, Entry::File(content.as_ref().to_vec(), mode))
    }

    /// Adds a symbolic link.
    pub fn symlink(self, path: &str, target: &str) -> Tree {
        self.entry(path, Entry::Symlink(target.to_owned()))
    }

    /// Adds another name of the file at `target`, a path in the tree.
    pub fn hardlink(self, path: &str, target: &str) -> Tree {
        self.entry(path, Entry::Hardlink(target.to_owned()))
    }

    fn entry(mut self, path: &str, entry: Entry) -> Tree {
        self.0.push((path.trim_end_matches('/').to_owned(), entry));
        self
    }

    /// Writes the tree below `root`, which is made if missing.
    pub fn write_to(&self, root: impl AsRef<Path>) {
        let root = root.as_ref();
        fs::create_dir_all(root).expect("make the root of a tree");
        for (name, entry) in &self.0 {
            let path = root.join(name);
            fs::create_dir_all(path.parent().expect("has a parent")).expect("make directories");
            let mode = match entry {
                Entry::Dir(mode) => fs::create_dir_all(&path).map(|()| Some(*mode)),
                Entry::File(content, mode) => fs::write(&path, content).map(|()| Some(*mode)),
                Entry::Symlink(target) => std::os::unix::fs::symlink(target, &path).map(|()| None),
                Entry::Hardlink(target) => fs::hard_link(root.join(target), &path).map(|()| None),
            };
            let mode = mode.unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
            if let Some(mode) = mode {
                fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("set a mode");
            }
        }
    }
}

/// A [`Tree`]: `"dir/"`, `"file" => content`, `"symlink" -> target`, separated by commas.
#[macro_export]
macro_rules! tree {
    (@add $tree:expr $(,)?) => { $tree };
    (@add $tree:expr, $path:literal => $content:expr $(, $($rest:tt)*)?) => {
        $crate::tree!(@add $tree.file($path, $content), $($($rest)*)?)
    };
    (@add $tree:expr, $path:literal -> $target:expr $(, $($rest:tt)*)?) => {
        $crate::tree!(@add $tree.symlink($path, $target), $($($rest)*)?)
    };
    (@add $tree:expr, $path:literal $(, $($rest:tt)*)?) => {
        $crate::tree!(@add $tree.dir($path, 0o755), $($($rest)*)?)
    };
    ($($entries:tt)*) => { $crate::tree!(@add $crate::Tree::new(), $($entries)*) };
}

#[cfg(test)]
mod tests {
    #[test]
    fn tree_literal_is_written() {
        let dir = tempfile::tempdir().expect("make a temporary directory");
        tree! { "etc/", "etc/motd" => "hi\n", "motd" -> "etc/motd", }.hardlink("same", "etc/motd").write_to(dir.path());
        assert_eq!(std::fs::read_to_string(dir.path().join("motd")).expect("read"), "hi\n");
        assert_eq!(std::fs::read_to_string(dir.path().join("same")).expect("read"), "hi\n");
    }
}
