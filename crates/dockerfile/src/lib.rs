//! Dockerfile text to syntax tree to typed instructions. No I/O.
#![forbid(unsafe_code)]

mod duration; // times in Go's notation
pub mod ignore; // ignore files of build contexts

pub use duration::parse_duration;
