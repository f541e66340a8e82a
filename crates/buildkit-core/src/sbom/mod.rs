//! What an image is made of, as a scanner tells it: SBOMs, and the package URLs in them.
//!
//! ```text
//! the scanner's image ──▶ a working container that sees
//!     /.rootfs         the image to be
//!     /.context0 …     the contexts of the build, without what their ignore files leave out
//!     /.scans          where each command leaves a document
//! documents ──merged──▶ SBOM, package URLs ──▶ files of the host, files of the image
//! ```

mod command; // what a scanner is told to do
mod merge; // several documents are one
mod preset; // scanners that have a name
mod scan; // a scanner at work

use std::path::PathBuf;

pub use command::ScannerCommand;
pub use merge::MergeStrategy;
pub(crate) use scan::Scan;
pub use scan::{Results, SbomError, scan_container};

use crate::transfer::pull::PullPolicy;

/// What tells of an image's parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scanner {
    /// Name of the image that it is in.
    pub image: String,
    /// What it is told to do.
    pub commands: Vec<ScannerCommand>,
    /// How its documents become one.
    pub strategy: MergeStrategy,
}

/// How to scan an image, and where to put what is found.
#[derive(Clone, Debug)]
pub struct ScanOptions {
    /// With what.
    pub scanner: Scanner,
    /// When the scanner's image is pulled.
    pub pull: PullPolicy,
    /// File of the host for the SBOM.
    pub sbom: Option<PathBuf>,
    /// File of the host for the package URLs.
    pub purls: Option<PathBuf>,
    /// Absolute path in the image for the SBOM.
    pub image_sbom: Option<String>,
    /// Absolute path in the image for the package URLs.
    pub image_purls: Option<String>,
}

impl ScanOptions {
    /// Whether the image gets files.
    pub fn changes_image(&self) -> bool {
        self.image_sbom.is_some() || self.image_purls.is_some()
    }
}
