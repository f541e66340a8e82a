//! Images from place to place: pull, push, and the copying below both.

pub(crate) mod cache; // layers of build steps, with a config that tells of them
mod error; // one line each
mod gzip; // one member, several cores
pub(crate) mod instance; // a manifest of an index, and what it names
pub(crate) mod into_sink; // layers compressed, manifest rewritten
mod into_store; // layers unpacked, records published
mod metered; // how far a blob is
mod opened; // an image at its source
pub mod place; // a location's source or sink
pub mod policy; // which places images may come from
pub mod pull; // any transport → store
pub mod push; // store → any transport
mod remotes; // registries, reached when needed
mod workers; // several layers at once

pub use error::TransferError;
pub use into_sink::{CopyOptions, LayerCompression};
pub use policy::{Policy, PolicyError, RegistrySources};
pub use pull::{PullOptions, PullPolicy, resolve_or_pull};
pub use push::{PushOptions, Pushed, push};
pub use remotes::Remotes;
pub(crate) use workers::Cancel;
