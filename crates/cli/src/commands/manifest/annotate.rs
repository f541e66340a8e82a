//! `gabion manifest annotate`

use std::process::ExitCode;

use buildkit_core::manifest_list::{self, subject};
use buildkit_core::transfer::place::Places;

use super::ReachArgs;
use super::entry_args::EntryArgs;
use crate::args::value::text;
use crate::command_error::CommandError;
use crate::session::{Progress, Session};

/// Change what a manifest list says of one of its images, or of itself
///
/// Prints the list's ID and the digest of the entry.
#[derive(clap::Args)]
pub struct Args {
    /// Change the list itself and none of its entries
    #[arg(long)]
    index: bool,
    /// Image or list that the list is about, with --index or without
    #[arg(long, value_name = "IMAGE", value_parser = text())]
    subject: Option<String>,
    #[command(flatten)]
    entry: EntryArgs,
    #[command(flatten)]
    reach: ReachArgs,
    /// Name or ID of the list
    list: String,
    /// The entry: digest of a manifest in the list, name of an image, or file of an artifact
    #[arg(value_name = "ENTRY")]
    meant: Option<String>,
}

pub fn run(args: &Args, session: &Session) -> Result<ExitCode, CommandError> {
    let of_index = args.index || args.subject.is_some();
    let meant = match (&args.meant, of_index) {
        (Some(entry), true) => {
            return Err(CommandError::new(format!("entry {entry:?} is not changed by --index or --subject")));
        }
        (None, false) => return Err(CommandError::new("an entry of the list is expected, or --index")),
        (meant, _) => meant.as_deref(),
    };
    if let Some(flag) = args.entry.of_one_entry().filter(|_| of_index) {
        return Err(CommandError::new(format!("--index and {flag} cannot be used together")));
    }
    let store = session.store()?;
    let remotes = session.remotes(&args.reach.registry())?;
    let events = session.events(Progress::Quiet);
    let places = Places { store: &store, remotes: &remotes, events: &events };
    let subject = args.subject.as_deref().map(|name| subject(&places, name)).transpose()?;
    let (id, digest) = manifest_list::change(&store, &args.list, |list| match meant {
        Some(entry) => {
            let digest = list.meant_entry(&store, entry)?;
            list.change_entry(&digest, &args.entry.changes())?;
            Ok(Some(digest))
        }
        None => {
            list.index.annotations.extend(args.entry.annotation.iter().cloned());
            list.index.subject = subject.or(list.index.subject.take());
            Ok(None)
        }
    })?;
    match digest {
        Some(digest) => println!("{id}: {digest}"),
        None => println!("{id}"),
    }
    Ok(ExitCode::SUCCESS)
}
