//! What a step depends on: the parts of its key.
//!
//! A part says what the step really uses: the words of the instruction once variables are put in, the
//! environment of a command, the content of the files that are read. What the files of the stage and
//! of other stages are is left to the end: their digests may not be known yet.

use dockerfile::instruction::{Mount, MountKind, Network as RunNetwork, Security};

use super::error::StepError;
use super::layers::Files;
use super::options::RunDefaults;
use crate::cache::key::{Key, Parts};
use crate::commit::Times;
use crate::copy::{Source, SourceDigest, shown_url};
use crate::plan::PROXY_ARGS;
use crate::run::{HostAddress, MountRequest, Network, Settings};
use crate::stage_state::StageState;
use crate::step::{CopyStep, RunStep, StepDevice, StepSource};

/// What a step depends on.
#[derive(Clone, Debug, Default)]
pub(super) struct StepParts {
    /// All but what other layers hold.
    pub own: Parts,
    /// Layers that it reads besides those below it, by the part's name.
    pub read: Vec<(String, ReadFiles)>,
    /// Whether it does the same over any other files.
    pub is_independent: bool,
    /// What the files of the context are that it reads, by the part's name.
    pub sources: Vec<(String, SourceDigest)>,
}

/// Layers that a step reads.
#[derive(Clone, Debug)]
pub(super) struct ReadFiles {
    pub files: Files,
    /// The key of the instructions that made them.
    pub made_by: Key,
    /// Digest of what of them is read, where it was looked at.
    pub digest: Option<String>,
}

/// Name of the part that stands for the files below a step.
pub(super) const FILES_BEFORE: &str = "files before";

impl StepParts {
    /// Adds the files of a context.
    pub fn source(&mut self, name: String, digest: SourceDigest) {
        self.own.add(name.clone(), digest.digest.clone());
        self.sources.push((name, digest));
    }

    /// The key of what it does, whatever it comes after.
    pub fn kind(&self) -> Key {
        let mut parts = self.own.clone();
        self.read.iter().for_each(|(name, _)| parts.add(name.clone(), ""));
        parts.key()
    }

    /// The key of the instructions up to this one, those before it having the key `before`.
    pub fn claim(&self, before: &Key) -> Key {
        let read = self.read.iter().map(|(_, read)| &read.made_by);
        read.fold(before.then(self.kind().as_str()), |key, read| key.then(read.as_str()))
    }

    /// All parts of a step over files with the key `parent`; `None` over any. Waits for what it reads.
    pub fn whole(&self, parent: Option<&Key>) -> Result<Parts, StepError> {
        let key = |read: &ReadFiles| Ok(read.files.key(read.files.made.len())?.as_str().to_owned());
        self.with(parent, key)
    }

    /// The same, but of other layers only what of them is read counts; `None` where it was not looked
    /// at, or there are none.
    pub fn by_content(&self, parent: Option<&Key>) -> Option<Parts> {
        if self.read.is_empty() {
            return None;
        }
        self.with(parent, |read| read.digest.clone().map(|digest| format!("content {digest}")).ok_or(())).ok()
    }

    /// All lists of parts that the step is found by over files with the key `parent`, those over any files last.
    pub fn all(&self, parent: &Key) -> Result<Vec<Parts>, StepError> {
        let mut all = vec![self.whole(Some(parent))?];
        all.extend(self.by_content(Some(parent)));
        if self.is_independent {
            all.push(self.whole(None)?);
            all.extend(self.by_content(None));
        }
        Ok(all)
    }

    fn with<E>(&self, parent: Option<&Key>, read: impl Fn(&ReadFiles) -> Result<String, E>) -> Result<Parts, E> {
        let mut parts = self.own.clone();
        for (name, files) in &self.read {
            parts.add(name.clone(), read(files)?);
        }
        if let Some(parent) = parent {
            parts.add(FILES_BEFORE, parent.as_str());
        }
        Ok(parts)
    }

    /// Whether the digests of all that it reads are known.
    pub fn is_known(&self) -> bool {
        self.read.iter().all(|(_, read)| read.files.key_if_known(read.files.made.len()).is_some())
    }
}

/// What every step depends on.
pub(super) fn begin(times: Times, platform: &str) -> Parts {
    let mut parts = Parts::default();
    parts.add("platform", platform);
    match times {
        Times::Now | Times::Image(_) => {}
        Times::Clamp(time) => parts.add("latest time of files", time.to_string()),
        Times::Set(time) => parts.add("time of files", time.to_string()),
    }
    parts
}

/// A command as it will be run, but for its mounts.
pub(super) struct Command<'a> {
    pub args: &'a [String],
    pub script: Option<&'a (String, String)>,
    /// The image's environment.
    pub env: &'a [String],
    /// What joins it for this command, `NAME=value`.
    pub args_env: &'a [String],
    pub user: &'a str,
    pub workdir: &'a str,
    pub volumes: Vec<&'a String>,
    /// Whether directories are made for them.
    pub make_volumes: bool,
    pub network: &'static str,
    pub is_insecure: bool,
    pub devices: &'a [StepDevice],
    pub hostname: Option<&'a String>,
    pub settings: &'a Settings,
    pub add_hosts: &'a [(String, HostAddress)],
    /// Mounts of every command.
    pub mounts: &'a [MountRequest],
}

impl<'a> Command<'a> {
    /// The command of a RUN.
    pub fn of_step(step: &'a RunStep, state: &'a StageState, defaults: &'a RunDefaults) -> Command<'a> {
        let config = &state.config.config;
        Command {
            args: &step.args,
            script: step.script.as_ref(),
            env: &config.env,
            args_env: &step.args_env,
            user: &config.user,
            workdir: state.workdir(),
            volumes: config.volumes.keys().collect(),
            make_volumes: defaults.make_volumes,
            network: network(step, defaults),
            is_insecure: matches!(step.security, Some((Security::Insecure, _))),
            devices: &step.devices,
            hostname: step.hostname.as_ref(),
            settings: &defaults.settings,
            add_hosts: &defaults.host_files.add_hosts,
            mounts: &defaults.mounts,
        }
    }
}

/// The parts of a command but for its mounts.
pub(super) fn command(parts: &mut Parts, command: &Command<'_>) {
    let (last, first) = command.args.split_last().map_or(("", &[][..]), |(last, first)| (last.as_str(), first));
    parts.add("RUN", last);
    parts.add("arguments before", format!("{first:?}"));
    if let Some((name, content)) = command.script {
        parts.add(format!("script {name}"), content.clone());
    }
    for entry in command.env {
        let (name, value) = entry.split_once('=').unwrap_or((entry, ""));
        parts.add(format!("ENV {name}"), value);
    }
    for entry in command.args_env {
        let (name, value) = entry.split_once('=').unwrap_or((entry, ""));
        // Proxies change how something is fetched, not what.
        if !PROXY_ARGS.contains(&name) {
            parts.add(format!("ARG {name}"), value);
        }
    }
    parts.add("USER", command.user);
    parts.add("WORKDIR", command.workdir);
    for volume in &command.volumes {
        parts.add(format!("VOLUME {volume}"), if command.make_volumes { "made" } else { "" });
    }
    parts.add("network", command.network);
    if command.is_insecure {
        parts.add("security", "insecure");
    }
    for device in command.devices {
        parts.add(format!("device {}", device.name), if device.required { "required" } else { "" });
    }
    if let Some(hostname) = command.hostname {
        parts.add("host name", hostname.clone());
    }
    let capabilities = &command.settings.capabilities;
    for (name, list) in [("--cap-add", &capabilities.add), ("--cap-drop", &capabilities.drop)] {
        list.iter().for_each(|capability| parts.add(name, capability.clone()));
    }
    for (host, address) in command.add_hosts {
        parts.add(format!("--add-host {host}"), address.to_string());
    }
    for group in &command.settings.groups {
        parts.add("--group-add", group.to_string());
    }
    for device in &command.settings.devices {
        parts.add("--device", format!("{device:?}"));
    }
    if command.settings.no_new_privileges {
        parts.add("--security-opt", "no-new-privileges");
    }
    for mount in command.mounts {
        parts.add(format!("mount of every RUN at {}", mount.target), format!("{:?}", mount.kind));
    }
}

fn network(step: &RunStep, defaults: &RunDefaults) -> &'static str {
    match &step.network {
        Some((RunNetwork::None, _)) => "none",
        Some((RunNetwork::Host, _)) => "host",
        None | Some((RunNetwork::Default, _)) => network_name(&defaults.network),
    }
}

/// What a network is in a key.
pub(super) fn network_name(network: &Network) -> &'static str {
    match network {
        Network::None => "none",
        Network::Host => "host",
        Network::Path(_) | Network::Private(_) | Network::Shared(_) => "default",
    }
}

/// The part of a mount but for what it shows. Of a secret only where it is to be, never its content.
pub(super) fn mount(parts: &mut Parts, mount: &Mount) {
    let access = if mount.read_only { "ro" } else { "rw" };
    let kind = match &mount.kind {
        // Which agent or secret it is changes nothing of what the step means to do.
        MountKind::Secret { id, env, mode, uid, gid, .. } => format!("secret {id} {env:?} {mode:o} {uid}:{gid}"),
        MountKind::Ssh { id, .. } => format!("ssh {id}"),
        kind => format!("{kind:?}"),
    };
    parts.add(format!("mount at {}", mount.target), format!("{kind} {access} {}", mount.options.join(",")));
}

/// The text without the user names and passwords of its URLs.
pub(super) fn without_credentials(text: &str) -> String {
    let mut pieces = text.split("://");
    let mut shown = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let authority = piece.split(['/', '?', '#', ' ', '\n']).next().unwrap_or_default();
        let credentials = authority.rfind('@').map_or(0, |at| at + 1);
        shown.push_str("://");
        shown.push_str(piece.get(credentials..).unwrap_or_default());
    }
    shown
}

/// The parts of COPY and ADD but for what the sources are. `chown` has names put into numbers.
pub(super) fn copy(parts: &mut Parts, step: &CopyStep, chown: Option<&str>) {
    let keyword = if step.is_add { "ADD" } else { "COPY" };
    let sources = step.sources.iter().map(|source| match source {
        // What lets in changes nothing: the file's own digest is a part, too.
        StepSource::Path(path) => match Source::parse(path) {
            Source::Url(url) => shown_url(&url),
            Source::Git(url) => without_credentials(&url),
            _ => path.clone(),
        },
        StepSource::Content { name, .. } => format!("<<{name}"),
    });
    parts.add(keyword, format!("{:?} {}", sources.collect::<Vec<_>>(), step.destination));
    // The history has it.
    parts.add("destination as written", step.written_destination.clone());
    let mut flag = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            parts.add(name, value);
        }
    };
    let is_set = |set: bool| set.then(String::new);
    flag("--chown", chown.map(str::to_owned));
    flag("--chmod", step.chmod.as_ref().map(|(text, _)| text.clone()));
    flag("--checksum", step.checksum.as_ref().map(|(checksum, _)| format!("{checksum:?}")));
    flag("--keep-git-dir", step.keep_git_dir.map(|keep| keep.to_string()));
    flag("--unpack", step.unpack.map(|unpack| unpack.to_string()));
    flag("--link", is_set(step.link));
    flag("--parents", is_set(step.parents));
    for pattern in &step.exclude {
        flag("--exclude", Some(pattern.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pure_urls_lose_their_credentials() {
        for (text, expected) in [
            ("https://me:secret@host/x@y", "https://host/x@y"),
            ("https://me:se@cret@host", "https://host"),
            ("ADD https://t@a/x http://b/y /z@", "ADD https://a/x http://b/y /z@"),
            ("https://host?a=b@c", "https://host?a=b@c"),
            ("git@host:path", "git@host:path"),
            ("a@b", "a@b"),
        ] {
            assert_eq!(without_credentials(text), expected);
        }
    }
}
