//! `build --report`: a picture of the build as one HTML page, readable without scripts or a network.
//!
//! ```text
//! Event ──▶ Recorder: what was seen, with the time since the start
//!               └──end──▶ Page: summary, timeline, why steps were done, layers, warnings
//! ```
//! All text comes from outside and is escaped by the template (maud, which knows no other way).

mod layers; // what each layer holds and hides
mod page; // the page as a whole
mod seen; // what was seen of the build
mod steps; // what became of each step, and why
mod timeline; // when what was done
mod warnings; // with the lines of the Dockerfile

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use buildkit_core::event::Event;
use buildkit_core::layer_contents;
use dockerfile::Source;
use jiff::Timestamp;
use oci::ImageId;
use store::Store;

use crate::command_error::CommandError;
use page::{Page, Result as BuildResult};
use seen::Seen;

/// Remembers a build, and writes the page about it.
pub struct Recorder {
    path: PathBuf,
    began: Timestamp,
    start: Instant,
    seen: Mutex<Seen>,
}

impl Recorder {
    /// Begins to look at a build; the page is to be at `path`.
    ///
    /// # Errors
    /// No page can be there.
    pub fn begin(path: &Path) -> Result<Recorder, CommandError> {
        let failed = |reason: &str| CommandError::new(format!("--report {}: {reason}", path.display()));
        if path.is_dir() {
            return Err(failed("it is a directory: expected the name of a file"));
        }
        if !directory(path).is_dir() {
            return Err(failed("there is no such directory"));
        }
        let (began, start) = (Timestamp::now(), Instant::now());
        Ok(Recorder { path: path.to_owned(), began, start, seen: Mutex::default() })
    }

    /// Remembers what counts.
    pub fn note(&self, event: &Event) {
        let now = self.start.elapsed();
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).note(event, now);
    }

    /// Writes the page about a build that went well.
    pub fn succeeded(
        &self,
        store: &Store,
        source: &Source,
        image: &ImageId,
        names: &[String],
    ) -> Result<(), CommandError> {
        let layers = layer_contents::of_image(store, image).map_err(|error| error.to_string());
        self.write(source, &BuildResult::Image { image, names, layers: &layers })
    }

    /// Writes the page about a build that failed; `details` are the lines that come before the error's.
    pub fn failed(&self, source: &Source, details: &[String], error: &CommandError) -> Result<(), CommandError> {
        self.write(source, &BuildResult::Failed { details, message: error.message(), hint: error.advice() })
    }

    fn write(&self, source: &Source, result: &BuildResult<'_>) -> Result<(), CommandError> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let page = Page { began: self.began, duration: self.start.elapsed(), source, seen: &seen, result };
        self.put(&page.html()).map_err(|error| CommandError::new(format!("writing {}: {error}", self.path.display())))
    }

    /// The file has the whole page, or is as it was.
    fn put(&self, html: &str) -> std::io::Result<()> {
        use std::os::unix::fs::PermissionsExt as _;
        let readable = std::fs::Permissions::from_mode(0o666);
        let mut file = tempfile::Builder::new().permissions(readable).tempfile_in(directory(&self.path))?;
        file.write_all(html.as_bytes())?;
        file.persist(&self.path).map_err(|error| error.error)?;
        Ok(())
    }
}

fn directory(path: &Path) -> &Path {
    path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
