//! `gabion pull`

use std::collections::HashSet;
use std::process::ExitCode;

use buildkit_core::transfer::pull::{PullOptions, PullPolicy, pull_all_tags, resolve_or_pull};

use crate::args::parse_pull_policy;
use crate::args::platform::PlatformArgs;
use crate::args::registry::RegistryArgs;
use crate::command_error::CommandError;
use crate::progress::{Display, ProgressArgs, Work};
use crate::session::Session;

/// Fetch an image into the store
///
/// Prints the image's ID. IMAGE is a name, which is looked up as registries.conf says, or a place:
/// docker://host/name:tag, oci:directory[:name], oci-archive:file[:name],
/// docker-archive:file[:name], dir:directory or containers-storage:[driver@root+runroot]name.
#[derive(clap::Args)]
pub struct Args {
    /// Fetch every tag of the repository
    #[arg(short, long)]
    all_tags: bool,
    /// When to fetch an image that is in the store: always, missing, never or newer
    #[arg(long, value_name = "POLICY", default_value = "missing", value_parser = parse_pull_policy)]
    policy: PullPolicy,
    /// Do not tell of the progress
    #[arg(short, long)]
    quiet: bool,
    /// Leave signatures behind, as is always done
    #[arg(long, hide = true)]
    remove_signatures: bool,
    #[command(flatten)]
    platform: PlatformArgs,
    #[command(flatten)]
    progress: ProgressArgs,
    #[command(flatten)]
    registry: RegistryArgs,
    /// What to fetch
    image: String,
}

pub fn run(args: &Args, session: &Session) -> Result<ExitCode, CommandError> {
    let store = session.store()?;
    let display = Display::new(session, &args.progress, args.quiet, Work::Other)?;
    let events = |event| display.event(event);
    let remotes = session.remotes(&args.registry)?;
    let options = PullOptions { policy: args.policy, platform: args.platform.resolve()? };
    let images = if args.all_tags {
        pull_all_tags(&store, &remotes, &args.image, &options, &events)?
    } else {
        vec![resolve_or_pull(&store, &remotes, &args.image, &options, &events)?]
    };
    // Several tags may be of one image.
    let mut printed = HashSet::new();
    for image in images.iter().filter(|image| printed.insert(image.id().clone())) {
        println!("{}", image.id());
    }
    Ok(ExitCode::SUCCESS)
}
