//! `gabion manifest remove`

use std::process::ExitCode;

use buildkit_core::manifest_list;

use crate::command_error::CommandError;
use crate::session::Session;

/// Remove an entry from a manifest list; the image itself stays
///
/// Prints the list's ID and the digest of the entry.
#[derive(clap::Args)]
pub struct Args {
    /// Name or ID of the list
    list: String,
    /// The entry: digest of a manifest in the list, name of an image, or file of an artifact
    entry: String,
}

pub fn run(args: &Args, session: &Session) -> Result<ExitCode, CommandError> {
    let store = session.store()?;
    let (id, digest) = manifest_list::change(&store, &args.list, |list| {
        let digest = list.meant_entry(&store, &args.entry)?;
        list.remove(&digest)?;
        Ok(digest)
    })?;
    println!("{id}: {digest}");
    Ok(ExitCode::SUCCESS)
}
