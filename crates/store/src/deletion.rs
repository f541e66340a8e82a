//! How layers leave: their records are removed, their files moved away. The files themselves are
//! deleted when no lock is held any more.

use std::collections::{HashMap, HashSet};

use oci::{ImageId, LayerId};

use crate::layer_dir::remove_link;
use crate::staging::{TempDir, remove_file, remove_tree};
use crate::table::{Table, Writing};
use crate::{Container, Image, Layer, Result, Store, relocate};

impl Store {
    /// A place to move to what is being removed. Without one (the disk is full) it is removed
    /// under the lock.
    pub(crate) fn trash(&self) -> Option<TempDir> {
        TempDir::new(self.layout()).ok()
    }

    /// Removes `ids`, first their records, then their files. The journal has them: a kill in
    /// between leaves files that the next store opened removes.
    pub(crate) fn remove_layers(
        &self,
        layers: &mut Writing<'_, Layer>,
        ids: &[LayerId],
        trash: Option<&TempDir>,
    ) -> Result<()> {
        for id in ids {
            // While it is mounted, a failure must leave the record.
            self.unmount_for_removal(id)?;
        }
        for id in ids {
            layers.remove(id.as_str());
        }
        layers.use_reserve();
        layers.save()?;
        for id in ids {
            self.remove_layer_files(id, trash)?;
        }
        Ok(())
    }

    /// Unmounts the layer and removes its directory, link, tar-split and data. `layers.lock` is
    /// held for writing.
    pub(crate) fn remove_layer_files(&self, id: &LayerId, trash: Option<&TempDir>) -> Result<()> {
        self.unmount_for_removal(id)?;
        let layout = self.layout();
        let dir = layout.layer_dir(id);
        if dir.symlink_metadata().is_ok() {
            if !self.has_whole_trees() {
                remove_link(layout, &dir)?;
            }
            let to_trash = |trash: &TempDir| relocate::rename(layout, &dir, &trash.path().join(id.as_str())).is_ok();
            if !trash.is_some_and(to_trash) {
                remove_tree(&dir)?;
            }
        }
        remove_file(&layout.tar_split(id))?;
        remove_tree(&layout.layer_data_dir(id))
    }
}

/// The layers from `tops` downwards that nothing needs, the image `without` aside. Top first.
///
/// What a record that we can't read (a newer tool's, or a damaged one) names is needed.
pub(crate) fn unused_layers(
    layers: &Table<Layer>,
    images: &Table<Image>,
    without: Option<&ImageId>,
    containers: &Table<Container>,
    tops: impl IntoIterator<Item = LayerId>,
) -> Vec<LayerId> {
    let mut used: HashSet<&str> = HashSet::new();
    for image in images.iter().filter(|image| Some(&image.id) != without) {
        used.extend(image.layer.iter().chain(&image.mapped_layers).map(LayerId::as_str));
    }
    used.extend(containers.iter().map(|container| container.layer.as_str()));
    used.extend(layers.layers_of_unknown_rows());
    used.extend(images.layers_of_unknown_rows());
    used.extend(containers.layers_of_unknown_rows());
    let mut children: HashMap<&str, usize> = HashMap::new();
    for parent in layers.iter().filter_map(|layer| layer.parent.as_ref()) {
        *children.entry(parent.as_str()).or_default() += 1;
    }
    let mut unused: Vec<LayerId> = Vec::new();
    for top in tops {
        let mut next = Some(top);
        while let Some(id) = next.take() {
            let Some(layer) = layers.get(id.as_str()) else { break };
            let has_children = children.get(id.as_str()).is_some_and(|count| *count > 0);
            if used.contains(id.as_str()) || has_children || unused.contains(&id) {
                break;
            }
            if let Some(parent) = &layer.parent {
                if let Some(count) = children.get_mut(parent.as_str()) {
                    *count -= 1;
                }
                next = Some(parent.clone());
            }
            unused.push(id);
        }
    }
    unused
}
