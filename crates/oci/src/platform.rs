//! Platforms: `os/arch[/variant]` with the names Go uses, as the OCI image index has them.

use std::fmt;
use std::str::FromStr;

/// An operating system, CPU architecture and optional variant.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Platform {
    /// `linux`
    pub os: String,
    /// `amd64`, `arm64`, …
    pub architecture: String,
    /// `v7`, `v8`, …
    pub variant: Option<String>,
}

/// Text that is no platform.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("invalid platform {text:?}: expected os/arch or os/arch/variant, such as linux/amd64")]
pub struct InvalidPlatform {
    /// What was given.
    pub text: String,
}

impl Platform {
    /// The platform this program runs on.
    pub fn host() -> Platform {
        let (architecture, variant) = match std::env::consts::ARCH {
            "x86_64" => ("amd64", None),
            "x86" => ("386", None),
            "aarch64" => ("arm64", Some("v8")),
            "arm" => ("arm", Some("v7")),
            "powerpc64" => ("ppc64le", None),
            other => (other, None),
        };
        Platform { os: "linux".into(), architecture: architecture.into(), variant: variant.map(str::to_owned) }
    }

    /// Whether an image for `self` is one for `wanted`: a missing variant on either side is the
    /// architecture's default (`v8` for arm64, `v7` for arm).
    pub fn satisfies(&self, wanted: &Platform) -> bool {
        self.os == wanted.os
            && self.architecture == wanted.architecture
            && self.effective_variant() == wanted.effective_variant()
    }

    fn effective_variant(&self) -> Option<&str> {
        let default = match self.architecture.as_str() {
            "arm64" => Some("v8"),
            "arm" => Some("v7"),
            "amd64" => Some("v1"),
            _ => None,
        };
        self.variant.as_deref().filter(|v| !v.is_empty()).or(default)
    }
}

impl FromStr for Platform {
    type Err = InvalidPlatform;

    /// Names that other tools write are normalized: `x86_64` is `amd64`, `aarch64` is `arm64`.
    fn from_str(text: &str) -> Result<Platform, InvalidPlatform> {
        let invalid = || InvalidPlatform { text: text.to_owned() };
        let parts: Vec<&str> = text.split('/').collect();
        let valid =
            |part: &&str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        if !parts.iter().all(valid) {
            return Err(invalid());
        }
        let (os, architecture, variant) = match parts[..] {
            // An architecture alone is Linux's.
            [architecture] if ARCHITECTURES.contains(&architecture.to_ascii_lowercase().as_str()) => {
                ("linux", architecture, None)
            }
            [os, architecture] => (os, architecture, None),
            [os, architecture, variant] => (os, architecture, Some(variant)),
            _ => return Err(invalid()),
        };
        let (architecture, implied) = match architecture.to_ascii_lowercase().as_str() {
            "x86_64" | "x86-64" => ("amd64".to_owned(), None),
            "i386" => ("386".to_owned(), None),
            "aarch64" => ("arm64".to_owned(), None),
            "armhf" => ("arm".to_owned(), Some("v7")),
            "armel" => ("arm".to_owned(), Some("v6")),
            other => (other.to_owned(), None),
        };
        let variant = variant.or(implied).map(str::to_ascii_lowercase);
        Ok(Platform { os: os.to_ascii_lowercase(), architecture, variant })
    }
}

/// Architectures that are known without an operating system, with the names that stand for them.
const ARCHITECTURES: [&str; 17] = [
    "386", "aarch64", "amd64", "arm", "arm64", "armel", "armhf", "i386", "loong64", "mips64le", "ppc64le", "riscv64",
    "s390x", "wasm", "x86-64", "x86_64", "mips64",
];

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pure_platforms_are_normalized() {
        for (text, expected) in [
            ("linux/amd64", "linux/amd64"),
            ("linux/x86_64", "linux/amd64"),
            ("Linux/ARM64", "linux/arm64"),
            ("linux/arm/v7", "linux/arm/v7"),
            ("linux/armel", "linux/arm/v6"),
            ("arm64", "linux/arm64"),
            ("x86_64", "linux/amd64"),
        ] {
            assert_eq!(text.parse::<Platform>().map(|p| p.to_string()).as_deref(), Ok(expected));
        }
        for text in ["", "linux", "linux/", "/amd64", "a/b/c/d", "linux/am d64"] {
            assert!(text.parse::<Platform>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn pure_missing_variant_is_the_default() {
        let arm64: Platform = "linux/arm64".parse().expect("valid");
        let v8: Platform = "linux/arm64/v8".parse().expect("valid");
        let v9: Platform = "linux/arm64/v9".parse().expect("valid");
        assert!(arm64.satisfies(&v8) && v8.satisfies(&arm64) && !v9.satisfies(&arm64));
    }
}
