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
        if let Some(platform) = &self.platform {
            return Ok(platform.clone());
        }
        let host = Platform::host();
        let text = format!(
            "{}/{}",
            self.os.as_deref().unwrap_or(&host.os),
            self.arch.as_deref().unwrap_or(&host.architecture)
        );
        let mut platform: Platform = text.parse()?;
        if self.arch.is_none() {
            platform.variant = host.variant;
        }
        if self.variant.is_some() {
            platform.variant.clone_from(&self.variant);
        }
        Ok(platform)
    }
}
