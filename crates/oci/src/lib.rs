//! Nouns of the OCI image specification, shared by every crate that handles images.
//!
//! Nothing here does I/O: a value is made from text or bytes and says whether they were valid.
//! Descriptors, manifests and indexes are the community's types (`oci-spec`, re-exported as
//! [`spec`]); this crate adds what those leave open: strict digests and IDs, references as users
//! write them, and one image config that carries both OCI's and Docker's fields.
#![forbid(unsafe_code)]

pub mod config; // what an image runs and how it came about
pub mod digest; // `sha256:…`, computing and checking
pub mod docker_config; // …in Docker's form
pub mod ids; // DiffId, ImageId, LayerId: distinct types
pub mod index; // lists of manifests, OCI's and Docker's
pub mod json; // how Go writes JSON
pub mod manifest; // OCI and Docker v2 schema 2 manifests
pub mod media_type; // the strings, and what they say about compression
pub mod platform; // os/arch[/variant]
pub mod reference; // [domain/]path[:tag][@digest]

pub use config::{History, ImageConfig};
pub use digest::{Digest, DigestReader, DigestWriter};
pub use ids::{ContainerId, DiffId, ImageId, LayerId};
pub use index::Index;
pub use manifest::{Format, Manifest};
pub use oci_spec::image as spec;
pub use platform::Platform;
pub use reference::Reference;
