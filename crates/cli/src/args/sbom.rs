//! Flags of `commit` and `build` about what an image is made of.

use std::path::PathBuf;

use buildkit_core::sbom::{MergeStrategy, ScanOptions, Scanner, ScannerCommand};
use buildkit_core::transfer::pull::PullPolicy;
use clap::Args;

use super::value;
use crate::command_error::CommandError;

/// How the image is scanned for its parts, and where what is found goes.
#[derive(Args, Clone, Debug)]
pub struct SbomArgs {
    /// Scan the image for its parts with this scanner: syft, syft-cyclonedx, syft-spdx, trivy, trivy-cyclonedx or
    /// trivy-spdx [default: syft, if no scanner is given but a place for what it finds]
    #[arg(long, value_name = "NAME", value_parser = Scanner::named)]
    sbom: Option<Scanner>,
    /// Path in the image for the SBOM
    #[arg(long, value_name = "PATH", value_parser = path_in_image)]
    sbom_image_output: Option<String>,
    /// Path in the image for the package URLs in the SBOM
    #[arg(long, value_name = "PATH", value_parser = path_in_image)]
    sbom_image_purl_output: Option<String>,
    /// How the documents of several scans become one: cat, merge-cyclonedx-by-component-name-and-version or
    /// merge-spdx-by-package-name-and-versioninfo [default: the scanner's]
    #[arg(long, value_name = "STRATEGY", value_parser = MergeStrategy::parse)]
    sbom_merge_strategy: Option<MergeStrategy>,
    /// File for the SBOM
    #[arg(long, value_name = "FILE", value_parser = value::new_file())]
    sbom_output: Option<PathBuf>,
    /// File for the package URLs in the SBOM
    #[arg(long, value_name = "FILE", value_parser = value::new_file())]
    sbom_purl_output: Option<PathBuf>,
    /// Command of a scan, in which {ROOTFS} is the image, {CONTEXT} each context of a build, and {OUTPUT} the file to write
    /// (may be repeated) [default: the scanner's]
    #[arg(long, value_name = "COMMAND", allow_hyphen_values = true, value_parser = ScannerCommand::parse)]
    sbom_scanner_command: Vec<ScannerCommand>,
    /// Image that the commands of a scan are run in [default: the scanner's]
    #[arg(long, value_name = "IMAGE", value_parser = value::text())]
    sbom_scanner_image: Option<String>,
}

impl SbomArgs {
    /// The first flag that names a file for one image's parts, if any is given.
    pub fn of_one_image(&self) -> Option<&'static str> {
        let given = [("--sbom-output", &self.sbom_output), ("--sbom-purl-output", &self.sbom_purl_output)];
        given.into_iter().find_map(|(flag, file)| file.as_ref().map(|_| flag))
    }

    /// The scan that is asked for, if one is.
    pub fn resolve(&self, pull: PullPolicy) -> Result<Option<ScanOptions>, CommandError> {
        let has_outputs = self.sbom_output.is_some()
            || self.sbom_purl_output.is_some()
            || self.sbom_image_output.is_some()
            || self.sbom_image_purl_output.is_some();
        let is_own = self.sbom_scanner_image.is_some()
            || !self.sbom_scanner_command.is_empty()
            || self.sbom_merge_strategy.is_some();
        if !has_outputs && !is_own && self.sbom.is_none() {
            return Ok(None);
        }
        if !has_outputs {
            return Err(CommandError::new(
                "a scan has no place to go: give --sbom-output, --sbom-purl-output, --sbom-image-output or \
                 --sbom-image-purl-output",
            ));
        }
        let same_file = self.sbom_output.is_some() && self.sbom_output == self.sbom_purl_output;
        if same_file || self.sbom_image_output.is_some() && self.sbom_image_output == self.sbom_image_purl_output {
            return Err(CommandError::new("the SBOM and the package URLs need a place each"));
        }
        Ok(Some(ScanOptions {
            scanner: self.scanner(is_own)?,
            pull,
            sbom: self.sbom_output.clone(),
            purls: self.sbom_purl_output.clone(),
            image_sbom: self.sbom_image_output.clone(),
            image_purls: self.sbom_image_purl_output.clone(),
        }))
    }

    /// The named scanner, with what else is given in place of what it has.
    fn scanner(&self, is_own: bool) -> Result<Scanner, CommandError> {
        let named = match &self.sbom {
            None if !is_own => Some(Scanner::named("").map_err(CommandError::new)?),
            named => named.clone(),
        };
        let missing = |flag: &str| CommandError::new(format!("a scan needs {flag}, or --sbom"));
        let of_named = |commands: &Scanner| Some(commands.commands.clone());
        let own = (!self.sbom_scanner_command.is_empty()).then(|| self.sbom_scanner_command.clone());
        Ok(Scanner {
            image: self
                .sbom_scanner_image
                .clone()
                .or(named.as_ref().map(|scanner| scanner.image.clone()))
                .ok_or_else(|| missing("--sbom-scanner-image"))?,
            commands: own.or(named.as_ref().and_then(of_named)).ok_or_else(|| missing("--sbom-scanner-command"))?,
            strategy: self
                .sbom_merge_strategy
                .or(named.as_ref().map(|scanner| scanner.strategy))
                .ok_or_else(|| missing("--sbom-merge-strategy"))?,
        })
    }
}

/// A file's path in the image.
fn path_in_image(text: &str) -> Result<String, String> {
    let path = format!("/{}", text.trim_start_matches('/'));
    let is_file = !path.ends_with('/') && !path.split('/').any(|part| matches!(part, "." | ".."));
    if is_file { Ok(path) } else { Err("expected the path of a file in the image".to_owned()) }
}
