//! When what was done, and what waited for what: a row for each stage, step and transfer.

use std::time::Duration;

use buildkit_core::event::{StepOutcome, WaitsFor};
use maud::{Markup, html};

use super::seen::{Seen, SeenSpan, SeenWait};
use crate::command_error::printable;
use crate::progress::time;
use crate::tabular::{BUILDAH_UNITS, size};

/// Waits below this are not told of.
const SHORTEST_WAIT: Duration = Duration::from_millis(10);

/// The bars' width in their own units.
const WIDTH: f64 = 1000.0;

/// All rows over one time axis.
pub(super) fn timeline(seen: &Seen, whole: Duration) -> Markup {
    let axis = Axis { whole };
    html! {
        section id="timeline" {
            h2 { "Timeline" }
            p.legend {
                span.key { (key("done")) "done" }
                span.key { (key("cached")) "done by an earlier build" }
                span.key { (key("failed")) "failed" }
                span.key { (key("wait")) "waiting" }
                span.key { (key("move")) "transfer, commit" }
            }
            div.timeline {
                div.row.axis {
                    span.label {}
                    span.time {}
                    span.ticks {
                        @for (place, text) in axis.ticks() { span style={ "left:" (place) "%" } { (text) } }
                    }
                }
                @for stage in seen.stages() { (stage_rows(seen, &axis, stage)) }
                (transfers(seen, &axis))
                @if let Some(commit) = seen.commit {
                    (row(html! { "commit" }, time(commit.length(whole)), axis.bars(&[("move", commit)]), html! {}))
                }
            }
        }
    }
}

fn stage_rows(seen: &Seen, axis: &Axis, stage: usize) -> Markup {
    let first = seen.steps_of(stage).next();
    let name = first.map_or_else(|| "not begun".to_owned(), |step| printable(first_line(&step.text)));
    let waits: Vec<&SeenWait> = told(axis, seen.waits_between(stage));
    html! {
        @if seen.stages().len() > 1 {
            h3 { "Stage " (stage) ": " code { (name) } }
        }
        @if !waits.is_empty() {
            (row(html! { "before its steps" }, String::new(), wait_bars(axis, &waits), notes(axis, &waits)))
        }
        @for step in seen.steps_of(stage) {
            @let kind = match step.outcome {
                Some(StepOutcome::Done) => "done",
                Some(StepOutcome::Cached) => "cached",
                Some(StepOutcome::Failed) | None => "failed",
            };
            @let waits = told(axis, seen.waits_in(step));
            @let mut bars = vec![(kind, step.span)];
            @let () = bars.extend(waits.iter().map(|wait| ("wait", wait.span)));
            @let label = html! { span.number { (step.id.number) } " " code { (printable(first_line(&step.text))) } };
            @let cost = match kind {
                "cached" => "cached".to_owned(),
                "failed" => format!("failed, {}", time(step.span.length(axis.whole))),
                _ => time(step.span.length(axis.whole)),
            };
            (row(label, cost, axis.bars(&bars), notes(axis, &waits)))
        }
    }
}

fn transfers(seen: &Seen, axis: &Axis) -> Markup {
    html! {
        @if !seen.blobs.is_empty() || seen.present > 0 {
            h3 { "Transfers" }
            @for blob in &seen.blobs {
                @let label = html! {
                    "blob " code { (blob.digest.hex().get(..12).unwrap_or_default()) } " " (size(blob.bytes, BUILDAH_UNITS))
                };
                (row(label, time(blob.span.length(axis.whole)), axis.bars(&[("move", blob.span)]), html! {}))
            }
            @if seen.present > 0 { p.note { (seen.present) " blobs were there already." } }
        }
    }
}

fn row(label: Markup, time: String, bars: Markup, notes: Markup) -> Markup {
    html! {
        div.row {
            span.label { (label) }
            span.time { (time) }
            (bars)
            (notes)
        }
    }
}

fn told<'s>(axis: &Axis, waits: impl Iterator<Item = &'s SeenWait>) -> Vec<&'s SeenWait> {
    waits.filter(|wait| wait.span.length(axis.whole) >= SHORTEST_WAIT).collect()
}

fn wait_bars(axis: &Axis, waits: &[&SeenWait]) -> Markup {
    let bars: Vec<_> = waits.iter().map(|wait| ("wait", wait.span)).collect();
    axis.bars(&bars)
}

fn notes(axis: &Axis, waits: &[&SeenWait]) -> Markup {
    html! {
        @for wait in waits {
            span.note { "waited " (time(wait.span.length(axis.whole))) " for " (reason(wait.waits_for)) }
        }
    }
}

fn reason(waits_for: WaitsFor) -> String {
    match waits_for {
        WaitsFor::Place => "a place among the stages that are built at once (--jobs)".to_owned(),
        WaitsFor::Stage(stage) => format!("stage {stage}"),
        WaitsFor::OtherBuild => "another build, which was doing the same step".to_owned(),
        WaitsFor::Digests => "the digests of the layers below, to know whether an earlier build did it".to_owned(),
    }
}

pub(super) fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

/// From the build's start to its end.
struct Axis {
    whole: Duration,
}

impl Axis {
    fn place(&self, time: Duration) -> f64 {
        let whole = self.whole.as_secs_f64().max(0.001);
        (time.as_secs_f64() / whole).clamp(0.0, 1.0) * WIDTH
    }

    /// Bars over one another, as a picture as wide as there is room.
    fn bars(&self, spans: &[(&str, SeenSpan)]) -> Markup {
        let view = format!("0 0 {WIDTH} 10");
        html! {
            svg.bars viewBox=(view) preserveAspectRatio="none" aria-hidden="true" {
                @for (kind, span) in spans {
                    @let begin = self.place(span.begin).min(WIDTH - 2.0);
                    // What took no time is seen, too.
                    @let width = (self.place(span.end_or(self.whole)) - begin).max(2.0);
                    rect class=(kind) x=(format!("{begin:.1}")) y="0" width=(format!("{width:.1}")) height="10" {}
                }
            }
        }
    }

    /// A few round times, each with its place in percent.
    fn ticks(&self) -> Vec<(String, String)> {
        let whole = self.whole.as_secs_f64().max(0.001);
        let steps = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0];
        let step = steps.into_iter().find(|step| whole / step <= 5.0).unwrap_or_else(|| (whole / 300.0).ceil() * 60.0);
        let count = (whole / step) as u32;
        let text = |seconds: f64| match seconds {
            ..=0.0 => "0".to_owned(),
            60.0.. => format!("{} min", (seconds / 6.0).round() / 10.0),
            _ if step >= 1.0 => format!("{seconds:.0} s"),
            _ if step >= 0.1 => format!("{seconds:.1} s"),
            _ => format!("{:.0} ms", seconds * 1000.0),
        };
        (0..=count)
            .map(|number| f64::from(number) * step)
            // The last one needs room for its text.
            .filter(|seconds| seconds / whole <= 0.94)
            .map(|seconds| (format!("{:.1}", seconds / whole * 100.0), text(seconds)))
            .collect()
    }
}

fn key(kind: &str) -> Markup {
    html! { svg.swatch viewBox="0 0 10 10" aria-hidden="true" { rect class=(kind) width="10" height="10" {} } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pure_ticks_are_few_and_round() {
        for (milliseconds, expected) in
            [(0, "0"), (830, "0 0.2 s 0.4 s 0.6 s"), (12_000, "0 5 s 10 s"), (400_000, "0 2 min 4 min 6 min")]
        {
            let ticks = Axis { whole: Duration::from_millis(milliseconds) }.ticks();
            let texts: Vec<String> = ticks.into_iter().map(|(_, text)| text).collect();
            assert_eq!(texts.join(" "), expected);
        }
    }
}
