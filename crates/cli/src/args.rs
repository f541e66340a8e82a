//! What may precede the subcommand, named as Buildah names it.

pub mod platform; // --platform, --os, --arch, --variant
pub mod pull; // --pull
pub mod registry; // --authfile, --creds, --tls-verify, …

use std::path::PathBuf;
use std::time::Duration;

use buildkit_core::transfer::pull::PullPolicy;
use clap::{Args, Parser};
use oci::Format;

use crate::commands::Command;

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

/// Options of every subcommand.
#[derive(Args)]
pub struct GlobalArgs {
    /// Directory of the store's images, layers and containers [default: storage.conf's graphroot]
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,
    /// Directory of the store's state that a reboot ends [default: storage.conf's runroot]
    #[arg(long, value_name = "DIR")]
    pub runroot: Option<PathBuf>,
    /// Storage driver; only overlay is supported
    #[arg(long, value_name = "NAME")]
    pub storage_driver: Option<String>,
    /// Storage driver option, such as overlay.mountopt=nodev (may be repeated; replaces those of storage.conf)
    #[arg(long, value_name = "KEY=VALUE")]
    pub storage_opt: Vec<String>,
    /// Registries configuration file
    #[arg(long, value_name = "FILE", env = "CONTAINERS_REGISTRIES_CONF", hide_env = true)]
    pub registries_conf: Option<PathBuf>,
    /// Directory of registries configuration drop-ins
    #[arg(long, value_name = "DIR")]
    pub registries_conf_dir: Option<PathBuf>,
    /// Least severe messages to show: error, warn, info or debug
    #[arg(long, value_name = "LEVEL", default_value = "warn")]
    pub log_level: LogLevel,
}

/// How much a command says of what it does, most severe first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum LogLevel {
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

/// Parses a pull policy; Buildah's older `true` and `false` are understood.
pub fn parse_pull_policy(text: &str) -> Result<PullPolicy, String> {
    match text {
        "always" => Ok(PullPolicy::Always),
        "missing" | "ifmissing" | "ifnotpresent" | "false" => Ok(PullPolicy::Missing),
        "newer" | "ifnewer" | "true" => Ok(PullPolicy::Newer),
        "never" => Ok(PullPolicy::Never),
        _ => Err("expected always, missing, never or newer".to_owned()),
    }
}
