//! `gabion push`

use std::path::PathBuf;
use std::process::ExitCode;

use buildkit_core::image::Image;
use buildkit_core::transfer::CopyOptions;
use buildkit_core::transfer::push::{PushOptions, destination, push};
use oci::Format;

use crate::args::compression::CompressionArgs;
use crate::args::registry::RegistryArgs;
use crate::args::value::new_file;
use crate::command_error::CommandError;
use crate::progress::{Display, ProgressArgs, Work};
use crate::session::Session;

/// Send an image of the store to a registry or another place
///
/// DESTINATION is as in `gabion pull`; a bare name is one on a registry, and without it the image's
/// own name is used. Uncompressed layers are compressed on the way, but not into docker-archive and
/// containers-storage.
#[derive(clap::Args)]
pub struct Args {
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
    let image = Image::find(&store, &args.image)?;
    let to = destination(args.destination.as_deref().unwrap_or(&args.image))?;
    let options = PushOptions { copy: CopyOptions { format: args.format, compression }, ..PushOptions::default() };
    let pushed = push(&store, &remotes, image, &to, &options, &events)?;
    if let Some(file) = &args.digestfile {
        session.write_file(file, &pushed.digest.to_string())?;
    }
    Ok(ExitCode::SUCCESS)
}

fn parse_manifest_format(text: &str) -> Result<Format, String> {
    match text {
        "oci" => Ok(Format::Oci),
        "v2s2" | "docker" => Ok(Format::Docker),
        "v2s1" => Err("Docker v2 schema 1 is not written any more: expected oci or v2s2".to_owned()),
        _ => Err("expected oci or v2s2".to_owned()),
    }
}
