//! Fixtures for the tests of the other crates: a store in a temporary directory with gabion and
//! its peers on it, a registry on loopback, a base image, tree literals, and a validator of images.
//!
//! Fixtures panic when something is not as it must be: a test that cannot run fails.
#![forbid(unsafe_code)]
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a fixture that cannot work ends the test")]

pub mod base_image; // a tiny image of the host's busybox, made on the spot
pub mod built; // builds of which the steps are told apart: done, or cached
pub mod case; // builds and what must come out, a text file each
pub mod flatten; // what a container would see of an image
pub mod registry; // Debian's docker-registry on a loopback port
pub mod sandbox; // a store of the test's own
pub mod store_check; // is a store whole? seen from outside
pub mod terminal; // a command on a terminal
pub mod tool; // a command, run and judged
pub mod tree; // file tree literals
pub mod validate; // recompute every digest of an image on disk

pub use built::{Built, Machine};
pub use registry::DockerRegistry;
pub use sandbox::Sandbox;
pub use terminal::Terminal;
pub use tool::{Outcome, Tool};
pub use tree::Tree;
