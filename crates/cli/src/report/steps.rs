//! What became of each step: an earlier build's result, or done, and for what reasons.

use buildkit_core::build::Explained;
use buildkit_core::event::StepOutcome;
use maud::{Markup, html};

use super::seen::{Seen, SeenStep};
use crate::command_error::printable;
use crate::explanation;

pub(super) fn steps(seen: &Seen) -> Markup {
    let mut steps: Vec<&SeenStep> = seen.steps.iter().collect();
    steps.sort_by_key(|step| step.id);
    html! {
        section id="steps" {
            h2 { "Steps and the cache" }
            table {
                thead { tr { th { "Step" } th { "Instruction" } th { "Result" } th { "Why" } } }
                tbody { @for step in steps { (row(seen, step)) } }
            }
        }
    }
}

fn row(seen: &Seen, step: &SeenStep) -> Markup {
    let explained = seen.explained(step.id);
    let (kind, result) = match (step.outcome, explained.map(|explained| &explained.outcome)) {
        (Some(StepOutcome::Failed) | None, _) => ("failed", "failed"),
        (_, Some(Explained::Config)) => ("config", "config only"),
        (Some(StepOutcome::Cached), _) => ("cached", "hit"),
        (_, Some(Explained::Miss(_))) => ("done", "miss"),
        (Some(StepOutcome::Done), _) => ("done", "done"),
    };
    html! {
        tr {
            td.nowrap data-name="Step" { (step.id) }
            td data-name="Instruction" { pre { (lines(&step.text)) } }
            td.nowrap data-name="Result" { span class={ "result " (kind) } { (result) } }
            td data-name="Why" {
                @match explained.map(|explained| (&explained.outcome, explained)) {
                    Some((Explained::Miss(reasons), _)) => {
                        @for reason in reasons { div { (explanation::reason(reason)) } }
                    }
                    Some((Explained::Hit, explained)) => { "same " (explanation::parts(explained)) }
                    _ => {}
                }
            }
        }
    }
}

/// Text of several lines without what no page can have.
pub(super) fn lines(text: &str) -> String {
    text.lines().map(printable).collect::<Vec<_>>().join("\n")
}
