//! `dir:PATH`: a directory with `manifest.json`, `version`, and each blob under its hex digest.

use std::fs;
use std::path::{Path, PathBuf};

use oci::{Digest, Format, Manifest};

use super::spool::{SpooledBlob, open_regular, read_file, write_file};
use super::verified::Verified;
use super::{BlobSink, BlobStream, LayerForm, MAX_DOCUMENT, RawManifest, Sink, Source, TransportError};
use crate::transfer::TransferError;

const VERSION_FILE: &str = "version";
const VERSION: &str = "Directory Transport Version: 1.1\n";
/// What all versions of the format begin with.
const VERSION_PREFIX: &str = "Directory Transport Version: ";

/// An image in a directory.
pub struct DirSource {
    path: PathBuf,
}

impl DirSource {
    /// The image at `path`, whose manifest must be there.
    pub fn open(path: &Path) -> Result<DirSource, TransportError> {
        open_regular(&path.join("manifest.json"))?;
        Ok(DirSource { path: path.to_owned() })
    }
}

impl Source for DirSource {
    fn name(&self) -> String {
        format!("dir:{}", self.path.display())
    }

    fn manifest(&self, instance: Option<&Digest>) -> Result<RawManifest, TransferError> {
        let name = match instance {
            None => "manifest.json".to_owned(),
            Some(digest) => format!("{}.manifest.json", digest.hex()),
        };
        let bytes = read_file(&self.path.join(name), MAX_DOCUMENT)?;
        Ok(RawManifest { bytes, media_type: None })
    }

    fn blob(&self, digest: &Digest, size: Option<u64>) -> Result<BlobStream<'_>, TransferError> {
        let file = open_regular(&self.path.join(digest.hex()))?;
        Ok(Box::new(Verified::new(file, self.name(), digest, size)))
    }

    fn store_names(&self) -> Vec<String> {
        // A path is no name; the image is found by its ID.
        Vec::new()
    }
}

/// A directory to hold one image.
pub struct DirSink {
    path: PathBuf,
}

impl DirSink {
    /// Prepares `path`: a new or empty directory, or one with an image, which is removed.
    pub fn create(path: &Path) -> Result<DirSink, TransportError> {
        fs::create_dir_all(path).map_err(|error| TransportError::write(path, &error))?;
        let entries: Vec<_> = fs::read_dir(path)
            .and_then(|entries| entries.collect::<Result<_, _>>())
            .map_err(|error| TransportError::read(path, &error))?;
        if !entries.is_empty() {
            let version = read_file(&path.join(VERSION_FILE), 1024).unwrap_or_default();
            if !version.starts_with(VERSION_PREFIX.as_bytes()) {
                return Err(TransportError::Write {
                    path: path.to_owned(),
                    reason: "the directory is not empty and holds no image of this kind".into(),
                });
            }
            for entry in entries {
                // Only files have a place in the format; anything else is somebody's own.
                if entry.file_type().is_ok_and(|kind| kind.is_file()) {
                    fs::remove_file(entry.path()).map_err(|error| TransportError::write(entry.path(), &error))?;
                }
            }
        }
        write_file(&path.join(VERSION_FILE), VERSION.as_bytes())?;
        Ok(DirSink { path: path.to_owned() })
    }
}

impl Sink for DirSink {
    fn name(&self) -> String {
        format!("dir:{}", self.path.display())
    }

    fn formats(&self) -> &'static [Format] {
        &[Format::Oci, Format::Docker]
    }

    fn layer_form(&self) -> LayerForm {
        LayerForm::Compressed
    }

    fn has_blob(&self, digest: &Digest) -> Result<Option<u64>, TransferError> {
        Ok(fs::metadata(self.path.join(digest.hex())).ok().map(|metadata| metadata.len()))
    }

    fn new_blob(&self) -> Result<Box<dyn BlobSink + '_>, TransferError> {
        let path = self.path.clone();
        Ok(Box::new(SpooledBlob::new(&self.path, move |digest| path.join(digest.hex()))?))
    }

    fn put_manifest(&self, manifest: &Manifest) -> Result<(), TransferError> {
        self.put_index(manifest.format().manifest(), manifest.bytes())
    }

    fn put_instance(&self, _media_type: &str, bytes: &[u8]) -> Result<(), TransferError> {
        let name = format!("{}.manifest.json", Digest::of(bytes).hex());
        Ok(write_file(&self.path.join(name), bytes)?)
    }

    fn put_index(&self, _media_type: &str, bytes: &[u8]) -> Result<(), TransferError> {
        Ok(write_file(&self.path.join("manifest.json"), bytes)?)
    }
}
