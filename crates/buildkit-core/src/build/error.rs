//! Why a build failed: one line each, with the place in the Dockerfile where there is one.

use dockerfile::{Diagnostic, Source, Span};

use crate::commit::CommitError;
use crate::image::ImageError;
use crate::run::{Exit, RunError};
use crate::transfer::TransferError;
use crate::working_container::WorkingContainerError;

/// A place in a Dockerfile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// `file:line:column`.
    pub position: String,
    /// The instruction's first line.
    pub text: String,
}

impl Place {
    pub(super) fn new(source: &Source, span: Span) -> Place {
        let (_, text) = source.line(span.start);
        Place { position: source.position(span.start), text: shorten(text.trim()) }
    }
}

/// A failed build.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The Dockerfile has errors.
    #[error("{}", summary(.lines))]
    File {
        /// One line for each error, `file:line:column: message`.
        lines: Vec<String>,
        /// Each error with its source line marked and its hint.
        rendered: Vec<String>,
    },
    /// The target is no stage.
    #[error("{message}")]
    Target {
        /// What is wrong.
        message: String,
        /// What to do about it.
        hint: Option<String>,
    },
    /// A command ended with an error.
    #[error("{}: {command} {}", .place.position, describe(*.exit))]
    Command {
        /// Where its RUN stands.
        place: Box<Place>,
        /// The command.
        command: String,
        /// How it ended.
        exit: Exit,
        /// Where its RUN stands, with the source line marked.
        rendered: String,
        /// The last lines of its output.
        output: Vec<String>,
    },
    /// A step could not be done.
    #[error("{}: {}: {source}", .place.position, .place.text)]
    Step {
        /// Where its instruction stands.
        place: Place,
        /// Why not.
        source: Box<StepError>,
    },
    /// The image was built, but could not be delivered.
    #[error(transparent)]
    Output(#[from] crate::output::OutputError),
    /// The image was built, but its steps could not be written for builds elsewhere.
    #[error("the cache is not written to {to}: {source}")]
    Cache {
        /// Where.
        to: String,
        /// Why not.
        source: Box<StepError>,
    },
    /// Somebody wanted the build to end.
    #[error("interrupted")]
    Interrupted,
    /// Another stage has failed; that one's error is what counts.
    #[error("stopped, since another stage failed")]
    Stopped,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// That a build is under way could not be noted.
    #[error("noting the build in {}: {error}", .dir.display())]
    Record {
        /// The store's private directory.
        dir: std::path::PathBuf,
        /// What failed.
        error: std::io::Error,
    },
}

/// A step that could not be done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StepError {
    /// A value in the instruction.
    #[error("{0}")]
    Value(String),
    /// An image could not be had.
    #[error(transparent)]
    Image(#[from] TransferError),
    /// The source policy stands against a source.
    #[error(transparent)]
    SourcePolicy(#[from] crate::source_policy::SourcePolicyError),
    /// An image of the store could not be read.
    #[error(transparent)]
    StoredImage(#[from] ImageError),
    /// The working container failed.
    #[error(transparent)]
    Container(#[from] WorkingContainerError),
    /// The layer or image could not be made.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// A layer could not be read.
    #[error(transparent)]
    Digest(std::sync::Arc<layers::DiffError>),
    /// The command could not be run.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The root file system failed.
    #[error(transparent)]
    Rootfs(#[from] rootfs::Error),
    /// The user is unknown to the image.
    #[error(transparent)]
    User(#[from] runtime::UserError),
    /// Files could not be copied.
    #[error(transparent)]
    Copy(#[from] crate::copy::CopyError),
    /// A file that a step needs could not be written.
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

impl BuildError {
    pub(super) fn file(source: &Source, diagnostics: Vec<Diagnostic>) -> BuildError {
        let lines = diagnostics.iter().map(|diagnostic| diagnostic.line(source)).collect();
        let rendered = diagnostics.iter().map(|diagnostic| diagnostic.render(source)).collect();
        BuildError::File { lines, rendered }
    }

    pub(super) fn step(source: &Source, span: Span, error: impl Into<StepError>) -> BuildError {
        BuildError::Step { place: Place::new(source, span), source: Box::new(error.into()) }
    }

    /// The exit code of the command that failed, where one did.
    pub fn command_exit_code(&self) -> Option<u8> {
        match self {
            BuildError::Command { exit, .. } => Some(exit.code()),
            BuildError::Step { source, .. } => match source.as_ref() {
                StepError::Run(error) => error.command_exit_code(),
                _ => None,
            },
            _ => None,
        }
    }
}

fn summary(lines: &[String]) -> String {
    match lines {
        [] => "the Dockerfile has errors".to_owned(),
        [only] => only.clone(),
        [first, rest @ ..] => {
            let errors = if rest.len() == 1 { "error" } else { "errors" };
            format!("{first} (and {} more {errors})", rest.len())
        }
    }
}

fn describe(exit: Exit) -> String {
    match exit {
        Exit::Code(code) => format!("ended with exit code {code}"),
        Exit::Signal(signal) => format!("was ended by signal {signal}"),
    }
}

/// The text as far as it fits into a message.
pub(super) fn shorten(text: &str) -> String {
    const LONGEST: usize = 100;
    let first = text.lines().next().unwrap_or_default();
    if first.chars().count() <= LONGEST && first.len() == text.trim_end().len() {
        return first.to_owned();
    }
    let cut: String = first.chars().take(LONGEST).collect();
    format!("{cut}…")
}
