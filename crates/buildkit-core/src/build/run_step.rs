//! RUN: the command is run in the stage's container.

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use dockerfile::instruction::{Mount, MountKind, Network as RunNetwork, Security};
use dockerfile::{Source, Span, Word};
use tempfile::TempDir;

use super::error::{BuildError, Place, StepError, shorten};
use super::options::StepOutput;
use super::origin::{Found, resolve};
use super::stage::StageBuild;
use super::step_output::with_lines;
use crate::run::{self, Exit, MountRequest, MountRequestKind, MountSource, Network, RunOptions, Stdio};
use crate::step::{RunStep, SCRIPTS};

/// Runs a command; gives the paths that were made for its mounts and could not be removed again.
pub(super) fn run(
    stage: &mut StageBuild<'_, '_, '_>,
    source: &Source,
    span: Span,
    step: &RunStep,
) -> Result<Vec<PathBuf>, BuildError> {
    let failed = |error: StepError| BuildError::step(source, span, error);
    let unsupported = |span: Span, what: &str| {
        Err(BuildError::step(source, span, StepError::Value(format!("RUN {what} is not supported"))))
    };
    if let Some((Security::Insecure, span)) = step.security {
        return unsupported(span, "--security=insecure");
    }
    if let Some(device) = step.devices.first() {
        return unsupported(device.span, "--device");
    }
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
    options.hostname.clone_from(&step.hostname);
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
    let start = |stdio| {
        options.stdio = stdio;
        run::run(&stage.container, options)
    };
    let outcome = match (defaults.output, stage.step_id()) {
        (StepOutput::Events, Some(id)) => {
            with_lines(stage.build.events, id, start).map_err(|error| failed(error.into()))?
        }
        (StepOutput::ErrorsOnly, _) => start(errors_only().map_err(|error| failed(error.into()))?),
        _ => start(Stdio::InheritOutput),
    };
    let outcome = outcome.map_err(|error| failed(error.into()))?;
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
fn errors_only() -> std::io::Result<Stdio> {
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
        Some(word) => match resolve(stage, word)? {
            Found::Named(name) => MountSource::Named(name),
            Found::Directory(dir, _) => MountSource::Tree(dir),
        },
        None => MountSource::Tree(stage.build.options.context_dir.clone()),
    };
    let kind = match &mount.kind {
        MountKind::Bind { source, recursive, propagation } => MountRequestKind::Bind {
            from: tree,
            source: source.clone(),
            recursive: *recursive,
            propagation: propagation.as_deref().and_then(runtime::Propagation::parse).unwrap_or_default(),
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
        MountKind::Tmpfs { size, mode, copy_up } => {
            MountRequestKind::Tmpfs { size: *size, mode: *mode, copy_up: *copy_up }
        }
        MountKind::Secret { .. } => return Err(StepError::Value("RUN --mount=type=secret is not supported".into())),
        MountKind::Ssh { .. } => return Err(StepError::Value("RUN --mount=type=ssh is not supported".into())),
    };
    let options = mount.options.clone();
    Ok(MountRequest { target: mount.target.clone(), kind, read_only: mount.read_only, options })
}
