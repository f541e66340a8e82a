//! What is stored beside an image's record: config, manifests, signatures.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::PathBuf;

use oci::{Digest, ImageId};

use crate::images::MANIFEST;
use crate::layout::big_data_file_name;
use crate::relocate::rename_or_copy;
use crate::staging::{TempDir, remove_tree};
use crate::{BigDataIndex, Error, Image, NewImage, Result, Store};

/// An item stored beside an image's record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BigData {
    /// `manifest`, `manifest-sha256:…`, `sha256:…` (the config), `signature-…`
    pub key: String,
    /// The content.
    pub bytes: Vec<u8>,
}

impl Store {
    /// An item stored beside an image's record.
    ///
    /// # Errors
    /// [`Error::NoData`] if the image has no such item: perhaps not yet, since the Go tools record an image
    /// first and name it last.
    pub fn image_data(&self, id: &ImageId, key: &str) -> Result<Vec<u8>> {
        // Held to the end: records and files change together.
        let _images = self.inner.images.read()?;
        self.read_image_data(&self.image_by_id(id)?, key)
    }

    /// An item of an image whose record is current: `images.lock` is held.
    fn read_image_data(&self, image: &Image, key: &str) -> Result<Vec<u8>> {
        let missing = || Error::NoData { image: image.id.clone(), key: key.to_owned() };
        let name = big_data_file_name(key).ok_or_else(missing)?;
        let mut dirs = vec![self.layout().image_dir(&image.id)];
        if image.read_only {
            dirs = self.inner.read_only.iter().map(|store| store.layout.image_dir(&image.id)).collect();
        }
        for dir in dirs {
            let path = dir.join(&name);
            match fs::read(&path) {
                Ok(bytes) => return Ok(bytes),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(Error::io("read", &path)(error)),
            }
        }
        Err(missing())
    }

    /// The image's config, as stored.
    pub fn image_config(&self, id: &ImageId) -> Result<Vec<u8>> {
        self.image_data(id, &format!("sha256:{id}"))
    }

    /// The record of every image with its config, as stored, where it has one that can be read: all at
    /// one moment.
    pub fn images_with_configs(&self) -> Result<Vec<(Image, Option<Vec<u8>>)>> {
        let _images = self.inner.images.read()?;
        let with_config = |image: Image| {
            let config = self.read_image_data(&image, &format!("sha256:{}", image.id)).ok();
            (image, config)
        };
        Ok(self.images()?.into_iter().map(with_config).collect())
    }

    /// The image's manifest, as stored.
    pub fn image_manifest(&self, id: &ImageId) -> Result<Vec<u8>> {
        self.image_data(id, MANIFEST)
    }
}

/// An image whose items are on disk, on their way to its directory.
pub(crate) struct StagedImage {
    pub image: NewImage,
    temp: TempDir,
    files: Vec<(PathBuf, String)>,
}

impl StagedImage {
    /// Writes and syncs the items.
    pub fn new(store: &Store, image: NewImage) -> Result<StagedImage> {
        let temp = TempDir::new(store.layout())?;
        let mut files = Vec::with_capacity(image.data.len());
        for (index, item) in image.data.iter().enumerate() {
            let name = big_data_file_name(&item.key)
                .ok_or_else(|| Error::NoData { image: image.id.clone(), key: item.key.clone() })?;
            let path = temp.path().join(index.to_string());
            let write = || -> io::Result<()> {
                let mut file = File::options().write(true).create_new(true).mode(0o600).open(&path)?;
                file.write_all(&item.bytes)?;
                file.sync_data()
            };
            write().map_err(Error::io("write", &path))?;
            files.push((path, name));
        }
        Ok(StagedImage { image, temp, files })
    }

    /// Moves the items into the image's directory. `images.lock` is held for writing; without a
    /// record (`fresh`), what a killed process left there is removed first.
    pub fn place(&self, store: &Store, fresh: bool) -> Result<()> {
        let dir = store.layout().image_dir(&self.image.id);
        if fresh {
            remove_tree(&dir)?;
        }
        DirBuilder::new().recursive(true).mode(0o700).create(&dir).map_err(Error::io("create", &dir))?;
        debug_assert!(self.files.iter().all(|(path, _)| path.starts_with(self.temp.path())));
        for (path, name) in &self.files {
            rename_or_copy(store.layout(), path, &dir.join(name))?;
        }
        File::open(&dir).and_then(|dir| dir.sync_all()).map_err(Error::io("sync", &dir))
    }

    /// Enters the items into the record's index.
    pub fn index(&self, index: &mut BigDataIndex) {
        for BigData { key, bytes } in &self.image.data {
            if !index.names.contains(key) {
                index.names.push(key.clone());
            }
            index.sizes.insert(key.clone(), i64::try_from(bytes.len()).unwrap_or(i64::MAX));
            index.digests.insert(key.clone(), Digest::of(bytes));
        }
    }
}
