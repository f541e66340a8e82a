//! Cases of builds, a text file each: what to build, and the files and config that must come out.
//! `tests/corpus/README.md` describes the format.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use serde_json::Value;

/// A case as it is written down.
#[derive(Debug)]
pub struct Case {
    /// The file's name without its end.
    pub name: String,
    sections: Vec<Section>,
}

#[derive(Debug)]
struct Section {
    title: String,
    body: String,
}

/// Titles that stand alone.
const PLAIN: [&str; 14] = [
    "Dockerfile",
    "context",
    "args",
    "env",
    "stdin",
    "tree",
    "config",
    "about",
    "history",
    "times",
    "output",
    "silent",
    "error",
    "layers",
];
/// Titles that are followed by something.
const WITH_WORDS: [&str; 7] = ["file", "dir", "link", "fifo", "tar", "image", "run"];

impl Case {
    /// Reads all cases in files `NAME.case` below `dir`, by name.
    pub fn read_all(dir: &Path) -> Vec<Case> {
        let mut cases = Vec::new();
        let mut dirs = vec![dir.to_owned()];
        while let Some(dir) = dirs.pop() {
            for entry in fs::read_dir(&dir).unwrap_or_else(|error| panic!("cannot read {}: {error}", dir.display())) {
                let path = entry.expect("read a directory").path();
                if path.is_dir() {
                    dirs.push(path);
                } else if let Some(name) = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".case")) {
                    let text = fs::read_to_string(&path).expect("read a case");
                    cases.push(Case::parse(name, &text).unwrap_or_else(|error| panic!("{}: {error}", path.display())));
                }
            }
        }
        cases.sort_by(|one, other| one.name.cmp(&other.name));
        let twice = cases.windows(2).find(|pair| pair[0].name == pair[1].name);
        assert!(twice.is_none(), "two cases of one name: {twice:?}");
        cases
    }

    /// Reads a case.
    ///
    /// # Errors
    /// A line that says what is wrong.
    pub fn parse(name: &str, text: &str) -> Result<Case, String> {
        let mut sections: Vec<Section> = Vec::new();
        let text = text.replace('\u{240d}', "\r").replace("\u{2039}BOM\u{203a}", "\u{feff}");
        for line in text.split_inclusive('\n') {
            if let Some(title) = line.strip_prefix("== ") {
                let title = title.trim().to_owned();
                let keyword = title.split(' ').next().unwrap_or_default();
                if !PLAIN.contains(&title.as_str()) && !WITH_WORDS.contains(&keyword) {
                    return Err(format!("what is a section {title:?}?"));
                }
                sections.push(Section { title, body: String::new() });
            } else if let Some(section) = sections.last_mut() {
                section.body.push_str(line);
            }
        }
        // An empty line in front of the next title is there for the eye.
        for section in &mut sections {
            if let Some(body) = section.body.strip_suffix("\n\n").map(|body| format!("{body}\n")) {
                section.body = body;
            } else if section.body == "\n" {
                section.body.clear();
            }
        }
        if let Some(section) = sections.iter().find(|section| section.title == "file Dockerfile") {
            return Err(format!("write `== Dockerfile` instead of {:?}", section.title));
        }
        Ok(Case { name: name.to_owned(), sections })
    }

    /// The text of the section `title`.
    pub fn section(&self, title: &str) -> Option<&str> {
        self.sections.iter().find(|section| section.title == title).map(|section| section.body.as_str())
    }

    /// The lines of the section `title` that are not empty.
    pub fn lines(&self, title: &str) -> Vec<&str> {
        self.section(title).into_iter().flat_map(str::lines).filter(|line| !line.is_empty()).collect()
    }

    /// The section `title` as JSON.
    ///
    /// # Errors
    /// A line that says what is wrong.
    pub fn json(&self, title: &str) -> Result<Option<Value>, String> {
        let Some(text) = self.section(title) else { return Ok(None) };
        serde_json::from_str(text).map(Some).map_err(|error| format!("section {title}: {error}"))
    }

    /// Sections `keyword WORDS`: the words and the text.
    pub fn all<'a>(&'a self, keyword: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.sections.iter().filter_map(move |section| {
            let words = section.title.strip_prefix(keyword)?;
            (words.is_empty() || words.starts_with(' ')).then(|| (words.trim_start(), section.body.as_str()))
        })
    }

    /// Writes the context to `dir`/context, and what lies beside it (`../NAME`); gives the context.
    ///
    /// # Errors
    /// A line that says what is wrong.
    pub fn write_context(&self, dir: &Path) -> Result<PathBuf, String> {
        let context = dir.join("context");
        fs::create_dir_all(&context).map_err(|error| error.to_string())?;
        let mut modes = Vec::new();
        for section in &self.sections {
            let mut words = section.title.split(' ');
            let keyword = words.next().unwrap_or_default();
            let words: Vec<&str> = words.collect();
            let path = |name: &str| -> Result<PathBuf, String> {
                let path = context.join(unquote(name));
                path.parent().map_or(Ok(()), fs::create_dir_all).map_err(|error| format!("{name}: {error}"))?;
                Ok(path)
            };
            let done = match (keyword, words.as_slice()) {
                ("Dockerfile", []) => fs::write(path("Dockerfile")?, &section.body),
                ("file" | "dir", [name, mode @ ..]) => {
                    if let [mode] = mode {
                        let mode = u32::from_str_radix(mode, 8).map_err(|error| format!("mode {mode}: {error}"))?;
                        modes.push((path(name)?, mode));
                    }
                    if keyword == "dir" {
                        fs::create_dir_all(path(name)?)
                    } else {
                        fs::write(path(name)?, &section.body)
                    }
                }
                ("link", [name, "->", target]) => symlink(target, path(name)?),
                ("fifo", [name]) => {
                    rustix::fs::mkfifoat(rustix::fs::CWD, path(name)?, 0o644.into()).map_err(std::io::Error::from)
                }
                ("tar", [name]) => fs::write(path(name)?, tar(&section.body)?),
                ("tar", [name, "gz"]) => fs::write(path(name)?, crate::base_image::compress(&tar(&section.body)?)),
                ("file" | "dir" | "link" | "fifo" | "tar", _) => return Err(format!("section {:?}", section.title)),
                _ => Ok(()),
            };
            done.map_err(|error| format!("{}: {error}", section.title))?;
        }
        for (path, mode) in modes {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).map_err(|error| error.to_string())?;
        }
        Ok(context)
    }
}

/// Names of files may have `\_` for a space.
fn unquote(name: &str) -> String {
    name.replace("\\_", " ")
}

/// A tar of the files that the lines of [`crate::flatten`] describe, in their order.
///
/// # Errors
/// A line that says what is wrong.
pub fn tar(lines: &str) -> Result<Vec<u8>, String> {
    let mut tar = tar::Builder::new(Vec::new());
    for line in lines.lines().filter(|line| !line.is_empty()) {
        append(&mut tar, line).ok_or_else(|| format!("no line of a tree: {line}"))?;
    }
    tar.into_inner().map_err(|error| error.to_string())
}

fn append(tar: &mut tar::Builder<Vec<u8>>, line: &str) -> Option<()> {
    let (kind, rest) = line.split_once(' ')?;
    let (mode, rest) = if kind == "l" { ("777", rest) } else { rest.split_once(' ')? };
    let (owner, rest) = rest.split_once(' ')?;
    let (path, rest) = rest.split_once(' ').unwrap_or((rest, ""));
    let (uid, gid) = owner.split_once(':')?;
    let mut header = tar::Header::new_ustar();
    header.set_mode(u32::from_str_radix(mode, 8).ok()?);
    header.set_uid(uid.parse().ok()?);
    header.set_gid(gid.parse().ok()?);
    header.set_mtime(1_500_000_000);
    header.set_size(0);
    let path = path.strip_prefix('/')?;
    let mut put = |header: &mut tar::Header, kind, target: Option<&str>, content: &str| {
        header.set_entry_type(kind);
        header.set_size(content.len() as u64);
        match target {
            Some(target) => tar.append_link(header, path, target),
            None => tar.append_data(header, path, content.as_bytes()),
        }
        .ok()
    };
    match kind {
        "d" => put(&mut header, tar::EntryType::Directory, None, ""),
        "p" => put(&mut header, tar::EntryType::Fifo, None, ""),
        "l" => put(&mut header, tar::EntryType::Symlink, Some(rest.strip_prefix("-> ")?), ""),
        "-" => match rest.strip_prefix("== /") {
            Some(target) => put(&mut header, tar::EntryType::Link, Some(target), ""),
            None => put(&mut header, tar::EntryType::Regular, None, &serde_json::from_str::<String>(rest).ok()?),
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tree_a_case_is_read() {
        let text = "What it shows.\n\n== Dockerfile\nFROM a\n\n# end\n\n== file d/x 600\nx\n\n== link l -> d/x\n== args\n--squash\n\n\
            == config\n{\"A\": 1}\n";
        let case = Case::parse("name", text).expect("a case");
        assert_eq!(case.section("Dockerfile"), Some("FROM a\n\n# end\n"));
        assert_eq!(case.lines("args"), ["--squash"]);
        assert_eq!(case.json("config").expect("JSON").expect("a section")["A"], 1);
        let dir = tempfile::tempdir().expect("make a temporary directory");
        let context = case.write_context(dir.path()).expect("write");
        assert_eq!(fs::read_to_string(context.join("l")).expect("read"), "x\n");
        assert_eq!(fs::metadata(context.join("d/x")).expect("metadata").permissions().mode() & 0o777, 0o600);
        assert!(Case::parse("name", "== trees\n").expect_err("no such section").contains("trees"));
    }
}
