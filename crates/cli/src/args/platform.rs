//! Flags that say which platform's image is wanted.

use clap::Args;
use oci::Platform;

use super::value::platform_word;
use crate::command_error::CommandError;

/// Which platform an image is wanted for.
#[derive(Args, Clone, Debug)]
pub struct PlatformArgs {
    /// Platform of the image instead of the host's
    #[arg(long, value_name = "OS/ARCH[/VARIANT]", conflicts_with_all = ["os", "arch", "variant"])]
    pub platform: Option<Platform>,
    #[command(flatten)]
    words: PlatformWords,
}

/// A platform's parts, each with a flag of its own.
#[derive(Args, Clone, Debug)]
struct PlatformWords {
    /// Operating system of the image instead of the host's
    #[arg(long, value_parser = platform_word)]
    os: Option<String>,
    /// CPU architecture of the image instead of the host's
    #[arg(long, value_parser = platform_word)]
    arch: Option<String>,
    /// Variant of the CPU architecture
    #[arg(long, value_parser = platform_word)]
    variant: Option<String>,
}

impl PlatformArgs {
    /// The platform wanted: the host's, as far as no flag says otherwise.
    pub fn resolve(&self) -> Result<Platform, CommandError> {
        match &self.platform {
            Some(platform) => Ok(platform.clone()),
            None => self.words.resolve(),
        }
    }
}

/// Which platforms to build for.
#[derive(Args, Clone, Debug)]
pub struct BuildPlatformArgs {
    /// Build for every platform that the base images are there for
    #[arg(long, conflicts_with_all = ["platform", "os", "arch", "variant"])]
    pub all_platforms: bool,
    /// Platforms to build for instead of the host's, which makes an image for each (may be repeated)
    #[arg(long, value_name = "OS/ARCH[/VARIANT]", value_delimiter = ',', conflicts_with_all = ["os", "arch", "variant"])]
    pub platform: Vec<Platform>,
    #[command(flatten)]
    words: PlatformWords,
}

impl BuildPlatformArgs {
    /// The platforms that the flags name, each once, or the host's.
    pub fn named(&self) -> Result<Vec<Platform>, CommandError> {
        if self.platform.is_empty() {
            return Ok(vec![self.words.resolve()?]);
        }
        let mut platforms: Vec<Platform> = Vec::new();
        for platform in &self.platform {
            if !platforms.contains(platform) {
                platforms.push(platform.clone());
            }
        }
        Ok(platforms)
    }
}

impl PlatformWords {
    /// The platform that the parts name, the host's where they say nothing.
    fn resolve(&self) -> Result<Platform, CommandError> {
        let host = Platform::host();
        let (os, arch) = (self.os.as_ref().unwrap_or(&host.os), self.arch.as_ref().unwrap_or(&host.architecture));
        let mut platform: Platform = format!("{os}/{arch}").parse()?;
        if self.arch.is_none() {
            platform.variant = host.variant;
        }
        if let Some(variant) = &self.variant {
            platform.variant = Some(variant.clone());
        }
        Ok(platform)
    }
}
