//! `oci-archive:PATH[:NAME]`: an OCI image layout in a tar file.

use std::fs::File;
use std::path::{Path, PathBuf};

use oci::{Digest, Format, Manifest};
use tempfile::TempDir;

use super::archive_file::ArchiveFile;
use super::oci_layout::{LayoutFiles, OciSink, OciSource};
use super::{BlobSink, LayerForm, Sink, TransportError, spool};
use crate::transfer::TransferError;

/// Opens the image `name` of the archive at `path`; without a name its only one.
pub fn open(path: &Path, name: Option<&str>) -> Result<OciSource, TransportError> {
    OciSource::choose(LayoutFiles::Archive(ArchiveFile::open(path)?), "oci-archive", name)
}

/// An archive being made: a layout in a temporary directory beside it until it is complete.
pub struct OciArchiveSink {
    layout: OciSink,
    directory: TempDir,
    path: PathBuf,
}

impl OciArchiveSink {
    /// An archive at `path`, which replaces what is there when it is complete.
    pub fn create(path: &Path, name: Option<&str>) -> Result<OciArchiveSink, TransportError> {
        let directory = spool_directory(path)?;
        let layout = OciSink::create_shown(directory.path(), name, "oci-archive", path)?;
        Ok(OciArchiveSink { layout, directory, path: path.to_owned() })
    }

    fn write_archive(&self) -> Result<(), TransportError> {
        let root = self.directory.path();
        let mut names = Vec::new();
        for entry in walkdir::WalkDir::new(root).min_depth(1).sort_by_file_name() {
            let entry =
                entry.map_err(|error| TransportError::Read { path: root.to_owned(), reason: error.to_string() })?;
            names.push(entry);
        }
        write_tar(&self.path, |archive| {
            for entry in &names {
                let name = entry.path().strip_prefix(root).unwrap_or(entry.path());
                let mut header = tar::Header::new_gnu();
                if entry.file_type().is_dir() {
                    header.set_entry_type(tar::EntryType::Directory);
                    header.set_mode(0o755);
                    header.set_size(0);
                    archive.append_data(&mut header, format!("{}/", name.display()), std::io::empty())?;
                } else {
                    let file = File::open(entry.path())?;
                    header.set_mode(0o644);
                    header.set_size(file.metadata()?.len());
                    archive.append_data(&mut header, name, file)?;
                }
            }
            Ok(())
        })
    }
}

/// A directory for what will be part of the archive at `path`, on the same file system.
pub(super) fn spool_directory(path: &Path) -> Result<TempDir, TransportError> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    tempfile::Builder::new()
        .prefix(".gabion-archive-")
        .tempdir_in(parent)
        .map_err(|error| TransportError::write(path, &error))
}

/// Makes the archive at `path` in one step: all of it or nothing.
pub(super) fn write_tar(
    path: &Path,
    fill: impl FnOnce(&mut tar::Builder<&mut spool::Archive>) -> std::io::Result<()>,
) -> Result<(), TransportError> {
    let mut file = spool::Archive::create(path)?;
    let mut archive = tar::Builder::new(&mut file);
    archive.mode(tar::HeaderMode::Deterministic);
    fill(&mut archive).and_then(|()| archive.finish()).map_err(|error| TransportError::write(path, &error))?;
    drop(archive);
    file.keep(path)
}

impl Sink for OciArchiveSink {
    fn name(&self) -> String {
        self.layout.name()
    }

    fn formats(&self) -> &'static [Format] {
        self.layout.formats()
    }

    fn layer_form(&self) -> LayerForm {
        self.layout.layer_form()
    }

    fn has_blob(&self, digest: &Digest) -> Result<Option<u64>, TransferError> {
        self.layout.has_blob(digest)
    }

    fn new_blob(&self) -> Result<Box<dyn BlobSink + '_>, TransferError> {
        self.layout.new_blob()
    }

    fn put_manifest(&self, manifest: &Manifest) -> Result<(), TransferError> {
        self.put_index(manifest.format().manifest(), manifest.bytes())
    }

    fn put_instance(&self, media_type: &str, bytes: &[u8]) -> Result<(), TransferError> {
        self.layout.put_instance(media_type, bytes)
    }

    fn put_index(&self, media_type: &str, bytes: &[u8]) -> Result<(), TransferError> {
        self.layout.put_index(media_type, bytes)?;
        self.write_archive()?;
        Ok(())
    }
}
