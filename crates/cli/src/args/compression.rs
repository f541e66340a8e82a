//! Flags that say how the layers of an image are compressed on their way.

use buildkit_core::containers_conf::ContainersConf;
use buildkit_core::transfer::LayerCompression;
use clap::Args;
use oci::media_type::Compression;

use super::value::number;
use crate::command_error::CommandError;

/// How layers are compressed on their way to a registry or another place.
#[derive(Args, Clone, Debug)]
pub struct CompressionArgs {
    /// Compression of layers: gzip, zstd or zstd:chunked [default: that of containers.conf, or else gzip]
    #[arg(long, value_name = "FORMAT", value_parser = parse_compression)]
    compression_format: Option<Compression>,
    /// How much to compress: 1 to 9 for gzip, 1 to 20 for zstd [default: that of containers.conf]
    #[arg(long, value_name = "LEVEL", value_parser = number(1u32, 20))]
    compression_level: Option<u32>,
    /// Do not compress layers
    #[arg(short = 'D', long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_missing_value = "true")]
    disable_compression: Option<bool>,
    /// Compress anew what the destination may have in another compression [default: if --compression-format is given]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    force_compression: Option<bool>,
}

impl CompressionArgs {
    /// What the flags say together, and else `conf`; `compresses` is what holds without them.
    pub fn resolve(&self, compresses: bool, conf: &ContainersConf) -> Result<LayerCompression, CommandError> {
        let of_host = conf.compression_format.as_deref().map(host_format).transpose()?;
        // gzip is what is done anyway.
        let of_host = of_host.filter(|format| *format != Compression::Gzip);
        let asks = self.compression_format.is_some() || self.compression_level.is_some() || of_host.is_some();
        if self.disable_compression == Some(true) {
            let others = [
                ("--compression-format", self.compression_format.is_some()),
                ("--compression-level", self.compression_level.is_some()),
                ("--force-compression", self.force_compression == Some(true)),
            ];
            if let Some((other, _)) = others.iter().find(|(_, given)| *given) {
                let message = format!("--disable-compression and {other} cannot be used together");
                return Err(CommandError::new(message));
            }
        }
        let disabled = self.disable_compression.unwrap_or(!compresses && !asks);
        if disabled {
            return Ok(LayerCompression::Unchanged);
        }
        let format = self.compression_format.or(of_host).unwrap_or(Compression::Gzip);
        let most = if format == Compression::Gzip { 9 } else { 20 };
        if let Some(level) = self.compression_level.filter(|level| *level > most) {
            return Err(CommandError::new(format!(
                "invalid --compression-level {level}: expected 1 to {most} for gzip"
            )));
        }
        // The host's level was meant for the host's format.
        let level = self.compression_level.or(conf.compression_level.filter(|level| (1..=most).contains(level)));
        let force = self.force_compression.unwrap_or(self.compression_format.or(of_host).is_some());
        Ok(LayerCompression::Compress { format, level, force })
    }
}

/// `compression_format` of containers.conf.
fn host_format(text: &str) -> Result<Compression, CommandError> {
    parse_compression(text)
        .map_err(|expected| CommandError::new(format!("containers.conf: compression_format {text:?}: {expected}")))
}

/// Parses a compression that is written.
pub fn parse_compression(text: &str) -> Result<Compression, String> {
    match text {
        "gzip" => Ok(Compression::Gzip),
        "zstd" => Ok(Compression::Zstd),
        "zstd:chunked" => Ok(Compression::ZstdChunked),
        _ => Err("expected gzip, zstd or zstd:chunked".to_owned()),
    }
}
