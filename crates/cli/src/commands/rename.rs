//! `gabion rename`

use std::process::ExitCode;

use buildkit_core::working_container::WorkingContainer;

use crate::command_error::CommandError;
use crate::session::Session;

/// Give a working container another name
#[derive(clap::Args)]
pub struct Args {
    /// Name or ID of the working container
    container: String,
    /// Its new name
    name: String,
}

pub fn run(args: &Args, session: &Session) -> Result<ExitCode, CommandError> {
    let store = session.store()?;
    let mut container = WorkingContainer::open(&store, &args.container)?;
    if container.name() == args.name {
        return Err(CommandError::new("renaming a container with the same name as its current name"));
    }
    container.rename(&args.name)?;
    Ok(ExitCode::SUCCESS)
}
