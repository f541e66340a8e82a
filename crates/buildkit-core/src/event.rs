//! What the engine tells while it works. Libraries never print: whoever calls them draws these.

use std::fmt;
use std::time::{Duration, Instant};

use oci::{Digest, Platform};

use crate::build::Explanation;

/// Receives events, from any thread.
pub type Events<'a> = &'a (dyn Fn(Event) + Sync);

/// Something that happened. Of builds for several platforms, what happens in each comes as
/// [`Event::OfPlatform`].
///
/// Of a step: [`Event::Step`], any number of [`Event::Output`], [`Event::StepEnded`]; each step that
/// begins ends once, whatever becomes of the build. Of a stage that waits: [`Event::Waiting`], then
/// [`Event::Waited`]. Of a blob: [`Event::CopyingBlob`], then
/// [`Event::BlobProgress`] now and then, then [`Event::BlobCopied`]; one that fails is begun again
/// or ends the command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A step of a build begins.
    Step {
        /// Which one.
        id: StepId,
        /// The instruction as written.
        text: String,
    },
    /// A step has ended.
    StepEnded {
        /// Which one.
        id: StepId,
        /// How.
        outcome: StepOutcome,
        /// How long it took.
        duration: Duration,
    },
    /// A step wrote a line; told only where the caller asked for it.
    Output {
        /// Which one.
        id: StepId,
        /// Where to.
        stream: Stream,
        /// The line without its end. Whatever the program wrote: no terminal should see it as it is.
        line: String,
    },
    /// A stage begins to wait; what waits is the step that is under way, or else the stage itself.
    Waiting {
        /// The stage's position, from 1, and how many are built.
        stage: (usize, usize),
        /// For what.
        waits_for: WaitsFor,
    },
    /// The stage goes on, or has nothing to go on for.
    Waited {
        /// The stage's position, from 1, and how many are built.
        stage: (usize, usize),
        /// For what it has waited.
        waits_for: WaitsFor,
        /// How long.
        duration: Duration,
    },
    /// A step of a build has a layer of an earlier one, or the image is done.
    StepDone {
        /// The layer's or image's ID.
        id: String,
        /// Whether an earlier build made it.
        is_cached: bool,
    },
    /// What became of each step, and why: the last thing that is told of a build.
    Explanation(Explanation),
    /// The stage's result is being committed.
    Commit {
        /// The name it gets, if any.
        name: Option<String>,
    },
    /// An image of a list is being copied.
    CopyingImage {
        /// Its manifest.
        digest: Digest,
        /// Its position, from 1, and how many are copied.
        position: (usize, usize),
    },
    /// An image is being looked for at a place, to be pulled from there.
    Pulling(String),
    /// A blob is being copied.
    CopyingBlob(Digest),
    /// How far a blob is; at most a few times a second.
    BlobProgress {
        /// Which one.
        digest: Digest,
        /// Bytes that were read.
        done: u64,
        /// Bytes that there are, if that is known.
        total: Option<u64>,
    },
    /// All of a blob was read.
    BlobCopied {
        /// Which one.
        digest: Digest,
        /// Its bytes.
        size: u64,
    },
    /// A blob is there already.
    BlobExists(Digest),
    /// The config is being copied.
    CopyingConfig(Digest),
    /// The manifest is being written.
    WritingManifest,
    /// Something that happened in the build for one of several platforms.
    OfPlatform {
        /// Which one.
        platform: Platform,
        /// What happened.
        event: Box<Event>,
    },
    /// Something the user should know of; the command goes on.
    Warning(String),
    /// Something a curious user may want to know.
    Info(String),
    /// Something for finding faults.
    Debug(String),
}

impl Event {
    /// The event itself, and the platform if it is of the build for one of several.
    pub fn and_platform(self) -> (Event, Option<Platform>) {
        match self {
            Event::OfPlatform { platform, event } => (*event, Some(platform)),
            event => (event, None),
        }
    }
}

/// Which step of a build.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StepId {
    /// The stage's position and how many stages are built, where there are several.
    pub stage: Option<(usize, usize)>,
    /// Counting from 1 over the stage's instructions, FROM included.
    pub number: usize,
    /// How many there are.
    pub total: usize,
}

impl fmt::Display for StepId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((position, stages)) = self.stage {
            write!(f, "[{position}/{stages}] ")?;
        }
        write!(f, "STEP {}/{}", self.number, self.total)
    }
}

/// How a step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepOutcome {
    /// It was done.
    Done,
    /// An earlier build had done it.
    Cached,
    /// It failed, or the build was interrupted.
    Failed,
}

/// What a stage waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitsFor {
    /// A place among the stages that are built at once ([`crate::build::BuildOptions::jobs`]).
    Place,
    /// The stage at this position, from 1.
    Stage(usize),
    /// Another build, which is doing the same step.
    OtherBuild,
    /// The digests of the layers so far, which decide whether an earlier build has done the step.
    Digests,
}

/// Which of a program's streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// A stage that waits, until this is dropped.
pub(crate) struct WaitingStage<'e> {
    events: Events<'e>,
    stage: (usize, usize),
    waits_for: WaitsFor,
    start: Instant,
}

impl<'e> WaitingStage<'e> {
    /// Tells that the stage waits.
    pub fn begin(events: Events<'e>, stage: (usize, usize), waits_for: WaitsFor) -> WaitingStage<'e> {
        events(Event::Waiting { stage, waits_for });
        WaitingStage { events, stage, waits_for, start: Instant::now() }
    }
}

impl Drop for WaitingStage<'_> {
    fn drop(&mut self) {
        let (stage, waits_for) = (self.stage, self.waits_for);
        (self.events)(Event::Waited { stage, waits_for, duration: self.start.elapsed() });
    }
}

/// A step that has begun. Dropped without [`RunningStep::end`], it has failed.
pub(crate) struct RunningStep<'e> {
    events: Events<'e>,
    id: StepId,
    start: Instant,
    has_ended: bool,
}

impl<'e> RunningStep<'e> {
    /// Tells that the step begins.
    pub fn begin(events: Events<'e>, id: StepId, text: &str) -> RunningStep<'e> {
        events(Event::Step { id, text: text.to_owned() });
        RunningStep { events, id, start: Instant::now(), has_ended: false }
    }

    /// Which one it is.
    pub fn id(&self) -> StepId {
        self.id
    }

    /// Tells how the step ended.
    pub fn end(mut self, outcome: StepOutcome) {
        self.tell(outcome);
    }

    fn tell(&mut self, outcome: StepOutcome) {
        if !std::mem::replace(&mut self.has_ended, true) {
            (self.events)(Event::StepEnded { id: self.id, outcome, duration: self.start.elapsed() });
        }
    }
}

impl Drop for RunningStep<'_> {
    fn drop(&mut self) {
        self.tell(StepOutcome::Failed);
    }
}
