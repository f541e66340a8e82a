//! `gabion rm`

use std::process::ExitCode;

use buildkit_core::working_container::{self, WorkingContainer, WorkingContainerError};

use crate::command_error::{CommandError, for_each};
use crate::session::Session;

/// Remove working containers with everything written to them
#[derive(clap::Args)]
#[command(visible_alias = "delete")]
pub struct Args {
    /// Remove all working containers
    #[arg(short, long)]
    all: bool,
    /// Names or IDs of working containers
    #[arg(required_unless_present = "all")]
    container: Vec<String>,
}

pub fn run(args: &Args, session: &Session) -> Result<ExitCode, CommandError> {
    if args.all && !args.container.is_empty() {
        return Err(CommandError::new("when using the --all switch, you may not pass any containers names or IDs"));
    }
    let store = session.store()?;
    let remove = |container: Result<WorkingContainer<'_>, WorkingContainerError>| {
        let id = match container {
            Ok(container) => container.id().clone(),
            // What is wrong with it does not matter any more.
            Err(WorkingContainerError::State { name, .. }) => store.container(&name)?.id,
            Err(error) => return Err(CommandError::from(error)),
        };
        working_container::remove(&store, &id)?;
        println!("{id}");
        Ok(())
    };
    if args.all {
        for_each(session, WorkingContainer::list(&store)?, remove)?;
    } else {
        for_each(session, &args.container, |name| {
            remove(WorkingContainer::open(&store, name)).map_err(|error| error.doing("removing container", name))
        })?;
    }
    Ok(ExitCode::SUCCESS)
}
