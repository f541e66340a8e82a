//! Layers: look-up, and the tar that a layer was made of.

use std::io::{self, Read};
use std::path::PathBuf;

use oci::{DiffId, Digest, LayerId};

use crate::{Layer, Result, Store};

/// The uncompressed tar of a layer, byte for byte as it was received or made.
pub struct LayerTar {
    inner: Box<dyn Read + Send>,
    /// Bytes in all, if recorded.
    pub size: Option<u64>,
}

impl Read for LayerTar {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.inner.read(buf)
    }
}

impl Store {
    /// All layers, those of read-only stores last.
    pub fn layers(&self) -> Result<Vec<Layer>> {
        todo!()
    }

    /// The layer with this ID.
    ///
    /// # Errors
    /// [`crate::Error::UnknownLayer`].
    pub fn layer(&self, id: &LayerId) -> Result<Layer> {
        todo!("{id}")
    }

    /// The layer and all below it, base first.
    ///
    /// # Errors
    /// [`crate::Error::UnknownLayer`] if one is missing.
    pub fn layer_stack(&self, top: &LayerId) -> Result<Vec<Layer>> {
        todo!("{top}")
    }

    /// Layers of any stack whose uncompressed tar has this digest.
    pub fn layers_by_diff_id(&self, diff_id: &DiffId) -> Result<Vec<Layer>> {
        todo!("{diff_id}")
    }

    /// Layers of any stack that were received as the blob with this digest.
    pub fn layers_by_compressed_digest(&self, digest: &Digest) -> Result<Vec<Layer>> {
        todo!("{digest}")
    }

    /// The layer's own files.
    pub fn layer_diff_directory(&self, id: &LayerId) -> Result<PathBuf> {
        todo!("{id}")
    }

    /// The directories to stack for a mount whose top is `id`, top first, that of `id` included.
    pub fn lower_directories(&self, id: &LayerId) -> Result<Vec<PathBuf>> {
        todo!("{id}")
    }

    /// The layer's uncompressed tar. What it needs is opened under the lock and read without it.
    ///
    /// # Errors
    /// [`crate::Error::NoTarSplit`] for layers of containers. Reading fails if the layer's files
    /// were changed since.
    pub fn layer_tar(&self, id: &LayerId) -> Result<LayerTar> {
        todo!("{id}")
    }
}
