//! `gabion rmi`

use std::process::ExitCode;

use buildkit_core::image_removal::{self, Force, Removal};

use crate::command_error::{CommandError, FAILURE, for_each, printable};
use crate::session::Session;

/// Remove images from the store
///
/// An image with several names only loses the one that is given; it goes with its last name.
#[derive(clap::Args)]
pub struct Args {
    /// Remove all images
    #[arg(short, long)]
    all: bool,
    /// Remove an image by ID with all its names, and the containers that are based on it
    #[arg(short, long)]
    force: bool,
    /// Remove images without a name that no other image was made from
    #[arg(short, long)]
    prune: bool,
    /// Names or IDs of images
    #[arg(required_unless_present_any = ["all", "prune"])]
    image: Vec<String>,
}

pub fn run(args: &Args, session: &Session) -> Result<ExitCode, CommandError> {
    let conflict = match (args.all, args.prune, args.image.is_empty()) {
        (true, true, _) => Some("when using the --all switch, you may not use --prune switch"),
        (true, _, false) => Some("when using the --all switch, you may not pass any images names or IDs"),
        (_, true, false) => Some("when using the --prune switch, you may not pass any images names or IDs"),
        _ => None,
    };
    if let Some(conflict) = conflict {
        return Err(CommandError::new(conflict));
    }
    let store = session.store()?;
    let force = if args.force { Force::Yes } else { Force::No };
    if args.all || args.prune {
        let (removal, errors) = match args.all {
            true => image_removal::remove_all(&store, force)?,
            false => image_removal::prune(&store)?,
        };
        print(&removal);
        for_each(session, errors, |error| Err(error.into()))?;
        return Ok(ExitCode::SUCCESS);
    }
    remove(session, &args.image, |name| Ok(image_removal::remove(&store, name, force)?))
}

/// Removes what each of `names` names, and tells of all that is gone.
pub(super) fn remove(
    session: &Session,
    names: &[String],
    mut remove: impl FnMut(&str) -> Result<Removal, CommandError>,
) -> Result<ExitCode, CommandError> {
    let mut total = Removal::default();
    let mut failures = Vec::new();
    for name in names {
        match remove(name) {
            Ok(removal) => {
                total.untagged.extend(removal.untagged);
                total.removed.extend(removal.removed);
            }
            Err(error) => failures.push(error),
        }
    }
    print(&total);
    if session.called_as_buildah() && failures.len() > 1 {
        eprintln!("Error: {} errors occurred:", failures.len());
        failures.iter().for_each(|error| eprintln!("\t* {}", printable(error.message())));
        return Ok(ExitCode::from(FAILURE));
    }
    for_each(session, failures, Err)?;
    Ok(ExitCode::SUCCESS)
}

fn print(removal: &Removal) {
    removal.untagged.iter().for_each(|name| println!("untagged: {name}"));
    removal.removed.iter().for_each(|id| println!("{id}"));
}
