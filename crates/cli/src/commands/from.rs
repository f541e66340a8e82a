//! `gabion from`

use std::path::PathBuf;
use std::process::ExitCode;

use buildkit_core::transfer::pull::{PullOptions, resolve_or_pull};
use buildkit_core::working_container::{FromOptions, KeptSettings, WorkingContainer};
use jiff::Timestamp;
use oci::Format;
use oci::config::RootFs;

use crate::args::parse_format;
use crate::args::platform::PlatformArgs;
use crate::args::pull::PullArgs;
use crate::args::registry::RegistryArgs;
use crate::args::run_settings::{LimitArgs, SandboxArgs, set_default_mounts};
use crate::args::value;
use crate::command_error::CommandError;
use crate::session::{Progress, Session};

/// Make a working container from an image, or from nothing (scratch)
///
/// Prints the container's name. The image is named as in `gabion pull`.
#[derive(clap::Args)]
pub struct Args {
    /// File to write the container's ID to
    #[arg(long, value_name = "FILE", value_parser = value::new_file())]
    cidfile: Option<PathBuf>,
    /// Format of the image to be: oci or docker
    #[arg(short, long, value_name = "FORMAT", default_value = "oci", env = "BUILDAH_FORMAT", hide_env = true,
          value_parser = parse_format)]
    format: Format,
    /// Name of the container [default: the image's name with -working-container]
    #[arg(long, value_parser = value::text())]
    name: Option<String>,
    /// Do not tell of the progress of a pull
    #[arg(short, long)]
    quiet: bool,
    /// What the default name ends in, in place of working-container
    #[arg(long, value_name = "TEXT", hide = true, value_parser = value::text())]
    suffix: Option<String>,
    #[command(flatten)]
    sandbox: SandboxArgs,
    #[command(flatten)]
    limits: LimitArgs,
    #[command(flatten)]
    pull: PullArgs,
    #[command(flatten)]
    platform: PlatformArgs,
    #[command(flatten)]
    registry: RegistryArgs,
    /// The base image, or scratch
    image: String,
}

pub fn run(args: &Args, session: &Session) -> Result<ExitCode, CommandError> {
    let settings = settings(args, session)?;
    let store = session.store()?;
    let events = session.events(Progress::from_quiet(args.quiet));
    let platform = args.platform.resolve()?;
    let image = match args.image.as_str() {
        "scratch" => None,
        name => {
            let options = PullOptions { policy: args.pull.policy(session), platform: platform.clone() };
            Some(resolve_or_pull(&store, &session.remotes(&args.registry)?, name, &options, &events)?)
        }
    };
    let options = FromOptions { name: args.name.clone(), suffix: args.suffix.clone(), format: args.format, platform };
    let mut container = WorkingContainer::from(&store, image.as_ref(), &options)?;
    container.state_mut().settings = settings;
    if image.is_none() {
        // Not needed, but Buildah's inspect shows it.
        let config = &mut container.state_mut().config;
        config.created = Some(Timestamp::now());
        config.rootfs = RootFs::unset();
    }
    container.save()?;
    if let Some(file) = &args.cidfile {
        session.write_file(file, container.id().as_str())?;
    }
    println!("{}", container.name());
    Ok(ExitCode::SUCCESS)
}

/// How the container's commands are to be run.
fn settings(args: &Args, session: &Session) -> Result<KeptSettings, CommandError> {
    let conf = session.containers_conf()?;
    let mut settings = args.sandbox.defaults(&conf)?;
    args.sandbox.apply(&mut settings)?;
    args.limits.apply(&mut settings)?;
    set_default_mounts(&mut settings, session)?;
    settings.change_capabilities(&args.sandbox.cap_add, &args.sandbox.cap_drop)?;
    // What cannot be is told now, not by the first command.
    settings.resolve(&conf)?;
    Ok(settings)
}
