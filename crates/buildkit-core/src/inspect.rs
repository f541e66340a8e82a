//! Working containers and images in the shape that `buildah inspect` prints, so that scripts and
//! `--format` templates find the same members.

use std::collections::BTreeMap;

use oci::{Format, ImageConfig, ImageId, Manifest};
use serde_json::{Value, json};

use crate::working_container::{State, default_options};

/// A working container.
pub fn container(state: &State) -> Value {
    let mut value = shape(&state.config, &state.annotations, &state.base_config, &state.base_manifest);
    let members = json!({
        "FromImage": state.image,
        "FromImageID": state.image_id.as_ref().map(ImageId::to_string).unwrap_or_default(),
        "FromImageDigest": state.image_digest.as_ref().map(ToString::to_string).unwrap_or_default(),
        "Container": state.container_name,
        "ContainerID": state.container_id,
        "MountPoint": state.mount_point,
        "ImageCreatedBy": state.created_by,
    });
    merge(&mut value, members);
    // What the image to be will have: its base's entries, and those that wait for the commit.
    let waiting = state.prepended_empty_layers.iter().chain(&state.appended_empty_layers);
    value["History"] = json!(state.config.history.iter().chain(waiting).collect::<Vec<_>>());
    for name in ["NamespaceOptions", "Capabilities", "CNIPluginPath", "CNIConfigDir", "IDMappingOptions", "Devices"] {
        value[name] = state.option(name).cloned().unwrap_or(Value::Null);
    }
    value
}

/// An image: `name` is the one it was asked for by, `config_bytes` and `manifest` are as stored.
pub fn image(name: &str, id: &ImageId, config: &ImageConfig, config_bytes: &[u8], manifest: &Manifest) -> Value {
    let mut value = shape(config, &manifest.annotations(), config_bytes, manifest.bytes());
    merge(&mut value, json!({"FromImage": name, "FromImageID": id, "FromImageDigest": manifest.digest()}));
    value
}

fn shape(config: &ImageConfig, annotations: &BTreeMap<String, String>, config_bytes: &[u8], manifest: &[u8]) -> Value {
    let parsed = |format| serde_json::from_slice::<Value>(&config.to_bytes(format)).unwrap_or_default();
    let defaults = default_options();
    json!({
        "Type": "buildah 0.0.1",
        "FromImage": "",
        "FromImageID": "",
        "FromImageDigest": "",
        "Config": String::from_utf8_lossy(config_bytes),
        "Manifest": String::from_utf8_lossy(manifest),
        "Container": "",
        "ContainerID": "",
        "MountPoint": "",
        "ProcessLabel": "",
        "MountLabel": "",
        "ImageAnnotations": annotations,
        "ImageCreatedBy": "",
        "OCIv1": parsed(Format::Oci),
        "Docker": parsed(Format::Docker),
        "DefaultMountsFilePath": "",
        "Isolation": "oci",
        "NamespaceOptions": defaults.get("NamespaceOptions"),
        "Capabilities": null,
        "ConfigureNetwork": "NetworkDefault",
        "CNIPluginPath": "",
        "CNIConfigDir": "",
        "IDMappingOptions": defaults.get("IDMappingOptions"),
        "History": config.history,
        "Devices": null,
    })
}

fn merge(value: &mut Value, members: Value) {
    if let (Value::Object(value), Value::Object(members)) = (value, members) {
        value.extend(members);
    }
}
