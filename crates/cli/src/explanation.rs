//! Why the steps of a build were done again, or were not: lines for people, or JSON.

use buildkit_core::build::{Explained, ExplainedStep, Explanation, FileChange, Reason};

use crate::command_error::printable;

/// Columns of an instruction or value.
const WIDTH: usize = 76;

/// Two lines a step at most: what became of it, and why.
pub fn lines(explanation: &Explanation) -> Vec<String> {
    explanation.0.iter().flat_map(of_step).collect()
}

fn of_step(step: &ExplainedStep) -> Vec<String> {
    let first = step.text.lines().next().unwrap_or_default();
    let line = |outcome: &str| format!("{outcome:<6} {}: {}", step.step, cut(first));
    match &step.outcome {
        Explained::Config => vec![line("config")],
        Explained::Hit => vec![line("cached"), format!("       by {}", parts(step))],
        Explained::Miss(reasons) => {
            let reasons: Vec<String> = reasons.iter().map(reason).collect();
            let mut lines = vec![line("done")];
            lines.extend(reasons.into_iter().map(|reason| format!("       since {reason}")));
            lines
        }
    }
}

/// The names of a step's parts; those of one kind are counted.
pub fn parts(step: &ExplainedStep) -> String {
    let mut names: Vec<(String, usize)> = Vec::new();
    for part in step.parts.iter() {
        let kind = ["ENV", "ARG"].into_iter().find(|kind| part.name.starts_with(&format!("{kind} ")));
        let name = kind.map_or_else(|| part.name.clone(), str::to_owned);
        match names.iter_mut().find(|(other, _)| *other == name) {
            Some((_, count)) => *count += 1,
            None => names.push((name, 1)),
        }
    }
    let name = |(name, count): (String, usize)| if count > 1 { format!("{count} {name}") } else { name };
    printable(&names.into_iter().map(name).collect::<Vec<_>>().join(", "))
}

/// A reason, as the rest of a sentence that begins with "since".
pub fn reason(reason: &Reason) -> String {
    match reason {
        Reason::NotAsked => "earlier results were not asked for".to_owned(),
        Reason::FirstBuild => "no earlier build of this file and target is known".to_owned(),
        Reason::New => "the last build had no such step".to_owned(),
        Reason::FilesBefore => "a step before it made other files".to_owned(),
        Reason::Gone => "what the last build made was deleted, or is too old".to_owned(),
        Reason::File { path, change } => {
            let change = match change {
                FileChange::Added => "is new",
                FileChange::Removed => "is gone",
                FileChange::Content => "has another content",
                FileChange::Attributes => "has another mode, owner or type",
            };
            format!("{} {change}", printable(path))
        }
        Reason::Part { name, before, now } => {
            let name = printable(name);
            match (before, now) {
                (None, Some(now)) => format!("{name} is new: {}", cut(now)),
                (Some(before), None) => format!("{name} is gone: {}", cut(before)),
                (before, now) => {
                    let text = |value: &Option<String>| cut(value.as_deref().unwrap_or_default());
                    format!("{name} changed: {} -> {}", text(before), text(now))
                }
            }
        }
    }
}

fn cut(text: &str) -> String {
    let text = printable(text);
    match text.chars().count() > WIDTH {
        true => text.chars().take(WIDTH - 3).chain("...".chars()).collect(),
        false => text,
    }
}
