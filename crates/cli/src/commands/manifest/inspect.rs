//! `gabion manifest inspect`

use std::process::ExitCode;

use buildkit_core::manifest_list::{ListError, ManifestList, inspect, inspect_elsewhere};
use buildkit_core::transfer::place::Places;
use buildkit_core::transport::Location;

use super::ReachArgs;
use crate::command_error::CommandError;
use crate::output::indented;
use crate::session::{Progress, Session};

/// Show a manifest list of the store, a registry or another place
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    reach: ReachArgs,
    /// Name or ID of the list, or a place such as docker://host/name:tag
    list: String,
}

pub fn run(args: &Args, session: &Session) -> Result<ExitCode, CommandError> {
    let store = session.store()?;
    let remotes = session.remotes(&args.reach.registry())?;
    let value = match ManifestList::find(&store, &args.list) {
        Ok(list) => inspect(&list)?,
        Err(error) if error.is_not_found() || matches!(error, ListError::NotAList { .. }) => {
            let events = session.events(Progress::Quiet);
            let places = Places { store: &store, remotes: &remotes, events: &events };
            inspect_elsewhere(&places, &args.list).map_err(|other| failure(&args.list, error, other))?
        }
        Err(error) => return Err(error.into()),
    };
    println!("{}", indented(&value)?);
    Ok(ExitCode::SUCCESS)
}

/// Why there is no list `name`, neither in the store nor elsewhere.
fn failure(name: &str, in_store: ListError, elsewhere: ListError) -> CommandError {
    let is_place = matches!(Location::parse(name), Ok(Some(_)));
    match in_store {
        // That the store's is no list tells more than what a registry of that name may say.
        ListError::NotAList { .. } => in_store.into(),
        _ if is_place => elsewhere.into(),
        _ => CommandError::new(format!("{in_store}; {elsewhere}")),
    }
}
