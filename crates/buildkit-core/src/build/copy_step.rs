//! COPY and ADD: files get into the stage's container.

use dockerfile::ignore::Ignore;
use dockerfile::instruction::Checksum;
use dockerfile::{Source, Span};

use super::error::{BuildError, StepError};
use super::origin::{Found, resolve};
use super::stage::StageBuild;
use crate::copy::{self, Chmod, CopyOptions, Tree};
use crate::step::{CopyStep, StepSource};

/// Copies files; gives what the history says of it.
pub(super) fn copy(
    stage: &mut StageBuild<'_, '_, '_>,
    source: &Source,
    span: Span,
    step: &CopyStep,
) -> Result<String, BuildError> {
    let failed = |error: StepError| BuildError::step(source, span, error);
    let wrong = |span: Span, message: String| BuildError::step(source, span, StepError::Value(message));
    let keyword = if step.is_add { "ADD" } else { "COPY" };
    let flags = [
        ("--link", step.link),
        ("--parents", step.parents),
        ("--keep-git-dir", step.keep_git_dir.is_some()),
        ("--unpack", step.unpack.is_some()),
    ];
    if let Some((name, _)) = flags.iter().find(|(_, given)| *given) {
        return Err(wrong(span, format!("{keyword} {name} is not supported")));
    }
    let from = match &step.from {
        Some(word) => {
            match resolve(stage, word).map_err(|error| BuildError::step(source, word.span, error))? {
                Found::Named(name) => (Tree::Named(name), None),
                Found::Directory(dir, ignore) => (Tree::Directory(dir), Some(ignore)),
            }
        }
        None => {
            let options = stage.build.options;
            (Tree::Directory(options.context_dir.clone()), Some(options.ignore.clone()))
        }
    };
    let (from, ignore) = from;
    let mut sources = Vec::with_capacity(step.sources.len());
    for item in &step.sources {
        sources.push(match item {
            StepSource::Content { name, content } => {
                copy::Source::Content { name: name.clone(), content: content.clone().into_bytes() }
            }
            StepSource::Path(path) => match copy::Source::parse(path) {
                copy::Source::Url(url) if !step.is_add => {
                    return Err(wrong(span, format!("COPY takes no URL such as {url}: ADD does")));
                }
                source => source,
            },
        });
    }
    let mut options = CopyOptions::new(sources, from, &step.destination);
    options.unpack = step.is_add;
    options.chown.clone_from(&step.chown);
    // What is on the host is root's in the image.
    options.preserve_owner = ignore.is_none();
    if let Some((text, span)) = &step.chmod {
        options.chmod = Some(Chmod::parse(text).map_err(|error| wrong(*span, error.to_string()))?);
    }
    options.checksum = match &step.checksum {
        Some((Checksum::Digest(text), span)) => {
            Some(text.parse().map_err(|error: oci::digest::InvalidDigest| wrong(*span, error.to_string()))?)
        }
        Some((Checksum::Commit(_), span)) => {
            return Err(wrong(*span, "ADD --checksum of a git commit is not supported".to_owned()));
        }
        None => None,
    };
    options.ignore = ignore.unwrap_or_default();
    options.exclude = Ignore::from_patterns(step.exclude.iter().map(String::as_str))
        .map_err(|error| wrong(span, format!("--exclude: {error}")))?;
    options.remotes = Some(stage.build.remotes);
    let digest = copy::copy(&stage.container, &options).map_err(|error| failed(error.into()))?;
    Ok(format!("/bin/sh -c #(nop) {keyword} {digest} in {} ", step.destination))
}
