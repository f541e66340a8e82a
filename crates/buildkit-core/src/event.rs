//! What the engine tells while it works. Libraries never print: whoever calls them draws these.

use oci::Digest;

/// Receives events, from any thread.
pub type Events<'a> = &'a (dyn Fn(Event) + Sync);

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A step of a build begins.
    Step {
        /// The stage's position and how many stages are built, where there are several.
        stage: Option<(usize, usize)>,
        /// Counting from 1 over the stage's instructions, FROM included.
        number: usize,
        /// How many there are.
        total: usize,
        /// The instruction as written.
        text: String,
    },
    /// A step of a build made a layer, or the stage's image is done.
    StepDone {
        /// The layer's or image's ID.
        id: String,
    },
    /// The stage's result is being committed.
    Commit {
        /// The name it gets, if any.
        name: Option<String>,
    },
    /// A blob is being copied.
    CopyingBlob(Digest),
    /// A blob is there already.
    BlobExists(Digest),
    /// The config is being copied.
    CopyingConfig(Digest),
    /// The manifest is being written.
    WritingManifest,
    /// Something the user should know of; the command goes on.
    Warning(String),
    /// Something a curious user may want to know.
    Info(String),
    /// Something for finding faults.
    Debug(String),
}
