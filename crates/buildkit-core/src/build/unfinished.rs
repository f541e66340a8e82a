//! Images that only keep the layers of unfinished stages in the store's reach. They go when a later
//! build has made an image over the same layers.
//!
//! ```text
//! <graphroot>/gabion/unfinished/<image id>    empty
//! ```

use std::collections::HashSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use oci::{ImageId, LayerId};
use store::Store;

/// The list of such images.
pub(super) struct Unfinished {
    dir: PathBuf,
}

impl Unfinished {
    /// The list below a store's private directory.
    pub fn new(private_directory: &Path) -> Unfinished {
        Unfinished { dir: private_directory.join("unfinished") }
    }

    /// Notes images. One that cannot be noted stays until it is pruned.
    pub fn note(&self, images: &[ImageId]) {
        for image in images {
            let _ = fs::create_dir_all(&self.dir).and_then(|()| File::create(self.dir.join(image.as_str())));
        }
    }

    /// Removes those whose layers `reached` has, which other images reach.
    pub fn remove_needless(&self, store: &Store, reached: &HashSet<LayerId>) {
        for entry in fs::read_dir(&self.dir).into_iter().flatten().flatten() {
            let Some(image) = entry.file_name().to_str().and_then(|name| ImageId::parse(name).ok()) else { continue };
            let is_needless = match store.image_by_id(&image) {
                Ok(record) if !record.names.is_empty() => true,
                Ok(record) => {
                    let is_reached = record.layer.as_ref().is_none_or(|layer| reached.contains(layer));
                    // Whoever else needs it has it noted, too.
                    is_reached && matches!(store.delete_nameless_image(&image), Ok(Some(_)))
                }
                Err(error) => error.is_not_found(),
            };
            if is_needless {
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}
