//! A layer once more, over other layers: its files and its tar-split are copied, nothing is hashed.

use std::fs;

use oci::LayerId;
use rootfs::Root;

use crate::staging::remove_file;
use crate::{Error, Layer, NewLayer, Result, StagedLayer, Store};

impl Store {
    /// Stages a copy of the layer `id` that is to lie over `parent`. It must have been made without
    /// regard to what is below it: its marks of deletion say the same anywhere.
    ///
    /// # Errors
    /// [`Error::UnknownLayer`], [`Error::NoTarSplit`].
    pub fn stage_copy(&self, id: &LayerId, parent: Option<LayerId>) -> Result<(StagedLayer, NewLayer)> {
        let layer = self.layer(id)?;
        let (Some(diff_id), Ok(size)) = (layer.diff_id.clone(), u64::try_from(layer.diff_size)) else {
            return Err(Error::NoTarSplit { id: id.clone() });
        };
        let staged = self.stage_layer()?;
        if self.has_whole_trees() {
            return self.stage_again(staged, id, layer, parent);
        }
        let from = Root::open(self.layer_diff_directory(id)?)?;
        let copy = || ::layers::copy(&from, &Root::open(staged.diff_dir())?);
        copy().map_err(|error| Error::io("copy", staged.diff_dir())(std::io::Error::other(error)))?;
        let (from, to) = (self.layout().tar_split(id), staged.tar_split());
        remove_file(&to)?;
        fs::copy(&from, &to).map_err(Error::io("copy", &from))?;
        let new = NewLayer {
            uid_set: layer.uid_set,
            gid_set: layer.gid_set,
            ..NewLayer::uncompressed(parent, diff_id, size)
        };
        Ok((staged, new))
    }

    /// The same for a layer that is a whole tree: its own files are those of its tar.
    fn stage_again(
        &self,
        staged: StagedLayer,
        id: &LayerId,
        layer: Layer,
        parent: Option<LayerId>,
    ) -> Result<(StagedLayer, NewLayer)> {
        let into = Root::open(staged.diff_dir())?;
        let options = ::layers::ApplyOptions::default();
        let summary = ::layers::apply(self.layer_tar(id)?, &into, staged.tar_split_file()?, &options)
            .map_err(|error| Error::io("copy", staged.diff_dir())(std::io::Error::other(error)))?;
        let new = NewLayer {
            uid_set: layer.uid_set,
            gid_set: layer.gid_set,
            ..NewLayer::uncompressed(parent, summary.diff_id, summary.size)
        };
        Ok((staged, new))
    }
}
