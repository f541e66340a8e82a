//! Why a build failed: one line each, with the place in the Dockerfile where there is one.

use dockerfile::{Diagnostic, Source, Span};
use oci::Platform;

use crate::commit::CommitError;
use crate::image::ImageError;
use crate::plan::PlanError;
use crate::run::{Exit, RunError};
use crate::transfer::TransferError;
use crate::working_container::WorkingContainerError;

/// Errors of a Dockerfile that are told one by one.
pub const MOST_TOLD: usize = 50;

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
    #[error("{}", summary(.lines, *.more))]
    File {
        /// One line for each error, `file:line:column: message`.
        lines: Vec<String>,
        /// Each error with its source line marked and its hint.
        rendered: Vec<String>,
        /// Errors besides these.
        more: usize,
    },
    /// The target is no stage.
    #[error("{message}")]
    Target {
        /// What is wrong.
        message: String,
        /// What to do about it.
        hint: Option<String>,
    },
    /// A stage without cache is none.
    #[error("{message}")]
    WithoutCache {
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
    /// Of builds for several platforms, that for this one failed.
    #[error("[{platform}] {error}")]
    OfPlatform {
        /// Which one.
        platform: Platform,
        /// Why.
        error: Box<BuildError>,
    },
    /// It is not known for which platforms to build.
    #[error("--all-platforms: {0}")]
    Platforms(String),
    /// The result could not be scanned.
    #[error(transparent)]
    Sbom(#[from] crate::sbom::SbomError),
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
    /// Why there is no plan for `source`.
    pub(super) fn plan(source: &Source, error: PlanError) -> BuildError {
        match error {
            PlanError::File(diagnostics) => BuildError::file(source, &diagnostics),
            PlanError::Target(message, hint) => BuildError::Target { message, hint },
            PlanError::WithoutCache(message, hint) => BuildError::WithoutCache { message, hint },
        }
    }

    /// What is wrong with a file; of many errors the first ones are told.
    pub fn file(source: &Source, diagnostics: &[Diagnostic]) -> BuildError {
        let told = || diagnostics.iter().take(MOST_TOLD);
        BuildError::File {
            lines: told().map(|diagnostic| diagnostic.line(source)).collect(),
            rendered: told().map(|diagnostic| diagnostic.render(source)).collect(),
            more: diagnostics.len().saturating_sub(MOST_TOLD),
        }
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

fn summary(lines: &[String], more: usize) -> String {
    match lines {
        [] => "the Dockerfile has errors".to_owned(),
        [only] if more == 0 => only.clone(),
        [first, rest @ ..] => {
            let others = rest.len() + more;
            format!("{first} (and {others} more {})", if others == 1 { "error" } else { "errors" })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pure_of_many_errors_the_first_are_told() {
        let source = Source::new("f", b"a b c");
        let errors: Vec<_> = (0..2000).map(|_| Diagnostic::error("wrong", Span::new(2, 3))).collect();
        let error = BuildError::file(&source, &errors);
        assert_eq!(error.to_string(), "f:1:3: wrong (and 1999 more errors)");
        let BuildError::File { lines, rendered, more } = error else { panic!("{error}") };
        assert_eq!((lines.len(), rendered.len(), more), (MOST_TOLD, MOST_TOLD, 2000 - MOST_TOLD));
    }
}
