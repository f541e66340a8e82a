//! What earlier builds did, for builds that come to the same step again.
//!
//! ```text
//! a step's parts ──key──▶ index ──▶ the layer it made      (gabion/steps/)
//! a file's stat ──file_digests──▶ digest of its content    (gabion/contexts/)
//! a step's key ──steps──▶ a layer of an image elsewhere    (--cache-from, --cache-to: ADR 0005)
//! ```
//!
//! All of it may be deleted at any time: that costs speed, never correctness.

pub mod file_digests; // digests of context files, remembered by stat
pub mod index; // from keys to results
pub mod key; // what a step depends on
pub mod place; // where caches outside of the store are
pub(crate) mod steps; // what such a cache says of its layers
