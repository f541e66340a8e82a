//! `gabion build`, alias `bud`

mod cache; // what earlier builds did
mod check; // --check, --call
mod context; // what COPY copies from
pub(crate) mod file; // the Dockerfile is found
mod image; // what the image says of itself
mod log_file; // --logfile
mod output; // where the result goes
mod platforms; // --platform with several, --all-platforms
mod preprocess; // Containerfile.in
mod report; // what a build tells
mod rusage; // --log-rusage
mod wreck; // a shell where a RUN failed

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use buildkit_core::build::{Allowed, BuildOptions, Keep, LayerStyle, RunDefaults, StageImages, StepOutput, build};
use buildkit_core::copy::Meaning;
use buildkit_core::event::Event;
use buildkit_core::manifest_list;
use buildkit_core::output::Output;
use buildkit_core::plan::{PROXY_ARGS, PlanOptions};
use buildkit_core::run::MountRequest;
use buildkit_core::secret::Secrets;
use buildkit_core::source_policy::SourcePolicy;
use buildkit_core::ssh::Agents;
use buildkit_core::transport::Location;
use oci::{Format, Platform, Reference};

use crate::args::parse_format;
use crate::args::platform::BuildPlatformArgs;
use crate::args::pull::PullArgs;
use crate::args::registry::RegistryArgs;
use crate::args::run_settings::{LimitArgs, RuntimeArgs, SandboxArgs, prepare_isolation, set_default_mounts};
use crate::args::sbom::SbomArgs;
use crate::args::value;
use crate::command_error::CommandError;
use crate::progress::{Display, ProgressArgs, Work};
use crate::report::Recorder;
use crate::session::Session;
use cache::CacheArgs;
use check::CheckArgs;
use context::{ContextArgs, Contexts};
use image::ImageArgs;
use log_file::LogArgs;
use output::{OutputArgs, Outputs};
use report::{INTERRUPTED, report};
use rusage::RusageArgs;
use wreck::WreckArgs;

/// Build an image from a Dockerfile
///
/// Prints the image's ID last, unless --iidfile takes it. A failing RUN's exit code is gabion's.
#[derive(clap::Args)]
#[command(visible_alias = "bud", alias = "build-using-dockerfile")]
pub struct Args {
    /// What a Dockerfile may ask for beyond the default: network.host, security.insecure, device or device=NAME
    #[arg(long, value_name = "ENTITLEMENT", value_parser = Entitlement::parse)]
    allow: Vec<Entitlement>,
    /// Remove working containers of a failed build too
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true",
          default_value_t = true, action = clap::ArgAction::Set)]
    force_rm: bool,
    /// Format of the image: oci or docker
    #[arg(long, value_name = "FORMAT", default_value = "oci", env = "BUILDAH_FORMAT", hide_env = true,
          value_parser = parse_format)]
    format: Format,
    /// What the first stage begins with, in place of what its FROM says
    #[arg(long, value_name = "IMAGE", value_parser = base)]
    from: Option<String>,
    /// Directory with OCI hooks, in place of /usr/share/containers/oci/hooks.d and /etc/containers/oci/hooks.d
    #[arg(long, value_name = "DIR", value_parser = value::directory())]
    hooks_dir: Vec<PathBuf>,
    /// Mount that every RUN has, as with RUN --mount
    #[arg(long, value_name = "OPTIONS")]
    mount: Vec<String>,
    /// Print the image's ID only
    #[arg(short, long)]
    quiet: bool,
    /// File to write a picture of the build to, an HTML page: times and waits, use of the cache, layers and what they
    /// hide, warnings; of a build that fails too
    #[arg(long, value_name = "FILE", value_parser = value::new_file())]
    report: Option<PathBuf>,
    /// Remove working containers of a build that went well
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true",
          default_value_t = true, action = clap::ArgAction::Set)]
    rm: bool,
    /// Keep the stages beside the target as images without a name
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true",
          default_value_t = false, action = clap::ArgAction::Set)]
    save_stages: bool,
    /// Secret for RUN --mount=type=secret, of a file or an environment variable [default: the variable ID, or else the
    /// file ID]
    #[arg(long, value_name = "id=ID[,src=FILE|env=NAME]")]
    secret: Vec<String>,
    /// JSON file with BuildKit's rules on which images and URLs may be used, and what stands in for them; the first that
    /// matches counts
    #[arg(long, value_name = "FILE")]
    source_policy_file: Option<PathBuf>,
    /// SSH agent for RUN --mount=type=ssh: a socket, or keys without a passphrase [default: the agent of SSH_AUTH_SOCK]
    #[arg(long, value_name = "default|ID[=SOCKET|KEY,…]")]
    ssh: Vec<String>,
    /// Make one layer of everything that the build adds to the base image, but as --squash-all for buildah
    #[arg(long, conflicts_with = "squash_all")]
    squash: bool,
    /// Make one layer of everything, the base image's included
    #[arg(long)]
    squash_all: bool,
    /// With --save-stages: label these images and the result with the stage (io.buildah.stage.name) and what it begins
    /// with (io.buildah.stage.base)
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true",
          default_value_t = false, action = clap::ArgAction::Set)]
    stage_labels: bool,
    /// Let RUN read standard input; stages are built one at a time then
    #[arg(long)]
    stdin: bool,
    /// Stage to build, by name or number [default: the last one]
    #[arg(long, value_name = "STAGE")]
    target: Option<String>,
    #[command(flatten)]
    sandbox: SandboxArgs,
    #[command(flatten)]
    runtime: RuntimeArgs,
    #[command(flatten)]
    limits: LimitArgs,
    #[command(flatten)]
    cache: CacheArgs,
    #[command(flatten)]
    check: CheckArgs,
    #[command(flatten)]
    context: ContextArgs,
    #[command(flatten)]
    image: ImageArgs,
    #[command(flatten)]
    log: LogArgs,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    progress: ProgressArgs,
    #[command(flatten)]
    pull: PullArgs,
    #[command(flatten)]
    platform: BuildPlatformArgs,
    #[command(flatten)]
    registry: RegistryArgs,
    #[command(flatten)]
    sbom: SbomArgs,
    #[command(flatten)]
    rusage: RusageArgs,
    #[command(flatten)]
    wreck: WreckArgs,
}

/// What a Dockerfile may ask for on the user's word only.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Entitlement {
    /// `RUN --network=host`
    NetworkHost,
    /// `RUN --security=insecure`
    SecurityInsecure,
    /// `RUN --device`, with any device or this one
    Device(Option<String>),
}

impl Entitlement {
    fn parse(text: &str) -> Result<Entitlement, String> {
        match text.split_once('=') {
            None if text == "network.host" => Ok(Entitlement::NetworkHost),
            None if text == "security.insecure" => Ok(Entitlement::SecurityInsecure),
            None if text == "device" => Ok(Entitlement::Device(None)),
            Some(("device", name)) if !name.is_empty() => Ok(Entitlement::Device(Some(name.to_owned()))),
            _ => Err("expected network.host, security.insecure, device or device=NAME".to_owned()),
        }
    }

    fn device(&self) -> Option<String> {
        match self {
            Entitlement::Device(name) => name.clone(),
            _ => None,
        }
    }
}

pub fn run(args: &Args, session: &Session) -> Result<ExitCode, CommandError> {
    prepare_isolation(args.sandbox.isolation().unwrap_or_default())?;
    args.check.refuse_report(args.report.is_some())?;
    if args.stage_labels && !args.save_stages {
        return Err(CommandError::new("--stage-labels labels what --save-stages keeps: give that too"));
    }
    if args.stdin && args.context.reads_stdin() {
        return Err(CommandError::new("--stdin: standard input is the context or the Dockerfile"));
    }
    match args.platform.named()?.as_slice() {
        [platform] if !args.platform.all_platforms => run_for_one(args, session, platform),
        platforms => platforms::run(args, session, platforms),
    }
}

fn run_for_one(args: &Args, session: &Session, platform: &Platform) -> Result<ExitCode, CommandError> {
    let outputs = args.output.resolve(session)?;
    let _log_file = args.log.open(Some(platform))?;
    let store = session.store()?;
    let remotes = session.remotes(&args.registry)?;
    let agents = agents(args, session)?;
    let contexts = args.context.open(session, &store, &remotes, &agents)?;
    let list = outputs.list.clone();
    let mut options = options(args, session, &contexts, agents, outputs, platform)?;
    if let Some(exit) = args.check.run(&store, &contexts.dockerfile, &options)? {
        return Ok(exit);
    }
    list.as_ref().map_or(Ok(()), |list| manifest_list::check_name(&store, list))?;
    options.on_failure = args.wreck.resolve(&options.cancelled)?;
    let recorder = args.report.as_deref().map(Recorder::begin).transpose()?;
    options.explain |= recorder.is_some();
    end_on_signals(&options.cancelled)?;
    // What goes to standard output is the result alone.
    let is_silent = options.stdout.is_some();
    let display = Display::new(session, &args.progress, args.quiet || is_silent, Work::Build)?;
    options.run.output = match () {
        _ if display.is_quiet() => StepOutput::ErrorsOnly,
        _ if display.takes_output() => StepOutput::Events,
        _ => StepOutput::Inherit,
    };
    let usage = args.rusage.begin(args.quiet)?;
    let events = |event: Event| {
        if let (Some(usage), Event::StepEnded { .. }) = (&usage, &event) {
            usage.log();
        }
        if let Some(recorder) = &recorder {
            recorder.note(&event);
        }
        if args.cache.explain || !matches!(event, Event::Explanation(_)) {
            display.event(event);
        }
    };
    let committed = build(&store, &remotes, &contexts.dockerfile, &options, &events).map_err(|error| {
        let (details, error) = report(&error, session.called_as_buildah());
        let told = recorder.as_ref().map_or(Ok(()), |page| page.failed(&contexts.dockerfile, &details, &error));
        if let Err(unwritten) = told {
            session.warn(unwritten.message());
        }
        display.fail(&details, error)
    })?;
    if let Some(list) = &list {
        let image = (options.plan.platform.clone(), committed.image_id.clone());
        manifest_list::add_images(&store, list, &[image])?;
    }
    let of_outputs = options.outputs.iter().flat_map(Output::store_names);
    let names: Vec<String> = options.names.iter().map(ToString::to_string).chain(of_outputs).collect();
    display.finish_build(&store, &committed.image_id, &names);
    if let Some(page) = &recorder {
        page.succeeded(&store, &contexts.dockerfile, &committed.image_id, &names)?;
    }
    args.output.tell(session, &committed, &names, is_silent)?;
    Ok(ExitCode::SUCCESS)
}

/// Has `cancelled` set by a signal to end; a second one does not wait for the step to end.
fn end_on_signals(cancelled: &Arc<AtomicBool>) -> Result<(), CommandError> {
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP] {
        signal_hook::flag::register_conditional_shutdown(signal, INTERRUPTED.into(), cancelled.clone())?;
        signal_hook::flag::register(signal, cancelled.clone())?;
    }
    Ok(())
}

fn options(
    args: &Args,
    session: &Session,
    contexts: &Contexts,
    agents: Agents,
    outputs: Outputs,
    platform: &Platform,
) -> Result<BuildOptions, CommandError> {
    let conf = session.containers_conf()?;
    let mut kept = args.sandbox.defaults(&conf)?;
    args.sandbox.apply(&mut kept)?;
    args.sandbox.follow_buildah(&mut kept, session)?;
    args.limits.apply(&mut kept)?;
    args.runtime.apply(&mut kept)?;
    set_default_mounts(&mut kept, session)?;
    for dir in &args.hooks_dir {
        if !dir.is_dir() {
            return Err(CommandError::new(format!("invalid --hooks-dir {}: expected a directory", dir.display())));
        }
        kept.common_build_opts.oci_hooks_dir.push(dir.to_string_lossy().into_owned());
    }
    let mut resolved = kept.resolve(&conf)?;
    args.sandbox.change_capabilities(&mut resolved.settings.capabilities);
    let host_env = PROXY_ARGS.iter().filter(|_| resolved.sees_proxies);
    let host_env = host_env.filter_map(|name| Some(format!("{name}={}", session.env(name)?)));
    for text in &args.mount {
        resolved.mounts.push(MountRequest::parse(text, Some(&contexts.dir))?);
    }
    let mut secrets = Secrets::default();
    for text in &args.secret {
        secrets.add(text, &|name| session.env(name))?;
    }
    if platform.os != "linux" {
        let flag = if args.platform.platform.is_empty() { "--os" } else { "--platform" };
        return Err(CommandError::invalid(flag, platform, "only images for linux can be built"));
    }
    let times = args.image.times(session)?;
    Ok(BuildOptions {
        plan: PlanOptions {
            target: args.target.clone(),
            without_cache: args.cache.no_cache_filter.clone(),
            from: args.from.clone(),
            build_args: args.image.build_args(session)?,
            contexts: contexts.named.keys().cloned().collect(),
            platform: platform.clone(),
            build_platform: Platform::host(),
        },
        context_dir: contexts.dir.clone(),
        ignore: contexts.ignore.clone(),
        contexts: contexts.named.clone(),
        names: outputs.names,
        typed_name: outputs.typed_name.filter(|_| session.called_as_buildah()),
        outputs: outputs.outputs,
        keep_image: outputs.keep_image,
        stdout: outputs.stdout,
        format: args.format,
        layers: match args {
            Args { squash_all: true, .. } => LayerStyle::WithBase,
            Args { squash: true, .. } if session.called_as_buildah() => LayerStyle::WithBase,
            Args { squash: false, .. } if args.cache.has_layers(session) => LayerStyle::PerStep,
            _ => LayerStyle::PerStage,
        },
        cache: args.cache.cache_use(),
        cache_from: args.cache.cache_from.clone(),
        cache_to: args.cache.cache_to.clone(),
        cache_budget: args.cache.cache_budget,
        explain: args.cache.explain,
        jobs: args.cache.jobs(session),
        together: None,
        times,
        pull: args.pull.policy(session),
        source_policy: source_policy(args)?,
        stage_images: match (args.save_stages, args.stage_labels) {
            (false, _) => StageImages::None,
            (true, false) => StageImages::Saved,
            (true, true) => StageImages::Labelled,
        },
        env: args.image.env(session),
        unset_env: args.image.unsetenv.clone(),
        labels: args.image.label.clone(),
        layer_labels: args.image.layer_label.clone(),
        os_version: args.image.os_version.clone(),
        os_features: args.image.os_feature.clone(),
        unset_labels: args.image.unsetlabel.clone(),
        annotations: args.image.annotation.clone(),
        unset_annotations: args.image.unsetannotation.clone(),
        inherit_labels: args.image.inherit_labels,
        inherit_annotations: args.image.inherit_annotations,
        created_annotation: args.image.created_annotation(session),
        omit_history: args.image.omit_history,
        tells_container: session.called_as_buildah(),
        copy_rules: if session.called_as_buildah() { Meaning::Buildah } else { Meaning::BuildKit },
        warn_of_findings: !session.called_as_buildah(),
        identity_label: args.image.identity_label(session, times),
        run: RunDefaults {
            runtime: args.runtime.program(session, &conf)?,
            runtime_flags: args.runtime.flags(),
            search_path: session.env("PATH"),
            network: resolved.network.shared(),
            host_files: resolved.host_files,
            settings: resolved.settings,
            secrets,
            agents,
            known_hosts: session.known_hosts(),
            mounts: resolved.mounts,
            host_env: host_env.collect(),
            allowed: Allowed {
                host_network: session.called_as_buildah() || args.allow.contains(&Entitlement::NetworkHost),
                insecure: args.allow.contains(&Entitlement::SecurityInsecure),
                all_devices: args.allow.contains(&Entitlement::Device(None)),
                devices: args.allow.iter().filter_map(Entitlement::device).collect(),
            },
            // With Buildah, a step makes the directories of the image's volumes.
            make_volumes: session.called_as_buildah(),
            reads_stdin: args.stdin,
            ..RunDefaults::default()
        },
        scan: args.sbom.resolve(args.pull.policy(session))?,
        keep: match (args.rm, args.force_rm) {
            (true, true) => Keep::Nothing,
            (true, false) => Keep::OnFailure,
            (false, _) => Keep::Always,
        },
        on_failure: None,
        cancelled: Arc::new(AtomicBool::new(false)),
    })
}

/// What a FROM may name: a stage, a context or an image.
fn base(text: &str) -> Result<String, String> {
    let place = Location::parse(text).map_err(|error| error.to_string())?;
    match place.is_some() || Reference::parse_normalized(&text.to_lowercase()).is_ok() {
        true => Ok(text.to_owned()),
        false => Err("expected the name of an image, a stage or a context".to_owned()),
    }
}

fn source_policy(args: &Args) -> Result<SourcePolicy, CommandError> {
    let Some(path) = &args.source_policy_file else { return Ok(SourcePolicy::default()) };
    let invalid = |reason: String| {
        CommandError::new(format!("loading source policy {} (--source-policy-file): {reason}", path.display()))
    };
    let bytes = std::fs::read(path).map_err(|error| invalid(error.to_string()))?;
    SourcePolicy::parse(&bytes).map_err(|error| invalid(error.to_string()))
}

/// The SSH agents of the command line.
fn agents(args: &Args, session: &Session) -> Result<Agents, CommandError> {
    let mut agents = Agents::default();
    for text in &args.ssh {
        agents.add(text, session.env("SSH_AUTH_SOCK").as_deref())?;
    }
    Ok(agents)
}

fn parse_pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').unwrap_or((text, ""));
    if name.is_empty() {
        return Err("expected NAME=VALUE".to_owned());
    }
    Ok((name.to_owned(), value.to_owned()))
}
