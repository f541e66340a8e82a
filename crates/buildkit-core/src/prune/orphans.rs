//! Layers of steps that nothing has any more: their image went while a container stood on them, and
//! then the container, by a tool that left them behind.

use std::collections::{HashMap, HashSet};

use oci::LayerId;
use store::{Layer, Store};

use super::images::{chain, layers_of};
use super::records::Uses;
use super::{Candidate, Kind, PruneError};
use crate::image_list::ImageList;

/// All of them, by the topmost of each stack. Other layers without an image may be on their way to one.
pub(super) fn candidates(store: &Store, list: &ImageList, uses: &Uses) -> Result<Vec<Candidate>, PruneError> {
    let layers: HashMap<LayerId, Layer> = store.layers()?.into_iter().map(|layer| (layer.id.clone(), layer)).collect();
    let mut reached: HashSet<LayerId> = list.iter().flat_map(|image| layers_of(&layers, image)).collect();
    for container in store.containers()? {
        reached.extend(chain(&layers, Some(&container.layer)));
    }
    let below: HashSet<&LayerId> = layers.values().filter_map(|layer| layer.parent.as_ref()).collect();
    let is_top = |id: &LayerId| layers.contains_key(id) && !reached.contains(id) && !below.contains(id);
    let mut tops: Vec<_> = uses.iter().filter(|(id, _)| is_top(id)).collect();
    tops.sort();
    let mut candidates = Vec::new();
    for (top, last_used) in tops {
        let mut frees = 0;
        for id in chain(&layers, Some(top)) {
            // What two stacks share goes with the first.
            if !reached.insert(id.clone()) {
                break;
            }
            frees += layers.get(&id).map_or(0, |layer| u64::try_from(layer.diff_size).unwrap_or(0));
        }
        let id = top.to_string();
        candidates.push(Candidate { kind: Kind::Layer, id, names: Vec::new(), frees, last_used: *last_used });
    }
    Ok(candidates)
}
