//! Reading a tar archive by the names in it. Compressed ones are unpacked to an unnamed file first.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Component, Path, PathBuf};

use layers::Decompressor;

use super::spool::open_regular;
use super::{TransportError, plain};

/// Links followed from one name to the next.
const MAX_LINKS: usize = 8;

/// An archive whose entries are known.
pub(super) struct ArchiveFile {
    path: PathBuf,
    file: File,
    entries: HashMap<String, Place>,
}

#[derive(Clone)]
enum Place {
    File { offset: u64, size: u64 },
    Link(String),
}

impl ArchiveFile {
    /// Reads the names in the archive at `path`.
    pub(super) fn open(path: &Path) -> Result<ArchiveFile, TransportError> {
        let mut file = open_regular(path)?;
        let read = |error: io::Error| TransportError::read(path, &error);
        let mut start = [0; layers::compression::MAGIC_LEN];
        let known = file.read_at(&mut start, 0).map_err(read)?;
        let compressed =
            layers::compression::detect(start.get(..known).unwrap_or_default()) != layers::Compression::None;
        if compressed {
            // Beside the archive: where there was room for it there may be room for its content.
            let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
            let mut plain =
                tempfile::tempfile_in(directory).map_err(|error| TransportError::write(directory, &error))?;
            let mut decompressor = Decompressor::new(&file).map_err(read)?;
            io::copy(&mut decompressor, &mut plain).map_err(read)?;
            drop(decompressor);
            file = plain;
        }
        let entries = scan(&mut file).map_err(|error| TransportError::Invalid {
            path: path.to_owned(),
            kind: "tar archive",
            reason: plain(&error),
        })?;
        Ok(ArchiveFile { path: path.to_owned(), file, entries })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether there is a file `name`.
    pub(super) fn has(&self, name: &str) -> bool {
        self.place(name).is_some()
    }

    fn place(&self, name: &str) -> Option<(u64, u64)> {
        let mut name = clean(Path::new(name))?;
        for _ in 0..MAX_LINKS {
            match self.entries.get(&name)? {
                Place::File { offset, size } => return Some((*offset, *size)),
                Place::Link(target) => name = target.clone(),
            }
        }
        None
    }

    /// Size of the file `name`.
    pub(super) fn size(&self, name: &str) -> Result<u64, TransportError> {
        self.place(name).map(|(_, size)| size).ok_or_else(|| self.missing(name))
    }

    fn missing(&self, name: &str) -> TransportError {
        TransportError::Invalid {
            path: self.path.clone(),
            kind: "image archive",
            reason: format!("it has no file {name:?}"),
        }
    }

    /// The content of the file `name`, as a stream.
    pub(super) fn stream(&self, name: &str) -> Result<impl Read + Send + use<>, TransportError> {
        let (offset, size) = self.place(name).ok_or_else(|| self.missing(name))?;
        let file = self.file.try_clone().map_err(|error| TransportError::read(&self.path, &error))?;
        Ok(BufReader::with_capacity(128 * 1024, Section { file, offset, left: size }))
    }

    /// The content of the small file `name`.
    pub(super) fn read(&self, name: &str, limit: usize) -> Result<Vec<u8>, TransportError> {
        if self.size(name)? > limit as u64 {
            let reason = format!("its file {name:?} is longer than {limit} bytes");
            return Err(TransportError::Invalid { path: self.path.clone(), kind: "image archive", reason });
        }
        let mut bytes = Vec::new();
        self.stream(name)?.read_to_end(&mut bytes).map_err(|error| TransportError::read(&self.path, &error))?;
        Ok(bytes)
    }
}

fn scan(file: &mut File) -> io::Result<HashMap<String, Place>> {
    let length = file.seek(SeekFrom::End(0))?;
    file.seek(SeekFrom::Start(0))?;
    let mut archive = tar::Archive::new(BufReader::new(file));
    let mut entries = HashMap::new();
    for entry in archive.entries_with_seek()? {
        let entry = entry?;
        let Some(name) = clean(&entry.path()?) else { continue };
        let kind = entry.header().entry_type();
        if kind.is_file() {
            let (offset, size) = (entry.raw_file_position(), entry.size());
            if offset.checked_add(size).is_none_or(|end| end > length) {
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    format!("it ends within {name:?}: it is truncated"),
                ));
            }
            entries.insert(name, Place::File { offset, size });
        } else if kind.is_symlink() || kind.is_hard_link() {
            let Some(target) = entry.link_name()? else { continue };
            let target = match Path::new(&name).parent() {
                Some(parent) if kind.is_symlink() => parent.join(&target),
                _ => target.into_owned(),
            };
            if let Some(target) = clean(&target) {
                entries.insert(name, Place::Link(target));
            }
        }
    }
    Ok(entries)
}

/// The name without `.` and `..`, or `None` if it leads out of the archive or is not text.
fn clean(path: &Path) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(part) => parts.push(part.to_str()?),
            Component::ParentDir => {
                parts.pop()?;
            }
            Component::CurDir => {}
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(parts.join("/"))
}

/// A part of a file that several readers may read at once.
struct Section {
    file: File,
    offset: u64,
    left: u64,
}

impl Read for Section {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let wanted = usize::try_from(self.left).unwrap_or(usize::MAX).min(buf.len());
        let n = self.file.read_at(buf.get_mut(..wanted).unwrap_or_default(), self.offset)?;
        if n == 0 && wanted > 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the archive became shorter"));
        }
        self.offset += n as u64;
        self.left -= n as u64;
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pure_names_stay_in_the_archive() {
        for (name, expected) in [
            ("a/b", Some("a/b")),
            ("./a", Some("a")),
            ("x/../a", Some("a")),
            ("../a", None),
            ("/a", None),
            ("x/../../a", None),
        ] {
            assert_eq!(clean(Path::new(name)).as_deref(), expected, "{name}");
        }
    }
}
