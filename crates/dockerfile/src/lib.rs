//! Dockerfile text to syntax tree to typed instructions. No I/O.
#![forbid(unsafe_code)]

pub mod ignore; // ignore files of build contexts
