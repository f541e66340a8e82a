//! What may precede the subcommand, named as Buildah names it.

mod boolean; // --flag=false of switches
pub mod compression; // --compression-format, …
mod order; // flags before arguments
pub mod platform; // --platform, --os, --arch, --variant
pub mod pull; // --pull
pub mod refused; // flags that are known and refused
pub mod registry; // --authfile, --creds, --tls-verify, …
pub mod run_settings; // how commands are run
pub mod sbom; // --sbom, …
pub mod value; // what several flags take

use std::path::PathBuf;
use std::time::Duration;

use buildkit_core::transfer::pull::PullPolicy;
use clap::{Args, CommandFactory, FromArgMatches, Parser};
use oci::Format;

use crate::commands::Command;
use crate::complete::with_completers;
use crate::examples::with_examples;
use crate::session::BUILDAH_VERSION;
use boolean::with_values_of_switches;
use refused::with_refused;

/// The command line: all commands, what completes their arguments, and the flags that are refused.
pub fn command(called_as_buildah: bool) -> clap::Command {
    let command = with_completers(with_refused(with_examples(Cli::command()))).args_override_self(true);
    let command = with_variables_that_are_set(command);
    match called_as_buildah {
        false => command,
        true => with_values_as_they_come(command).name("buildah").bin_name("buildah").version(buildah_version()),
    }
}

/// What stands behind a flag that takes a value is its value, even if it looks like a flag.
fn with_values_as_they_come(command: clap::Command) -> clap::Command {
    let mend = |arg: clap::Arg| {
        let is_flag = arg.get_long().is_some() || arg.get_short().is_some();
        match is_flag && arg.get_action().takes_values() && !arg.is_require_equals_set() {
            true => arg.allow_hyphen_values(true),
            false => arg,
        }
    };
    command.mut_args(mend).mut_subcommands(|command| command.mut_args(mend))
}

/// A variable of the environment that is set to nothing is as one that is not set.
fn with_variables_that_are_set(command: clap::Command) -> clap::Command {
    let is_empty = |name: &std::ffi::OsStr| std::env::var_os(name).is_some_and(|value| value.is_empty());
    let mend = |arg: clap::Arg| match arg.get_env().is_some_and(is_empty) {
        true => arg.env(None::<&str>),
        false => arg,
    };
    command.mut_args(mend).mut_subcommands(with_variables_that_are_set)
}

/// Changes the subcommand that is called, say, `manifest push`.
pub fn at_path(command: clap::Command, path: &str, change: &dyn Fn(clap::Command) -> clap::Command) -> clap::Command {
    match path.split_once(' ') {
        Some((name, rest)) => command.mut_subcommand(name, |subcommand| at_path(subcommand, rest, change)),
        None => command.mut_subcommand(path, change),
    }
}

/// What `buildah --version` says behind the name.
fn buildah_version() -> String {
    let (image_spec, runtime_spec) = (IMAGE_SPEC, RUNTIME_SPEC);
    format!(
        "version {BUILDAH_VERSION} (image-spec {image_spec}, runtime-spec {runtime_spec}, gabion {})",
        env!("CARGO_PKG_VERSION")
    )
}

/// Version of the OCI image specification that gabion writes.
pub const IMAGE_SPEC: &str = "1.1.1";
/// Version of the OCI runtime specification that gabion writes.
pub const RUNTIME_SPEC: &str = "1.0.2";

impl Cli {
    /// Parses the arguments of this process.
    pub fn of_process(called_as_buildah: bool) -> Result<Cli, clap::Error> {
        let mut command = command(called_as_buildah);
        if called_as_buildah {
            order::check(&command, std::env::args_os())?;
        }
        let matches = match command.try_get_matches_from_mut(std::env::args_os()) {
            Err(error) if error.use_stderr() => {
                command = with_values_of_switches(self::command(called_as_buildah));
                command.try_get_matches_from_mut(std::env::args_os())?
            }
            matches => matches?,
        };
        Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut command))
    }
}

/// Build container images step by step or from a Dockerfile, without a daemon
#[derive(Parser)]
#[command(name = "gabion", version, disable_help_subcommand = true, disable_version_flag = true, max_term_width = 120)]
pub struct Cli {
    /// Print the version
    #[arg(short = 'v', short_alias = 'V', long, action = clap::ArgAction::Version)]
    version: Option<bool>,
    #[command(flatten)]
    pub global: GlobalArgs,
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every subcommand, before or behind its name.
#[derive(Args)]
#[command(next_help_heading = "Global options")]
pub struct GlobalArgs {
    /// How cgroups of commands are made: cgroupfs
    #[arg(long, global = true, value_name = "NAME", value_parser = parse_cgroup_manager)]
    pub cgroup_manager: Option<CgroupManager>,
    /// The same as --log-level=debug
    #[arg(long, hide = true)]
    debug: bool,
    /// File that names what commands get to see of the host [default: /etc/containers/mounts.conf or
    /// /usr/share/containers/mounts.conf]
    #[arg(long, global = true, value_name = "FILE", hide = true, value_parser = value::file())]
    pub default_mounts_file: Option<PathBuf>,
    /// Directory of the store's images, layers and containers [default: storage.conf's graphroot]
    #[arg(long, global = true, value_name = "DIR", value_parser = value::new_directory())]
    pub root: Option<PathBuf>,
    /// Directory of the store's state that a reboot ends [default: storage.conf's runroot]
    #[arg(long, global = true, value_name = "DIR", value_parser = value::new_directory())]
    pub runroot: Option<PathBuf>,
    /// File with the aliases of short names that were chosen by hand [default: in ~/.cache/containers]
    #[arg(long, global = true, value_name = "FILE")]
    pub short_name_alias_conf: Option<PathBuf>,
    /// Storage driver, overlay or vfs [default: storage.conf's, or as the store was made]
    #[arg(long, global = true, value_name = "NAME", value_parser = parse_storage_driver)]
    pub storage_driver: Option<String>,
    /// Storage driver option, such as overlay.mountopt=nodev (may be repeated; replaces those of storage.conf)
    #[arg(long, global = true, value_name = "KEY=VALUE")]
    pub storage_opt: Vec<String>,
    /// Registries configuration file
    #[arg(long, global = true, value_name = "FILE", env = "CONTAINERS_REGISTRIES_CONF", hide_env = true,
          value_parser = value::file())]
    pub registries_conf: Option<PathBuf>,
    /// Directory of registries configuration drop-ins
    #[arg(long, global = true, value_name = "DIR", value_parser = value::directory())]
    pub registries_conf_dir: Option<PathBuf>,
    /// Least severe messages to show: error, warn, info or debug
    #[arg(long, global = true, value_name = "LEVEL", default_value = "warn", ignore_case = true)]
    log_level: LogLevel,
}

impl GlobalArgs {
    /// Least severe messages to show.
    pub fn log_level(&self) -> LogLevel {
        if self.debug { LogLevel::Debug } else { self.log_level }
    }
}

/// How cgroups are made.
#[derive(Clone, Copy, Debug)]
pub struct CgroupManager;

/// An empty name is no name, as with Buildah.
fn parse_storage_driver(text: &str) -> Result<String, String> {
    match text {
        "overlay" | "overlay2" | "vfs" | "" => Ok(text.to_owned()),
        _ => Err("expected overlay or vfs".to_owned()),
    }
}

fn parse_cgroup_manager(text: &str) -> Result<CgroupManager, String> {
    match text {
        "cgroupfs" => Ok(CgroupManager),
        "systemd" => Err("cgroups are made without systemd: expected cgroupfs".to_owned()),
        _ => Err("expected cgroupfs".to_owned()),
    }
}

/// How much a command says of what it does, most severe first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum LogLevel {
    #[value(aliases = ["fatal", "panic"])]
    Error,
    #[value(alias = "warning")]
    Warn,
    Info,
    #[value(alias = "trace")]
    Debug,
}

/// Parses a time in Go's notation, such as `1m30s`.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    dockerfile::parse_duration(text)
        .and_then(|nanoseconds| u64::try_from(nanoseconds).ok())
        .map(Duration::from_nanos)
        .ok_or_else(|| "expected a time such as 30s or 1m30s".to_owned())
}

/// Parses an image format.
pub fn parse_format(text: &str) -> Result<Format, String> {
    match text {
        "oci" => Ok(Format::Oci),
        "docker" => Ok(Format::Docker),
        _ => Err("expected oci or docker".to_owned()),
    }
}

/// Parses the format of a manifest.
pub fn parse_manifest_format(text: &str) -> Result<Format, String> {
    match text {
        "oci" => Ok(Format::Oci),
        "v2s2" | "docker" => Ok(Format::Docker),
        "v2s1" => Err("Docker v2 schema 1 is not written any more: expected oci or v2s2".to_owned()),
        _ => Err("expected oci or v2s2".to_owned()),
    }
}

/// Parses a pull policy.
pub fn parse_pull_policy(text: &str) -> Result<PullPolicy, String> {
    match text.to_ascii_lowercase().as_str() {
        "always" => Ok(PullPolicy::Always),
        "missing" | "ifmissing" | "ifnotpresent" | "notpresent" => Ok(PullPolicy::Missing),
        "newer" | "ifnewer" => Ok(PullPolicy::Newer),
        "never" => Ok(PullPolicy::Never),
        _ => Err("expected always, missing, never or newer".to_owned()),
    }
}
