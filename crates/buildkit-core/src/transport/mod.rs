//! Places that images live in: registries, OCI layouts, archives, directories, stores.
//!
//! Each place is a [`Source`] to read one image from and a [`Sink`] to write one image to; what is
//! done between the two is [`crate::transfer`]'s. Blobs are streams: no place holds one in memory.

mod archive_file; // reading tar archives by name
pub mod dir; // dir:PATH
pub mod docker; // docker://NAME
pub mod docker_archive; // docker-archive:PATH[:NAME]
mod error; // one line each
pub mod location; // the text forms of all of them
mod made_blobs; // what layers were compressed to before
pub mod oci_archive; // oci-archive:PATH[:NAME]
pub mod oci_layout; // oci:PATH[:NAME]
pub(crate) mod spool; // blobs being written to a directory
pub mod storage; // containers-storage:NAME
pub(crate) mod stored_layers; // layers of a store, whatever image they are in
pub(crate) mod verified; // a stream checked against digest and size

use std::io::{Read, Write};

use layers::ContentsPlace;
use oci::media_type::{self, Compression};
use oci::{Digest, Format, Manifest};

use crate::transfer::TransferError;

pub use error::TransportError;
pub(crate) use error::plain;
pub use location::Location;

/// Longest manifest, index or config that is read.
pub const MAX_DOCUMENT: usize = 4 * 1024 * 1024;

/// A manifest or index as a source gave it.
#[derive(Clone, Debug)]
pub struct RawManifest {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Their type, if the source said.
    pub media_type: Option<String>,
}

/// The bytes of a blob. Reading to the end without an error means that digest and size were right.
pub type BlobStream<'a> = Box<dyn Read + Send + 'a>;

/// A layer in the form in which a source gives it.
#[derive(Clone, Debug)]
pub struct SourceLayer {
    /// Digest of the bytes that the source gives.
    pub digest: Digest,
    /// Their number, if known.
    pub size: Option<u64>,
    /// Their media type.
    pub media_type: String,
    /// Another form of the same layer that a destination may have: the blob it was received as.
    pub received: Option<ReceivedBlob>,
    /// Blobs that the layer was compressed to before.
    pub made: Vec<ReceivedBlob>,
}

/// A blob that a layer in a store was received as, or was compressed to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceivedBlob {
    /// Its digest.
    pub digest: Digest,
    /// Its size.
    pub size: u64,
    /// How it is compressed.
    pub compression: Compression,
    /// Where its table of contents is, if it is zstd:chunked.
    pub contents: Option<ContentsPlace>,
}

/// One image (or an index of several) to be read.
pub trait Source: Sync {
    /// The image as errors name it.
    fn name(&self) -> String;

    /// The manifest or index, or the entry `instance` of the index.
    fn manifest(&self, instance: Option<&Digest>) -> Result<RawManifest, TransferError>;

    /// The layers of `manifest` as this source gives them, base first.
    fn layers(&self, manifest: &Manifest) -> Result<Vec<SourceLayer>, TransferError> {
        manifest.layers().iter().map(|layer| described(&self.name(), layer)).collect()
    }

    /// A config, or a layer of [`Source::layers`].
    fn blob(&self, digest: &Digest, size: Option<u64>) -> Result<BlobStream<'_>, TransferError>;

    /// Takes note that the layer `digest` was compressed to `blob`.
    fn remember(&self, digest: &Digest, blob: &ReceivedBlob) {
        let _ = (digest, blob);
    }

    /// Full references that the image gets when it is pulled.
    fn store_names(&self) -> Vec<String>;

    /// Repositories on the registry `domain` that have this image's blobs.
    fn repositories_on(&self, domain: &str) -> Vec<String> {
        let _ = domain;
        Vec::new()
    }
}

/// What a sink wants layers to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayerForm {
    /// Compressed, unless the user wants otherwise.
    Compressed,
    /// Uncompressed.
    Uncompressed,
}

/// A place for one image.
pub trait Sink: Sync {
    /// The image as errors name it.
    fn name(&self) -> String;

    /// The formats that can be written, the preferred one first.
    fn formats(&self) -> &'static [Format];

    /// What layers are to be.
    fn layer_form(&self) -> LayerForm;

    /// Size of the blob `digest`, if it is there.
    fn has_blob(&self, digest: &Digest) -> Result<Option<u64>, TransferError>;

    /// Makes a blob that is elsewhere in the same place part of this image.
    fn mount_blob(&self, digest: &Digest, source: &dyn Source) -> Result<bool, TransferError> {
        let _ = (digest, source);
        Ok(false)
    }

    /// A new blob. Dropped unfinished, it leaves nothing.
    fn new_blob(&self) -> Result<Box<dyn BlobSink + '_>, TransferError>;

    /// The last act: the manifest, whose blobs are all there. The image is visible from now on.
    fn put_manifest(&self, manifest: &Manifest) -> Result<(), TransferError>;

    /// A manifest for an index that is to follow; its blobs are all there.
    fn put_instance(&self, media_type: &str, bytes: &[u8]) -> Result<(), TransferError> {
        let _ = (media_type, bytes);
        Err(TransferError::Unsupported(format!("{}: this kind of place cannot hold a list of images", self.name())))
    }

    /// The last act in place of [`Sink::put_manifest`]: an index, whose manifests are all there.
    fn put_index(&self, media_type: &str, bytes: &[u8]) -> Result<(), TransferError> {
        self.put_instance(media_type, bytes)
    }
}

/// A blob being written.
pub trait BlobSink: Write + Send {
    /// Ends the blob, whose bytes are `size` and have `digest`.
    fn finish(self: Box<Self>, digest: &Digest, size: u64) -> Result<(), TransferError>;
}

fn described(name: &str, layer: &oci::spec::Descriptor) -> Result<SourceLayer, TransferError> {
    let digest =
        oci::manifest::digest_of(layer).map_err(|source| TransferError::Manifest { name: name.to_owned(), source })?;
    let media_type = layer.media_type().to_string();
    if media_type::layer_compression(&media_type).is_none() {
        return Err(TransferError::Unsupported(format!(
            "{name}: layer {digest} is of type {media_type:?}, which is no image layer"
        )));
    }
    Ok(SourceLayer { digest, size: Some(layer.size()), media_type, received: None, made: Vec::new() })
}
