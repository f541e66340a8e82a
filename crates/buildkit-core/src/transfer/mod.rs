//! Images from place to place: pull, push, and the copying below both.

mod error; // one line each
pub mod pull; // any transport → store
mod remotes; // registries, reached when needed

pub use error::TransferError;
pub use remotes::Remotes;
