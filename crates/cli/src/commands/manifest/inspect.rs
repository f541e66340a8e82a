//! `gabion manifest inspect`

use std::process::ExitCode;

use buildkit_core::manifest_list::{ListError, ManifestList, inspect, inspect_elsewhere};
use buildkit_core::transfer::place::Places;

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
        Ok(list) => inspect(&list),
        Err(error) if error.is_not_found() || matches!(error, ListError::NotAList { .. }) => {
            let events = session.events(Progress::Quiet);
            let elsewhere =
                inspect_elsewhere(&Places { store: &store, remotes: &remotes, events: &events }, &args.list);
            // That the store's is no list tells more than what a registry of that name may say.
            elsewhere.map_err(|other| if error.is_not_found() { other } else { error })
        }
        Err(error) => Err(error),
    };
    println!("{}", indented(&value?)?);
    Ok(ExitCode::SUCCESS)
}
