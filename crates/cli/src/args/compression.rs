//! Flags that say how the layers of an image are compressed on their way.

use buildkit_core::transfer::LayerCompression;
use clap::Args;
use oci::media_type::Compression;

use super::value::number;

/// How layers are compressed on their way to a registry or another place.
#[derive(Args, Clone, Debug)]
pub struct CompressionArgs {
    /// Compression of layers: gzip or zstd [default: gzip]
    #[arg(long, value_name = "FORMAT", value_parser = parse_compression)]
    compression_format: Option<Compression>,
    /// How much to compress: 1 to 9 for gzip, 1 to 20 for zstd
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
    /// What the flags say together; `compresses` is what holds without them.
    pub fn resolve(&self, compresses: bool) -> Result<LayerCompression, String> {
        let asks = self.compression_format.is_some() || self.compression_level.is_some();
        if self.disable_compression == Some(true) {
            let others = [
                ("--compression-format", self.compression_format.is_some()),
                ("--compression-level", self.compression_level.is_some()),
                ("--force-compression", self.force_compression == Some(true)),
            ];
            if let Some((other, _)) = others.iter().find(|(_, given)| *given) {
                return Err(format!("--disable-compression and {other} cannot be used together"));
            }
        }
        let disabled = self.disable_compression.unwrap_or(!compresses && !asks);
        if disabled {
            return Ok(LayerCompression::Unchanged);
        }
        let format = self.compression_format.unwrap_or(Compression::Gzip);
        if let (Compression::Gzip, Some(level @ 10..)) = (format, self.compression_level) {
            return Err(format!("invalid --compression-level {level}: expected 1 to 9 for gzip"));
        }
        let force = self.force_compression.unwrap_or(self.compression_format.is_some());
        Ok(LayerCompression::Compress { format, level: self.compression_level, force })
    }
}

fn parse_compression(text: &str) -> Result<Compression, String> {
    match text {
        "gzip" => Ok(Compression::Gzip),
        "zstd" => Ok(Compression::Zstd),
        "zstd:chunked" => Err("zstd:chunked is not written yet: expected gzip or zstd".to_owned()),
        _ => Err("expected gzip or zstd".to_owned()),
    }
}
