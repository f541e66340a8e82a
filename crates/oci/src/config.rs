//! The image config: what an image runs, and how it came about.
//!
//! One type carries the fields of the OCI image specification ("Image Configuration") and those
//! that only Docker's v2 schema 2 config has (health check, ONBUILD triggers, shell…), because an
//! image in progress is written in either format. Fields unknown here are kept.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::ids::DiffId;
use crate::json::null_default;
use crate::manifest::Format;
use crate::platform::Platform;

/// An image config.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ImageConfig {
    /// When the image was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<Timestamp>,
    /// Who made it.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "String::is_empty")]
    pub author: String,
    /// CPU architecture, Go's name.
    #[serde(default, deserialize_with = "null_default")]
    pub architecture: String,
    /// Variant of the architecture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// Operating system.
    #[serde(default, deserialize_with = "null_default")]
    pub os: String,
    /// Windows version.
    #[serde(rename = "os.version", default, skip_serializing_if = "Option::is_none")]
    pub os_version: Option<String>,
    /// Windows features.
    #[serde(rename = "os.features", default, deserialize_with = "null_default", skip_serializing_if = "Vec::is_empty")]
    pub os_features: Vec<String>,
    /// Docker only: free text of `commit --message`.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "String::is_empty")]
    pub comment: String,
    /// Docker only: which program wrote the config.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub docker_version: Option<String>,
    /// Docker only: the container that was committed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// How to run the image.
    #[serde(default, deserialize_with = "null_default")]
    pub config: RunConfig,
    /// Docker only: how the last step was run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container_config: Option<RunConfig>,
    /// The layers, base first.
    #[serde(default = "RootFs::unset")]
    pub rootfs: RootFs,
    /// The steps, first one first.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<History>,
    /// Fields that no version known here has.
    #[serde(flatten)]
    pub unknown: Map<String, Value>,
}

/// How to run an image.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct RunConfig {
    /// Docker only.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "String::is_empty")]
    pub hostname: String,
    /// Docker only.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "String::is_empty")]
    pub domainname: String,
    /// `user[:group]`, names or numbers.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// Keys are `port/protocol`.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub exposed_ports: BTreeMap<String, Empty>,
    /// `NAME=value`.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// The command's fixed part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entrypoint: Option<Vec<String>>,
    /// The command, or the default arguments of the entrypoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cmd: Option<Vec<String>>,
    /// Docker only: health check.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Healthcheck>,
    /// Keys are paths.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub volumes: BTreeMap<String, Empty>,
    /// Where the command starts.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "String::is_empty")]
    pub working_dir: String,
    /// Docker only: instructions run by a build on this image.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "Vec::is_empty")]
    pub on_build: Vec<String>,
    /// Free metadata.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Name or number of the signal that stops the command.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "String::is_empty")]
    pub stop_signal: String,
    /// Docker only: the shell of the shell form.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "Vec::is_empty")]
    pub shell: Vec<String>,
    /// Fields that no version known here has.
    #[serde(flatten)]
    pub unknown: Map<String, Value>,
}

/// The `{}` of a set written as a map.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Empty {}

/// Docker's health check; times are nanoseconds, 0 means inherited.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Healthcheck {
    /// `["NONE"]`, `["CMD", args…]` or `["CMD-SHELL", command]`.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "Vec::is_empty")]
    pub test: Vec<String>,
    /// Between checks.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub interval: i64,
    /// Of one check.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub timeout: i64,
    /// Grace at the start.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub start_period: i64,
    /// Between checks during the grace.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub start_interval: i64,
    /// Failures that mean unhealthy.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub retries: i64,
}

/// The layers of an image.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RootFs {
    /// Always `layers`; nothing where there is no image yet.
    #[serde(rename = "type", default)]
    pub kind: String,
    /// Base first.
    #[serde(default, deserialize_with = "null_default")]
    pub diff_ids: Vec<DiffId>,
}

impl Default for RootFs {
    fn default() -> RootFs {
        RootFs::of(Vec::new())
    }
}

impl RootFs {
    /// These layers.
    pub fn of(diff_ids: Vec<DiffId>) -> RootFs {
        RootFs { kind: "layers".into(), diff_ids }
    }

    /// What a container without a base image has.
    pub fn unset() -> RootFs {
        RootFs { kind: String::new(), diff_ids: Vec::new() }
    }
}

/// One step of an image's making.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct History {
    /// When.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<Timestamp>,
    /// The instruction.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "String::is_empty")]
    pub created_by: String,
    /// Who.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "String::is_empty")]
    pub author: String,
    /// Free text.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "String::is_empty")]
    pub comment: String,
    /// Whether the step made no layer.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "std::ops::Not::not")]
    pub empty_layer: bool,
}

/// Bytes that are no image config.
#[derive(Debug, thiserror::Error)]
#[error("invalid image config: {0}")]
pub struct InvalidConfig(#[source] serde_json::Error);

impl ImageConfig {
    /// A config without layers for `platform`.
    pub fn new(platform: &Platform) -> ImageConfig {
        ImageConfig {
            architecture: platform.architecture.clone(),
            variant: platform.variant.clone(),
            os: platform.os.clone(),
            ..ImageConfig::default()
        }
    }

    /// Parses an OCI or Docker config.
    pub fn parse(bytes: &[u8]) -> Result<ImageConfig, InvalidConfig> {
        serde_json::from_slice(bytes).map_err(InvalidConfig)
    }

    /// The config as it is stored for an image of `format`. For OCI the Docker-only fields are
    /// left out; [`ImageConfig::docker_only_fields`] names those that get lost.
    pub fn to_bytes(&self, format: Format) -> Vec<u8> {
        if format == Format::Docker {
            return serde_json::to_vec(&self.to_docker()).unwrap_or_default();
        }
        let mut config = self.clone();
        config.comment.clear();
        config.docker_version = None;
        config.container = None;
        config.container_config = None;
        config.config.drop_docker_only();
        // A struct of strings, numbers and string-keyed maps always serializes.
        serde_json::to_vec(&config).unwrap_or_default()
    }

    /// Names of the fields set here that the OCI format has no room for.
    pub fn docker_only_fields(&self) -> Vec<&'static str> {
        let run = &self.config;
        [
            ("comment", !self.comment.is_empty()),
            ("domainname", !run.domainname.is_empty()),
            ("hostname", !run.hostname.is_empty()),
            ("healthcheck", run.healthcheck.is_some()),
            ("onbuild", !run.on_build.is_empty()),
            ("shell", !run.shell.is_empty()),
        ]
        .into_iter()
        .filter_map(|(name, set)| set.then_some(name))
        .collect()
    }

    /// The platform the image is for.
    pub fn platform(&self) -> Platform {
        Platform { os: self.os.clone(), architecture: self.architecture.clone(), variant: self.variant.clone() }
    }
}

impl RunConfig {
    fn drop_docker_only(&mut self) {
        self.hostname.clear();
        self.domainname.clear();
        self.healthcheck = None;
        self.on_build.clear();
        self.shell.clear();
        self.unknown.clear();
    }

    /// The value of environment variable `name`.
    pub fn env(&self, name: &str) -> Option<&str> {
        self.env.iter().rev().find_map(|entry| entry.strip_prefix(name)?.strip_prefix('='))
    }

    /// Sets environment variable `name`, in place if it is there.
    pub fn set_env(&mut self, name: &str, value: &str) {
        let entry = format!("{name}={value}");
        match self.env.iter_mut().find(|old| old.split('=').next() == Some(name)) {
            Some(old) => *old = entry,
            None => self.env.push(entry),
        }
    }

    /// Removes environment variable `name`.
    pub fn unset_env(&mut self, name: &str) {
        self.env.retain(|entry| entry.split('=').next() != Some(name));
    }
}

fn is_zero(number: &i64) -> bool {
    *number == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCKER: &str = r#"{"architecture":"amd64","author":null,"config":{"Hostname":"h","Env":["A=1"],"Cmd":["sh"],
        "Volumes":null,"OnBuild":["RUN x"],"AttachStdin":false,"Healthcheck":{"Test":["CMD","x"],"Interval":1000000000}},
        "created":"2026-11-23T10:23:34.586360999Z","history":[{"created":"2026-11-23T10:23:34Z","created_by":"RUN x"}],
        "os":"linux","rootfs":{"type":"layers","diff_ids":["sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"]},
        "future":{"kept":true}}"#;

    #[test]
    fn pure_docker_config_round_trips_with_unknown_fields() {
        let config = ImageConfig::parse(DOCKER.as_bytes()).expect("valid");
        let again = ImageConfig::parse(&config.to_bytes(Format::Docker)).expect("ours");
        assert_eq!(config.to_docker(), again.to_docker());
        assert_eq!(again.unknown["future"]["kept"], true);
        assert_eq!(again.config.unknown["AttachStdin"], false);
    }

    #[test]
    fn pure_oci_config_leaves_docker_only_fields_out() {
        let config = ImageConfig::parse(DOCKER.as_bytes()).expect("valid");
        assert_eq!(config.docker_only_fields(), ["hostname", "healthcheck", "onbuild"]);
        let text = String::from_utf8(config.to_bytes(Format::Oci)).expect("JSON");
        for absent in ["Hostname", "Healthcheck", "OnBuild", "AttachStdin"] {
            assert!(!text.contains(absent), "{absent} in {text}");
        }
        assert!(text.contains("2026-11-23T10:23:34.586360999Z"));
    }

    #[test]
    fn pure_bad_diff_id_is_refused() {
        let error = ImageConfig::parse(br#"{"rootfs":{"type":"layers","diff_ids":["sha256:../x"]}}"#);
        assert!(error.expect_err("invalid").to_string().contains("invalid digest"));
    }

    #[test]
    fn pure_env_is_set_in_place() {
        let mut run = RunConfig { env: vec!["A=1".into(), "AB=2".into()], ..RunConfig::default() };
        run.set_env("A", "3");
        run.set_env("C", "");
        assert_eq!(run.env, ["A=3", "AB=2", "C="]);
        assert_eq!((run.env("AB"), run.env("B")), (Some("2"), None));
        run.unset_env("A");
        assert_eq!(run.env, ["AB=2", "C="]);
    }
}
