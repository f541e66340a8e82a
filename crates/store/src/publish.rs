//! From staged to visible: layers that are ready become records, with an image over them, in one
//! step under the locks.

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use oci::media_type::Compression;
use oci::{DiffId, Digest, LayerId};

use crate::image_data::StagedImage;
use crate::images::check_image;
use crate::journal::{Entry, Journal, Purpose};
use crate::layer_dir::{self, Below, Durability};
use crate::relocate::{rename, rename_or_copy};
use crate::seal::{AfterSeal, SealEntry, Upper};
use crate::staging::{TempDir, make_dir, remove_file};
use crate::table::Writing;
use crate::{Error, Image, Layer, NewImage, Result, Store};

/// A layer in the making: a directory for its files and a file for its tar-split data, which no
/// other tool sees or removes. Dropped unpublished, it is gone.
#[derive(Debug)]
pub struct StagedLayer {
    pub(crate) temp: TempDir,
    pub(crate) diff: PathBuf,
    pub(crate) upper: Option<Upper>,
}

impl StagedLayer {
    /// Where the layer's files are to be (or are, for [`Store::stage_upper`]).
    pub fn diff_dir(&self) -> &Path {
        &self.diff
    }

    /// A new, empty file for the tar-split data (gzip), which replaces an earlier one.
    pub fn tar_split_file(&self) -> Result<File> {
        let path = self.tar_split();
        remove_file(&path)?;
        File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(Error::io("create", &path))
    }

    /// Gives the root the mode and owner of `below`, the directory of the layer below, as a published
    /// layer's has: no tar says anything else of it.
    pub fn reset_root(&self, below: Option<&Path>) -> Result<()> {
        layer_dir::set_root_attributes(&self.diff, below)
    }

    pub(crate) fn tar_split(&self) -> PathBuf {
        self.temp.path().join("tar-split.gz")
    }

    /// Where all files of a layer that is a whole tree are to be.
    pub(crate) fn tree(&self) -> PathBuf {
        self.temp.path().join("tree")
    }

    /// Where the tree is that a container goes on with.
    pub(crate) fn fresh(&self) -> PathBuf {
        self.temp.path().join("fresh")
    }

    pub(crate) fn layer_dir(&self) -> PathBuf {
        self.temp.path().join("layer")
    }
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
        NewLayer {
            parent,
            diff_size: size,
            compressed_digest: diff_id.0.clone(),
            compressed_size: size,
            compression: Compression::None,
            uid_set: Vec::new(),
            gid_set: Vec::new(),
            diff_id,
        }
    }

    /// The ID that the layer gets.
    pub fn id(&self) -> LayerId {
        LayerId::of(self.parent.as_ref(), &self.diff_id)
    }

    fn record(&self) -> Layer {
        let size = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
        let sorted = |ids: &[u32]| {
            let mut ids = ids.to_vec();
            ids.sort_unstable();
            ids.dedup();
            ids
        };
        Layer {
            compressed_digest: Some(self.compressed_digest.clone()),
            compressed_size: size(self.compressed_size),
            diff_id: Some(self.diff_id.clone()),
            diff_size: size(self.diff_size),
            compression: self.compression.into(),
            uid_set: sorted(&self.uid_set),
            gid_set: sorted(&self.gid_set),
            ..Layer::new(self.id(), self.parent.clone())
        }
    }
}

/// What [`Store::publish`] recorded.
#[derive(Clone, Debug)]
pub struct Published {
    /// The layers, in the order given; those that existed already as they were.
    pub layers: Vec<Layer>,
    /// The images, in the order given.
    pub images: Vec<Image>,
}

impl Store {
    /// A place to put a new layer's files in.
    pub fn stage_layer(&self) -> Result<StagedLayer> {
        self.require_native()?;
        let temp = TempDir::new(self.layout())?;
        let diff = temp.path().join("layer").join("diff");
        make_dir(&diff)?;
        Ok(StagedLayer { temp, diff, upper: None })
    }

    /// [`Store::publish`] for one layer.
    pub fn put_layer(&self, staged: StagedLayer, layer: NewLayer) -> Result<Layer> {
        let id = layer.id();
        let published = self.publish(&[(staged, layer)], Vec::new())?;
        published.layers.into_iter().next().ok_or(Error::UnknownLayer { id })
    }

    /// Syncs the staged layers' data, then makes them and `images` visible under one set of locks.
    /// A layer whose ID exists already is left as it is in favour of that one: it is gone when the caller
    /// drops it. A kill at any moment leaves the old state or the new one, or some of the images with their
    /// layers.
    ///
    /// A layer comes behind those below it. At most one may be a container's upper dir ([`Store::stage_upper`]),
    /// the last one.
    ///
    /// # Errors
    /// [`Error::UnknownLayer`] if a parent is gone; see also [`Store::create_image`].
    pub fn publish(&self, layers: &[(StagedLayer, NewLayer)], images: Vec<NewImage>) -> Result<Published> {
        for (staged, new) in layers {
            if !staged.tar_split().exists() {
                return Err(Error::NoTarSplit { id: new.id() });
            }
        }
        let images = images.into_iter().map(|image| StagedImage::new(self, image)).collect::<Result<Vec<_>>>()?;
        if self.has_whole_trees() {
            self.complete_trees(layers)?;
            self.sync_all()?;
        } else {
            self.sync_staged(layers)?;
        }
        let seals = layers.iter().any(|(staged, _)| staged.upper.is_some());
        let trash = if seals { self.trash() } else { None };
        self.journalled(|journal| self.publish_locked(journal, layers, &images, trash.as_ref()))
    }

    fn publish_locked(
        &self,
        journal: &mut Journal,
        staged: &[(StagedLayer, NewLayer)],
        staged_images: &[StagedImage],
        trash: Option<&TempDir>,
    ) -> Result<Published> {
        let layout = self.layout();
        let mut layers = self.write_layers()?;
        let mut images = if staged_images.is_empty() { None } else { Some(self.inner.images.write()?) };
        let upper = staged.iter().find_map(|(staged, new)| staged.upper.as_ref().map(|upper| (upper, new.id())));
        let mut containers = upper.as_ref().map(|_| self.inner.containers.write()).transpose()?;

        // First everything that may be refused, then the journal, then the changes.
        let mut missing: Vec<&(StagedLayer, NewLayer)> = Vec::new();
        for pair in staged {
            let (_, new) = pair;
            let id = new.id();
            let is_coming = |id: &LayerId| missing.iter().any(|(_, other)| other.id() == *id);
            if let Some(parent) = new.parent.as_ref().filter(|parent| !is_coming(parent))
                && self.locate(&layers, parent)?.is_none()
            {
                return Err(Error::UnknownLayer { id: parent.clone() });
            }
            if !is_coming(&id) && self.locate(&layers, &id)?.is_none() {
                if layers.has_unknown_row(id.as_str()) {
                    let reason = format!("the record of layer {id} cannot be read");
                    return Err(Error::Damaged { path: layout.layers_dir().join("layers.json"), reason });
                }
                missing.push(pair);
            }
        }
        let is_coming = |id: &LayerId| missing.iter().any(|(_, new)| new.id() == *id);
        for (images, image) in images.iter().flat_map(|images| staged_images.iter().map(move |image| (images, image))) {
            check_image(images, image)?;
            if let Some(top) = image.image.layer.as_ref().filter(|top| !is_coming(top))
                && self.locate(&layers, top)?.is_none()
            {
                return Err(Error::UnknownLayer { id: top.clone() });
            }
        }
        let mut entry = Entry {
            layers: missing.iter().map(|(_, new)| new.id()).collect(),
            images: staged_images.iter().map(|image| image.image.id.clone()).collect(),
            ..Entry::default()
        };
        let mut fresh = None;
        if let (Some((upper, sealed)), Some(containers)) = (&upper, &containers) {
            self.check_upper(upper, containers)?;
            if upper.after == AfterSeal::Continue {
                fresh = Some(crate::random::id().and_then(|id| parse_layer_id(&id))?);
            } else {
                entry.containers.push(upper.container.clone());
            }
            entry.layers.extend(fresh.iter().chain([&upper.layer]).cloned());
            entry.unneeded.extend(fresh.iter().chain([&upper.layer]).cloned());
            if is_coming(sealed) {
                entry.seal = Some(SealEntry::new(self, upper, sealed.clone(), fresh.clone())?);
            }
        }
        if !staged_images.is_empty() {
            // They go where the image that is to reach them has not been recorded.
            entry.unneeded.extend(missing.iter().rev().map(|(_, new)| new.id()));
        }
        journal.write(&entry, Purpose::Add)?;

        // A few small files are synced one by one, many of them by one sync of everything.
        let few = missing.len() <= 4;
        let durability = if few { Durability::Synced } else { Durability::Volatile };
        for (staged, new) in &missing {
            self.place_layer(&mut layers, staged, new, durability)?;
        }
        if let (Some((_, sealed)), Some(fresh)) = (&upper, &fresh) {
            let tree = staged.iter().find(|(staged, _)| staged.upper.is_some()).map(|(staged, _)| staged.fresh());
            self.place_empty_layer(&mut layers, fresh, Some(sealed), tree.as_deref())?;
        }
        if !few {
            self.sync_all()?;
        } else if !missing.is_empty() {
            let links = Some(layout.links()).filter(|_| !self.has_whole_trees());
            for dir in [layout.layer_dirs(), layout.layers_dir()].into_iter().chain(links) {
                File::open(&dir).and_then(|dir| dir.sync_all()).map_err(Error::io("sync", &dir))?;
            }
        }
        layers.save()?;
        let mut recorded_images = Vec::with_capacity(staged_images.len());
        if let Some(images) = &mut images {
            for image in staged_images {
                recorded_images.push(self.record_image(images, image)?);
            }
        }
        if let (Some((upper, _)), Some(containers)) = (&upper, &mut containers) {
            self.finish_seal(upper, fresh.as_ref(), &mut layers, containers, trash)?;
        }
        let mut recorded = Vec::with_capacity(staged.len());
        for (_, new) in staged {
            let id = new.id();
            let located = self.locate(&layers, &id)?.ok_or(Error::UnknownLayer { id })?;
            recorded.push(located.layer);
        }
        Ok(Published { layers: recorded, images: recorded_images })
    }

    /// Moves a staged layer to its place and appends its record, unsaved.
    fn place_layer(
        &self,
        layers: &mut Writing<'_, Layer>,
        staged: &StagedLayer,
        new: &NewLayer,
        durability: Durability,
    ) -> Result<()> {
        let layout = self.layout();
        let id = new.id();
        // Without a record, these are leftovers.
        self.remove_layer_files(&id, None)?;
        if self.has_whole_trees() {
            rename(layout, &staged.tree(), &layout.layer_dir(&id))?;
            rename_or_copy(layout, &staged.tar_split(), &layout.tar_split(&id))?;
            layers.push(new.record());
            return Ok(());
        }
        let below = self.below(layers, new.parent.as_ref())?;
        let dir = staged.layer_dir();
        let link = layer_dir::complete(&dir, below.as_ref(), durability)?;
        layer_dir::make_link(layout, &id, &link)?;
        let place = layout.layer_dir(&id);
        rename(layout, &dir, &place)?;
        rename_or_copy(layout, &staged.tar_split(), &layout.tar_split(&id))?;
        if let Some(upper) = &staged.upper {
            self.move_upper(upper, &place.join("diff"))?;
            let below = below.as_ref().map(|below| below.diff.as_path());
            layer_dir::set_root_attributes(&place.join("diff"), below)?;
        }
        layers.push(new.record());
        Ok(())
    }

    /// Makes a layer without changes and appends its record, unsaved. One that is a whole tree is moved
    /// from `tree`.
    pub(crate) fn place_empty_layer(
        &self,
        layers: &mut Writing<'_, Layer>,
        id: &LayerId,
        parent: Option<&LayerId>,
        tree: Option<&Path>,
    ) -> Result<()> {
        let layout = self.layout();
        if let Some(tree) = tree.filter(|_| self.has_whole_trees()) {
            if let Some(parent) = parent.filter(|parent| layers.get(parent.as_str()).is_none())
                && self.locate(layers, parent)?.is_none()
            {
                return Err(Error::UnknownLayer { id: parent.clone() });
            }
            rename(layout, tree, &layout.layer_dir(id))?;
            layers.push(Layer::new(id.clone(), parent.cloned()));
            return Ok(());
        }
        let below = self.below(layers, parent)?;
        let dir = layout.layer_dir(id);
        make_dir(&dir)?;
        let link = layer_dir::complete(&dir, below.as_ref(), Durability::Volatile)?;
        layer_dir::make_link(layout, id, &link)?;
        layers.push(Layer::new(id.clone(), parent.cloned()));
        Ok(())
    }

    fn below(&self, layers: &Writing<'_, Layer>, parent: Option<&LayerId>) -> Result<Option<Below>> {
        let Some(parent) = parent else { return Ok(None) };
        let located = self.locate(layers, parent)?.ok_or(Error::UnknownLayer { id: parent.clone() })?;
        Below::read(&located.dir()).map(Some)
    }
}

pub(crate) fn parse_layer_id(hex: &str) -> Result<LayerId> {
    LayerId::parse(hex).map_err(|error| Error::io("make", Path::new("a layer id"))(std::io::Error::other(error)))
}
