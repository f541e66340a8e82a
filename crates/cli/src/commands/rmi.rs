//! `gabion rmi`

use std::process::ExitCode;

use buildkit_core::image_removal::{self, Force, Removal};

use crate::command_error::{CommandError, for_each};
use crate::session::Session;

/// Remove images from the store
///
/// An image with several names only loses the one that is given; it goes with its last name.
#[derive(clap::Args)]
pub struct Args {
    /// Remove all images
    #[arg(short, long, conflicts_with_all = ["prune", "image"])]
    all: bool,
    /// Remove an image by ID with all its names, and the containers that are based on it
    #[arg(short, long)]
    force: bool,
    /// Remove images without a name that no other image was made from
    #[arg(short, long, conflicts_with = "image")]
    prune: bool,
    /// Names or IDs of images
    #[arg(required_unless_present_any = ["all", "prune"])]
    image: Vec<String>,
}

pub fn run(args: &Args, session: &Session) -> Result<ExitCode, CommandError> {
    let store = session.store()?;
    let force = if args.force { Force::Yes } else { Force::No };
    if args.all || args.prune {
        let (removal, errors) = match args.all {
            true => image_removal::remove_all(&store, force)?,
            false => image_removal::prune(&store)?,
        };
        print(&removal);
        for_each(errors, |error| Err(error.into()))?;
        return Ok(ExitCode::SUCCESS);
    }
    remove(&args.image, |name| Ok(image_removal::remove(&store, name, force)?))
}

/// Removes what each of `names` names, and tells of all that is gone.
pub(super) fn remove(
    names: &[String],
    mut remove: impl FnMut(&str) -> Result<Removal, CommandError>,
) -> Result<ExitCode, CommandError> {
    let mut total = Removal::default();
    let outcome = for_each(names, |name| {
        let removal = remove(name)?;
        total.untagged.extend(removal.untagged);
        total.removed.extend(removal.removed);
        Ok(())
    });
    print(&total);
    outcome.map(|()| ExitCode::SUCCESS)
}

fn print(removal: &Removal) {
    removal.untagged.iter().for_each(|name| println!("untagged: {name}"));
    removal.removed.iter().for_each(|id| println!("{id}"));
}
