//! What is remembered of builds: which there is, and what of it is of no use any more.
//!
//! ```text
//! <graphroot>/gabion/cache        useless when its layer or image is gone
//!                    explained    … when its image is gone, or nobody has built so for a month
//!                    contexts     … when nobody has built from there for a month
//!                    unfinished   … when its image is gone
//!                    claims-of-steps    … when its process is gone
//! ```
//! Of what is used, only a step's record, a build's explanation and a context's digests say when that
//! was last: these also go by age.
//!
//! All of it may go at any time: that costs speed.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use oci::{ImageId, LayerId};
use rustix::fs::FlockOperation;
use std::os::unix::fs::MetadataExt as _;
use store::Store;

use super::disk::bytes_below;
use super::usage::UsedItem;
use super::{Candidate, Kind, PruneError};
use crate::build::Explanation;
use crate::cache::index::{Index, Indexed};
use crate::lock_file;

/// When layers were last used.
pub(super) type Uses = HashMap<LayerId, Timestamp>;

/// The folders with what they hold.
const FOLDERS: [(&str, &str); 5] = [
    ("cache", "what steps made"),
    ("explained", "why steps were done"),
    ("contexts", "digests of files"),
    ("unfinished", "which images only keep layers"),
    ("claims-of-steps", "steps under way"),
];

/// What nobody has used for so long is of no use.
const STALE: SignedDuration = SignedDuration::from_hours(30 * 24);
/// A file without a right name is written for this long at most.
const WRITING: Duration = Duration::from_secs(3600);
/// Bytes of a block that `stat` counts.
const BLOCK: u64 = 512;

/// What records may speak of.
pub(super) struct There {
    layers: HashSet<LayerId>,
    images: HashSet<ImageId>,
}

impl There {
    /// What is in the store.
    pub fn read(store: &Store) -> Result<There, PruneError> {
        let layers = store.layers()?.into_iter().map(|layer| layer.id).collect();
        let images = store.images()?.into_iter().map(|image| image.id).collect();
        Ok(There { layers, images })
    }

    /// The same without what is to go.
    pub fn without(mut self, layers: &HashSet<LayerId>, gone: &[Candidate]) -> There {
        self.layers.retain(|layer| !layers.contains(layer));
        self.images.retain(|image| !gone.iter().any(|gone| gone.id == image.as_str()));
        self
    }
}

/// A record that is of no use.
pub(super) struct Stale {
    folder: &'static str,
    path: PathBuf,
    bytes: u64,
    used: Timestamp,
}

/// When each layer was last made or taken by a build.
pub(super) fn uses(private_directory: &Path) -> Uses {
    let mut uses = Uses::new();
    for (path, indexed) in Index::new(private_directory).files() {
        if let (Indexed::Step(Some(layer), _), Some((used, _))) = (indexed, stat(&path)) {
            let last = uses.entry(layer).or_insert(used);
            *last = used.max(*last);
        }
    }
    uses
}

/// Images that only keep layers in the store's reach.
pub(super) fn anchors(private_directory: &Path) -> HashSet<ImageId> {
    let names = names_in(&private_directory.join("unfinished"));
    names.iter().filter_map(|(name, _)| ImageId::parse(name).ok()).collect()
}

/// All records that are of no use, or were last used before `until`.
pub(super) fn stale(private_directory: &Path, there: &There, until: Option<Timestamp>) -> Vec<Stale> {
    let began = Timestamp::now();
    let limits = Limits { until, month: began.checked_sub(STALE).unwrap_or(Timestamp::MIN) };
    let mut scan = Scan { limits, began, stale: Vec::new() };
    scan.index(private_directory, there);
    scan.explanations(&private_directory.join("explained"), there);
    for (_, path) in names_in(&private_directory.join("contexts")) {
        scan.judge("contexts", path, |used| limits.is_stale(used));
    }
    for (name, path) in names_in(&private_directory.join("unfinished")) {
        let is_there = ImageId::parse(&name).is_ok_and(|id| there.images.contains(&id));
        scan.judge("unfinished", path, |_| !is_there);
    }
    for (_, path) in names_in(&private_directory.join("claims-of-steps")) {
        let lock = lock_file::acquire_existing(&path, FlockOperation::NonBlockingLockExclusive);
        if matches!(lock, Ok(Some(_))) {
            scan.judge("claims-of-steps", path, |_| true);
        }
    }
    scan.stale
}

/// How long ago records may have been used.
#[derive(Clone, Copy)]
struct Limits {
    until: Option<Timestamp>,
    month: Timestamp,
}

impl Limits {
    /// Whether a record that was used then goes by its age.
    fn is_old(self, used: Timestamp) -> bool {
        self.until.is_some_and(|until| used < until)
    }

    /// The same of one that speaks of nothing whose end makes it useless.
    fn is_stale(self, used: Timestamp) -> bool {
        self.is_old(used) || used < self.month
    }
}

struct Scan {
    limits: Limits,
    began: Timestamp,
    stale: Vec<Stale>,
}

impl Scan {
    /// Whether the record stays.
    fn judge(&mut self, folder: &'static str, path: PathBuf, is_useless: impl FnOnce(Timestamp) -> bool) -> bool {
        let Some((used, bytes)) = stat(&path) else { return false };
        // What somebody writes just now may speak of what comes after.
        let goes = used < self.began && is_useless(used);
        if goes {
            self.stale.push(Stale { folder, path, bytes, used });
        }
        !goes
    }

    fn index(&mut self, private_directory: &Path, there: &There) {
        let mut kinds = HashSet::new();
        let limits = self.limits;
        let writing = self.began.checked_sub(WRITING).unwrap_or(Timestamp::MIN);
        let files: Vec<_> = Index::new(private_directory).files().collect();
        // Kinds come behind the steps.
        for (path, indexed) in files {
            match indexed {
                Indexed::Step(layer, kind) => {
                    let is_useless = |used| match &layer {
                        Some(layer) => !there.layers.contains(layer) || limits.is_old(used),
                        None => limits.is_stale(used),
                    };
                    if self.judge("cache", path, is_useless) {
                        kinds.extend(kind.map(|kind| kind.as_str().to_owned()));
                    }
                }
                // A kind's own time is that of its first step.
                Indexed::Kind(kind) if kinds.contains(&kind) => {}
                Indexed::Kind(_) => _ = self.judge("cache", path, |_| true),
                Indexed::Layer(layer) => _ = self.judge("cache", path, |_| !there.layers.contains(&layer)),
                Indexed::Image(image) => _ = self.judge("cache", path, |_| !there.images.contains(&image)),
                Indexed::Unreadable => _ = self.judge("cache", path, |used| used < writing),
            }
        }
    }

    fn explanations(&mut self, dir: &Path, there: &There) {
        let limits = self.limits;
        let mut sources = HashSet::new();
        let mut keep = |path: &Path| {
            let explanation: Option<Explanation> =
                fs::read(path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
            for step in explanation.map(|explanation| explanation.0).unwrap_or_default() {
                sources.extend(step.parts.iter().map(|part| part.value.clone()));
            }
        };
        for (_, path) in names_in(&dir.join("builds")) {
            if self.judge("explained", path.clone(), |used| limits.is_stale(used)) {
                keep(&path);
            }
        }
        for (name, path) in names_in(&dir.join("images")) {
            let is_there = ImageId::parse(&name).is_ok_and(|id| there.images.contains(&id));
            if self.judge("explained", path.clone(), |_| !is_there) {
                keep(&path);
            }
        }
        for (name, path) in names_in(&dir.join("sources")) {
            if !sources.contains(&name) {
                self.judge("explained", path, |_| true);
            }
        }
    }
}

/// The folders with records that are to go.
pub(super) fn candidates(stale: &[Stale]) -> Vec<Candidate> {
    let mut candidates = Vec::new();
    for (folder, what) in FOLDERS {
        let own = || stale.iter().filter(|stale| stale.folder == folder);
        if let Some(last_used) = own().map(|stale| stale.used).max() {
            candidates.push(Candidate {
                kind: Kind::Records,
                id: folder.to_owned(),
                names: vec![what.to_owned()],
                frees: own().map(|stale| stale.bytes).sum(),
                last_used,
            });
        }
    }
    candidates
}

/// Removes the records of `folder` that are of no use by now.
pub(super) fn remove(store: &Store, folder: &str, until: Option<Timestamp>) -> Result<bool, PruneError> {
    let all = stale(&store.private_directory()?, &There::read(store)?, until);
    let mut is_removed = false;
    for Stale { path, .. } in all.into_iter().filter(|stale| stale.folder == folder) {
        // Held, so that nobody takes a claim for theirs while it goes.
        let _lock = match folder {
            "claims-of-steps" => {
                let lock = lock_file::acquire_existing(&path, FlockOperation::NonBlockingLockExclusive);
                match lock.map_err(PruneError::io(&path))? {
                    Some(lock) => Some(lock),
                    None => continue,
                }
            }
            _ => None,
        };
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(PruneError::io(&path)(error)),
            _ => is_removed = true,
        }
    }
    Ok(is_removed)
}

/// The folders of records that there are.
pub(super) fn usage(private_directory: &Path) -> Result<Vec<UsedItem>, PruneError> {
    let mut items = Vec::new();
    for (folder, what) in FOLDERS {
        let dir = private_directory.join(folder);
        let size = bytes_below(&dir)?;
        if size > 0 {
            items.push(UsedItem {
                kind: Kind::Records,
                id: folder.to_owned(),
                names: vec![what.to_owned()],
                size,
                shared: 0,
                created: None,
                last_used: stat(&dir).map(|(used, _)| used),
                in_use: false,
            });
        }
    }
    Ok(items)
}

fn names_in(dir: &Path) -> Vec<(String, PathBuf)> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path())).collect()
}

/// When it was last used, and its bytes on the disk.
fn stat(path: &Path) -> Option<(Timestamp, u64)> {
    let metadata = fs::metadata(path).ok()?;
    let used = Timestamp::try_from(metadata.modified().ok()?).ok()?;
    Some((used, metadata.blocks() * BLOCK))
}
