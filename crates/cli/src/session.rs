//! What a command works with: the store, the environment, and where messages go.

use std::io::Write;
use std::path::PathBuf;

use buildkit_core::event::Event;
use jiff::Timestamp;
use store::Store;

use crate::args::{GlobalArgs, LogLevel};
use crate::command_error::{CommandError, printable};

/// One run of gabion.
pub struct Session {
    global: GlobalArgs,
}

/// Whether a command tells of its progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// A line on stderr for each blob and step.
    Lines,
    /// Warnings only.
    Quiet,
}

impl Progress {
    /// What a `--quiet` flag asks for.
    pub fn from_quiet(quiet: bool) -> Progress {
        if quiet { Progress::Quiet } else { Progress::Lines }
    }
}

impl Session {
    /// A run with the options that precede the subcommand.
    pub fn new(global: GlobalArgs) -> Session {
        Session { global }
    }

    /// The options that precede the subcommand.
    pub fn global(&self) -> &GlobalArgs {
        &self.global
    }

    /// Environment variable `name`, unless it is unset or empty.
    pub fn env(&self, name: &str) -> Option<String> {
        std::env::var(name).ok().filter(|value| !value.is_empty())
    }

    /// The store named by flags, environment and storage.conf, in this order.
    pub fn store(&self) -> Result<Store, CommandError> {
        if !rustix::process::geteuid().is_root() {
            return Err(CommandError::new("gabion must be run as root for now: rootless use is not there yet"));
        }
        Ok(Store::open(self.store_options()?)?)
    }

    /// The moment that stands for "now" in what is written: `flag` (seconds) if given, else
    /// SOURCE_DATE_EPOCH if set, else `None`.
    pub fn timestamp(&self, flag: Option<i64>) -> Result<Option<Timestamp>, CommandError> {
        let (source, seconds) = match (flag, self.env("SOURCE_DATE_EPOCH")) {
            (Some(seconds), _) => ("--timestamp", seconds),
            (None, Some(text)) => {
                let seconds = text.parse().map_err(|_| {
                    CommandError::new(format!("invalid SOURCE_DATE_EPOCH {text:?}: expected seconds since 1970"))
                })?;
                ("SOURCE_DATE_EPOCH", seconds)
            }
            (None, None) => return Ok(None),
        };
        Timestamp::from_second(seconds)
            .map(Some)
            .map_err(|_| CommandError::new(format!("invalid {source} {seconds}: outside the years that dates can have")))
    }

    /// Draws events; those below the log level are dropped.
    pub fn events(&self, progress: Progress) -> impl Fn(Event) + Sync + '_ {
        move |event| {
            let line = match event {
                Event::Warning(text) => return self.warn(&text),
                Event::Info(text) => return self.log(LogLevel::Info, "info", &text),
                Event::Debug(text) => return self.log(LogLevel::Debug, "debug", &text),
                _ if progress == Progress::Quiet => return,
                Event::CopyingBlob(digest) => format!("Copying blob {digest}"),
                Event::BlobExists(digest) => format!("Copying blob {digest} skipped: already exists"),
                Event::CopyingConfig(digest) => format!("Copying config {digest}"),
                Event::WritingManifest => "Writing manifest to image destination".into(),
                Event::Step { number, total, text } => format!("STEP {number}/{total}: {text}"),
                Event::StepDone { id } => format!("--> {}", id.get(..12).unwrap_or(&id)),
                Event::Commit { name } => ["COMMIT", &name.unwrap_or_default()].join(" ").trim_end().to_owned(),
            };
            // A closed stderr must not end the work.
            let _ = writeln!(std::io::stderr(), "{}", printable(&line));
        }
    }

    /// Prints a warning.
    pub fn warn(&self, text: &str) {
        self.log(LogLevel::Warn, "warning", text);
    }

    fn log(&self, level: LogLevel, label: &str, text: &str) {
        if level <= self.global.log_level {
            let _ = writeln!(std::io::stderr(), "{label}: {}", printable(text));
        }
    }

    /// A file that the user's home directory has, such as `.config/containers/auth.json`.
    pub fn home_file(&self, path: &str) -> Option<PathBuf> {
        Some(PathBuf::from(self.env("HOME")?).join(path))
    }
}
