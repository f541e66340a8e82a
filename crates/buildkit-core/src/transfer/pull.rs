//! Pulling: from any transport into the store, if the policy asks for it.

use oci::Platform;
use store::Store;

use crate::event::Events;
use crate::image::Image;
use crate::transfer::{Remotes, TransferError};

/// When an image is pulled that may be in the store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PullPolicy {
    /// Always; a failure is an error.
    Always,
    /// If the store does not have it.
    #[default]
    Missing,
    /// Never.
    Never,
    /// If the registry's differs from the store's; a failure is an error only if the store has none.
    Newer,
}

/// How to pull.
#[derive(Clone, Debug)]
pub struct PullOptions {
    /// When.
    pub policy: PullPolicy,
    /// Which entry of an index; also what an image in the store is compared with.
    pub platform: Platform,
}

/// The image that a user means by `name`: one in the store (name, ID, unambiguous start of an ID,
/// `containers-storage:` name), or one that is pulled (a name with or without registry, or
/// `transport:…`), as `options.policy` says. The result is in the store in any case.
pub fn resolve_or_pull(
    store: &Store,
    remotes: &Remotes,
    name: &str,
    options: &PullOptions,
    events: Events<'_>,
) -> Result<Image, TransferError> {
    let _ = (store, remotes, name, options, events);
    todo!()
}
