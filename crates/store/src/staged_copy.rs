//! A layer once more, over other layers: its files and its tar-split are copied, nothing is hashed.

use std::fs;

use oci::LayerId;
use rootfs::Root;

use crate::staging::remove_file;
use crate::{Error, NewLayer, Result, StagedLayer, Store};

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
}
