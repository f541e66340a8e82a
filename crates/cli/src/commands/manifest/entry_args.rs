//! What the user says of an entry beside what its image says.

use buildkit_core::manifest_list::EntryChanges;
use clap::Args;

use super::annotation;
use crate::args::value::{platform_word, text};

/// What is said of an entry.
#[derive(Args, Clone, Debug)]
pub(super) struct EntryArgs {
    /// Annotation of the entry (may be repeated)
    #[arg(long, value_name = "NAME=VALUE", value_delimiter = ',', value_parser = annotation)]
    pub annotation: Vec<(String, String)>,
    /// CPU architecture of the image
    #[arg(long, value_parser = platform_word)]
    pub arch: Option<String>,
    /// CPU feature that the image needs (may be repeated); only Docker's form of lists has a place for it
    #[arg(long, value_name = "FEATURE", value_delimiter = ',', value_parser = text())]
    pub features: Vec<String>,
    /// Operating system of the image
    #[arg(long, value_parser = platform_word)]
    pub os: Option<String>,
    /// Feature of the operating system that the image needs (may be repeated)
    #[arg(long, value_name = "FEATURE", value_delimiter = ',', value_parser = text())]
    pub os_features: Vec<String>,
    /// Version of the operating system
    #[arg(long, value_name = "VERSION", value_parser = text())]
    pub os_version: Option<String>,
    /// Variant of the CPU architecture
    #[arg(long, value_parser = platform_word)]
    pub variant: Option<String>,
}

impl EntryArgs {
    pub fn changes(&self) -> EntryChanges {
        EntryChanges {
            architecture: self.arch.clone(),
            os: self.os.clone(),
            os_version: self.os_version.clone(),
            os_features: self.os_features.clone(),
            variant: self.variant.clone(),
            features: self.features.clone(),
            annotations: self.annotation.clone(),
        }
    }

    /// The first flag that is about one entry alone, if any is given.
    pub fn of_one_entry(&self) -> Option<&'static str> {
        let given = [
            ("--arch", self.arch.is_some()),
            ("--features", !self.features.is_empty()),
            ("--os", self.os.is_some()),
            ("--os-features", !self.os_features.is_empty()),
            ("--os-version", self.os_version.is_some()),
            ("--variant", self.variant.is_some()),
        ];
        given.into_iter().find_map(|(flag, is_given)| is_given.then_some(flag))
    }
}
