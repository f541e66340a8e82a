//! What a build cost: time by step, bytes by layer.

use std::fmt::Write as _;
use std::time::Duration;

use buildkit_core::event::{Event, StepId, StepOutcome};
use buildkit_core::image_list::ImageList;
use oci::{ImageId, Platform};
use store::Store;

use crate::command_error::printable;
use crate::tabular::{BUILDAH_UNITS, align, size};

/// Columns of a step or layer in the summary.
const WIDTH: usize = 72;

/// What was seen of a build's steps.
#[derive(Default)]
pub(super) struct Summary {
    texts: Vec<(Step, String)>,
    ended: Vec<(Step, StepOutcome, Duration)>,
}

/// A step, and the platform if there are several.
type Step = (Option<Platform>, StepId);

impl Summary {
    /// Remembers what counts.
    pub fn note(&mut self, event: &Event) {
        let (event, platform) = match event {
            Event::OfPlatform { platform, event } => (&**event, Some(platform.clone())),
            event => (event, None),
        };
        match event {
            Event::Step { id, text } => self.texts.push(((platform, *id), text.clone())),
            Event::StepEnded { id, outcome, duration } => self.ended.push(((platform, *id), *outcome, *duration)),
            _ => {}
        }
    }

    /// Steps that have ended.
    pub fn steps(&self) -> usize {
        self.ended.len()
    }

    /// Those of them that an earlier build had done.
    pub fn cached(&self) -> usize {
        self.ended.iter().filter(|(_, outcome, _)| *outcome == StepOutcome::Cached).count()
    }

    /// The summary, once the images are there.
    pub fn text<'i>(&self, duration: Duration, store: &Store, images: impl IntoIterator<Item = &'i ImageId>) -> String {
        let mut text = String::new();
        let (steps, cached) = (self.steps(), self.cached());
        let _ = writeln!(text, "{steps} steps in {}, {cached} of them cached:", time(duration));
        let mut ended = self.ended.clone();
        ended.sort_by(|(one, ..), (other, ..)| one.cmp(other));
        let rows: Vec<String> =
            ended.iter().map(|(step, outcome, duration)| self.row(step, *outcome, *duration)).collect();
        text.push_str(&align(&rows, 2, 10));
        text.extend(images.into_iter().filter_map(|image| layers(store, image)));
        text
    }

    fn row(&self, step: &Step, outcome: StepOutcome, duration: Duration) -> String {
        let instruction = self.texts.iter().find(|(other, _)| other == step).map_or("", |(_, text)| text);
        let cost = if outcome == StepOutcome::Cached { "cached".to_owned() } else { time(duration) };
        format!("  {cost}\t{}", cut(&format!("{}: {instruction}", name(step))))
    }
}

/// A step as lines name it.
pub(super) fn name((platform, id): &Step) -> String {
    platform.as_ref().map_or_else(|| id.to_string(), |platform| format!("[{platform}] {id}"))
}

/// The image's layers, the lowest first; nothing where they can't be read.
fn layers(store: &Store, id: &ImageId) -> Option<String> {
    let list = ImageList::read(store).ok()?;
    let image = list.get(id)?;
    let mut stack: Vec<u64> =
        list.stack(&image.record).map(|layer| u64::try_from(layer.diff_size).unwrap_or(0)).collect();
    stack.reverse();
    let history = image.config.iter().flat_map(|config| &config.history).filter(|entry| !entry.empty_layer);
    let mut made_by = history.map(|entry| entry.created_by.as_str());
    let rows: Vec<String> = stack
        .iter()
        .map(|bytes| format!("  {}\t{}", size(*bytes, BUILDAH_UNITS), cut(made_by.next().unwrap_or_default())))
        .collect();
    let total = size(stack.iter().sum(), BUILDAH_UNITS);
    Some(format!("image {}, {total} by layer:\n{}", id.short(), align(&rows, 2, 10)))
}

fn cut(text: &str) -> String {
    let text = printable(text);
    match text.chars().count() > WIDTH {
        true => text.chars().take(WIDTH - 3).chain("...".chars()).collect(),
        false => text,
    }
}

/// A time as people read it: `0.4s`, `12.3s`, `3m05s`.
pub fn time(duration: Duration) -> String {
    match duration.as_secs() {
        seconds @ 60.. => format!("{}m{:02}s", seconds / 60, seconds % 60),
        _ => format!("{:.1}s", duration.as_secs_f64()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pure_times_are_short() {
        for (milliseconds, expected) in [(0, "0.0s"), (449, "0.4s"), (59_940, "59.9s"), (185_000, "3m05s")] {
            assert_eq!(time(Duration::from_millis(milliseconds)), expected);
        }
    }
}
