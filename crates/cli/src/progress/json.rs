//! Events as JSON, one a line on stderr. `docs/events.md` documents each field.

use std::io::Write as _;
use std::time::Duration;

use buildkit_core::event::{Event, StepId, StepOutcome, Stream, WaitsFor};
use jiff::Timestamp;
use oci::ImageId;
use serde_json::{Value, json};

use super::summary::Summary;
use crate::command_error::CommandError;

/// Writes a line with the time.
pub(super) fn write(value: &Value) {
    let mut line = json!({ "time": Timestamp::now().to_string() });
    if let (Some(line), Some(members)) = (line.as_object_mut(), value.as_object()) {
        line.extend(members.iter().map(|(name, value)| (name.clone(), value.clone())));
    }
    // A closed stderr must not end the work.
    let _ = writeln!(std::io::stderr(), "{line}");
}

pub(super) fn of_event(event: &Event) -> Value {
    match event {
        Event::OfPlatform { platform, event } => with(of_event(event), json!({ "platform": platform.to_string() })),
        Event::Step { id, text } => step("step-started", *id, json!({ "text": text })),
        Event::StepEnded { id, outcome, duration } => {
            let rest = json!({ "outcome": outcome_name(*outcome), "seconds": seconds(*duration) });
            step("step-finished", *id, rest)
        }
        Event::Output { id, stream, line } => {
            let stream = match stream {
                Stream::Stdout => "stdout",
                Stream::Stderr => "stderr",
            };
            step("output", *id, json!({ "stream": stream, "line": line }))
        }
        Event::Waiting { stage, waits_for } => waiting("waiting", *stage, *waits_for, json!({})),
        Event::Waited { stage, waits_for, duration } => {
            waiting("waited", *stage, *waits_for, json!({ "seconds": seconds(*duration) }))
        }
        Event::StepDone { id, is_cached } => json!({ "event": "made", "id": id, "cached": is_cached }),
        Event::Explanation(explanation) => json!({ "event": "explanation", "steps": explanation }),
        Event::Commit { name } => json!({ "event": "commit", "name": name }),
        Event::CopyingImage { digest, position: (n, all) } => {
            json!({ "event": "image-started", "digest": digest, "image": n, "images": all })
        }
        Event::Pulling(name) => json!({ "event": "pull", "name": name }),
        Event::CopyingBlob(digest) => json!({ "event": "blob-started", "digest": digest }),
        Event::BlobProgress { digest, done, total } => {
            json!({ "event": "blob-progress", "digest": digest, "done": done, "total": total })
        }
        Event::BlobCopied { digest, size } => json!({ "event": "blob-finished", "digest": digest, "size": size }),
        Event::BlobExists(digest) => json!({ "event": "blob-exists", "digest": digest }),
        Event::CopyingConfig(digest) => json!({ "event": "config", "digest": digest }),
        Event::WritingManifest => json!({ "event": "manifest" }),
        Event::Warning(text) => json!({ "event": "warning", "message": text }),
        Event::Info(text) => json!({ "event": "info", "message": text }),
        Event::Debug(text) => json!({ "event": "debug", "message": text }),
    }
}

pub(super) fn tagged(name: &str) -> Value {
    json!({ "event": "tagged", "name": name })
}

pub(super) fn finished(image: &ImageId, duration: Duration, summary: &Summary) -> Value {
    json!({
        "event": "finished",
        "image": image,
        "seconds": seconds(duration),
        "steps": summary.steps(),
        "cached": summary.cached(),
    })
}

pub(super) fn failed(details: &[String], error: &CommandError) -> Value {
    json!({
        "event": "failed",
        "message": error.message(),
        "details": details,
        "hint": error.advice(),
        "exit_code": error.code(),
    })
}

fn step(event: &str, id: StepId, rest: Value) -> Value {
    let (stage, stages) = id.stage.unwrap_or((1, 1));
    with(json!({ "event": event, "stage": stage, "stages": stages, "step": id.number, "steps": id.total }), rest)
}

fn waiting(event: &str, (stage, stages): (usize, usize), waits_for: WaitsFor, rest: Value) -> Value {
    let (name, other) = match waits_for {
        WaitsFor::Place => ("place", None),
        WaitsFor::Stage(position) => ("stage", Some(position)),
        WaitsFor::OtherBuild => ("other-build", None),
        WaitsFor::Digests => ("digests", None),
    };
    with(json!({ "event": event, "stage": stage, "stages": stages, "for": name, "other_stage": other }), rest)
}

/// The members of both objects.
fn with(mut value: Value, rest: Value) -> Value {
    if let (Some(value), Value::Object(rest)) = (value.as_object_mut(), rest) {
        value.extend(rest);
    }
    value
}

fn outcome_name(outcome: StepOutcome) -> &'static str {
    match outcome {
        StepOutcome::Done => "done",
        StepOutcome::Cached => "cached",
        StepOutcome::Failed => "failed",
    }
}

/// Seconds to the millisecond.
fn seconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1000.0).round() / 1000.0
}
