//! Which images may go, and what that frees.

use std::collections::{BTreeSet, HashMap, HashSet};

use jiff::Timestamp;
use oci::{ImageId, LayerId};
use store::{Layer, Store};

use super::records::Uses;
use super::{Candidate, Kind, PruneError, PruneOptions, leftovers};
use crate::image_list::{ImageList, ListedImage};

/// Images that may go once `gone` is, those first that others were made from last.
pub(super) fn choose(
    store: &Store,
    list: &ImageList,
    options: &PruneOptions,
    gone: &[Candidate],
    uses: &Uses,
) -> Result<Vec<Candidate>, PruneError> {
    let layers: HashMap<LayerId, Layer> = store.layers()?.into_iter().map(|layer| (layer.id.clone(), layer)).collect();
    let anchors = super::records::anchors(&store.private_directory()?);
    let containers = if options.force { Vec::new() } else { staying_containers(store, gone)? };
    let needed = needed(list, &layers, &anchors, &containers);
    let is_free = |image: &ListedImage| {
        !image.record.read_only
            && !needed.contains(&image.record.id)
            && !options.spare.contains(&image.record.id)
            && (options.all || image.is_nameless() && !list.is_in_list(image))
    };
    // Whatever keeps these is no reason to keep another image.
    let kept: HashSet<LayerId> =
        list.iter().filter(|image| !is_free(image)).flat_map(|image| layers_of(&layers, image)).collect();
    let last_used = |image: &ListedImage| {
        let own = layers_of(&layers, image).into_iter().filter(|layer| !kept.contains(layer));
        own.filter_map(|layer| uses.get(&layer).copied()).chain([image.record.created]).max().unwrap_or_default()
    };
    let may_go = |image: &ListedImage| is_free(image) && options.until.is_none_or(|until| last_used(image) < until);
    let mut rest: Vec<&ListedImage> = list.iter().collect();
    let mut chosen: Vec<(&ListedImage, Timestamp)> = Vec::new();
    // Each round takes the images without children, which may leave others without.
    loop {
        let has_children = |image: &ListedImage| rest.iter().any(|other| other.is_child_of(image));
        let round: Vec<&ListedImage> =
            rest.iter().filter(|image| may_go(image) && (options.all || !has_children(image))).copied().collect();
        if round.is_empty() {
            break;
        }
        rest.retain(|image| !round.iter().any(|gone| gone.record.id == image.record.id));
        for image in round {
            // Whoever uses a child uses what it was made from.
            let children = chosen.iter().filter(|(child, _)| child.is_child_of(image)).map(|(_, used)| *used);
            let used = children.chain([last_used(image)]).max().unwrap_or(image.record.created);
            chosen.push((image, used));
        }
    }
    let candidate = |(image, last_used): (&ListedImage, Timestamp)| Candidate {
        kind: kind(image, &anchors),
        id: image.record.id.to_string(),
        names: image.record.names.clone(),
        frees: 0,
        last_used,
    };
    Ok(chosen.into_iter().map(candidate).collect())
}

/// The images that `containers` need: those that they are based on, and those that keep layers in the
/// store's reach which they went on over.
pub(super) fn needed(
    list: &ImageList,
    layers: &HashMap<LayerId, Layer>,
    anchors: &HashSet<ImageId>,
    containers: &[store::Container],
) -> HashSet<ImageId> {
    let below: HashSet<LayerId> =
        containers.iter().flat_map(|container| chain(layers, Some(&container.layer))).collect();
    let keeps = |image: &&ListedImage| {
        anchors.contains(&image.record.id) && image.record.layer.as_ref().is_some_and(|top| below.contains(top))
    };
    let based_on = containers.iter().filter_map(|container| container.image.clone());
    list.iter().filter(keeps).map(|image| image.record.id.clone()).chain(based_on).collect()
}

/// What an image is: one whose ID is in `anchors` is the cache's.
pub(super) fn kind(image: &ListedImage, anchors: &HashSet<ImageId>) -> Kind {
    let is_anchor = image.is_nameless() && anchors.contains(&image.record.id);
    if is_anchor { Kind::BuildCache } else { Kind::Image }
}

/// The layers that go with `gone`.
pub(super) fn freed(store: &Store, list: &ImageList, gone: &[Candidate]) -> Result<HashSet<LayerId>, PruneError> {
    let layers: HashMap<LayerId, Layer> = store.layers()?.into_iter().map(|layer| (layer.id.clone(), layer)).collect();
    let goes = |image: &&ListedImage| gone.iter().any(|gone| gone.id == image.record.id.as_str());
    let mut freed: HashSet<LayerId> = list.iter().filter(goes).flat_map(|image| layers_of(&layers, image)).collect();
    let tops = gone.iter().filter(|gone| gone.kind == Kind::Layer).filter_map(|gone| LayerId::parse(&gone.id).ok());
    freed.extend(tops.flat_map(|top| chain(&layers, Some(&top))));
    for id in list.iter().filter(|image| !goes(image)).flat_map(|image| layers_of(&layers, image)) {
        freed.remove(&id);
    }
    for id in staying_containers(store, gone)?.iter().flat_map(|container| chain(&layers, Some(&container.layer))) {
        freed.remove(&id);
    }
    Ok(freed)
}

/// Sets what each image in `candidates` frees after those before it; `gone` is gone already.
pub(super) fn fill_in_bytes(
    store: &Store,
    list: &ImageList,
    gone: &[Candidate],
    candidates: &mut [Candidate],
) -> Result<(), PruneError> {
    let layers: HashMap<LayerId, Layer> = store.layers()?.into_iter().map(|layer| (layer.id.clone(), layer)).collect();
    let mut users: HashMap<LayerId, usize> = HashMap::new();
    for container in staying_containers(store, gone)?.iter().filter(|container| !goes_with_image(container, candidates))
    {
        for id in chain(&layers, Some(&container.layer)) {
            *users.entry(id).or_default() += 1;
        }
    }
    for image in list.iter() {
        for id in layers_of(&layers, image) {
            *users.entry(id).or_default() += 1;
        }
    }
    for candidate in candidates.iter_mut().filter(|candidate| candidate.kind.is_image()) {
        let Some(image) = list.iter().find(|image| image.record.id.as_str() == candidate.id) else { continue };
        candidate.frees = image.record.big_data.sizes.values().map(|size| u64::try_from(*size).unwrap_or(0)).sum();
        for id in layers_of(&layers, image) {
            let Some(count) = users.get_mut(&id) else { continue };
            *count = count.saturating_sub(1);
            if *count == 0 {
                let size = layers.get(&id).map_or(0, |layer| layer.diff_size);
                candidate.frees += u64::try_from(size).unwrap_or(0);
            }
        }
    }
    Ok(())
}

/// With force, the containers based on images that go.
pub(super) fn containers_in_the_way(
    store: &Store,
    options: &PruneOptions,
    candidates: &[Candidate],
) -> Result<Vec<Candidate>, PruneError> {
    if !options.force {
        return Ok(Vec::new());
    }
    let in_the_way = store.containers()?.into_iter().filter(|container| goes_with_image(container, candidates));
    in_the_way.map(|container| leftovers::candidate(store, Kind::Container, container)).collect()
}

fn goes_with_image(container: &store::Container, candidates: &[Candidate]) -> bool {
    let image = container.image.as_ref().map(ImageId::as_str);
    image.is_some_and(|id| candidates.iter().any(|candidate| candidate.kind.is_image() && candidate.id == id))
}

fn staying_containers(store: &Store, gone: &[Candidate]) -> Result<Vec<store::Container>, PruneError> {
    let mut containers = store.containers()?;
    containers.retain(|container| !gone.iter().any(|gone| gone.id == container.id.as_str()));
    Ok(containers)
}

/// The layers of an image, each once.
pub(super) fn layers_of(layers: &HashMap<LayerId, Layer>, image: &ListedImage) -> BTreeSet<LayerId> {
    let tops = image.record.layer.iter().chain(&image.record.mapped_layers);
    tops.flat_map(|top| chain(layers, Some(top))).collect()
}

/// A layer and those below it.
pub(super) fn chain(layers: &HashMap<LayerId, Layer>, top: Option<&LayerId>) -> Vec<LayerId> {
    let mut next = top;
    // A chain can't be longer than there are layers, unless it is a ring.
    let ids = (0..layers.len()).map_while(|_| {
        let layer = layers.get(next?)?;
        next = layer.parent.as_ref();
        Some(layer.id.clone())
    });
    ids.collect()
}
