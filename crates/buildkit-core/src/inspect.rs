//! Working containers and images in the shape that `buildah inspect` prints, so that scripts and
//! `--format` templates find the same members.

use std::collections::BTreeMap;

use oci::docker_config::{MEMBERS, RUN_MEMBERS};
use oci::{Format, ImageConfig, ImageId, Manifest};
use serde_json::{Value, json};

use crate::working_container::{KeptSettings, State, default_options};

/// A working container.
pub fn container(state: &State) -> Value {
    let run = members(&state.config.config.to_docker(), &RUN_MEMBERS);
    let mut value = shape(&state.config, run, &state.annotations, &state.base_config, &state.base_manifest);
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
    value["History"] = list_or_null(&state.config.history.iter().chain(waiting).collect::<Vec<_>>());
    for name in ["CNIPluginPath", "CNIConfigDir", "IDMappingOptions"] {
        value[name] = state.option(name).cloned().unwrap_or(Value::Null);
    }
    let settings = &state.settings;
    value["Isolation"] = json!(settings.isolation.name());
    value["ConfigureNetwork"] = json!(settings.configure_network.name());
    value["NamespaceOptions"] = json!(settings.namespace_options);
    value["Capabilities"] = json!(settings.capabilities);
    value["Devices"] = json!(settings.devices);
    value["DefaultMountsFilePath"] = json!(settings.default_mounts_file_path);
    value
}

/// An image: `name` is the one it was asked for by, `config_bytes` and `manifest` are as stored.
pub fn image(name: &str, id: &ImageId, config: &ImageConfig, config_bytes: &[u8], manifest: &Manifest) -> Value {
    let written: Value = match manifest.format() {
        Format::Docker => serde_json::from_slice(config_bytes).unwrap_or_default(),
        Format::Oci => Value::Null,
    };
    let run = run_as_written(config, &written["config"]);
    let mut value = shape(config, run, &manifest.annotations(), config_bytes, manifest.bytes());
    merge(&mut value, json!({"FromImage": name, "FromImageID": id, "FromImageDigest": manifest.digest()}));
    value
}

fn shape(
    config: &ImageConfig,
    run: Value,
    annotations: &BTreeMap<String, String>,
    config_bytes: &[u8],
    manifest: &[u8],
) -> Value {
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
        "OCIv1": oci_config(config),
        "Docker": docker_config(config, run),
        "DefaultMountsFilePath": "",
        "Isolation": "oci",
        "NamespaceOptions": KeptSettings::default().namespace_options,
        "Capabilities": null,
        "ConfigureNetwork": "NetworkDefault",
        "CNIPluginPath": "",
        "CNIConfigDir": "",
        "IDMappingOptions": defaults.get("IDMappingOptions"),
        "History": list_or_null(&config.history),
        "Devices": null,
    })
}

/// The config's members that the OCI specification has, in its order.
fn oci_config(config: &ImageConfig) -> Value {
    const OCI_MEMBERS: &[&str] = &[
        "created",
        "author",
        "architecture",
        "variant",
        "os",
        "os.version",
        "os.features",
        "config",
        "rootfs",
        "history",
    ];
    const OCI_RUN_MEMBERS: &[&str] = &[
        "User",
        "ExposedPorts",
        "Env",
        "Entrypoint",
        "Cmd",
        "Volumes",
        "WorkingDir",
        "Labels",
        "StopSignal",
        "ArgsEscaped",
    ];
    let parsed: Value = serde_json::from_slice(&config.to_bytes(Format::Oci)).unwrap_or_default();
    let mut value = members(&parsed, OCI_MEMBERS);
    if config.rootfs.kind.is_empty() {
        value["rootfs"]["diff_ids"] = list_or_null(&config.rootfs.diff_ids);
    }
    value["config"] = members(&parsed["config"], OCI_RUN_MEMBERS);
    value
}

/// The config as Docker's engine describes an image, with what is not set. `run` says how to run it.
fn docker_config(config: &ImageConfig, run: Value) -> Value {
    // Buildah shows what is to be run in the place of what the last step has run, too.
    let config = ImageConfig { container_config: Some(config.config.clone()), ..config.clone() };
    let mut value = members(&config.to_docker(), &MEMBERS);
    value["container_config"] = run.clone();
    value["config"] = run;
    value
}

/// How to run an image, from the config as it is written: a list of nothing is not one that was never there.
fn run_as_written(config: &ImageConfig, written: &Value) -> Value {
    let mut run = members(&config.config.to_docker(), &RUN_MEMBERS);
    if let Value::Object(run) = &mut run {
        for (name, member) in run.iter_mut().filter(|(_, member)| is_nothing(member)) {
            *member = written.get(name).filter(|written| is_nothing(written)).cloned().unwrap_or_default();
        }
    }
    run
}

/// Whether nothing is in a list or map, or there is none.
fn is_nothing(member: &Value) -> bool {
    match member {
        Value::Null => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    }
}

/// The members of `value` with these names, in this order.
fn members(value: &Value, names: &[&str]) -> Value {
    let found = names.iter().filter_map(|name| Some(((*name).to_owned(), value.get(name)?.clone())));
    Value::Object(found.collect())
}

/// Go's JSON of a list that was never made.
fn list_or_null<T: serde::Serialize>(list: &[T]) -> Value {
    if list.is_empty() { Value::Null } else { json!(list) }
}

fn merge(value: &mut Value, members: Value) {
    if let (Value::Object(value), Value::Object(members)) = (value, members) {
        value.extend(members);
    }
}
