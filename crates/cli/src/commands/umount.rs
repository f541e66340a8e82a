//! `gabion umount`

use std::process::ExitCode;

use buildkit_core::working_container::{WorkingContainer, WorkingContainerError};

use crate::command_error::{CommandError, for_each};
use crate::session::Session;

/// Take a mount of working containers back
///
/// Prints the ID of each that was mounted.
#[derive(clap::Args)]
#[command(visible_alias = "unmount")]
pub struct Args {
    /// Unmount all working containers
    #[arg(short, long)]
    all: bool,
    /// Names or IDs of working containers
    #[arg(required_unless_present = "all")]
    container: Vec<String>,
}

pub fn run(args: &Args, session: &Session) -> Result<ExitCode, CommandError> {
    if args.all && !args.container.is_empty() {
        return Err(CommandError::new("when using the --all switch, you may not pass any container IDs"));
    }
    let store = session.store()?;
    let mounts = store.mounts()?;
    let unmount = |container: Result<WorkingContainer<'_>, WorkingContainerError>| {
        let mut container = container?;
        let is_mounted = mounts.iter().any(|mount| mount.container.as_ref() == Some(container.id()));
        container.unmount(false)?;
        if is_mounted {
            println!("{}", container.id());
        }
        Ok(())
    };
    if args.all {
        for_each(session, WorkingContainer::list(&store)?, unmount)?;
    } else {
        for_each(session, &args.container, |name| unmount(WorkingContainer::open(&store, name)))?;
    }
    Ok(ExitCode::SUCCESS)
}
