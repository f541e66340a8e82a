//! `--progress`: what the library tells, drawn as lines, as a live view, or as JSON.
//!
//! ```text
//! Event ──▶ Display ─┬─ Lines     as Buildah prints them; steps of a build on stdout
//!                    ├─ View      on a terminal: what runs, with times, over what is done
//!                    ├─ Json      an event a line on stderr (docs/events.md)
//!                    └─ Quiet     warnings only
//! ```

mod json; // events as JSON
pub mod lines; // events as lines
mod summary; // what a build cost
mod view; // the live view

use std::io::{IsTerminal as _, Write as _};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use buildkit_core::event::{Event, Stream};
use oci::ImageId;
use store::Store;

use self::summary::Summary;
use self::view::View;
use crate::args::LogLevel;
use crate::command_error::{CommandError, printable};
use crate::session::Session;

pub use summary::time;
pub use view::{print_above as print_on_stderr, without_view};

/// How to show progress.
#[derive(clap::Args)]
pub struct ProgressArgs {
    /// How to show progress: auto, plain, tty, json (an event a line on standard error) or quiet
    #[arg(long, value_name = "TYPE", default_value = "auto", hide_possible_values = true)]
    progress: ProgressKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum ProgressKind {
    Auto,
    Plain,
    Tty,
    #[value(alias = "rawjson")]
    Json,
    Quiet,
}

/// What is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// A build, whose steps Buildah tells on stdout.
    Build,
    /// Anything else, all of which is told on stderr.
    Other,
}

enum Form {
    Lines,
    Quiet,
    Json,
    View(View),
}

/// Draws what the library tells.
pub struct Display<'s> {
    session: &'s Session,
    work: Work,
    form: Form,
    start: Instant,
    summary: Mutex<Summary>,
    shows_summary: bool,
}

impl<'s> Display<'s> {
    /// Decides how to draw; `quiet` is what the command's own flag says.
    ///
    /// # Errors
    /// A live view was asked for where there is no terminal.
    pub fn new(
        session: &'s Session,
        args: &ProgressArgs,
        quiet: bool,
        work: Work,
    ) -> Result<Display<'s>, CommandError> {
        let term = session.env("TERM").unwrap_or_default();
        let can_draw = std::io::stderr().is_terminal() && !term.is_empty() && term != "dumb";
        let is_watched = can_draw && (work == Work::Other || std::io::stdout().is_terminal());
        let kind = match args.progress {
            _ if quiet => ProgressKind::Quiet,
            ProgressKind::Auto if is_watched && !session.called_as_buildah() => ProgressKind::Tty,
            kind => kind,
        };
        let form = match kind {
            ProgressKind::Auto | ProgressKind::Plain => Form::Lines,
            ProgressKind::Quiet => Form::Quiet,
            ProgressKind::Json => Form::Json,
            ProgressKind::Tty if can_draw => Form::View(View::new(session.env("NO_COLOR").is_none())),
            ProgressKind::Tty => {
                let error = CommandError::new("--progress tty: standard error is no terminal that can be drawn on");
                return Err(error.hint("--progress plain writes lines"));
            }
        };
        let shows_summary = work == Work::Build && matches!(kind, ProgressKind::Plain | ProgressKind::Tty);
        Ok(Display { session, work, form, start: Instant::now(), summary: Mutex::default(), shows_summary })
    }

    /// Whether only warnings are shown.
    pub fn is_quiet(&self) -> bool {
        matches!(self.form, Form::Quiet)
    }

    /// Whether what steps print has to come as events.
    pub fn takes_output(&self) -> bool {
        matches!(self.form, Form::Json | Form::View(_))
    }

    /// Draws an event.
    pub fn event(&self, event: Event) {
        self.summary.lock().unwrap_or_else(PoisonError::into_inner).note(&event);
        let inner = match &event {
            Event::OfPlatform { event, .. } => event,
            event => event,
        };
        let (level, text) = match inner {
            Event::Warning(text) => (LogLevel::Warn, text),
            Event::Info(text) => (LogLevel::Info, text),
            Event::Debug(text) => (LogLevel::Debug, text),
            _ => return self.draw(event),
        };
        match self.form {
            Form::Json if level <= self.session.global().log_level() => json::write(&json::of_event(&event)),
            Form::Json => {}
            _ => self.session.log(level, text),
        }
    }

    fn draw(&self, event: Event) {
        match &self.form {
            // It was asked for.
            Form::Quiet => {
                if let (event @ Event::Explanation(_), _) = event.and_platform() {
                    lines::of_event(event).iter().flat_map(|text| text.lines()).for_each(print_on_stderr);
                }
            }
            Form::Json => json::write(&json::of_event(&event)),
            Form::View(view) => view.draw(event),
            Form::Lines => {
                let inner = match &event {
                    Event::OfPlatform { event, .. } => event,
                    event => event,
                };
                let is_step = matches!(
                    inner,
                    Event::Step { .. }
                        | Event::StepDone { .. }
                        | Event::Commit { .. }
                        | Event::Output { stream: Stream::Stdout, .. }
                );
                match lines::of_event(event) {
                    Some(line) if is_step && self.work == Work::Build => print_line(&line),
                    Some(text) => text.lines().for_each(print_on_stderr),
                    None => {}
                }
            }
        }
    }

    /// A build went well: tells the image's names and what it cost, then nothing more.
    pub fn finish_build(&self, store: &Store, image: &ImageId, names: &[String]) {
        self.finish_builds(store, &[image], names);
    }

    /// The same of builds for several platforms.
    pub fn finish_builds(&self, store: &Store, images: &[&ImageId], names: &[String]) {
        self.close();
        let summary = self.summary.lock().unwrap_or_else(PoisonError::into_inner);
        if self.shows_summary {
            let text = summary.text(self.start.elapsed(), store, images.iter().copied());
            text.lines().for_each(print_on_stderr);
        }
        for name in names {
            match self.form {
                Form::Quiet => {}
                Form::Json => json::write(&json::tagged(name)),
                _ => print_line(&format!("Successfully tagged {name}")),
            }
        }
        if matches!(self.form, Form::Json) {
            images.iter().for_each(|image| json::write(&json::finished(image, self.start.elapsed(), &summary)));
        }
    }

    /// The command failed: `details` are lines that come before the error's own.
    pub fn fail(&self, details: &[String], error: CommandError) -> CommandError {
        self.close();
        if matches!(self.form, Form::Json) {
            json::write(&json::failed(details, &error));
            return error.told();
        }
        details.iter().for_each(|line| eprintln!("{line}"));
        error
    }

    /// Nothing more is drawn.
    fn close(&self) {
        if let Form::View(view) = &self.form {
            view.close();
        }
    }
}

impl Drop for Display<'_> {
    fn drop(&mut self) {
        self.close();
    }
}

/// A line on stdout, for scripts; it comes before what is written to stderr later.
pub fn print_line(line: &str) {
    let mut stdout = std::io::stdout().lock();
    // A closed stdout must not end the work half-way.
    let _ = writeln!(stdout, "{}", printable(line)).and_then(|()| stdout.flush());
}
