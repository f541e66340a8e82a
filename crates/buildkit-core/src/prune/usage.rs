//! What takes room.

use std::collections::HashMap;

use jiff::Timestamp;
use oci::LayerId;
use store::{Layer, Store};

use super::images::layers_of;
use super::{Kind, PruneError, PruneOptions, cache_mounts, leftovers, orphans, plan, records};
use crate::image_list::ImageList;

/// Something that takes room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsedItem {
    /// What it is.
    pub kind: Kind,
    /// A container's, image's or layer's ID, a cache mount's name, a folder of records.
    pub id: String,
    /// Names of an image or container, the `id=` of a cache mount, what records are of.
    pub names: Vec<String>,
    /// Its bytes: of an image's layers as they are recorded, of the rest as they are on the disk.
    pub size: u64,
    /// How many of them are other images' too.
    pub shared: u64,
    /// When it was made, if that is known.
    pub created: Option<Timestamp>,
    /// When it was last used, as far as that is noted: of cache mounts, of layers that a build took, of
    /// records.
    pub last_used: Option<Timestamp>,
    /// Whether something needs it: an image its containers, a cache mount a step that runs.
    pub in_use: bool,
}

/// All that takes room.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Images, containers, layers without either, cache mounts, leftovers and records.
    pub items: Vec<UsedItem>,
    /// Bytes of all, what images share counted once.
    pub total: u64,
    /// Bytes that pruning frees.
    pub reclaimable: u64,
}

/// Finds what takes room in `store`.
pub fn usage(store: &Store) -> Result<Usage, PruneError> {
    let (mut items, layers) = images(store)?;
    let with_layers = items.len();
    let killed = leftovers::killed_builds(store)?;
    for container in store.containers()? {
        let is_leftover = killed.iter().any(|build| build.made(&container.metadata));
        let kind = if is_leftover { Kind::Leftover } else { Kind::Container };
        let created = container.created;
        let found = leftovers::candidate(store, kind, container)?;
        items.push(UsedItem {
            kind,
            id: found.id,
            names: found.names,
            size: found.frees,
            shared: 0,
            created: Some(created),
            last_used: None,
            in_use: !is_leftover,
        });
    }
    // Held, they would be in use to the plan.
    drop(killed);
    for cache in cache_mounts::list(store)? {
        items.push(UsedItem {
            kind: Kind::CacheMount,
            id: cache.name,
            created: cache.record.as_ref().map(|record| record.created),
            names: cache.record.map(|record| record.id).into_iter().collect(),
            size: cache.size,
            shared: 0,
            last_used: Some(cache.last_used),
            in_use: cache.in_use,
        });
    }
    items.extend(records::usage(&store.private_directory()?)?);
    let others: u64 = items.iter().skip(with_layers).map(|item| item.size).sum();
    let reclaimable = plan(store, &PruneOptions::default())?.frees();
    Ok(Usage { total: layers + others, reclaimable, items })
}

/// The images, and layers without one; and the bytes of them all.
fn images(store: &Store) -> Result<(Vec<UsedItem>, u64), PruneError> {
    let layers: HashMap<LayerId, Layer> = store.layers()?.into_iter().map(|layer| (layer.id.clone(), layer)).collect();
    let size = |id: &LayerId| layers.get(id).and_then(|layer| u64::try_from(layer.diff_size).ok()).unwrap_or(0);
    let list = ImageList::read(store)?;
    let containers = store.containers()?;
    let mut users: HashMap<LayerId, usize> = HashMap::new();
    for id in list.iter().flat_map(|image| layers_of(&layers, image)) {
        *users.entry(id).or_default() += 1;
    }
    let mut total = users.keys().map(size).sum();
    let mut items = Vec::new();
    let private = store.private_directory()?;
    let (uses, anchors) = (records::uses(&private), records::anchors(&private));
    let needed = super::images::needed(&list, &layers, &anchors, &containers);
    for image in list.iter() {
        let data: u64 = image.record.big_data.sizes.values().map(|size| u64::try_from(*size).unwrap_or(0)).sum();
        let own = layers_of(&layers, image);
        let shared = own.iter().filter(|id| users.get(id).is_some_and(|users| *users > 1));
        total += data;
        items.push(UsedItem {
            kind: super::images::kind(image, &anchors),
            id: image.record.id.to_string(),
            names: image.record.names.clone(),
            size: own.iter().map(size).sum::<u64>() + data,
            shared: shared.map(size).sum(),
            created: Some(image.record.created),
            last_used: image.record.layer.as_ref().and_then(|top| uses.get(top).copied()),
            in_use: needed.contains(&image.record.id),
        });
    }
    for layer in orphans::candidates(store, &list, &uses)? {
        total += layer.frees;
        items.push(UsedItem {
            kind: layer.kind,
            id: layer.id,
            names: layer.names,
            size: layer.frees,
            shared: 0,
            created: None,
            last_used: Some(layer.last_used),
            in_use: false,
        });
    }
    Ok((items, total))
}
