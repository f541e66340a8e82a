//! The cache is kept to a budget: what was used longest ago goes when a build ends.

use std::fs;

use jiff::Timestamp;
use oci::ImageId;
use store::Store;

use super::{PruneError, PruneOptions, Pruned, plan};

/// Removes nameless images and cache mounts, those used longest ago first, until `budget` bytes of them
/// are left. `results`, and what was used since the first of the builds that are under way began, stays.
pub(crate) fn trim(store: &Store, budget: u64, results: &[ImageId]) -> Result<Pruned, PruneError> {
    let began = fs::read_dir(store.private_directory()?.join("builds")).into_iter().flatten().flatten();
    let began = began.filter_map(|entry| Timestamp::try_from(entry.metadata().ok()?.modified().ok()?).ok()).min();
    let options = PruneOptions {
        keep_storage: Some(budget),
        spare_since: Some(began.unwrap_or_else(Timestamp::now)),
        spare: results.to_vec(),
        ..PruneOptions::default()
    };
    Ok(plan(store, &options)?.carry_out(store))
}
