//! `gabion manifest create`

use std::process::ExitCode;

use buildkit_core::image::store_name;
use buildkit_core::manifest_list::{self, WhenThere, look_up};
use buildkit_core::transfer::place::Places;

use super::add::wanted;
use super::{ReachArgs, annotation};
use crate::args::value::platform_word;
use crate::command_error::CommandError;
use crate::session::{Progress, Session};

/// Make a manifest list
///
/// Prints its ID. Each IMAGE is one of the store, or else one on a registry or at another place, such as
/// oci:directory:name.
#[derive(clap::Args)]
pub struct Args {
    /// Of images that are lists themselves, add all images
    #[arg(long)]
    all: bool,
    /// Change the list if there is one of this name; an image of this name gives it to a list of that image
    #[arg(long, conflicts_with = "replace")]
    amend: bool,
    /// Annotation of the list (may be repeated)
    #[arg(long, value_name = "NAME=VALUE", value_delimiter = ',', value_parser = annotation)]
    annotation: Vec<(String, String)>,
    /// Of images that are lists, take that for this architecture
    #[arg(long, hide = true, value_parser = platform_word)]
    arch: Option<String>,
    /// Of images that are lists, take that for this operating system
    #[arg(long, hide = true, value_parser = platform_word)]
    os: Option<String>,
    /// Take the name from the list or image that has it
    #[arg(long)]
    replace: bool,
    #[command(flatten)]
    reach: ReachArgs,
    /// Name of the list
    list: String,
    /// Images to add
    image: Vec<String>,
}

pub fn run(args: &Args, session: &Session) -> Result<ExitCode, CommandError> {
    let name = store_name(&args.list)?;
    let store = session.store()?;
    let remotes = session.remotes(&args.reach.registry())?;
    let events = session.events(Progress::Quiet);
    let places = Places { store: &store, remotes: &remotes, events: &events };
    let wanted = wanted(args.all, args.os.as_deref(), args.arch.as_deref(), None)?;
    let mut additions = Vec::new();
    for image in &args.image {
        additions.extend(look_up(&places, image, &wanted)?);
    }
    let there = match args {
        Args { amend: true, .. } => WhenThere::Amend,
        Args { replace: true, .. } => WhenThere::Replace,
        _ => WhenThere::Fail,
    };
    let id = manifest_list::create(&store, &name, there, |list| {
        list.index.annotations.extend(args.annotation.iter().cloned());
        list.add(additions.clone());
        Ok(())
    })?;
    println!("{id}");
    Ok(ExitCode::SUCCESS)
}
