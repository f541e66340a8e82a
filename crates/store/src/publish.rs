//! From staged to visible: layers that are ready become records, with an image over them, in one
//! step under the locks.

use std::fs::File;
use std::path::Path;

use oci::media_type::Compression;
use oci::{ContainerId, DiffId, Digest, LayerId};

use crate::{Image, Layer, NewImage, Result, Store};

/// A layer in the making: a directory for its files and a file for its tar-split data, which no
/// other tool sees or removes. Dropped unpublished, it is gone.
#[derive(Debug)]
pub struct StagedLayer {
    diff: std::path::PathBuf,
}

impl StagedLayer {
    /// Where the layer's files are to be (or are, for [`Store::stage_upper`]).
    pub fn diff_dir(&self) -> &Path {
        &self.diff
    }

    /// A new, empty file for the tar-split data (gzip), which replaces an earlier one.
    pub fn tar_split_file(&self) -> Result<File> {
        todo!()
    }
}

/// What becomes of a container whose upper dir is sealed into a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterSeal {
    /// It is deleted, as `commit --rm` does.
    Delete,
    /// It goes on with an empty layer over the sealed one. Its mount, if any, is gone; its record
    /// keeps the image it was made from.
    Continue,
}

/// What the record of a new layer says.
#[derive(Clone, Debug)]
pub struct NewLayer {
    /// The layer below.
    pub parent: Option<LayerId>,
    /// Digest of the uncompressed tar; with the parent it decides the ID.
    pub diff_id: DiffId,
    /// Bytes of the uncompressed tar.
    pub diff_size: u64,
    /// Digest of the blob as received; for an uncompressed one the diff ID's.
    pub compressed_digest: Digest,
    /// Bytes of the blob as received.
    pub compressed_size: u64,
    /// How the received blob was compressed.
    pub compression: Compression,
    /// User IDs in the tar's headers.
    pub uid_set: Vec<u32>,
    /// Group IDs in the tar's headers.
    pub gid_set: Vec<u32>,
}

impl NewLayer {
    /// A layer that was never compressed.
    pub fn uncompressed(parent: Option<LayerId>, diff_id: DiffId, size: u64) -> NewLayer {
        let compressed_digest = diff_id.0.clone();
        NewLayer {
            parent,
            diff_id,
            diff_size: size,
            compressed_digest,
            compressed_size: size,
            compression: Compression::None,
            uid_set: Vec::new(),
            gid_set: Vec::new(),
        }
    }

    /// The ID that the layer gets.
    pub fn id(&self) -> LayerId {
        LayerId::of(self.parent.as_ref(), &self.diff_id)
    }
}

/// What [`Store::publish`] recorded.
#[derive(Clone, Debug)]
pub struct Published {
    /// The layers, in the order given; those that existed already as they were.
    pub layers: Vec<Layer>,
    /// The image.
    pub image: Option<Image>,
}

impl Store {
    /// A place to put a new layer's files in.
    pub fn stage_layer(&self) -> Result<StagedLayer> {
        todo!()
    }

    /// Stages a container's upper dir, which is *moved* when it is published: no file is copied.
    /// Nobody may write to the container between making the tar of [`StagedLayer::diff_dir`] and
    /// publishing.
    pub fn stage_upper(&self, container: &ContainerId, after: AfterSeal) -> Result<StagedLayer> {
        todo!("{container}{after:?}")
    }

    /// Syncs the staged layers' data, then makes them and `image` visible under one set of locks.
    /// A layer whose ID exists already is dropped in favour of that one. A kill at any moment
    /// leaves the old state or the new one.
    ///
    /// # Errors
    /// [`crate::Error::UnknownLayer`] if a parent is gone; see also [`Store::create_image`].
    pub fn publish(&self, layers: Vec<(StagedLayer, NewLayer)>, image: Option<NewImage>) -> Result<Published> {
        todo!("{layers:?}{image:?}")
    }

    /// [`Store::publish`] for one layer.
    pub fn put_layer(&self, staged: StagedLayer, layer: NewLayer) -> Result<Layer> {
        let id = layer.id();
        let published = self.publish(vec![(staged, layer)], None)?;
        published.layers.into_iter().next().ok_or(crate::Error::UnknownLayer { id })
    }
}
