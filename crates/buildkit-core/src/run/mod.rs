//! Run a command in a working container.
//!
//! What it sees is the container's config (environment, user, working directory) with the options
//! on top, in the container's own root file system. What it writes stays in the container; what is
//! mounted for it does not.

pub(crate) mod cache; // directories that outlive a step
mod cdi; // devices by specifications
mod default_mounts; // what the host gives every command to see
mod kept; // from what a container keeps
mod mount_request; // --mount and --volume
mod oci_hooks; // programs of the host on the way to a command
mod settings; // how steps are confined
mod sources; // what a mount's source is

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rootfs::{Owner, Root};
use runtime::GeneratedFile;
pub use runtime::{
    Capabilities, Confinement, Content, Device, Exit, HostAddress, HostFiles, Isolation, Masks, Namespace, Namespaces,
    Network, NetworkConfig, NoController, Outcome, Resources, Rlimit, Seccomp, SharedNetwork, Stdio, Stop,
    protect_own_program,
};
use store::Store;

use crate::working_container::{WorkingContainer, WorkingContainerError};
pub use kept::{InvalidSetting, Resolved, parse_group, parse_host, parse_ulimit};
pub use mount_request::{InvalidMount, MountRequest, MountRequestKind, MountSource, Sharing, parse_size};
pub use oci_hooks::HookError;
pub use settings::{DeviceError, DeviceRequest, Settings};
use sources::Held;
pub use sources::SourceError;

/// What `PATH` is where the config has none.
pub const DEFAULT_PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What to run, and how. [`RunOptions::new`] has the defaults of `buildah run`.
#[derive(Debug)]
pub struct RunOptions {
    /// Command and arguments; the config's entry point and command play no part.
    pub command: Vec<String>,
    /// Variables on top of the config's, `NAME=value` each.
    pub env: Vec<String>,
    /// Variables below the config's: what the host's proxy settings are.
    pub host_env: Vec<String>,
    /// `USER` in place of the config's.
    pub user: Option<String>,
    /// Directory in place of the config's.
    pub working_dir: Option<String>,
    /// Host name in place of the config's.
    pub hostname: Option<String>,
    /// Mounts; a later one with the same target replaces an earlier one.
    pub mounts: Vec<MountRequest>,
    /// The network.
    pub network: Network,
    /// Which files of `/etc` are made for the step.
    pub host_files: HostFiles,
    /// How it is confined, and what of the machine it may use.
    pub settings: Settings,
    /// Devices beside those of the settings.
    pub devices: Vec<DeviceRequest>,
    /// Whether it is confined at all.
    pub confinement: Confinement,
    /// Name or path of the OCI runtime.
    pub runtime: PathBuf,
    /// Options given to the runtime before its subcommand, with their dashes.
    pub runtime_flags: Vec<String>,
    /// Directories where programs of the host are looked up, as in `PATH`; the usual ones when absent.
    pub search_path: Option<String>,
    /// Standard streams.
    pub stdio: Stdio,
    /// Whether the end of the output is kept for [`Outcome::output_end`].
    pub keep_output_end: bool,
    /// Whether directories that the image declares as volumes are made, to stay.
    pub make_volumes: bool,
    /// Whether signals sent to this process are passed on to the step.
    pub forward_signals: bool,
    /// Whether the root directory is changed without `pivot_root`, which a root file system in memory
    /// needs.
    pub no_pivot: bool,
    /// Annotations of the image to be, for OCI hooks.
    pub annotations: BTreeMap<String, String>,
    /// Ends the step when it is set.
    pub stop: Option<Arc<Stop>>,
}

impl RunOptions {
    /// `command` with the defaults of `buildah run`.
    pub fn new(command: Vec<String>) -> RunOptions {
        RunOptions {
            command,
            env: Vec::new(),
            host_env: Vec::new(),
            user: None,
            working_dir: None,
            hostname: None,
            mounts: Vec::new(),
            network: Network::default(),
            host_files: HostFiles::default(),
            settings: Settings::default(),
            devices: Vec::new(),
            confinement: Confinement::default(),
            runtime: "runc".into(),
            runtime_flags: Vec::new(),
            search_path: None,
            stdio: Stdio::Inherit,
            keep_output_end: false,
            make_volumes: true,
            forward_signals: true,
            no_pivot: false,
            annotations: BTreeMap::new(),
            stop: None,
        }
    }
}

impl RunOptions {
    /// Takes over the settings that a container keeps.
    pub fn apply(&mut self, resolved: Resolved) {
        let Resolved { settings, network, host_files, mounts, sees_proxies } = resolved;
        self.settings = settings;
        self.network = network;
        self.host_files = host_files;
        self.mounts = mounts;
        if !sees_proxies {
            self.host_env.clear();
        }
    }
}

/// A step that could not be run. That a step fails is no error: see [`Outcome`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The container cannot be mounted or unmounted.
    #[error(transparent)]
    Container(#[from] WorkingContainerError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The user is unknown to the container.
    #[error(transparent)]
    User(#[from] runtime::UserError),
    /// A mount's source cannot be used.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The step cannot get a device.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// A hook cannot be read.
    #[error(transparent)]
    Hook(#[from] HookError),
    /// The root file system fails.
    #[error("container {0}: {1}")]
    Rootfs(String, rootfs::Error),
    /// The command could not be started.
    #[error(transparent)]
    Runtime(#[from] runtime::RunError),
}

impl RunError {
    /// The exit code a shell has for it: 127 for a command that is not found, 126 for one that
    /// cannot be executed; `None` for a failure that is not the command's.
    pub fn command_exit_code(&self) -> Option<u8> {
        match self {
            RunError::Runtime(error) => error.command_exit_code(),
            _ => None,
        }
    }
}

/// Where a command is run: a root file system, and what is known of the image to be.
#[derive(Clone, Copy, Debug)]
pub struct RunTarget<'t> {
    /// The store, for what the command's mounts name.
    pub store: &'t Store,
    /// Where the root file system is mounted.
    pub rootfs: &'t Path,
    /// Environment, user, working directory, volumes.
    pub config: &'t oci::config::RunConfig,
    /// What the command sees as its container's name.
    pub name: &'t str,
    /// What it sees as its container's ID; the beginning is its host name.
    pub id: &'t str,
    /// The base image's name and ID, for the command to see; empty if there is none.
    pub image: (&'t str, &'t str),
    /// A directory on a disk, for what the runtime needs.
    pub directory: &'t Path,
}

/// Runs a command in `container` to its end. The container is mounted meanwhile, and left as it
/// was mounted before.
pub fn run(container: &WorkingContainer<'_>, options: RunOptions) -> Result<Outcome, RunError> {
    let store = container.store();
    let mount = store.mounted(container.id())?;
    let state = container.state();
    let image_id = state.image_id.as_ref().map(ToString::to_string).unwrap_or_default();
    let outcome = run_in(
        RunTarget {
            store,
            rootfs: mount.path(),
            config: &state.config.config,
            name: container.name(),
            id: container.id().as_str(),
            image: (&state.image, &image_id),
            directory: &store.container_directory(container.id())?,
        },
        options,
    )?;
    mount.unmount()?;
    Ok(outcome)
}

/// Runs a command in a mounted root file system to its end.
pub fn run_in(target: RunTarget<'_>, options: RunOptions) -> Result<Outcome, RunError> {
    let RunTarget { store, config, id, .. } = target;
    let root_error = |error| RunError::Rootfs(target.name.to_owned(), error);
    let root = Root::open(target.rootfs).map_err(root_error)?;

    let mut edits = options.settings.edits(&options.devices)?;
    let mut user = runtime::resolve_user(&root, options.user.as_deref().unwrap_or(&config.user))?;
    let working_dir = absolute("/", options.working_dir.as_deref().unwrap_or(&config.working_dir));
    let hostname = match &options.hostname {
        _ if options.settings.namespaces.uts == Namespace::Host => host_name(),
        Some(name) => name.clone(),
        None if !config.hostname.is_empty() => config.hostname.clone(),
        None => id.chars().take(12).collect(),
    };
    for volume in config.volumes.keys().filter(|_| options.make_volumes) {
        root.create_dir_all(volume, 0o755, Owner::ROOT).map_err(root_error)?;
    }

    user.additional_gids.append(&mut edits.groups);
    for gid in &options.settings.groups {
        if !user.additional_gids.contains(gid) {
            user.additional_gids.push(*gid);
        }
    }
    let mut held = Held::default();
    held.open_caches(store, &options.mounts)?;
    let mut mounts: Vec<runtime::Mount> = Vec::new();
    for request in &options.mounts {
        let target = PathBuf::from(absolute(&working_dir, &request.target));
        mounts.retain(|mount| mount.target != target);
        mounts.push(held.resolve(request, target, &user)?);
    }

    mounts.extend(edits.mounts.into_iter().filter(|mount| {
        !options.mounts.iter().any(|own| Path::new(&absolute(&working_dir, &own.target)) == mount.target)
    }));

    let subject = oci_hooks::Subject {
        command: options.command.first().map(String::as_str).unwrap_or_default(),
        annotations: &options.annotations,
        has_bind_mounts: !options.mounts.is_empty() || !config.volumes.is_empty(),
    };
    let hooks = oci_hooks::matching(&options.settings.hook_dirs, &subject)?;
    let process = runtime::ProcessSpec {
        args: options.command,
        env: environment(
            &[&[DEFAULT_PATH.to_owned()], &options.host_env, &config.env, &edits.env, &options.env],
            &hostname,
        ),
        user,
        working_dir,
        no_new_privileges: options.settings.no_new_privileges,
    };
    let bundle_dir = new_bundle_dir(target.directory);
    // The process and the moment make it unique: one container may run several steps at once.
    let suffix = bundle_dir.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let run_id = format!("gabion-{}-{suffix}", id.chars().take(12).collect::<String>());
    let mut run = runtime::RunOptions::new(bundle_dir, target.rootfs.to_owned(), run_id, process);
    run.mounts = mounts;
    run.files = vec![container_env(&target)];
    run.network = options.network;
    run.hostname = Some(hostname);
    run.host_files = options.host_files;
    run.host_files.leave_to_image(config.volumes.keys().map(String::as_str));
    run.isolation = options.settings.isolation;
    run.capabilities = options.settings.capabilities;
    run.seccomp = options.settings.seccomp;
    run.apparmor = options.settings.apparmor;
    run.masks = options.settings.masks;
    run.namespaces = options.settings.namespaces;
    run.rlimits = options.settings.rlimits;
    run.shm_size = options.settings.shm_size;
    run.resources = options.settings.resources;
    run.confinement = options.confinement;
    run.devices = edits.devices;
    run.hooks = edits.hooks;
    run.hooks.extend(hooks);
    run.no_pivot = options.no_pivot;
    run.runtime = options.runtime;
    run.runtime_flags = options.runtime_flags;
    if let Some(search_path) = options.search_path {
        run.search_path = search_path;
    }
    run.stdio = options.stdio;
    run.keep_output_end = options.keep_output_end;
    run.forward_signals = options.forward_signals;
    run.stop = options.stop;
    drop(root);
    let outcome = runtime::run(run)?;
    drop(held);
    Ok(outcome)
}

/// The host's own name.
fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// `path` below `dir` unless it is absolute; `/` for an empty one.
pub(crate) fn absolute(dir: &str, path: &str) -> String {
    let joined = Path::new(dir).join(path);
    let mut clean = PathBuf::from("/");
    for component in joined.components() {
        match component {
            std::path::Component::Normal(name) => clean.push(name),
            std::path::Component::ParentDir => drop(clean.pop()),
            _ => {}
        }
    }
    clean.to_string_lossy().into_owned()
}

/// Variables of several lists, a later one replacing an earlier one in its place, and the host
/// name's unless it is there. What is no `NAME=value` is left out.
fn environment(lists: &[&[String]], hostname: &str) -> Vec<String> {
    let mut merged: Vec<&String> = Vec::new();
    for entry in lists.iter().copied().flatten() {
        let Some((name, _)) = entry.split_once('=').filter(|(name, _)| !name.is_empty()) else { continue };
        let same = |other: &&String| other.split_once('=').is_some_and(|(other, _)| other == name);
        match merged.iter().position(same).and_then(|index| merged.get_mut(index)) {
            Some(place) => *place = entry,
            None => merged.push(entry),
        }
    }
    let mut merged: Vec<String> = merged.into_iter().cloned().collect();
    if !merged.iter().any(|entry| entry.starts_with("HOSTNAME=")) {
        merged.push(format!("HOSTNAME={hostname}"));
    }
    merged
}

/// By `/run/.containerenv`, programs know that they are in a container and in which one.
fn container_env(target: &RunTarget<'_>) -> GeneratedFile {
    let (image, image_id) = target.image;
    let text = format!(
        "engine=\"gabion-{}\"\nname={:?}\nid=\"{}\"\nimage={image:?}\nimageid=\"{image_id}\"\nrootless=0\n",
        env!("CARGO_PKG_VERSION"),
        target.name,
        target.id,
    );
    GeneratedFile { target: "/run/.containerenv".into(), content: text.into_bytes(), mode: 0o644 }
}

/// A name for a run's bundle in the container's directory. Bundles of runs that were killed are
/// removed first.
fn new_bundle_dir(container_directory: &Path) -> PathBuf {
    use std::sync::atomic::{AtomicU32, Ordering};
    static COUNT: AtomicU32 = AtomicU32::new(0);
    const PREFIX: &str = "run-";
    for entry in std::fs::read_dir(container_directory).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.split('-').next()?.parse::<u32>().ok());
        if pid.is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists()) {
            let _ = runtime::clean_up_after_kill(&entry.path());
        }
    }
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    container_directory.join(format!("{PREFIX}{}-{number}", std::process::id()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pure_paths_are_made_absolute() {
        for (dir, path, expected) in [
            ("/", "", "/"),
            ("/w", "", "/w"),
            ("/w", "a/../b", "/w/b"),
            ("/w", "/x", "/x"),
            ("/", "../..", "/"),
            ("/", "./a//b/", "/a/b"),
        ] {
            assert_eq!(absolute(dir, path), expected);
        }
    }

    #[test]
    fn pure_environment_is_merged_in_place() {
        let list = |entries: &[&str]| entries.iter().map(|entry| (*entry).to_owned()).collect::<Vec<_>>();
        let (one, two) = (list(&["PATH=/a", "A=1", "junk", "=x"]), list(&["A=2=3", "B=", "PATH=/b"]));
        assert_eq!(environment(&[&one, &two], "box"), ["PATH=/b", "A=2=3", "B=", "HOSTNAME=box"]);
        assert_eq!(environment(&[&list(&["HOSTNAME=own"])], "box"), ["HOSTNAME=own"]);
    }
}
