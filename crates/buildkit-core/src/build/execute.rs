//! A step is done: the command run, the files copied, the directory made.

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use dockerfile::ignore::Ignore;
use dockerfile::instruction::{Mount, MountKind, Network as RunNetwork};
use dockerfile::{Source, Span, Word};
use rootfs::{Owner, Root};
use tempfile::TempDir;

use super::error::{BuildError, Place, StepError, shorten};
use super::stage::StageBuild;
use crate::copy::{self, Chmod, CopyOptions, Tree};
use crate::event::Event;
use crate::plan::{Origin, origin};
use crate::run::{self, Exit, MountRequest, MountRequestKind, MountSource, Network, RunOptions, Stdio};
use crate::step::{CopyStep, RunStep, SCRIPTS, StepSource};
use crate::transfer::pull::{PullOptions, resolve_or_pull};
use crate::working_container::WorkingContainer;

/// Runs a command; gives the paths that were made for its mounts and could not be removed again.
pub(super) fn run(
    stage: &mut StageBuild<'_, '_, '_>,
    source: &Source,
    span: Span,
    step: &RunStep,
) -> Result<Vec<PathBuf>, BuildError> {
    let failed = |error: StepError| BuildError::step(source, span, error);
    let defaults = &stage.build.options.run;
    let script = step.script.as_ref().map(script_file).transpose().map_err(|error| failed(error.into()))?;
    let mut mounts: Vec<MountRequest> = defaults.mounts.clone();
    for (mount, from, span) in &step.mounts {
        let request = mount_request(stage, mount, from.as_ref());
        mounts.push(request.map_err(|error| BuildError::step(source, *span, error))?);
    }
    if let (Some((name, _)), Some(dir)) = (&step.script, &script) {
        mounts.push(MountRequest {
            target: format!("{SCRIPTS}/{name}"),
            kind: MountRequestKind::Volume {
                host_path: dir.path().join("script"),
                discard_writes: false,
                give_to_user: false,
                propagation: Default::default(),
                recursive: false,
            },
            read_only: true,
            options: Vec::new(),
        });
    }
    let defaults = &stage.build.options.run;
    let mut options = RunOptions::new(step.args.clone());
    options.env.clone_from(&step.args_env);
    options.host_env.clone_from(&defaults.host_env);
    options.mounts = mounts;
    options.network = match step.network {
        None | Some((RunNetwork::Default, _)) => defaults.network.clone(),
        Some((RunNetwork::None, _)) => Network::None,
        Some((RunNetwork::Host, _)) if defaults.allow_host_network || matches!(defaults.network, Network::Host) => {
            Network::Host
        }
        Some((RunNetwork::Host, span)) => {
            let message = "the host's network is not allowed: --allow network.host or --network host allows it";
            return Err(BuildError::step(source, span, StepError::Value(message.to_owned())));
        }
    };
    options.host_files = defaults.host_files.clone();
    options.capabilities = defaults.capabilities.clone();
    options.seccomp = defaults.seccomp.clone();
    if let Some(rlimits) = &defaults.rlimits {
        options.rlimits.clone_from(rlimits);
    }
    if let Some(size) = defaults.shm_size {
        options.shm_size = size;
    }
    options.runtime.clone_from(&defaults.runtime);
    options.runtime_flags.clone_from(&defaults.runtime_flags);
    options.search_path.clone_from(&defaults.search_path);
    options.stdio = Stdio::InheritOutput;
    if defaults.quiet {
        options.stdio = quiet().map_err(|error| failed(error.into()))?;
    }
    let outcome = run::run(&stage.container, options).map_err(|error| failed(error.into()))?;
    if outcome.interrupted_by.is_some() {
        return Err(BuildError::Interrupted);
    }
    match outcome.exit {
        Exit::Code(0) => Ok(outcome.left_stubs),
        exit => {
            let command = shorten(step.args.last().map_or("the command", |text| text.trim()));
            Err(BuildError::Command { place: Place::new(source, span), command, exit })
        }
    }
}

/// Standard output is dropped; errors are still seen.
fn quiet() -> std::io::Result<Stdio> {
    let stderr = std::io::stderr().as_fd().try_clone_to_owned()?;
    let null = fs::File::options().read(true).write(true).open("/dev/null")?;
    Ok(Stdio::Descriptors { stdin: null.try_clone()?.into(), stdout: null.into(), stderr })
}

/// Writes a script that has an interpreter of its own, executable for everybody.
fn script_file((_, content): &(String, String)) -> std::io::Result<TempDir> {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("script");
    fs::write(&path, content)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    Ok(dir)
}

fn mount_request(
    stage: &mut StageBuild<'_, '_, '_>,
    mount: &Mount,
    from: Option<&Word>,
) -> Result<MountRequest, StepError> {
    let tree = match from {
        Some(word) => MountSource::Named(resolve(stage, word)?),
        None => MountSource::Tree(stage.build.options.context_dir.clone()),
    };
    let kind = match &mount.kind {
        MountKind::Bind { source } => MountRequestKind::Bind {
            from: tree,
            source: source.clone(),
            recursive: false,
            propagation: Default::default(),
        },
        MountKind::Cache { id, sharing, source, mode, uid, gid } => MountRequestKind::Cache {
            id: Some(id.clone()),
            from: from.map_or(MountSource::Host, |_| tree),
            source: source.clone(),
            sharing: *sharing,
            mode: mode.unwrap_or(0o755),
            uid: uid.unwrap_or(0),
            gid: gid.unwrap_or(0),
        },
        MountKind::Tmpfs { size } => MountRequestKind::Tmpfs { size: *size, mode: None, copy_up: false },
    };
    Ok(MountRequest { target: mount.target.clone(), kind, read_only: mount.read_only, options: Vec::new() })
}

/// The image or working container of the store that `--from` or `from=` means.
pub(super) fn resolve(stage: &mut StageBuild<'_, '_, '_>, word: &Word) -> Result<String, StepError> {
    let build = &stage.build;
    let origin = origin(word, stage.stage.index, &build.plan.names).map_err(|error| StepError::Value(error.message))?;
    let name = match origin {
        Origin::Stage(index) => {
            let done = build.done.get(&index);
            let image = done.and_then(|done| done.image.as_ref()).map(ToString::to_string);
            let container = || Some(done?.container.as_ref()?.id().to_string());
            return image
                .or_else(container)
                .ok_or_else(|| StepError::Value(format!("stage {} has not been built", word.text)));
        }
        Origin::Image(name) => name,
    };
    let options = PullOptions { policy: build.options.pull, platform: build.options.plan.platform.clone() };
    match resolve_or_pull(build.store, build.remotes, &name, &options, build.events) {
        Ok(image) => Ok(image.id().to_string()),
        Err(error) => {
            if let Some(near) = dockerfile::diagnostic::nearest(&name, build.plan.names.iter()) {
                (build.events)(Event::Warning(format!("no stage is named {name}: did you mean {near}?")));
            }
            Err(error.into())
        }
    }
}

/// Whether the directory `path` is not there yet.
pub(super) fn workdir_is_missing(container: &WorkingContainer<'_>, path: &str) -> Result<bool, StepError> {
    with_root(container, |root| match root.metadata_following(path) {
        Ok(metadata) if metadata.is_dir() => Ok(false),
        Ok(_) => Err(StepError::Value(format!("{path} is there and is no directory"))),
        Err(error) if error.is_not_found() => Ok(true),
        Err(error) => Err(error.into()),
    })
}

/// Makes the directory `path`, owned by the config's user.
pub(super) fn make_workdir(container: &WorkingContainer<'_>, path: &str) -> Result<(), StepError> {
    with_root(container, |root| {
        let user = runtime::resolve_user(root, &container.state().config.config.user)?;
        root.create_dir_all(path, 0o755, Owner { uid: user.uid, gid: user.gid })?;
        Ok(())
    })
}

fn with_root<T>(
    container: &WorkingContainer<'_>,
    action: impl FnOnce(&Root) -> Result<T, StepError>,
) -> Result<T, StepError> {
    let store = container.store();
    let path = store.mount(container.id())?;
    let result = Root::open(&path).map_err(StepError::from).and_then(|root| action(&root));
    store.unmount(container.id(), false)?;
    result
}

/// Copies files; gives what the history says of it.
pub(super) fn copy(
    stage: &mut StageBuild<'_, '_, '_>,
    source: &Source,
    span: Span,
    step: &CopyStep,
) -> Result<String, BuildError> {
    let failed = |error: StepError| BuildError::step(source, span, error);
    let wrong = |span: Span, message: String| BuildError::step(source, span, StepError::Value(message));
    let from = match &step.from {
        Some(word) => {
            let name = resolve(stage, word).map_err(|error| BuildError::step(source, word.span, error))?;
            Tree::Named(name)
        }
        None => Tree::Directory(stage.build.options.context_dir.clone()),
    };
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
    options.preserve_owner = step.from.is_some();
    if let Some((text, span)) = &step.chmod {
        options.chmod = Some(Chmod::parse(text).map_err(|error| wrong(*span, error.to_string()))?);
    }
    if let Some((text, span)) = &step.checksum {
        options.checksum =
            Some(text.parse().map_err(|error: oci::digest::InvalidDigest| wrong(*span, error.to_string()))?);
    }
    if step.from.is_none() {
        options.ignore = stage.build.options.ignore.clone();
    }
    options.exclude = Ignore::from_patterns(step.exclude.iter().map(String::as_str))
        .map_err(|error| wrong(span, format!("--exclude: {error}")))?;
    options.remotes = Some(stage.build.remotes);
    let digest = copy::copy(&stage.container, &options).map_err(|error| failed(error.into()))?;
    let keyword = if step.is_add { "ADD" } else { "COPY" };
    Ok(format!("/bin/sh -c #(nop) {keyword} {digest} in {} ", step.destination))
}
