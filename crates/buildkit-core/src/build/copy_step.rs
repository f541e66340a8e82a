//! COPY and ADD: files get into the stage's container.

use dockerfile::ignore::Ignore;
use dockerfile::{Source, Span};
use store::TemporaryDirectory;

use super::error::{BuildError, StepError};
use super::origin::{Found, resolve};
use super::stage::StageBuild;
use crate::copy::{self, Chmod, CopyOptions, Meaning, Tree, Unpack};
use crate::git::GitOptions;
use crate::ssh::{Served, SocketOwner};
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
    let from = match &step.from {
        Some(word) => match resolve(stage, word).map_err(|error| BuildError::step(source, word.span, error))? {
            Found::Named(name) => (Tree::Named(name), None),
            Found::Directory(dir, ignore) => (Tree::Directory(dir), Some(ignore)),
        },
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
                copy::Source::Git(_) if !step.is_add => {
                    return Err(wrong(span, "COPY takes no git repository: ADD does".to_owned()));
                }
                source => source,
            },
        });
    }
    let mut options = CopyOptions::new(sources, from, &step.destination);
    options.meaning = Meaning::BuildKit;
    options.unpack = match step.unpack {
        Some(true) => Unpack::All,
        None if step.is_add => Unpack::Local,
        _ => Unpack::Nothing,
    };
    options.parents = step.parents;
    // As with BuildKit, a layer of its own is not made of what gets another mode.
    options.link = step.link && step.chmod.is_none();
    options.keep_git_dir = step.keep_git_dir;
    options.chown.clone_from(&step.chown);
    // What is on the host is root's in the image.
    options.preserve_owner = ignore.is_none();
    if let Some((text, span)) = &step.chmod {
        options.chmod = Some(Chmod::parse(text).map_err(|error| wrong(*span, error.to_string()))?);
    }
    options.checksum = step.checksum.as_ref().map(|(checksum, _)| checksum.clone());
    let agent = agent(stage, step).map_err(failed)?;
    options.secrets = Some(&stage.build.options.run.secrets);
    options.git = GitOptions {
        search_path: stage.build.options.run.search_path.clone(),
        proxies: stage.build.options.run.host_env.clone(),
        ssh_auth_sock: agent.as_ref().map(|(_, served)| served.path().to_owned()),
        cancelled: Some(stage.build.options.cancelled.clone()),
        ..GitOptions::default()
    };
    options.ignore = ignore.unwrap_or_default();
    options.exclude = Ignore::from_patterns(step.exclude.iter().map(String::as_str))
        .map_err(|error| wrong(span, format!("--exclude: {error}")))?;
    options.remotes = Some(stage.build.remotes);
    let digest = copy::copy(&stage.container, &options).map_err(|error| failed(error.into()))?;
    Ok(format!("/bin/sh -c #(nop) {keyword} {digest} in {} ", step.destination))
}

/// The build's default SSH agent, if a source is a repository that may ask for keys.
fn agent(stage: &StageBuild<'_, '_, '_>, step: &CopyStep) -> Result<Option<(TemporaryDirectory, Served)>, StepError> {
    let agents = &stage.build.options.run.agents;
    let is_git = |source: &StepSource| match source {
        StepSource::Path(path) => matches!(copy::Source::parse(path), copy::Source::Git(_)),
        StepSource::Content { .. } => false,
    };
    if !agents.has("default") || !step.sources.iter().any(is_git) {
        return Ok(None);
    }
    let dir = stage.build.store.temporary_directory()?;
    let owner = SocketOwner { mode: 0o600, uid: 0, gid: 0 };
    let served = agents.serve("default", dir.path(), "agent", owner)?;
    Ok(served.map(|served| (dir, served)))
}
