//! What is remembered of a working container between commands: the file `buildah.json` in the
//! container's directory, so that Buildah can go on with a container that gabion made and the
//! reverse.
//!
//! Buildah keeps the config twice, as `ociv1` and as `docker`; the second has room for everything
//! in the first. Here there is one [`ImageConfig`], and both are written. Members that gabion has
//! no use for are kept as they were read.

use std::collections::BTreeMap;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use oci::json::{null_default, optional_text};
use oci::{ContainerId, Digest, Format, History, ImageConfig, ImageId, LayerId};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value, json};

use super::KeptSettings;

/// Name of the file in the container's directory.
pub const FILE_NAME: &str = "buildah.json";

/// The `type` that marks a working container.
const TYPE: &str = "buildah 0.0.1";

/// The state of a working container.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct State {
    #[serde(rename = "type")]
    kind: String,
    /// Name of the base image as it was given or resolved; empty for `scratch`.
    #[serde(default)]
    pub image: String,
    /// The base image.
    #[serde(rename = "image-id", default, with = "optional_text")]
    pub image_id: Option<ImageId>,
    /// The base image's manifest digest.
    #[serde(rename = "image-digest", default, with = "optional_text")]
    pub image_digest: Option<Digest>,
    /// The base image's config, as stored.
    #[serde(rename = "config", default, with = "base64_bytes")]
    pub base_config: Vec<u8>,
    /// The base image's manifest, as stored.
    #[serde(rename = "manifest", default, with = "base64_bytes")]
    pub base_manifest: Vec<u8>,
    /// The container's name.
    #[serde(rename = "container-name")]
    pub container_name: String,
    /// The container's ID.
    #[serde(rename = "container-id")]
    pub container_id: ContainerId,
    /// Where the container is mounted; empty if it is not.
    #[serde(rename = "mountpoint", default, skip_serializing_if = "String::is_empty")]
    pub mount_point: String,
    /// Annotations of the manifest to be.
    #[serde(default, deserialize_with = "null_default")]
    pub annotations: BTreeMap<String, String>,
    /// What the history says made the new layer.
    #[serde(rename = "created-by", default, skip_serializing_if = "String::is_empty")]
    pub created_by: String,
    /// Comment of the new layer's history entry.
    #[serde(rename = "history-comment", default, skip_serializing_if = "String::is_empty")]
    pub history_comment: String,
    /// The config of the image to be.
    #[serde(rename = "docker")]
    pub config: ImageConfig,
    /// History entries without a layer, before the new layer's.
    #[serde(rename = "PrependedEmptyLayers", default, deserialize_with = "null_default")]
    pub prepended_empty_layers: Vec<History>,
    /// History entries without a layer, after the new layer's.
    #[serde(rename = "AppendedEmptyLayers", default, deserialize_with = "null_default")]
    pub appended_empty_layers: Vec<History>,
    /// Layers of their own below the container's.
    #[serde(rename = "PrependedLinkedLayers", default, deserialize_with = "null_default")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub prepended_linked_layers: Vec<LinkedLayer>,
    /// Layers of their own over the container's.
    #[serde(rename = "AppendedLinkedLayers", default, deserialize_with = "null_default")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub appended_linked_layers: Vec<LinkedLayer>,
    /// The base image's top layer.
    #[serde(rename = "TopLayer", default, with = "optional_text")]
    pub top_layer: Option<LayerId>,
    /// Format of the image to be.
    #[serde(rename = "Format", default, with = "format")]
    pub format: Format,
    /// How commands are run.
    #[serde(flatten)]
    pub settings: KeptSettings,
    #[serde(flatten)]
    unknown: Map<String, Value>,
}

/// What becomes a layer of its own when the container is committed: `copy --link` makes such.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LinkedLayer {
    /// What the history is to say of it.
    #[serde(rename = "History", deserialize_with = "null_default")]
    pub history: History,
    /// A directory with its files, or its tar; empty if there is nothing of it.
    #[serde(rename = "BlobPath", default)]
    pub blob_path: PathBuf,
}

/// Bytes that are no working container's state.
#[derive(Debug, thiserror::Error)]
pub enum InvalidState {
    /// Not JSON, or a field has the wrong type.
    #[error("invalid {FILE_NAME}: {0}")]
    Json(#[from] serde_json::Error),
    /// Another tool's file.
    #[error("invalid {FILE_NAME}: its type is {0:?}, expected {TYPE:?}")]
    Type(String),
}

impl State {
    /// The state of a new container with `config`.
    pub fn new(container_id: ContainerId, container_name: &str, config: ImageConfig, format: Format) -> State {
        State {
            kind: TYPE.into(),
            image: String::new(),
            image_id: None,
            image_digest: None,
            base_config: Vec::new(),
            base_manifest: Vec::new(),
            container_name: container_name.into(),
            container_id,
            mount_point: String::new(),
            annotations: BTreeMap::new(),
            created_by: String::new(),
            history_comment: String::new(),
            config,
            prepended_empty_layers: Vec::new(),
            appended_empty_layers: Vec::new(),
            prepended_linked_layers: Vec::new(),
            appended_linked_layers: Vec::new(),
            top_layer: None,
            format,
            settings: KeptSettings::default(),
            unknown: default_options(),
        }
    }

    /// A member that gabion keeps without a use of its own, such as `IDMappingOptions`.
    pub fn option(&self, name: &str) -> Option<&Value> {
        self.unknown.get(name)
    }

    /// Parses the file's content.
    pub fn parse(bytes: &[u8]) -> Result<State, InvalidState> {
        let mut state: State = serde_json::from_slice(bytes)?;
        if state.kind != TYPE {
            return Err(InvalidState::Type(state.kind));
        }
        let oci = state.unknown.remove("ociv1");
        if let Some(oci) = oci.filter(|_| state.config.os.is_empty()) {
            state.config = serde_json::from_value(oci)?;
        }
        Ok(state)
    }

    /// The file's content.
    pub fn to_bytes(&self) -> Result<Vec<u8>, InvalidState> {
        let mut value = serde_json::to_value(self)?;
        if let Value::Object(map) = &mut value {
            map.insert("docker".into(), self.config.to_docker());
            let mut oci: Value = serde_json::from_slice(&self.config.to_bytes(Format::Oci))?;
            if self.config.rootfs.kind.is_empty() {
                oci["rootfs"]["diff_ids"] = Value::Null;
            }
            map.insert("ociv1".into(), oci);
        }
        Ok(serde_json::to_vec(&value)?)
    }
}

/// Members that Buildah reads and gabion does not: what `buildah from` writes without flags.
pub fn default_options() -> Map<String, Value> {
    let value = json!({
        "CNIPluginPath": "",
        "CNIConfigDir": "",
        "IDMappingOptions": {"HostUIDMapping": true, "HostGIDMapping": true, "UIDMap": [], "GIDMap": [], "AutoUserNs": false,
            "AutoUserNsOpts": {"Size": 0, "InitialSize": 0, "PasswdFile": "", "GroupFile": "",
                "AdditionalUIDMappings": null, "AdditionalGIDMappings": null}},
        "TempVolumes": {},
        "ContentDigester": {},
    });
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

/// Bytes, which Go's JSON writes as base64 and `null`.
mod base64_bytes {
    use super::*;

    pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64.encode(bytes))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?.unwrap_or_default();
        BASE64.decode(text).map_err(serde::de::Error::custom)
    }
}

/// A format, which is stored as the manifest's media type.
mod format {
    use super::*;

    pub fn serialize<S: Serializer>(format: &Format, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(format.manifest())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Format, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?.unwrap_or_default();
        Ok(if text == Format::Docker.manifest() { Format::Docker } else { Format::Oci })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use oci::Platform;

    fn state() -> State {
        let id = ContainerId::parse(&"ab".repeat(32)).expect("valid");
        State::new(id, "work", ImageConfig::new(&Platform::host()), Format::Docker)
    }

    #[test]
    fn pure_state_round_trips_with_unknown_members() {
        let mut state = state();
        state.base_config = b"{}".to_vec();
        state.config.config.shell = vec!["/bin/bash".into()];
        let mut value: Value = serde_json::from_slice(&state.to_bytes().expect("JSON")).expect("JSON");
        assert_eq!(value["ociv1"]["os"], "linux");
        assert_eq!(value["ociv1"]["config"].get("Shell"), None);
        assert_eq!(value["docker"]["config"]["Shell"][0], "/bin/bash");
        assert_eq!((&value["config"], &value["image-id"]), (&json!("e30="), &json!("")));
        value["Future"] = json!({"kept": 1});
        let again = State::parse(value.to_string().as_bytes()).expect("ours");
        assert_eq!(again.config.to_docker(), state.config.to_docker());
        assert_eq!(again.format, Format::Docker);
        let written: Value = serde_json::from_slice(&again.to_bytes().expect("JSON")).expect("JSON");
        assert_eq!(written["Future"]["kept"], 1);
    }

    #[test]
    fn pure_foreign_state_is_refused() {
        let text = String::from_utf8(state().to_bytes().expect("JSON")).expect("text");
        let error = State::parse(text.replace(TYPE, "podman").as_bytes()).expect_err("another type");
        assert_eq!(error.to_string(), r#"invalid buildah.json: its type is "podman", expected "buildah 0.0.1""#);
        assert!(State::parse(b"{}").is_err() && State::parse(b"").is_err());
    }
}
