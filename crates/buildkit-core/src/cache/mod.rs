//! What earlier builds did, for builds that come to the same step again.
//!
//! ```text
//! a step's parts ──key──▶ index ──▶ the layer it made      (gabion/steps/)
//! a file's stat ──file_digests──▶ digest of its content    (gabion/contexts/)
//! ```
//!
//! All of it may be deleted at any time: that costs speed, never correctness.

pub mod file_digests; // digests of context files, remembered by stat
pub mod index; // from keys to results
pub mod key; // what a step depends on
