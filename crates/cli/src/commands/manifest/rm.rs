//! `gabion manifest rm`

use std::process::ExitCode;

use buildkit_core::image_removal::{self, Force};
use buildkit_core::manifest_list::ManifestList;

use crate::command_error::CommandError;
use crate::commands::rmi::remove;
use crate::session::Session;

/// Remove manifest lists from the store; their images stay
///
/// A list with several names only loses the one that is given; it goes with its last name.
#[derive(clap::Args)]
pub struct Args {
    /// Names or IDs of lists
    #[arg(required = true)]
    list: Vec<String>,
}

pub fn run(args: &Args, session: &Session) -> Result<ExitCode, CommandError> {
    let store = session.store()?;
    remove(session, &args.list, |name| {
        ManifestList::find(&store, name)?;
        Ok(image_removal::remove(&store, name, Force::No)?)
    })
}
