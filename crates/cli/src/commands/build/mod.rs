//! `gabion build`, alias `bud`

mod context; // what COPY copies from
mod file; // the Dockerfile is found
mod report; // what a build tells

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use buildkit_core::build::{BuildOptions, Keep, LayerStyle, RunDefaults, StepOutput, build};
use buildkit_core::event::Event;
use buildkit_core::image::store_name;
use buildkit_core::plan::{PROXY_ARGS, PlanOptions};
use buildkit_core::run::{Capabilities, HostFiles, MountRequest, parse_size};
use oci::{Format, Platform};

use crate::args::parse_format;
use crate::args::platform::PlatformArgs;
use crate::args::pull::PullArgs;
use crate::args::registry::RegistryArgs;
use crate::command_error::CommandError;
use crate::commands::run::{default_runtime, network};
use crate::ignore_file;
use crate::session::{Progress, Session};
use context::context_dir;
use file::read_dockerfile;
use report::{INTERRUPTED, draw, print_line, report};

/// Build an image from a Dockerfile
///
/// Prints the image's ID last, unless --iidfile takes it. A failing RUN's exit code is gabion's.
#[derive(clap::Args)]
#[command(visible_alias = "bud")]
pub struct Args {
    /// Line for /etc/hosts of RUN steps
    #[arg(long, value_name = "HOST:IP", value_parser = parse_host)]
    add_host: Vec<(String, IpAddr)>,
    /// What a Dockerfile may ask for beyond the default: network.host
    #[arg(long, value_name = "ENTITLEMENT")]
    allow: Vec<Entitlement>,
    /// Annotation of the image
    #[arg(long, value_name = "NAME=VALUE", value_parser = parse_pair)]
    annotation: Vec<(String, String)>,
    /// Value of an ARG; without a value, that of gabion's own environment
    #[arg(long, value_name = "NAME[=VALUE]")]
    build_arg: Vec<String>,
    /// Capability that RUN steps have beside the default ones
    #[arg(long, value_name = "CAPABILITY", value_delimiter = ',')]
    cap_add: Vec<String>,
    /// Capability that RUN steps do not have
    #[arg(long, value_name = "CAPABILITY", value_delimiter = ',')]
    cap_drop: Vec<String>,
    /// Environment variable of the image; without a value, that of gabion's own environment
    #[arg(long, value_name = "NAME[=VALUE]")]
    env: Vec<String>,
    /// Dockerfile; - for standard input [default: Containerfile or Dockerfile in the context]
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Remove working containers of a failed build too
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true",
          default_value_t = true, action = clap::ArgAction::Set)]
    force_rm: bool,
    /// Format of the image: oci or docker
    #[arg(long, value_name = "FORMAT", default_value = "oci", env = "BUILDAH_FORMAT", hide_env = true,
          value_parser = parse_format)]
    format: Format,
    /// Hand the host's proxy settings to RUN steps
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true",
          default_value_t = true, action = clap::ArgAction::Set)]
    http_proxy: bool,
    /// Label the image with gabion's version
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true",
          default_value_t = true, action = clap::ArgAction::Set)]
    identity_label: bool,
    /// Ignore file [default: .containerignore or .dockerignore in the context]
    #[arg(long, value_name = "FILE")]
    ignorefile: Option<PathBuf>,
    /// File to write the image's ID to
    #[arg(long, value_name = "FILE")]
    iidfile: Option<PathBuf>,
    /// Label of the image
    #[arg(long, value_name = "NAME=VALUE", value_parser = parse_pair)]
    label: Vec<(String, String)>,
    /// Make a layer of each RUN, COPY and ADD; otherwise one of all of them
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true",
          default_value_t = true, env = "BUILDAH_LAYERS", hide_env = true, action = clap::ArgAction::Set)]
    layers: bool,
    /// Network of RUN steps: private, host, none, or the name of one of Podman's networks
    #[arg(long, visible_alias = "net", value_name = "NETWORK", default_value = "private")]
    network: String,
    /// Leave the image's own /etc/hostname to RUN steps
    #[arg(long)]
    no_hostname: bool,
    /// Leave the image's own /etc/hosts to RUN steps
    #[arg(long)]
    no_hosts: bool,
    /// Run every step, whatever earlier builds did (as every build does for now)
    #[arg(long)]
    no_cache: bool,
    /// Print the image's ID only
    #[arg(short, long)]
    quiet: bool,
    /// Remove working containers of a build that went well
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true",
          default_value_t = true, action = clap::ArgAction::Set)]
    rm: bool,
    /// OCI runtime: a name or a path [default: runc, or crun where that is all there is]
    #[arg(long, value_name = "PROGRAM", env = "BUILDAH_RUNTIME", hide_env = true)]
    runtime: Option<PathBuf>,
    /// Option given to the OCI runtime, without its dashes
    #[arg(long, value_name = "OPTION", value_delimiter = ',')]
    runtime_flag: Vec<String>,
    /// Size of /dev/shm in RUN steps, such as 64m
    #[arg(long, value_name = "SIZE", value_parser = size)]
    shm_size: Option<u64>,
    /// Make one layer of everything that the build adds to the base image
    #[arg(long, conflicts_with = "squash_all")]
    squash: bool,
    /// Make one layer of everything, the base image's included
    #[arg(long)]
    squash_all: bool,
    /// Name of the image (may be repeated)
    #[arg(short, long, value_name = "NAME")]
    tag: Vec<String>,
    /// Stage to build, by name or number [default: the last one]
    #[arg(long, value_name = "STAGE")]
    target: Option<String>,
    /// Time of the image and of every file in its new layers, in seconds since 1970
    #[arg(long, value_name = "SECONDS", allow_hyphen_values = true)]
    timestamp: Option<i64>,
    /// Environment variable to leave out of the image
    #[arg(long, value_name = "NAME")]
    unsetenv: Vec<String>,
    /// Label to leave out of the image
    #[arg(long, value_name = "NAME")]
    unsetlabel: Vec<String>,
    /// Directory of the host that RUN steps see
    #[arg(short, long, value_name = "HOST-DIR:CONTAINER-DIR[:OPTIONS]")]
    volume: Vec<String>,
    #[command(flatten)]
    pull: PullArgs,
    #[command(flatten)]
    platform: PlatformArgs,
    #[command(flatten)]
    registry: RegistryArgs,
    /// Directory with the files that COPY and ADD copy
    #[arg(default_value = ".")]
    context: PathBuf,
}

/// What a Dockerfile may ask for on the user's word only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Entitlement {
    /// `RUN --network=host`
    #[value(name = "network.host")]
    NetworkHost,
}

pub fn run(args: &Args, session: &Session) -> Result<ExitCode, CommandError> {
    let context_dir = context_dir(&args.context)?;
    let source = read_dockerfile(args.file.as_deref(), &context_dir)?;
    let options = options(args, session, context_dir)?;
    let store = session.store()?;
    let remotes = session.remotes(&args.registry)?;
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP] {
        // A second one does not wait for the step to end.
        signal_hook::flag::register_conditional_shutdown(signal, INTERRUPTED.into(), options.cancelled.clone())?;
        signal_hook::flag::register(signal, options.cancelled.clone())?;
    }
    let others = session.events(Progress::from_quiet(args.quiet));
    let events = |event: Event| draw(event, args.quiet, &others);
    let committed = build(&store, &remotes, &source, &options, &events).map_err(|error| report(&error))?;
    if !args.quiet {
        for name in &options.names {
            print_line(&format!("Successfully tagged {name}"));
        }
    }
    match &args.iidfile {
        Some(file) => session.write_file(file, &format!("sha256:{}", committed.image_id))?,
        None => print_line(committed.image_id.as_str()),
    }
    Ok(ExitCode::SUCCESS)
}

fn options(args: &Args, session: &Session, context_dir: PathBuf) -> Result<BuildOptions, CommandError> {
    let ignore = ignore_file::read(&context_dir, args.ignorefile.as_deref())?;
    let names = args.tag.iter().map(|name| store_name(name)).collect::<Result<_, _>>()?;
    let own_value = |text: &str| match text.split_once('=') {
        Some((name, value)) => Some((name.to_owned(), value.to_owned())),
        None => session.env(text).map(|value| (text.to_owned(), value)),
    };
    let build_args: BTreeMap<String, String> = args.build_arg.iter().filter_map(|text| own_value(text)).collect();
    let host_env = PROXY_ARGS.iter().filter(|_| args.http_proxy);
    let host_env = host_env.filter_map(|name| Some(format!("{name}={}", session.env(name)?)));
    let mut host_files = HostFiles { hosts: !args.no_hosts, hostname: !args.no_hostname, ..HostFiles::default() };
    host_files.add_hosts.extend(args.add_host.iter().cloned());
    let mounts = args.volume.iter().map(|text| MountRequest::parse_volume(text)).collect::<Result<_, _>>()?;
    let search_path = session.env("PATH");
    let platform = args.platform.resolve()?;
    let host = Platform::host();
    if !host.satisfies(&platform) {
        return Err(CommandError::new(format!(
            "platform {platform} is not this machine's: only {host} can be built here"
        )));
    }
    Ok(BuildOptions {
        plan: PlanOptions { target: args.target.clone(), build_args, platform, build_platform: host },
        context_dir,
        ignore,
        names,
        format: args.format,
        layers: match args {
            Args { squash_all: true, .. } => LayerStyle::WithBase,
            Args { squash: false, layers: true, .. } => LayerStyle::PerStep,
            _ => LayerStyle::PerStage,
        },
        times: session.times(args.timestamp)?,
        pull: args.pull.policy(),
        env: args.env.iter().filter_map(|text| own_value(text)).collect(),
        unset_env: args.unsetenv.clone(),
        labels: args.label.clone(),
        unset_labels: args.unsetlabel.clone(),
        annotations: args.annotation.clone(),
        identity_label: args.identity_label.then(|| session.identity_label()),
        run: RunDefaults {
            runtime: args.runtime.clone().unwrap_or_else(|| default_runtime(search_path.as_deref())),
            runtime_flags: args.runtime_flag.iter().map(|flag| format!("--{flag}")).collect(),
            search_path,
            network: network(if args.network == "default" { "private" } else { &args.network })?.shared(),
            host_files,
            capabilities: Capabilities { add: args.cap_add.clone(), drop: args.cap_drop.clone() },
            shm_size: args.shm_size,
            mounts,
            host_env: host_env.collect(),
            output: if args.quiet { StepOutput::ErrorsOnly } else { StepOutput::Inherit },
            allow_host_network: args.allow.contains(&Entitlement::NetworkHost),
            ..RunDefaults::default()
        },
        keep: match (args.rm, args.force_rm) {
            (true, true) => Keep::Nothing,
            (true, false) => Keep::OnFailure,
            (false, _) => Keep::Always,
        },
        cancelled: Arc::new(AtomicBool::new(false)),
    })
}

fn size(text: &str) -> Result<u64, String> {
    parse_size(text).ok_or_else(|| "expected a number with k, m or g".to_owned())
}

fn parse_pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').unwrap_or((text, ""));
    if name.is_empty() {
        return Err("expected NAME=VALUE".to_owned());
    }
    Ok((name.to_owned(), value.to_owned()))
}

fn parse_host(text: &str) -> Result<(String, IpAddr), String> {
    let (name, address) = text.split_once([':', '=']).ok_or("expected HOST:IP")?;
    let address = address.trim_start_matches('[').trim_end_matches(']');
    let address = address.parse().map_err(|_| format!("{address:?} is no IP address"))?;
    Ok((name.to_owned(), address))
}
