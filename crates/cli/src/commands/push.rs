//! `gabion push`

use std::path::PathBuf;
use std::process::ExitCode;

use buildkit_core::image::Image;
use buildkit_core::manifest_list::{ListError, ListPushOptions, ManifestList};
use buildkit_core::transfer::CopyOptions;
use buildkit_core::transfer::place::Places;
use buildkit_core::transfer::push::{PushOptions, destination, push};
use oci::Format;

use crate::args::compression::CompressionArgs;
use crate::args::parse_manifest_format;
use crate::args::registry::RegistryArgs;
use crate::args::value::new_file;
use crate::command_error::CommandError;
use crate::commands::manifest::{PushedTo, send};
use crate::progress::{Display, ProgressArgs, Work};
use crate::session::Session;

/// Send an image of the store to a registry or another place
///
/// DESTINATION is as in `gabion pull`; a bare name is one on a registry, and without it the image's
/// own name is used. Uncompressed layers are compressed on the way, but not into docker-archive and
/// containers-storage. Of a manifest list, without --all, it is the image for this machine.
#[derive(clap::Args)]
pub struct Args {
    /// Send all images of a manifest list, and the list
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    compression: CompressionArgs,
    /// File to write the digest of the pushed manifest to
    #[arg(long, value_name = "FILE", value_parser = new_file())]
    digestfile: Option<PathBuf>,
    /// Format of the manifest: oci or v2s2 [default: the image's]
    #[arg(short, long, value_name = "FORMAT", value_parser = parse_manifest_format)]
    format: Option<Format>,
    /// Do not tell of the progress
    #[arg(short, long)]
    quiet: bool,
    /// Leave signatures behind, as is always done
    #[arg(long, hide = true)]
    remove_signatures: bool,
    /// Remove the manifest list from the store when it is sent; its images stay
    #[arg(long)]
    rm: bool,
    #[command(flatten)]
    progress: ProgressArgs,
    #[command(flatten)]
    registry: RegistryArgs,
    /// Name or ID of the image
    image: String,
    /// Where to send it
    destination: Option<String>,
}

pub fn run(args: &Args, session: &Session) -> Result<ExitCode, CommandError> {
    let compression = args.compression.resolve(true, &session.containers_conf()?)?;
    let store = session.store()?;
    let display = Display::new(session, &args.progress, args.quiet, Work::Other)?;
    let events = |event| display.event(event);
    let remotes = session.remotes(&args.registry)?;
    let copy = CopyOptions { format: args.format, compression };
    let list = match args.all || args.rm {
        true => ManifestList::find(&store, &args.image).map(Some),
        false => Ok(None),
    };
    let list = match list {
        // Of what is no list, all is that image.
        Err(ListError::NotAList { .. }) if !args.rm => None,
        list => list?,
    };
    let digest = match &list {
        Some(_) if args.all => {
            let places = Places { store: &store, remotes: &remotes, events: &events };
            let to = PushedTo { name: &args.image, destination: args.destination.as_deref(), removes: args.rm };
            send(&places, &to, &ListPushOptions { copy, ..ListPushOptions::default() })?.digest
        }
        list => {
            let image = Image::find(&store, &args.image)?;
            let to = destination(args.destination.as_deref().unwrap_or(&args.image))?;
            let options = PushOptions { copy, ..PushOptions::default() };
            let pushed = push(&store, &remotes, image, &to, &options, &events)
                .map_err(|error| CommandError::new(format!("pushing image {:?}: {error}", args.image)))?;
            if let Some(id) = list.as_ref().and_then(ManifestList::id) {
                store.delete_image(id)?;
            }
            pushed.digest
        }
    };
    if let Some(file) = &args.digestfile {
        session.write_file(file, &digest.to_string())?;
    }
    Ok(ExitCode::SUCCESS)
}
