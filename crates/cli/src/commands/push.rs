//! `gabion push`

use std::path::PathBuf;
use std::process::ExitCode;

use buildkit_core::image::Image;
use buildkit_core::transfer::push::{PushOptions, destination, push};
use buildkit_core::transfer::{CopyOptions, LayerCompression};
use oci::Format;
use oci::media_type::Compression;

use crate::args::registry::RegistryArgs;
use crate::command_error::CommandError;
use crate::session::{Progress, Session};

/// Send an image of the store to a registry or another place
///
/// DESTINATION is as in `gabion pull`; a bare name is one on a registry, and without it the image's
/// own name is used. Uncompressed layers are compressed on the way, but not into docker-archive and
/// containers-storage.
#[derive(clap::Args)]
pub struct Args {
    /// Compression of layers: gzip or zstd
    #[arg(long, value_name = "FORMAT", default_value = "gzip", value_parser = parse_compression)]
    compression_format: Compression,
    /// How much to compress: 1 to 9 for gzip, 1 to 20 for zstd
    #[arg(long, value_name = "LEVEL", value_parser = clap::value_parser!(u32).range(1..=20))]
    compression_level: Option<u32>,
    /// File to write the digest of the pushed manifest to
    #[arg(long, value_name = "FILE")]
    digestfile: Option<PathBuf>,
    /// Do not compress layers
    #[arg(short = 'D', long, conflicts_with_all = ["compression_format", "compression_level", "force_compression"])]
    disable_compression: bool,
    /// Compress anew what the destination may have in another compression
    #[arg(long)]
    force_compression: bool,
    /// Format of the manifest: oci or v2s2 [default: the image's]
    #[arg(short, long, value_name = "FORMAT", value_parser = parse_manifest_format)]
    format: Option<Format>,
    /// Do not tell of the progress
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    registry: RegistryArgs,
    /// Name or ID of the image
    image: String,
    /// Where to send it
    destination: Option<String>,
}

pub fn run(args: &Args, session: &Session) -> Result<ExitCode, CommandError> {
    let store = session.store()?;
    let events = session.events(Progress::from_quiet(args.quiet));
    let remotes = session.remotes(&args.registry)?;
    let image = Image::find(&store, &args.image)?;
    let to = destination(args.destination.as_deref().unwrap_or(&args.image))?;
    let compression = if args.disable_compression {
        LayerCompression::Unchanged
    } else {
        LayerCompression::Compress {
            format: args.compression_format,
            level: args.compression_level,
            force: args.force_compression,
        }
    };
    let options = PushOptions { copy: CopyOptions { format: args.format, compression } };
    let pushed = push(&store, &remotes, image, &to, &options, &events)?;
    if let Some(file) = &args.digestfile {
        session.write_file(file, &pushed.digest.to_string())?;
    }
    Ok(ExitCode::SUCCESS)
}

fn parse_compression(text: &str) -> Result<Compression, String> {
    match text {
        "gzip" => Ok(Compression::Gzip),
        "zstd" => Ok(Compression::Zstd),
        _ => Err("expected gzip or zstd".to_owned()),
    }
}

fn parse_manifest_format(text: &str) -> Result<Format, String> {
    match text {
        "oci" => Ok(Format::Oci),
        "v2s2" | "docker" => Ok(Format::Docker),
        "v2s1" => Err("Docker v2 schema 1 is not written any more: expected oci or v2s2".to_owned()),
        _ => Err("expected oci or v2s2".to_owned()),
    }
}
