//! `gabion manifest push`

use std::path::PathBuf;
use std::process::ExitCode;

use buildkit_core::manifest_list::{ListPushOptions, ManifestList, PushedList, push};
use buildkit_core::transfer::CopyOptions;
use buildkit_core::transfer::place::Places;
use buildkit_core::transfer::push::destination;
use oci::Format;
use oci::media_type::Compression;

use super::ReachArgs;
use crate::args::compression::{CompressionArgs, parse_compression};
use crate::args::parse_manifest_format;
use crate::args::value::new_file;
use crate::command_error::CommandError;
use crate::progress::{Display, ProgressArgs, Work};
use crate::session::Session;

/// Send a manifest list and its images to a registry or another place
///
/// DESTINATION is as in `gabion push`; without it the list's own name is used. Images that the destination has are not
/// sent again.
#[derive(clap::Args)]
pub struct Args {
    /// Have each image there in this compression too: gzip, zstd or zstd:chunked (may be repeated)
    #[arg(long, value_name = "FORMAT", value_parser = parse_compression)]
    add_compression: Vec<Compression>,
    /// Send the images too, and not the list alone
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true",
          default_value_t = true, action = clap::ArgAction::Set)]
    all: bool,
    #[command(flatten)]
    compression: CompressionArgs,
    /// File to write the digest of the pushed list to
    #[arg(long, value_name = "FILE", value_parser = new_file())]
    digestfile: Option<PathBuf>,
    /// Format of the list and its images: oci or v2s2 [default: their own]
    #[arg(short, long, value_name = "FORMAT", value_parser = parse_manifest_format)]
    format: Option<Format>,
    /// Do not tell of the progress
    #[arg(short, long)]
    quiet: bool,
    /// Leave signatures behind, as is always done
    #[arg(long, hide = true)]
    remove_signatures: bool,
    /// Remove the list from the store when it is sent; its images stay
    #[arg(long)]
    rm: bool,
    #[command(flatten)]
    progress: ProgressArgs,
    #[command(flatten)]
    reach: ReachArgs,
    /// Name or ID of the list
    list: String,
    /// Where to send it
    destination: Option<String>,
}

pub fn run(args: &Args, session: &Session) -> Result<ExitCode, CommandError> {
    let compression = args.compression.resolve(true, &session.containers_conf()?)?;
    let store = session.store()?;
    let display = Display::new(session, &args.progress, args.quiet, Work::Other)?;
    let events = |event| display.event(event);
    let remotes = session.remotes(&args.reach.registry())?;
    let options = ListPushOptions {
        copy: CopyOptions { format: args.format, compression },
        index_only: !args.all,
        add_compression: args.add_compression.clone(),
    };
    let places = Places { store: &store, remotes: &remotes, events: &events };
    let to = PushedTo { name: &args.list, destination: args.destination.as_deref(), removes: args.rm };
    let pushed = send(&places, &to, &options)?;
    if let Some(file) = &args.digestfile {
        session.write_file(file, &pushed.digest.to_string())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A list and where it goes.
pub struct PushedTo<'a> {
    /// Name or ID of the list.
    pub name: &'a str,
    /// Where to; by default what its name says.
    pub destination: Option<&'a str>,
    /// Whether the store's goes afterwards.
    pub removes: bool,
}

/// Pushes a list of the store.
pub fn send(places: &Places<'_>, to: &PushedTo<'_>, options: &ListPushOptions) -> Result<PushedList, CommandError> {
    let list = ManifestList::find(places.store, to.name)?;
    let location = destination(to.destination.unwrap_or(to.name))?;
    let pushed = push(&list, places, &location, options)?;
    if let Some(id) = list.id().filter(|_| to.removes) {
        places.store.delete_image(id)?;
    }
    Ok(pushed)
}
