//! What was seen of a build, each with the time since its start.

use std::time::Duration;

use buildkit_core::build::{ExplainedStep, Explanation};
use buildkit_core::event::{Event, StepId, StepOutcome, WaitsFor};
use oci::Digest;

/// What was seen of a build.
#[derive(Default)]
pub(super) struct Seen {
    pub steps: Vec<SeenStep>,
    pub waits: Vec<SeenWait>,
    pub blobs: Vec<SeenBlob>,
    /// Blobs that were there already.
    pub present: usize,
    pub warnings: Vec<String>,
    pub commit: Option<SeenSpan>,
    explanation: Explanation,
}

/// When something began, and when it ended if it did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SeenSpan {
    pub begin: Duration,
    pub end: Option<Duration>,
}

pub(super) struct SeenStep {
    pub id: StepId,
    pub text: String,
    pub span: SeenSpan,
    pub outcome: Option<StepOutcome>,
}

pub(super) struct SeenWait {
    /// Position from 1.
    pub stage: usize,
    pub waits_for: WaitsFor,
    pub span: SeenSpan,
}

pub(super) struct SeenBlob {
    pub digest: Digest,
    /// Bytes read.
    pub bytes: u64,
    pub span: SeenSpan,
}

impl SeenSpan {
    fn open(begin: Duration) -> SeenSpan {
        SeenSpan { begin, end: None }
    }

    /// Its end, which is `now` if it has not ended.
    pub fn end_or(&self, now: Duration) -> Duration {
        self.end.unwrap_or(now).max(self.begin)
    }

    /// How long it took.
    pub fn length(&self, now: Duration) -> Duration {
        self.end_or(now).saturating_sub(self.begin)
    }
}

impl SeenStep {
    /// The stage's position, from 1.
    pub fn stage(&self) -> usize {
        self.id.stage.map_or(1, |(position, _)| position)
    }

    /// Whether something at `time` is within the step.
    pub fn contains(&self, time: Duration) -> bool {
        self.span.begin <= time && self.span.end.is_none_or(|end| time < end)
    }
}

impl Seen {
    /// Remembers what counts of an event at `now`.
    pub fn note(&mut self, event: &Event, now: Duration) {
        match event {
            Event::Step { id, text } => {
                let step = SeenStep { id: *id, text: text.clone(), span: SeenSpan::open(now), outcome: None };
                self.steps.push(step);
            }
            Event::StepEnded { id, outcome, .. } => {
                if let Some(step) = self.steps.iter_mut().rfind(|step| step.id == *id) {
                    (step.span.end, step.outcome) = (Some(now), Some(*outcome));
                }
            }
            Event::Waiting { stage: (stage, _), waits_for } => {
                self.waits.push(SeenWait { stage: *stage, waits_for: *waits_for, span: SeenSpan::open(now) });
            }
            Event::Waited { stage: (stage, _), waits_for, .. } => {
                let same = |wait: &&mut SeenWait| (wait.stage, wait.waits_for) == (*stage, *waits_for);
                if let Some(wait) = self.waits.iter_mut().rfind(same) {
                    wait.span.end = Some(now);
                }
            }
            Event::CopyingBlob(digest) => {
                self.blobs.push(SeenBlob { digest: digest.clone(), bytes: 0, span: SeenSpan::open(now) });
            }
            Event::BlobProgress { digest, done, .. } => {
                if let Some(blob) = self.blob(digest) {
                    blob.bytes = *done;
                }
            }
            Event::BlobCopied { digest, size } => {
                if let Some(blob) = self.blob(digest) {
                    (blob.bytes, blob.span.end) = (*size, Some(now));
                }
            }
            Event::BlobExists(_) => self.present += 1,
            Event::Commit { .. } => self.commit = Some(SeenSpan::open(now)),
            Event::StepDone { is_cached: false, .. } => {
                if let Some(commit) = &mut self.commit {
                    commit.end = Some(now);
                }
            }
            Event::Warning(text) => self.warnings.push(text.clone()),
            Event::Explanation(explanation) => self.explanation = explanation.clone(),
            _ => {}
        }
    }

    fn blob(&mut self, digest: &Digest) -> Option<&mut SeenBlob> {
        self.blobs.iter_mut().rfind(|blob| blob.digest == *digest)
    }

    /// What became of a step, if it was told.
    pub fn explained(&self, id: StepId) -> Option<&ExplainedStep> {
        let id = id.to_string();
        self.explanation.0.iter().find(|step| step.step == id)
    }

    /// The positions of the stages of which something was seen.
    pub fn stages(&self) -> Vec<usize> {
        let steps = self.steps.iter().map(SeenStep::stage);
        let mut stages: Vec<usize> = steps.chain(self.waits.iter().map(|wait| wait.stage)).collect();
        stages.sort_unstable();
        stages.dedup();
        stages
    }

    /// The steps of a stage.
    pub fn steps_of(&self, stage: usize) -> impl Iterator<Item = &SeenStep> {
        self.steps.iter().filter(move |step| step.stage() == stage)
    }

    /// What a step waited for.
    pub fn waits_in<'s>(&'s self, step: &'s SeenStep) -> impl Iterator<Item = &'s SeenWait> {
        self.waits.iter().filter(|wait| wait.stage == step.stage() && step.contains(wait.span.begin))
    }

    /// What a stage waited for while no step of it was under way.
    pub fn waits_between(&self, stage: usize) -> impl Iterator<Item = &SeenWait> {
        self.waits
            .iter()
            .filter(move |wait| wait.stage == stage && !self.steps_of(stage).any(|step| step.contains(wait.span.begin)))
    }
}
