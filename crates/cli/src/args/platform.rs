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
    /// Operating system of the image instead of the host's
    #[arg(long, value_parser = platform_word)]
    pub os: Option<String>,
    /// CPU architecture of the image instead of the host's
    #[arg(long, value_parser = platform_word)]
    pub arch: Option<String>,
    /// Variant of the CPU architecture
    #[arg(long, value_parser = platform_word)]
    pub variant: Option<String>,
}

impl PlatformArgs {
    /// The platform wanted: the host's, as far as no flag says otherwise.
    pub fn resolve(&self) -> Result<Platform, CommandError> {
        match &self.platform {
            Some(platform) => Ok(platform.clone()),
            None => of_words(self.os.as_deref(), self.arch.as_deref(), self.variant.as_deref()),
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
    /// Operating system of the image instead of the host's
    #[arg(long, value_parser = platform_word)]
    pub os: Option<String>,
    /// CPU architecture of the image instead of the host's
    #[arg(long, value_parser = platform_word)]
    pub arch: Option<String>,
    /// Variant of the CPU architecture
    #[arg(long, value_parser = platform_word)]
    pub variant: Option<String>,
}

impl BuildPlatformArgs {
    /// The platforms that the flags name, each once, or the host's.
    pub fn named(&self) -> Result<Vec<Platform>, CommandError> {
        if self.platform.is_empty() {
            return Ok(vec![of_words(self.os.as_deref(), self.arch.as_deref(), self.variant.as_deref())?]);
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

fn of_words(os: Option<&str>, arch: Option<&str>, variant: Option<&str>) -> Result<Platform, CommandError> {
    let host = Platform::host();
    let text = format!("{}/{}", os.unwrap_or(&host.os), arch.unwrap_or(&host.architecture));
    let mut platform: Platform = text.parse()?;
    if arch.is_none() {
        platform.variant = host.variant;
    }
    if let Some(variant) = variant {
        platform.variant = Some(variant.to_owned());
    }
    Ok(platform)
}
