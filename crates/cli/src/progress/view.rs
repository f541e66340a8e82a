//! The live view: what is under way at the bottom of the terminal, over it a line for all that is
//! done. Only characters that every locale has; the cursor is never hidden, so nothing has to be
//! restored, whatever ends gabion.

use std::collections::{HashMap, VecDeque};
use std::io::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use buildkit_core::event::{Event, StepId, StepOutcome};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use oci::{Digest, Platform};

use super::lines;
use super::summary::{self, time};
use crate::command_error::printable;
use crate::tabular::{BUILDAH_UNITS, size};

/// Lines of a running step's output that are shown.
const TAIL: usize = 4;
const TICK: Duration = Duration::from_millis(100);

/// The view that is on the terminal, for lines that others print.
static SHOWN: Mutex<Option<MultiProgress>> = Mutex::new(None);

/// Prints a line on stderr, over the live view where there is one.
pub fn print_above(line: &str) {
    let line = printable(line);
    match &*lock(&SHOWN) {
        Some(bars) => print_over(bars, &line),
        // A closed stderr must not end the work.
        None => _ = writeln!(std::io::stderr(), "{line}"),
    }
}

/// Does something that has the terminal to itself: the live view, where there is one, is back after it.
/// Nothing may be printed by [`print_above`] meanwhile.
pub fn without_view<T>(action: impl FnOnce() -> T) -> T {
    let shown = lock(&SHOWN).clone();
    match shown {
        Some(bars) => bars.suspend(action),
        None => action(),
    }
}

fn print_over(bars: &MultiProgress, line: &str) {
    let _ = bars.println(line);
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is under way.
pub(super) struct View {
    bars: MultiProgress,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    steps: HashMap<(Option<Platform>, StepId), RunningStep>,
    blobs: HashMap<Digest, (ProgressBar, Instant)>,
}

struct RunningStep {
    text: String,
    bar: ProgressBar,
    lines: VecDeque<String>,
    line_bars: Vec<ProgressBar>,
}

impl View {
    /// Takes the terminal's lower end.
    pub fn new(has_colors: bool) -> View {
        console::set_colors_enabled(has_colors);
        console::set_colors_enabled_stderr(has_colors);
        let bars = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
        *lock(&SHOWN) = Some(bars.clone());
        View { bars, state: Mutex::default() }
    }

    /// Gives the terminal back.
    pub fn close(&self) {
        let mut state = lock(&self.state);
        for (_, step) in state.steps.drain() {
            self.remove_step(&step);
        }
        for (_, (bar, _)) in state.blobs.drain() {
            self.remove(&bar);
        }
        let _ = self.bars.clear();
        *lock(&SHOWN) = None;
    }

    pub fn draw(&self, event: Event) {
        let mut state = lock(&self.state);
        let (event, platform) = event.and_platform();
        match event {
            Event::Step { id, text } => {
                let bar = self.add(style("{spinner:.cyan} {wide_msg} {time:.dim}"));
                let key = (platform, id);
                let text = format!("{}: {text}", summary::name(&key));
                bar.set_message(printable(&text));
                bar.enable_steady_tick(TICK);
                let step = RunningStep { text, bar, lines: VecDeque::new(), line_bars: Vec::new() };
                state.steps.insert(key, step);
            }
            Event::Output { id, line, .. } => {
                if let Some(step) = state.steps.get_mut(&(platform, id)) {
                    self.show_output(step, &line);
                }
            }
            Event::StepEnded { id, outcome, duration } => {
                if let Some(step) = state.steps.remove(&(platform, id)) {
                    self.remove_step(&step);
                    self.print_step(&step.text, outcome, duration);
                }
            }
            Event::CopyingBlob(digest) => {
                let bar = self.add(style("  blob {prefix} {spinner:.cyan}"));
                bar.set_prefix(short(&digest));
                bar.enable_steady_tick(TICK);
                if let Some((earlier, _)) = state.blobs.insert(digest, (bar, Instant::now())) {
                    self.remove(&earlier);
                }
            }
            Event::BlobProgress { digest, done, total } => {
                if let Some((bar, _)) = state.blobs.get(&digest) {
                    show_bytes(bar, done, total);
                }
            }
            Event::BlobCopied { digest, size: bytes } => {
                if let Some((bar, start)) = state.blobs.remove(&digest) {
                    self.remove(&bar);
                    let (bytes, taken) = (size(bytes, BUILDAH_UNITS), time(start.elapsed()));
                    print_over(&self.bars, &format!("  blob {}  {bytes} in {taken}", short(&digest)));
                }
            }
            Event::BlobExists(digest) => print_over(&self.bars, &format!("  blob {}  is there", short(&digest))),
            Event::CopyingImage { digest, position: (n, all) } => {
                print_over(&self.bars, &format!("image {n}/{all} {}", short(&digest)));
            }
            // The steps say it all.
            Event::StepDone { .. } | Event::Pulling(_) | Event::CopyingConfig(_) | Event::WritingManifest => {}
            event => {
                let event = match platform {
                    Some(platform) => Event::OfPlatform { platform, event: Box::new(event) },
                    None => event,
                };
                let text = lines::of_event(event).unwrap_or_default();
                text.lines().for_each(|line| print_over(&self.bars, &printable(line)));
            }
        }
    }

    /// The last lines of a step's output, under it.
    fn show_output(&self, step: &mut RunningStep, line: &str) {
        // A program that redraws its line shows the last state.
        let line = line.rsplit('\r').find(|part| !part.is_empty()).unwrap_or_default();
        step.lines.push_back(printable(line));
        if step.lines.len() > TAIL {
            step.lines.pop_front();
        }
        if step.line_bars.len() < TAIL {
            let after = step.line_bars.last().unwrap_or(&step.bar);
            let bar = self.bars.insert_after(after, ProgressBar::new_spinner());
            bar.set_style(style("    {wide_msg:.dim}"));
            step.line_bars.push(bar);
        }
        for (bar, line) in step.line_bars.iter().zip(&step.lines) {
            bar.set_message(line.clone());
        }
    }

    /// What is left of a step: one line.
    fn print_step(&self, text: &str, outcome: StepOutcome, duration: Duration) {
        let result = match outcome {
            StepOutcome::Done => console::style(time(duration)).green(),
            StepOutcome::Cached => console::style("cached".to_owned()).cyan(),
            StepOutcome::Failed => console::style(format!("failed after {}", time(duration))).red(),
        };
        let columns = usize::from(console::Term::stderr().size().1);
        let room = columns.saturating_sub(console::measure_text_width(&result.to_string()) + 2);
        let step = printable(text);
        print_over(&self.bars, &format!("{}  {result}", console::truncate_str(&step, room, "...")));
    }

    fn add(&self, style: ProgressStyle) -> ProgressBar {
        let bar = self.bars.add(ProgressBar::new_spinner());
        bar.set_style(style);
        bar
    }

    fn remove_step(&self, step: &RunningStep) {
        step.line_bars.iter().for_each(|bar| self.remove(bar));
        self.remove(&step.bar);
    }

    fn remove(&self, bar: &ProgressBar) {
        bar.finish_and_clear();
        self.bars.remove(bar);
    }
}

/// How far a blob is; a bar where the whole is known.
fn show_bytes(bar: &ProgressBar, done: u64, total: Option<u64>) {
    match total.filter(|total| *total >= done) {
        Some(total) if bar.length() != Some(total) => {
            bar.set_length(total);
            bar.set_style(style("  blob {prefix} [{bar:20.cyan}] {amount}").progress_chars("=> "));
        }
        Some(_) => {}
        None => bar.set_style(style("  blob {prefix} {spinner:.cyan} {amount}")),
    }
    bar.set_position(done);
}

fn style(template: &str) -> ProgressStyle {
    let taken = |state: &ProgressState, out: &mut dyn std::fmt::Write| {
        let _ = out.write_str(&time(state.elapsed()));
    };
    let amount = |state: &ProgressState, out: &mut dyn std::fmt::Write| {
        let _ = out.write_str(&size(state.pos(), BUILDAH_UNITS));
        if let Some(total) = state.len() {
            let _ = write!(out, " of {}", size(total, BUILDAH_UNITS));
        }
    };
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner());
    style.tick_chars("|/-\\ ").with_key("time", taken).with_key("amount", amount)
}

fn short(digest: &Digest) -> String {
    digest.hex().get(..12).unwrap_or_default().to_owned()
}
