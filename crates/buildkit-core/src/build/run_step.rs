//! RUN: the command is run over the stage's files.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use dockerfile::instruction::{Mount, MountKind, Network as RunNetwork, Security};
use dockerfile::{Diagnostic, Span, Word};
use rootfs::Root;
use store::{Store, TemporaryDirectory};

use super::error::{BuildError, Place, StepError, shorten};
use super::on_failure;
use super::options::StepOutput;
use super::origin::{Found, Opened, resolve};
use super::stage::{At, Executed, StageBuild, own_parts};
use super::step_key::{self, Command, StepParts};
use super::step_output::with_lines;
use crate::context::left_out;
use crate::copy::digest_tree;
use crate::run::{
    self, Confinement, Content, DeviceRequest, Exit, MountRequest, MountRequestKind, MountSource, Network, Outcome,
    RunError, RunOptions, Stdio,
};
use crate::ssh::{Served, SocketOwner};
use crate::step::{RunStep, SCRIPTS, Step, StepDevice};

/// Runs a command.
pub(super) fn run(stage: &mut StageBuild<'_, '_>, at: At<'_>, step: &Step, run: &RunStep) -> Result<(), BuildError> {
    let granted = Granted::new(stage, at, run)?;
    loop {
        let mut parts = own_parts(stage);
        if stage.build.cache.is_some() {
            let command = Command::of_step(run, &stage.state, &stage.build.options.run);
            step_key::command(&mut parts.own, &command);
            for (mount, from, span) in &run.mounts {
                mount_parts(stage, At { span: *span, ..at }, mount, from.as_ref(), &mut parts)?;
            }
        }
        stage.make_layer(at, step, parts, false, |stage, root| {
            execute(stage, Running { at, step: run, granted: &granted, root })
        })?;
        if !stage.was_given_up() {
            return Ok(());
        }
    }
}

/// What the command asks for that not every one gets.
pub(super) struct Granted {
    confinement: Confinement,
    devices: Vec<DeviceRequest>,
    network: Network,
}

impl Granted {
    /// Checks that the user has allowed it.
    fn new(stage: &StageBuild<'_, '_>, at: At<'_>, step: &RunStep) -> Result<Granted, BuildError> {
        let refused = |span: Span, message: String| At { span, ..at }.failed(StepError::Value(message));
        let defaults = &stage.build.options.run;
        let confinement = match step.security {
            Some((Security::Insecure, span)) if !defaults.allowed.insecure => {
                let message = "RUN --security=insecure is not allowed: --allow security.insecure allows it";
                return Err(refused(span, message.to_owned()));
            }
            Some((Security::Insecure, _)) => Confinement::Insecure,
            _ => Confinement::Sandbox,
        };
        let mut devices = Vec::new();
        for StepDevice { name, required, span } in &step.devices {
            if !defaults.allowed.all_devices && !defaults.allowed.devices.contains(name) {
                let message =
                    format!("the device {name} is not allowed: --allow device={name} or --allow device allows it");
                return Err(refused(*span, message));
            }
            devices.push(DeviceRequest::Cdi { name: name.clone(), required: *required });
        }
        let network = match step.network {
            None | Some((RunNetwork::Default, _)) => defaults.network.clone(),
            Some((RunNetwork::None, _)) => Network::None,
            Some((RunNetwork::Host, _))
                if defaults.allowed.host_network || matches!(defaults.network, Network::Host) =>
            {
                Network::Host
            }
            Some((RunNetwork::Host, span)) => {
                let message = "the host's network is not allowed: --allow network.host or --network host allows it";
                return Err(refused(span, message.to_owned()));
            }
        };
        Ok(Granted { confinement, devices, network })
    }
}

/// A RUN in the works.
#[derive(Clone, Copy)]
pub(super) struct Running<'r> {
    /// Where it stands.
    pub at: At<'r>,
    pub step: &'r RunStep,
    pub granted: &'r Granted,
    /// The root file system that it runs in.
    pub root: &'r Path,
}

/// Runs the command. What becomes of it when it fails is the caller's to say.
fn execute(stage: &mut StageBuild<'_, '_>, running: Running<'_>) -> Result<Executed, BuildError> {
    let Running { at, step, .. } = running;
    let failed = |error: StepError| at.failed(error);
    let (events, output, id) = (stage.build.events, stage.build.options.run.output, stage.step_id());
    let reads_stdin = stage.build.options.run.reads_stdin;
    let stdin = stdin(reads_stdin).map_err(|error| failed(error.into()))?;
    let mut run = |stdio| run_command(stage, running, step.args.clone(), stdio);
    let outcome = match (output, id) {
        (StepOutput::Events, Some(id)) => {
            with_lines(events, id, stdin, &mut run).map_err(|error| failed(error.into()))?
        }
        (StepOutput::ErrorsOnly, _) => run(errors_only(stdin).map_err(|error| failed(error.into()))?),
        _ if reads_stdin => run(Stdio::Inherit),
        _ => run(Stdio::InheritOutput),
    };
    let outcome = match outcome? {
        Ok(outcome) => outcome,
        Err(error) if error.command_exit_code().is_some() => {
            return on_failure::decide(stage, running, failed(error.into()));
        }
        Err(error) => return Err(failed(error.into())),
    };
    if outcome.interrupted_by.is_some() {
        return Err(BuildError::Interrupted);
    }
    match outcome.exit {
        Exit::Code(0) => Ok(Executed { stubs: outcome.left_stubs, ..Executed::default() }),
        _ if stage.build.is_over() => Err(stage.build.why_over()),
        exit => {
            let command = shorten(step.args.last().map_or("the command", |text| text.trim()));
            let marked = Diagnostic::error(format!("{command} ended with exit code {}", exit.code()), at.span);
            let (place, rendered) = (Box::new(Place::new(at.source, at.span)), marked.render(at.source));
            let error = BuildError::Command { place, command, exit, rendered, output: outcome.output_end };
            on_failure::decide(stage, running, error)
        }
    }
}

/// Runs `command` with all that the RUN has.
pub(super) fn run_command(
    stage: &mut StageBuild<'_, '_>,
    Running { at, step, granted, root }: Running<'_>,
    command: Vec<String>,
    stdio: Stdio,
) -> Result<Result<Outcome, RunError>, BuildError> {
    let failed = |error: StepError| at.failed(error);
    let agents = Agents::begin(stage.build.store, step).map_err(failed)?;
    let mut served = Vec::new();
    let mut opened = Vec::new();
    let mut env = step.args_env.clone();
    let mut mounts: Vec<MountRequest> = stage.build.options.run.mounts.clone();
    for (mount, from, span) in &step.mounts {
        let at = At { span: *span, ..at };
        match &mount.kind {
            MountKind::Secret { .. } => {
                mounts.extend(secret(stage, mount, &mut env).map_err(|error| at.failed(error))?);
            }
            MountKind::Ssh { .. } => {
                let agent = agents.serve(stage, mount, served.len()).map_err(|error| at.failed(error))?;
                if let Some((agent, request)) = agent {
                    if served.is_empty() {
                        env.push(format!("SSH_AUTH_SOCK={}", mount.target));
                    }
                    served.push(agent);
                    mounts.push(request);
                }
            }
            _ => mounts.push(mount_request(stage, at, mount, from.as_ref(), &mut opened)?),
        }
    }
    if let Some((name, content)) = &step.script {
        mounts.push(MountRequest {
            target: format!("{SCRIPTS}/{name}"),
            kind: MountRequestKind::File { content: Content::new(content.as_bytes()), mode: 0o755, uid: 0, gid: 0 },
            read_only: true,
            options: Vec::new(),
        });
    }
    let defaults = &stage.build.options.run;
    let mut options = RunOptions::new(command);
    options.env = env;
    options.hostname.clone_from(&step.hostname);
    options.host_env.clone_from(&defaults.host_env);
    options.mounts = mounts;
    options.network = granted.network.clone();
    options.host_files = defaults.host_files.clone();
    options.settings = defaults.settings.clone();
    options.confinement = granted.confinement;
    options.devices = granted.devices.clone();
    options.keep_output_end = true;
    options.make_volumes = defaults.make_volumes;
    options.runtime.clone_from(&defaults.runtime);
    options.runtime_flags.clone_from(&defaults.runtime_flags);
    options.search_path.clone_from(&defaults.search_path);
    options.stop = Some(stage.build.stop.clone());
    options.stdio = stdio;
    let outcome = stage.with_target(root, |target| run::run_in(target, options)).map_err(failed);
    drop((served, opened));
    outcome
}

/// What a command reads: this process's standard input, or nothing.
fn stdin(is_ours: bool) -> std::io::Result<OwnedFd> {
    match is_ours {
        true => std::io::stdin().as_fd().try_clone_to_owned(),
        false => Ok(fs::File::open("/dev/null")?.into()),
    }
}

/// Standard output is dropped; errors are still seen.
fn errors_only(stdin: OwnedFd) -> std::io::Result<Stdio> {
    let stderr = std::io::stderr().as_fd().try_clone_to_owned()?;
    let stdout = fs::File::options().write(true).open("/dev/null")?.into();
    Ok(Stdio::Descriptors { stdin, stdout, stderr })
}

/// A secret as a file, if it is to be one; as a variable, it joins `env`. One that the command line
/// does not have is left out, unless it is required.
fn secret(stage: &StageBuild<'_, '_>, mount: &Mount, env: &mut Vec<String>) -> Result<Option<MountRequest>, StepError> {
    let MountKind::Secret { id, env: variable, required, mode, uid, gid } = &mount.kind else { return Ok(None) };
    let content = match stage.build.options.run.secrets.get(id) {
        Some(content) => content.clone(),
        None if *required => {
            return Err(StepError::Value(format!(
                "secret required but no secret with id {id:?} found: give it by --secret id={id},src=FILE"
            )));
        }
        None => return Ok(None),
    };
    if let Some(name) = variable {
        let text = std::str::from_utf8(content.as_bytes()).ok().filter(|text| !text.contains('\0'));
        let text =
            text.ok_or_else(|| StepError::Value(format!("the secret {id} is no text, as a variable has to be")))?;
        env.push(format!("{name}={text}"));
    }
    if mount.target.is_empty() {
        return Ok(None);
    }
    let kind = MountRequestKind::File { content, mode: *mode, uid: *uid, gid: *gid };
    Ok(Some(MountRequest { target: mount.target.clone(), kind, read_only: true, options: hardened() }))
}

fn hardened() -> Vec<String> {
    ["nosuid", "nodev", "noexec"].map(String::from).to_vec()
}

/// Where the sockets of a step's agents are.
struct Agents(Option<TemporaryDirectory>);

impl Agents {
    fn begin(store: &Store, step: &RunStep) -> Result<Agents, StepError> {
        let wanted = step.mounts.iter().any(|(mount, ..)| matches!(mount.kind, MountKind::Ssh { .. }));
        Ok(Agents(wanted.then(|| store.temporary_directory()).transpose()?))
    }

    /// Serves the agent that `mount` asks for. One that the command line does not have is left out,
    /// unless it is required.
    fn serve(
        &self,
        stage: &StageBuild<'_, '_>,
        mount: &Mount,
        number: usize,
    ) -> Result<Option<(Served, MountRequest)>, StepError> {
        let (Some(dir), MountKind::Ssh { id, required, mode, uid, gid }) = (&self.0, &mount.kind) else {
            return Ok(None);
        };
        let owner = SocketOwner { mode: *mode, uid: *uid, gid: *gid };
        let served = stage.build.options.run.agents.serve(id, dir.path(), &format!("agent-{number}"), owner)?;
        let Some(served) = served else {
            return match required {
                true => Err(StepError::Value(format!("there is no SSH agent {id}: give it by --ssh {id}"))),
                false => Ok(None),
            };
        };
        let kind = MountRequestKind::Volume {
            host_path: served.path().to_owned(),
            discard_writes: false,
            give_to_user: false,
            propagation: Default::default(),
            recursive: false,
        };
        let request = MountRequest { target: mount.target.clone(), kind, read_only: true, options: hardened() };
        Ok(Some((served, request)))
    }
}

/// What a mount shows, for the step's key.
fn mount_parts(
    stage: &mut StageBuild<'_, '_>,
    at: At<'_>,
    mount: &Mount,
    from: Option<&Word>,
    parts: &mut StepParts,
) -> Result<(), BuildError> {
    step_key::mount(&mut parts.own, mount);
    let source = match &mount.kind {
        MountKind::Bind { source, .. } => source,
        MountKind::Cache { source, .. } if from.is_some() => source,
        _ => return Ok(()),
    };
    let found = shown(stage, at, from)?;
    let name = format!("files mounted at {}", mount.target);
    match (found.read_files(), &found) {
        (Some(read), _) => parts.read.push((name, read)),
        (None, Found::Directory(dir, ignore)) => {
            let known = stage.build.file_digests(dir);
            let root = Root::open(dir).map_err(|error| at.failed(error))?;
            let digest = digest_tree(&root, source, ignore, known.as_deref()).map_err(|error| at.failed(error))?;
            parts.source(name, digest);
        }
        _ => {}
    }
    Ok(())
}

/// What `from=` leads to: the build context if there is none.
fn shown(stage: &mut StageBuild<'_, '_>, at: At<'_>, from: Option<&Word>) -> Result<Found, BuildError> {
    let options = stage.build.options;
    match from {
        Some(word) => resolve(stage, at, word),
        None => Ok(Found::Directory(options.context_dir.clone(), options.ignore.clone())),
    }
}

/// Tells what a new cache begins with.
fn content(stage: &StageBuild<'_, '_>, found: &Found, source: &str) -> Result<String, StepError> {
    match (found.read_files(), found) {
        (None, Found::Directory(dir, ignore)) => {
            let known = stage.build.file_digests(dir);
            Ok(digest_tree(&Root::open(dir)?, source, ignore, known.as_deref())?.digest)
        }
        (read, _) => Ok(read
            .map(|read| read.files.key(read.files.made.len()))
            .transpose()?
            .map_or_else(String::new, |key| key.as_str().to_owned())),
    }
}

/// What the ignore file leaves out of what a mount shows.
fn hidden(found: &Found, source: &str) -> Result<Vec<PathBuf>, StepError> {
    let Found::Directory(dir, ignore) = found else { return Ok(Vec::new()) };
    let hidden = left_out(&Root::open(dir)?, source, ignore)?;
    hidden.ok_or_else(|| StepError::Value(format!("mount source {source:?}: the ignore file leaves it out")))
}

fn mount_request(
    stage: &mut StageBuild<'_, '_>,
    at: At<'_>,
    mount: &Mount,
    from: Option<&Word>,
    opened: &mut Vec<Opened>,
) -> Result<MountRequest, BuildError> {
    let found = shown(stage, at, from)?;
    let files = found.open(stage.build).map_err(|error| at.failed(error))?;
    let tree = MountSource::Tree(files.dir.clone());
    opened.push(files);
    let kind = match &mount.kind {
        MountKind::Bind { source, recursive, propagation } => MountRequestKind::Bind {
            from: tree,
            source: source.clone(),
            recursive: *recursive,
            propagation: propagation.as_deref().and_then(runtime::Propagation::parse).unwrap_or_default(),
            hidden: hidden(&found, source).map_err(|error| at.failed(error))?,
        },
        MountKind::Cache { id, sharing, source, mode, uid, gid } => MountRequestKind::Cache {
            id: Some(id.clone()),
            from: from.map_or(MountSource::Host, |_| tree),
            content: from.map(|_| content(stage, &found, source).map_err(|error| at.failed(error))).transpose()?,
            source: source.clone(),
            hidden: match from {
                Some(_) => hidden(&found, source).map_err(|error| at.failed(error))?,
                None => Vec::new(),
            },
            sharing: *sharing,
            mode: *mode,
            uid: *uid,
            gid: *gid,
        },
        MountKind::Tmpfs { size, mode, copy_up } => {
            MountRequestKind::Tmpfs { size: *size, mode: *mode, copy_up: *copy_up }
        }
        MountKind::Secret { id, .. } | MountKind::Ssh { id, .. } => {
            return Err(at.failed(StepError::Value(format!("the mount {id} has no source of this kind"))));
        }
    };
    let options = mount.options.clone();
    Ok(MountRequest { target: mount.target.clone(), kind, read_only: mount.read_only, options })
}
