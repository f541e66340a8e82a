//! COPY and ADD: files get into the stage's layers.

use std::path::Path;

use dockerfile::ignore::Ignore;
use rootfs::Root;
use store::TemporaryDirectory;

use super::error::{BuildError, StepError};
use super::origin::{Found, Opened, resolve};
use super::stage::{At, Executed, StageBuild, own_parts};
use super::step_key::{self, StepParts};
use crate::copy::{self, Chmod, ContentDigest, CopyError, CopyOptions, Meaning, Prepared, Tree, Unpack};
use crate::git::GitOptions;
use crate::source_policy::SourcePolicy;
use crate::ssh::{Served, SocketOwner};
use crate::step::{Action, CopyStep, Step, StepSource};

/// Copies files.
pub(super) fn copy(stage: &mut StageBuild<'_, '_>, at: At<'_>, step: &Step, copy: &CopyStep) -> Result<(), BuildError> {
    let build = stage.build;
    let wrong = |message: String| at.failed(StepError::Value(message));
    let found = match &copy.from {
        Some(word) => resolve(stage, at, word)?,
        None => Found::Directory(build.options.context_dir.clone(), build.options.ignore.clone()),
    };
    let agent = agent(stage, copy).map_err(|error| at.failed(error))?;
    let mut options = CopyOptions::new(sources(at, copy, &build.options.source_policy)?, Tree::Host, &copy.destination);
    options.meaning = build.options.copy_rules;
    // Buildah's own COPY and ADD, unlike its commands.
    options.drop_set_ids = options.meaning == Meaning::Buildah && matches!(found, Found::Directory(..));
    options.unpack = match copy.unpack {
        Some(true) => Unpack::All,
        None if copy.is_add => Unpack::Local,
        _ => Unpack::Nothing,
    };
    options.parents = copy.parents;
    // As with BuildKit, a layer of its own is not made of what gets another mode.
    options.link = copy.link && copy.chmod.is_none();
    options.keep_git_dir = copy.keep_git_dir;
    options.chown.clone_from(&copy.chown);
    if let Some((text, span)) = &copy.chmod {
        let chmod =
            Chmod::parse(text).map_err(|error| At { span: *span, ..at }.failed(StepError::Value(error.to_string())));
        options.chmod = Some(chmod?);
    }
    options.checksum = copy.checksum.as_ref().map(|(checksum, _)| checksum.clone());
    options.secrets = Some(&build.options.run.secrets);
    options.git = GitOptions {
        search_path: build.options.run.search_path.clone(),
        proxies: build.options.run.host_env.clone(),
        ssh_auth_sock: agent.as_ref().map(|(_, served)| served.path().to_owned()),
        known_hosts: build.options.run.known_hosts.clone(),
        cancelled: Some(build.options.cancelled.clone()),
        ..GitOptions::default()
    };
    options.exclude = Ignore::from_patterns(copy.exclude.iter().map(String::as_str))
        .map_err(|error| wrong(format!("--exclude: {error}")))?;
    options.remotes = Some(build.remotes);
    if options.link {
        numeric_owner(stage, &mut options).map_err(|error| at.failed(error))?;
    }
    let mut parts = own_parts(stage);
    step_key::copy(&mut parts.own, copy, options.chown.as_deref());
    if options.meaning == Meaning::Buildah {
        parts.own.add("rules", "those of Buildah");
    }
    parts.is_independent = options.link;
    let is_fresh = options.link;
    match found {
        Found::Directory(dir, ignore) => {
            options.from = Tree::Directory(dir.clone());
            options.ignore = ignore;
            of_directory(stage, at, step, parts, is_fresh, &dir, &options, &history(copy))
        }
        found => {
            // What is on the host is root's in the image; what is in another image keeps its owner.
            options.preserve_owner = true;
            of_layers(stage, at, step, copy, found, parts, options)
        }
    }
}

/// What the history says of a copy of what has this digest.
fn history(copy: &CopyStep) -> impl Fn(&ContentDigest) -> String {
    let keyword = if copy.is_add { "ADD" } else { "COPY" };
    move |digest| format!("/bin/sh -c #(nop) {keyword} {digest} in {} ", copy.written_destination)
}

/// Copies from a context, from the network, or from the instruction itself.
#[allow(clippy::too_many_arguments, reason = "a step, its key and what it copies")]
fn of_directory(
    stage: &mut StageBuild<'_, '_>,
    at: At<'_>,
    step: &Step,
    mut parts: StepParts,
    is_fresh: bool,
    dir: &Path,
    options: &CopyOptions<'_>,
    history: &dyn Fn(&ContentDigest) -> String,
) -> Result<(), BuildError> {
    let build = stage.build;
    let failed = |error: CopyError| at.failed(error);
    let mut prepared = Prepared::new(build.store, options).map_err(failed)?;
    if build.cache.is_some() {
        let digest = prepared.digest(build.file_digests(dir).as_deref()).map_err(failed)?;
        parts.source("files of the context".to_owned(), digest);
    }
    stage.make_layer(at, step, parts, is_fresh, |stage, root| {
        let copied = Root::open(root).map_err(CopyError::from);
        let digest = copied.and_then(|root| prepared.copy_into(&root, stage.state.workdir())).map_err(failed)?;
        Ok(Executed { created_by: Some(history(&digest)), ..Executed::default() })
    })
}

/// Copies from a stage or an image, whose files are looked at only if the key cannot do without.
fn of_layers(
    stage: &mut StageBuild<'_, '_>,
    at: At<'_>,
    step: &Step,
    copy: &CopyStep,
    found: Found,
    mut parts: StepParts,
    mut options: CopyOptions<'_>,
) -> Result<(), BuildError> {
    let build = stage.build;
    let failed = |error: CopyError| at.failed(error);
    let from = copy.from.as_ref().map_or("", |word| &word.text);
    let name = format!("files from {from}");
    parts.read.extend(found.read_files().map(|read| (name, read)));
    let mut opened: Option<Opened> = None;
    if build.cache.is_some() && !stage.is_known_to_hit(&parts).map_err(|error| at.failed(error))? {
        // The other layers are not what they were: perhaps what is copied of them is.
        let files = opened.insert(found.open(build).map_err(|error| at.failed(error))?);
        options.from = Tree::Directory(files.dir.clone());
        let digest = Prepared::new(build.store, &options).and_then(|mut prepared| prepared.digest(None));
        let digest = digest.map_err(failed)?.digest;
        parts.read.iter_mut().for_each(|(_, read)| read.digest = Some(digest.clone()));
    }
    let is_fresh = options.link;
    let history = history(copy);
    stage.make_layer(at, step, parts, is_fresh, |stage, root| {
        let files = match opened {
            Some(files) => files,
            None => found.open(build).map_err(|error| at.failed(error))?,
        };
        options.from = Tree::Directory(files.dir.clone());
        let prepared = Prepared::new(build.store, &options).map_err(failed)?;
        let copied = Root::open(root).map_err(CopyError::from);
        let digest = copied.and_then(|root| prepared.copy_into(&root, stage.state.workdir())).map_err(failed)?;
        Ok(Executed { created_by: Some(history(&digest)), ..Executed::default() })
    })
}

/// FROM a directory: all of it.
pub(super) fn everything(
    stage: &mut StageBuild<'_, '_>,
    at: At<'_>,
    dir: &Path,
    ignore: &Ignore,
) -> Result<(), BuildError> {
    let everything = vec![copy::Source::Path(".".to_owned())];
    let mut options = CopyOptions::new(everything, Tree::Directory(dir.to_owned()), "/");
    options.ignore = ignore.clone();
    let mut parts = own_parts(stage);
    parts.own.add("FROM", "a directory");
    let step = Step { action: Action::Config, created_by: String::new(), span: at.span, lost_in_oci: None };
    let history = |digest: &ContentDigest| format!("/bin/sh -c #(nop) COPY {digest} in / ");
    of_directory(stage, at, &step, parts, false, dir, &options, &history)
}

fn sources(at: At<'_>, copy: &CopyStep, policy: &SourcePolicy) -> Result<Vec<copy::Source>, BuildError> {
    let wrong = |message: String| Err(at.failed(StepError::Value(message)));
    let mut sources = Vec::with_capacity(copy.sources.len());
    for item in &copy.sources {
        sources.push(match item {
            StepSource::Content { name, content } => {
                copy::Source::Content { name: name.clone(), content: content.clone().into_bytes() }
            }
            StepSource::Path(path) => match copy::Source::parse(path) {
                copy::Source::Url(url) if !copy.is_add => {
                    return wrong(format!("source can't be a URL for COPY: {url}: ADD takes one"));
                }
                copy::Source::Git(_) if !copy.is_add => {
                    return wrong("COPY takes no git repository: ADD does".to_owned());
                }
                copy::Source::Url(_) | copy::Source::Git(_) => {
                    let allowed = policy.url(path).map_err(|error| at.failed(error))?;
                    copy::Source::parse(&allowed)
                }
                source => source,
            },
        });
    }
    Ok(sources)
}

/// Names of owners are those of the files below, which the layer itself knows nothing of.
fn numeric_owner(stage: &StageBuild<'_, '_>, options: &mut CopyOptions<'_>) -> Result<(), StepError> {
    let Some(chown) = options.chown.as_deref() else { return Ok(()) };
    if chown.bytes().all(|byte| byte.is_ascii_digit() || byte == b':') {
        return Ok(());
    }
    let build = stage.build;
    let _still = build.hold_still();
    let directories = build.files(stage.position).directories(build.store)?;
    let tree = build.store.open_tree(&directories)?;
    let owner = copy::owner(&Root::open(tree.path())?, chown)?;
    options.chown = Some(format!("{}:{}", owner.uid, owner.gid));
    Ok(())
}

/// The build's default SSH agent, if a source is a repository that may ask for keys.
fn agent(stage: &StageBuild<'_, '_>, step: &CopyStep) -> Result<Option<(TemporaryDirectory, Served)>, StepError> {
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
