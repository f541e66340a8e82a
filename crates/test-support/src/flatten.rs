//! What a container would see of an image: its layers put over each other, whiteouts applied, and
//! a line of text for each file.
//!
//! ```text
//! d 755 0:0 /etc
//! - 644 0:0 /etc/motd "hello\n"
//! - 755 1000:1000 /bin/big sha256:…            long content, or content that is not UTF-8
//! l 0:0 /bin/sh -> busybox
//! - 755 0:0 /bin/again == /bin/busybox         another name of a file; the first in the alphabet has the content
//! p 644 0:0 /fifo
//! c 600 0:0 /dev/x
//! - 755 0:0 /bin/ping "…" user.note="x"        extended attributes in the end
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use crate::validate::{File, Image, Layer};

/// The files of an image by path, which has no slash at either end.
pub type Files = BTreeMap<String, Seen>;

/// A file as a container sees it. A hard link has the metadata and content of its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Metadata and content.
    pub file: File,
    /// Number of the layer and of the entry that made the file: the same for all its names.
    pub inode: (usize, usize),
}

impl Image {
    /// What a container would see.
    #[track_caller]
    pub fn files(&self) -> Files {
        let mut files = Files::new();
        for (number, layer) in self.layers.iter().enumerate() {
            apply(layer, number, &mut files);
        }
        files
    }
}

#[track_caller]
fn apply(layer: &Layer, number: usize, files: &mut Files) {
    let own: BTreeSet<&str> = layer.entries.iter().map(|(path, _)| path.as_str()).collect();
    for (index, (path, file)) in layer.entries.iter().enumerate() {
        let (dir, name) = path.rsplit_once('/').unwrap_or(("", path));
        if name == ".wh..wh..opq" {
            files.retain(|path, _| !is_below(path, dir) || own.contains(path.as_str()));
        } else if let Some(gone) = name.strip_prefix(".wh.") {
            let gone = if dir.is_empty() { gone.to_owned() } else { format!("{dir}/{gone}") };
            files.retain(|path, _| *path != gone && !is_below(path, &gone));
        } else if !path.is_empty() {
            let seen = if file.kind == '1' {
                let target = file.link.trim_start_matches("./").trim_matches('/');
                files.get(target).cloned().unwrap_or_else(|| panic!("{path} is a link to {target}, which is missing"))
            } else {
                Seen { file: file.clone(), inode: (number, index) }
            };
            if file.kind != '5' {
                files.retain(|old, _| !is_below(old, path));
            }
            files.insert(path.clone(), seen);
        }
    }
}

fn is_below(path: &str, dir: &str) -> bool {
    dir.is_empty() || path.strip_prefix(dir).is_some_and(|rest| rest.starts_with('/'))
}

/// The line of each file, by path.
pub fn lines(files: &Files) -> BTreeMap<String, String> {
    let mut names: BTreeMap<(usize, usize), &str> = BTreeMap::new();
    let mut lines = BTreeMap::new();
    for (path, seen) in files {
        let first = *names.entry(seen.inode).or_insert(path);
        lines.insert(path.clone(), line(path, &seen.file, (first != path).then_some(first)));
    }
    lines
}

/// What `files` has that `base` has not or has otherwise, as lines, and `gone PATH` for what is missing; by path.
pub fn changes(base: &Files, files: &Files) -> Vec<String> {
    let (old, new) = (lines(base), lines(files));
    let paths: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let changed = paths.into_iter().filter(|path| old.get(*path) != new.get(*path));
    changed
        .filter_map(|path| match new.get(path) {
            Some(line) => Some(line.clone()),
            // That a directory is gone says so of what was in it.
            None if path.rsplit_once('/').is_some_and(|(dir, _)| old.contains_key(dir) && !new.contains_key(dir)) => {
                None
            }
            None => Some(format!("gone /{path}")),
        })
        .collect()
}

fn line(path: &str, file: &File, same_as: Option<&str>) -> String {
    let owner = format!("{}:{}", file.owner.0, file.owner.1);
    let mut line = match file.kind {
        '2' => return format!("l {owner} /{path} -> {}", file.link),
        '5' => format!("d {:o} {owner} /{path}", file.mode),
        '6' => format!("p {:o} {owner} /{path}", file.mode),
        '3' => format!("c {:o} {owner} /{path}", file.mode),
        '4' => format!("b {:o} {owner} /{path}", file.mode),
        _ => format!(
            "- {:o} {owner} /{path} {}",
            file.mode,
            same_as.map_or_else(|| content(file), |same| format!("== /{same}"))
        ),
    };
    for (name, value) in &file.pax {
        if let Some(name) = name.strip_prefix("SCHILY.xattr.") {
            let _ = write!(line, " {name}={value:?}");
        }
    }
    line
}

fn content(file: &File) -> String {
    let whole = file.start.len() as u64 == file.size;
    match std::str::from_utf8(&file.start) {
        Ok(text) if whole => serde_json::Value::from(text).to_string(),
        _ => file.content.clone(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use super::*;
    use crate::base_image::write_layout;
    use crate::case;
    use crate::tool::Tool;
    use crate::validate::oci_layout;

    fn image(dir: &Path, layers: &[&str]) -> Image {
        let tars: Vec<Vec<u8>> = layers.iter().map(|layer| case::tar(layer).expect("lines of a tree")).collect();
        write_layout(dir, "latest", &tars, true, &serde_json::json!({}));
        oci_layout(dir, "latest")
    }

    const BELOW: &str = "d 755 0:0 /d\n- 644 1:2 /d/a \"a\\n\"\n- 644 0:0 /d/b \"b\"\nd 700 0:0 /e\n- 600 0:0 /e/x \"x\"\n\
        d 755 0:0 /e/sub\n- 644 0:0 /e/sub/y \"y\"\n- 644 0:0 /f \"file\"\nl 0:0 /l -> d/a\n";
    const ABOVE: &str = "- 644 0:0 /d/.wh.a \"\"\nd 755 5:5 /e\n- 644 0:0 /e/.wh..wh..opq \"\"\n- 644 0:0 /e/new \"n\"\n\
        d 755 0:0 /f\n- 644 0:0 /f/in \"i\"\n- 644 0:0 /l \"no link\"\n- 644 0:0 /m == /l\np 644 0:0 /p\n";

    #[test]
    fn tree_layers_are_put_over_each_other() {
        let dir = tempfile::tempdir().expect("make a temporary directory");
        let both = image(&dir.path().join("both"), &[BELOW, ABOVE]);
        let found: Vec<String> = lines(&both.files()).into_values().collect();
        let expected = [
            "d 755 0:0 /d",
            "- 644 0:0 /d/b \"b\"",
            "d 755 5:5 /e",
            "- 644 0:0 /e/new \"n\"",
            "d 755 0:0 /f",
            "- 644 0:0 /f/in \"i\"",
            "- 644 0:0 /l \"no link\"",
            "- 644 0:0 /m == /l",
            "p 644 0:0 /p",
        ];
        assert_eq!(found, expected);
        let below = image(&dir.path().join("below"), &[BELOW]);
        let expected = [
            "gone /d/a",
            "d 755 5:5 /e",
            "- 644 0:0 /e/new \"n\"",
            "gone /e/sub",
            "gone /e/x",
            "d 755 0:0 /f",
            "- 644 0:0 /f/in \"i\"",
            "- 644 0:0 /l \"no link\"",
            "- 644 0:0 /m == /l",
            "p 644 0:0 /p",
        ];
        assert_eq!(changes(&below.files(), &both.files()), expected);
    }

    #[test]
    fn tree_a_layer_alone_is_what_gnu_tar_unpacks() {
        let dir = tempfile::tempdir().expect("make a temporary directory");
        let files = image(&dir.path().join("layout"), &[BELOW]).files();
        let out = dir.path().join("out");
        std::fs::create_dir(&out).expect("make a directory");
        std::fs::write(dir.path().join("tar"), case::tar(BELOW).expect("lines of a tree")).expect("write");
        Tool::new("tar").args(["-x", "--same-permissions", "-f"]).arg(dir.path().join("tar")).arg("-C").arg(&out).ok();
        let found = Tool::new("find").arg(&out).args(["-mindepth", "1", "-printf", "%P %m %s %y %l.\n"]).ok();
        let found: BTreeMap<&str, &str> =
            found.lines().filter_map(|line| line.trim_end_matches('.').split_once(' ')).collect();
        let expected = files.iter().map(|(path, seen)| {
            let file = &seen.file;
            let (kind, size) = match file.kind {
                '5' => ('d', None),
                '2' => ('l', Some(file.link.len() as u64)),
                _ => ('f', Some(file.size)),
            };
            (path.as_str(), file.mode, kind, size, file.link.as_str())
        });
        for (path, mode, kind, size, link) in expected {
            let words: Vec<&str> = found[path].split(' ').collect();
            assert_eq!((words[0], words[2], words[3]), (format!("{mode:o}").as_str(), kind.to_string().as_str(), link));
            assert!(size.is_none_or(|size| size.to_string() == words[1]), "{path}");
        }
        assert_eq!(found.len(), files.len());
    }
}
