//! Layers: look-up, and the tar that a layer was made of.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;

use ::layers::TarSplitReader;
use oci::{DiffId, Digest, LayerId};
use rootfs::Root;

use crate::deletion::unused_layers;
use crate::journal::{Entry, Purpose};
use crate::layer_stack::directories;
use crate::{Error, Layer, Result, Store};

/// The uncompressed tar of a layer, byte for byte as it was received or made.
pub struct LayerTar {
    inner: Box<dyn Read + Send>,
    size: Option<u64>,
}

impl LayerTar {
    /// Bytes in all, if they are recorded.
    pub fn size(&self) -> Option<u64> {
        self.size
    }
}

impl Read for LayerTar {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.inner.read(buf)
    }
}

impl Store {
    /// All layers, those of read-only stores last.
    pub fn layers(&self) -> Result<Vec<Layer>> {
        let table = self.read_layers()?;
        let mut layers: Vec<Layer> = table.table.iter().cloned().collect();
        for store in &self.inner.read_only {
            let reading = store.layers.read()?;
            layers.extend(reading.table.iter().filter(|layer| table.table.get(layer.id.as_str()).is_none()).cloned());
        }
        Ok(layers)
    }

    /// The layer with this ID.
    ///
    /// # Errors
    /// [`Error::UnknownLayer`].
    pub fn layer(&self, id: &LayerId) -> Result<Layer> {
        let reading = self.read_layers()?;
        self.locate(&reading.table, id)?.map(|located| located.layer).ok_or(Error::UnknownLayer { id: id.clone() })
    }

    /// The layer and all below it, base first.
    ///
    /// # Errors
    /// [`Error::UnknownLayer`] if one is missing.
    pub fn layer_stack(&self, top: &LayerId) -> Result<Vec<Layer>> {
        let reading = self.read_layers()?;
        let stack = self.stack(&reading.table, top)?;
        Ok(stack.into_iter().rev().map(|located| located.layer).collect())
    }

    /// Layers of any stack whose uncompressed tar has this digest.
    pub fn layers_by_diff_id(&self, diff_id: &DiffId) -> Result<Vec<Layer>> {
        Ok(self.layers()?.into_iter().filter(|layer| layer.diff_id.as_ref() == Some(diff_id)).collect())
    }

    /// Layers of any stack that were received as the blob with this digest.
    pub fn layers_by_compressed_digest(&self, digest: &Digest) -> Result<Vec<Layer>> {
        Ok(self.layers()?.into_iter().filter(|layer| layer.compressed_digest.as_ref() == Some(digest)).collect())
    }

    /// Removes the layer `top` if nothing needs it (no image, no container, no layer over it), and
    /// those below it that are then needed no more. Gives what was removed, top first.
    pub fn remove_unused_layers(&self, top: &LayerId) -> Result<Vec<LayerId>> {
        let trash = self.trash();
        self.journalled(|journal| {
            let mut layers = self.write_layers()?;
            let images = self.inner.images.read()?;
            let containers = self.inner.containers.read()?;
            let unused = unused_layers(&layers, &images.table, None, &containers.table, [top.clone()]);
            if !unused.is_empty() {
                let entry = Entry { layers: unused.clone(), unneeded: unused.clone(), ..Entry::default() };
                journal.write(&entry, Purpose::Remove)?;
                self.remove_layers(&mut layers, &unused, trash.as_ref())?;
            }
            Ok(unused)
        })
    }

    /// The directory with the layer's own files; with vfs, those of the layers below as well.
    pub fn layer_diff_directory(&self, id: &LayerId) -> Result<PathBuf> {
        let reading = self.read_layers()?;
        let located = self.locate(&reading.table, id)?.ok_or(Error::UnknownLayer { id: id.clone() })?;
        Ok(located.layout.diff(id))
    }

    /// The directories to stack for a mount whose top is `id`, top first, that of `id` included.
    ///
    /// # Errors
    /// [`Error::UnknownLayer`], [`Error::TooDeep`].
    pub fn lower_directories(&self, id: &LayerId) -> Result<Vec<PathBuf>> {
        let reading = self.read_layers()?;
        directories(&self.stack(&reading.table, id)?)
    }

    /// The layer's uncompressed tar. What it needs is opened under the lock and read without it.
    ///
    /// # Errors
    /// [`Error::NoTarSplit`] for layers of containers. Reading fails if the layer's files were
    /// changed since.
    pub fn layer_tar(&self, id: &LayerId) -> Result<LayerTar> {
        let reading = self.read_layers()?;
        let stack = self.stack(&reading.table, id)?;
        let Some(top) = stack.first() else { return Err(Error::UnknownLayer { id: id.clone() }) };
        let tar_split_path = top.layout.tar_split(id);
        let tar_split = match File::open(&tar_split_path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(Error::NoTarSplit { id: id.clone() }),
            Err(error) => return Err(Error::io("open", &tar_split_path)(error)),
        };
        let root = Root::open(top.layout.diff(id))?;
        // Only a layer whose top was copied for an ID map has files of its tar elsewhere.
        let others: Vec<PathBuf> = match self.has_whole_trees() {
            true => Vec::new(),
            false => stack.iter().flat_map(|located| crate::layer_dir::diffs(&located.dir())).skip(1).collect(),
        };
        let size = u64::try_from(top.layer.diff_size).ok().filter(|size| *size > 0);
        drop(reading);
        let open = move |name: &OsStr| open_content(&root, &others, name);
        Ok(LayerTar { inner: Box::new(TarSplitReader::new(tar_split).reassemble(open)), size })
    }
}

fn open_content(root: &Root, others: &[PathBuf], name: &OsStr) -> io::Result<File> {
    let first = match root.open_file(name) {
        Ok(file) => return Ok(file),
        Err(error) => error,
    };
    for dir in others {
        if let Ok(file) = Root::open(dir).and_then(|root| root.open_file(name)) {
            return Ok(file);
        }
    }
    Err(io::Error::other(first))
}
