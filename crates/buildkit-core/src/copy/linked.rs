//! Copies that leave the container as it is: what is copied becomes a layer of its own when the container
//! is committed, over all that the container changed.
//!
//! ```text
//! <container's directory>/link-stage-R/     what was copied, with the directories above it
//! buildah.json: AppendedLinkedLayers        where that is, and what the history is to say
//! ```
//! The layer depends on nothing but what is copied: the directories above it are made anew, and have
//! the time of what is copied.

use std::path::Path;

use jiff::Timestamp;
use oci::History;
use rootfs::{Root, Time};

use super::{ContentDigest, CopyError, CopyOptions, Found, Prepared, Unpack};
use crate::run::absolute;
use crate::working_container::{LinkedLayer, WorkingContainer};

/// What the name of a directory with what was copied begins with, as Buildah calls it.
const PREFIX: &str = "link-stage-";

/// Copies for a layer of `container`'s image, and gives the digest of what was copied. `options.link` is
/// expected. After an error there is nothing of it.
pub fn copy_linked(
    container: &mut WorkingContainer<'_>,
    options: &CopyOptions<'_>,
) -> Result<ContentDigest, CopyError> {
    let store = container.store();
    let dir = store.temporary_directory()?;
    let into = Root::open(dir.path())?;
    let mounted = store.mounted(container.id())?;
    let working_dir = container.state().config.config.working_dir.clone();
    let prepared = Prepared::new(store, options)?;
    let (digest, below) = prepared.copy_beside(&Root::open(mounted.path())?, &into, &working_dir)?;
    mounted.unmount()?;
    let time = match options.timestamp {
        Some(seconds) => Time::from_seconds(seconds),
        None => prepared.time(&into, &below)?,
    };
    for made in below.ancestors().filter(|made| !made.as_os_str().is_empty()) {
        into.set_times(made, time, time)?;
    }
    let history = History {
        created: Timestamp::new(time.seconds, i32::try_from(time.nanoseconds).unwrap_or_default()).ok(),
        created_by: created_by(options, &working_dir, &digest),
        comment: container.state().history_comment.clone(),
        ..History::default()
    };
    let blob_path = store.keep_with_container(container.id(), dir, PREFIX)?;
    container.state_mut().appended_linked_layers.push(LinkedLayer { history, blob_path: blob_path.clone() });
    container.save().inspect_err(|_| {
        // Nothing tells of it.
        let _ = std::fs::remove_dir_all(&blob_path);
    })?;
    Ok(digest)
}

/// What the history says.
fn created_by(options: &CopyOptions<'_>, working_dir: &str, digest: &ContentDigest) -> String {
    let keyword = if options.unpack == Unpack::Nothing { "COPY" } else { "ADD" };
    let mut destination = absolute(&format!("/{working_dir}"), &options.destination);
    let is_directory = options.destination.is_empty() || options.destination.ends_with('/');
    if is_directory && !destination.ends_with('/') {
        destination.push('/');
    }
    format!("/bin/sh -c #(nop) {keyword} --link {digest} in {destination} ")
}

impl Prepared<'_, '_> {
    /// The latest time of what was copied into the directory `below`: that of the sources, or where these have
    /// none, as downloads, that of what has become of them.
    fn time(&self, root: &Root, below: &Path) -> Result<Time, CopyError> {
        let mut latest: Option<Time> = None;
        for found in &self.found {
            let Found::Items(_, items) = found else {
                let dir = root.open_dir(below)?;
                for name in dir.names()? {
                    latest = latest.max(dir.metadata_if_exists(&name)?.map(|metadata| metadata.mtime));
                }
                continue;
            };
            latest = latest.max(items.iter().map(|item| item.metadata.mtime).max());
        }
        Ok(latest.unwrap_or_default())
    }
}
