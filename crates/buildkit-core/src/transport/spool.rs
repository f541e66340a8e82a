//! Blobs being written to a directory: under a temporary name until their digest is known.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use oci::Digest;
use tempfile::NamedTempFile;

use super::{BlobSink, TransportError, plain};
use crate::transfer::TransferError;

/// A file that gets its name from its digest.
pub(super) struct SpooledBlob {
    file: BufWriter<NamedTempFile>,
    target: Box<dyn Fn(&Digest) -> PathBuf + Send>,
}

impl SpooledBlob {
    /// A file in `directory`, which is moved to `target(digest)` below the same file system.
    pub(super) fn new(
        directory: &Path,
        target: impl Fn(&Digest) -> PathBuf + Send + 'static,
    ) -> Result<SpooledBlob, TransportError> {
        let file = tempfile::Builder::new()
            .prefix(".gabion-blob-")
            .tempfile_in(directory)
            .map_err(|error| TransportError::write(directory, &error))?;
        Ok(SpooledBlob { file: BufWriter::with_capacity(128 * 1024, file), target: Box::new(target) })
    }
}

impl Write for SpooledBlob {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.file.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl BlobSink for SpooledBlob {
    fn finish(self: Box<Self>, digest: &Digest, _size: u64) -> Result<(), TransferError> {
        let target = (self.target)(digest);
        let file = self.file.into_inner().map_err(|error| TransportError::write(&target, error.error()))?;
        keep(file, &target)?;
        Ok(())
    }
}

/// Moves `file` to `target`, readable by all as files of layouts are.
fn keep(file: NamedTempFile, target: &Path) -> Result<(), TransportError> {
    use std::os::unix::fs::PermissionsExt;
    if let Some(parent) = target.parent() {
        fs::create_dir_all(parent).map_err(|error| TransportError::write(parent, &error))?;
    }
    file.as_file()
        .set_permissions(fs::Permissions::from_mode(0o644))
        .map_err(|error| TransportError::write(target, &error))?;
    file.persist(target).map_err(|error| TransportError::write(target, &error.error))?;
    Ok(())
}

/// Replaces the small file `target` in one step.
pub(super) fn write_file(target: &Path, bytes: &[u8]) -> Result<(), TransportError> {
    let directory = target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new()
        .prefix(".gabion-file-")
        .tempfile_in(directory)
        .map_err(|error| TransportError::write(target, &error))?;
    file.write_all(bytes).map_err(|error| TransportError::write(target, &error))?;
    keep(file, target)
}

/// Reads a small file, longer than `limit` bytes being an error.
pub(super) fn read_file(path: &Path, limit: usize) -> Result<Vec<u8>, TransportError> {
    use std::io::Read;
    let failed = |error: io::Error| TransportError::Read { path: path.to_owned(), reason: plain(&error) };
    let file = open_regular(path)?;
    let mut bytes = Vec::new();
    file.take(limit as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() > limit {
        let reason = format!("it is longer than {limit} bytes");
        return Err(TransportError::Read { path: path.to_owned(), reason });
    }
    Ok(bytes)
}

/// Opens a regular file; a FIFO or device in its place is an error and not a wait.
pub(crate) fn open_regular(path: &Path) -> Result<File, TransportError> {
    let failed = |error: io::Error| TransportError::read(path, &error);
    let metadata = fs::metadata(path).map_err(failed)?;
    if !metadata.is_file() {
        return Err(TransportError::Read { path: path.to_owned(), reason: "it is not a regular file".into() });
    }
    File::open(path).map_err(failed)
}

/// An archive being written: under a temporary name until it is complete.
pub(crate) struct Archive {
    file: BufWriter<NamedTempFile>,
}

impl Archive {
    pub(crate) fn create(path: &Path) -> Result<Archive, TransportError> {
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let file = tempfile::Builder::new()
            .prefix(".gabion-archive-")
            .tempfile_in(parent)
            .map_err(|error| TransportError::write(path, &error))?;
        Ok(Archive { file: BufWriter::with_capacity(128 * 1024, file) })
    }

    pub(crate) fn keep(self, path: &Path) -> Result<(), TransportError> {
        let file = self.file.into_inner().map_err(|error| TransportError::write(path, error.error()))?;
        keep(file, path)
    }
}

impl Write for Archive {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.file.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
