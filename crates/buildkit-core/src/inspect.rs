//! Working containers and images in the shape that `buildah inspect` prints, so that scripts and
//! `--format` templates find the same members.

use std::collections::BTreeMap;

use oci::{Format, ImageConfig, ImageId, Manifest};
use serde_json::{Value, json};

use crate::working_container::{KeptSettings, State, default_options};

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
    // Not that of the base image's last step.
    value["Docker"]["container_config"] = value["Docker"]["config"].clone();
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
    let mut value = shape(config, &manifest.annotations(), config_bytes, manifest.bytes());
    merge(&mut value, json!({"FromImage": name, "FromImageID": id, "FromImageDigest": manifest.digest()}));
    value
}

fn shape(config: &ImageConfig, annotations: &BTreeMap<String, String>, config_bytes: &[u8], manifest: &[u8]) -> Value {
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
        "Docker": docker_config(config),
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
    const MEMBERS: &[&str] = &[
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
    const RUN_MEMBERS: &[&str] = &[
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
    let parsed = parsed(config, Format::Oci);
    let mut value = members(&parsed, MEMBERS);
    value["config"] = members(&parsed["config"], RUN_MEMBERS);
    value
}

/// The config as Docker's engine describes an image: what is not set is there, too.
fn docker_config(config: &ImageConfig) -> Value {
    const BEFORE: &[&str] = &["id", "comment", "created", "container"];
    const AFTER: &[&str] =
        &["architecture", "variant", "os", "parent", "rootfs", "history", "os.version", "os.features"];
    let parsed = parsed(config, Format::Docker);
    let mut value = members(&parsed, BEFORE);
    let last_step = parsed.get("container_config").unwrap_or(&parsed["config"]);
    value["container_config"] = docker_run_config(last_step);
    merge(&mut value, members(&parsed, &["docker_version", "author"]));
    value["config"] = docker_run_config(&parsed["config"]);
    merge(&mut value, members(&parsed, AFTER));
    if config.rootfs.diff_ids.is_empty() {
        value["rootfs"] = json!({"type": config.rootfs.kind});
    }
    value
}

fn docker_run_config(run: &Value) -> Value {
    let mut value = json!({});
    // What is not set is shown by its default, or not at all.
    let shown = [
        ("Hostname", Some(json!(""))),
        ("Domainname", Some(json!(""))),
        ("User", Some(json!(""))),
        ("AttachStdin", Some(json!(false))),
        ("AttachStdout", Some(json!(false))),
        ("AttachStderr", Some(json!(false))),
        ("ExposedPorts", None),
        ("Tty", Some(json!(false))),
        ("OpenStdin", Some(json!(false))),
        ("StdinOnce", Some(json!(false))),
        ("Env", Some(Value::Null)),
        ("Cmd", Some(Value::Null)),
        ("Healthcheck", None),
        ("ArgsEscaped", None),
        ("Image", Some(json!(""))),
        ("Volumes", Some(Value::Null)),
        ("WorkingDir", Some(json!(""))),
        ("Entrypoint", Some(Value::Null)),
        ("NetworkDisabled", None),
        ("MacAddress", None),
        ("OnBuild", Some(Value::Null)),
        ("Labels", Some(Value::Null)),
        ("StopSignal", None),
        ("StopTimeout", None),
        ("Shell", None),
    ];
    for (name, default) in shown {
        if let Some(member) = run.get(name).cloned().or(default) {
            value[name] = member;
        }
    }
    value
}

fn parsed(config: &ImageConfig, format: Format) -> Value {
    serde_json::from_slice(&config.to_bytes(format)).unwrap_or_default()
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
