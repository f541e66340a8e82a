//! Layers for caches on registries are sent while later steps run.
//!
//! What becomes of the caches shows at the end ([`super::export`]), which finds there what was sent by
//! then. For that, layers of some size are published early, as for another build that waits for them.

use std::collections::{BTreeSet, HashSet};

use oci::LayerId;

use super::error::StepError;
use super::{Build, INTERVAL};
use crate::cache::place::{CacheTo, Extent};
use crate::event::Event;
use crate::transfer::Cancel;
use crate::transfer::cache::send_ahead;
use crate::transfer::place::Places;
use crate::transport::Location;

/// Bytes of layers for which it is worth publishing early. Smaller ones are soon sent at the end.
const WORTHWHILE: u64 = 1 << 20;

impl Build<'_> {
    /// Sends layers as long as there are stages under way and `cancel` is not set. What cannot be sent is
    /// tried again, and told of, at the end.
    pub(super) fn send_ahead(&self, cancel: &Cancel) {
        let is_registry = |to: &&CacheTo| matches!(to.location, Some(Location::Docker(_)));
        let caches: Vec<&CacheTo> = self.options.cache_to.iter().filter(is_registry).collect();
        if self.cache.is_none() || caches.is_empty() {
            return;
        }
        let mut sent = HashSet::new();
        while !self.schedule.wait_for_all(INTERVAL) {
            if let Err(error) = self.send_finished(&caches, &mut sent, cancel) {
                (self.events)(Event::Debug(format!("sending layers of the cache ahead: {error}")));
                return;
            }
        }
    }

    /// Sends what has been finished and is not in `sent` yet.
    fn send_finished(
        &self,
        caches: &[&CacheTo],
        sent: &mut HashSet<LayerId>,
        cancel: &Cancel,
    ) -> Result<(), StepError> {
        let below = self.below_target();
        for position in 0..self.works.len() {
            let caches: Vec<&CacheTo> = caches.iter().copied().filter(|to| is_in(to, position, &below)).collect();
            if caches.is_empty() {
                continue;
            }
            if self.unpublished(position) >= WORTHWHILE {
                self.publish_read(position)?;
            }
            for id in self.files(position).made.iter().filter_map(|made| made.id()) {
                if !sent.insert(id.clone()) {
                    continue;
                }
                let layer = self.store.layer(&id)?;
                for to in &caches {
                    let Some(location) = &to.location else { continue };
                    let places = Places { store: self.store, remotes: self.remotes, events: self.events };
                    let platform = &self.options.plan.platform;
                    send_ahead(&places, location, platform, layer.clone(), to.compression, cancel)?;
                }
            }
        }
        Ok(())
    }

    /// Bytes of the stage's layers that have been read and are not in the store.
    fn unpublished(&self, position: usize) -> u64 {
        let files = self.files(position);
        let read = files.made.iter().map_while(|made| made.digest_if_known().map(|known| (made, known)));
        read.filter(|(made, _)| made.id().is_none()).filter_map(|(_, known)| known.new).map(|new| new.diff_size).sum()
    }
}

/// Whether the cache has steps of the stage at this position.
fn is_in(to: &CacheTo, position: usize, below: &BTreeSet<usize>) -> bool {
    to.extent == Extent::AllStages || below.contains(&position)
}
