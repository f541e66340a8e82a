//! Docker's form of the image config, as its engine and Buildah write it: in their order, and with what is
//! not set.

use serde_json::{Map, Value, json};

use crate::config::{ImageConfig, RunConfig};

/// The members of a config that Docker knows.
pub const MEMBERS: [&str; 16] = [
    "id",
    "comment",
    "created",
    "container",
    "container_config",
    "docker_version",
    "author",
    "config",
    "architecture",
    "variant",
    "os",
    "parent",
    "rootfs",
    "history",
    "os.version",
    "os.features",
];

/// The members of an entry of the history.
const HISTORY_MEMBERS: [&str; 5] = ["created", "author", "created_by", "comment", "empty_layer"];

/// The members on how to run an image that Docker knows.
pub const RUN_MEMBERS: [&str; 25] = [
    "Hostname",
    "Domainname",
    "User",
    "AttachStdin",
    "AttachStdout",
    "AttachStderr",
    "ExposedPorts",
    "Tty",
    "OpenStdin",
    "StdinOnce",
    "Env",
    "Cmd",
    "Healthcheck",
    "ArgsEscaped",
    "Image",
    "Volumes",
    "WorkingDir",
    "Entrypoint",
    "NetworkDisabled",
    "MacAddress",
    "OnBuild",
    "Labels",
    "StopSignal",
    "StopTimeout",
    "Shell",
];

/// What stands for a member that is not set; the others are left out then.
fn default_of(run_member: &str) -> Option<Value> {
    Some(match run_member {
        "Hostname" | "Domainname" | "User" | "Image" | "WorkingDir" => json!(""),
        "AttachStdin" | "AttachStdout" | "AttachStderr" | "Tty" | "OpenStdin" | "StdinOnce" => json!(false),
        "Env" | "Cmd" | "Volumes" | "Entrypoint" | "Labels" => Value::Null,
        "OnBuild" => json!([]),
        _ => return None,
    })
}

impl ImageConfig {
    /// The config in Docker's form.
    pub fn to_docker(&self) -> Value {
        let mut config = to_map(self);
        config.insert("config".to_owned(), self.config.to_docker());
        if let Some(last_step) = &self.container_config {
            config.insert("container_config".to_owned(), last_step.to_docker());
        }
        match (self.rootfs.kind.is_empty(), self.rootfs.diff_ids.is_empty()) {
            (true, true) => drop(config.shift_remove("rootfs")),
            (false, true) => drop(config.insert("rootfs".to_owned(), json!({"type": self.rootfs.kind}))),
            (_, false) => {}
        }
        for entry in config.get_mut("history").and_then(Value::as_array_mut).into_iter().flatten() {
            if let Value::Object(members) = entry.take() {
                *entry = in_order(members, &HISTORY_MEMBERS, |_| None);
            }
        }
        in_order(config, &MEMBERS, |_| None)
    }
}

impl RunConfig {
    /// How to run an image, in Docker's form.
    pub fn to_docker(&self) -> Value {
        in_order(to_map(self), &RUN_MEMBERS, default_of)
    }
}

/// The members with these names in this order, then the others.
fn in_order(mut from: Map<String, Value>, names: &[&str], default: impl Fn(&str) -> Option<Value>) -> Value {
    let mut ordered = Map::new();
    for name in names {
        ordered.extend(from.shift_remove(*name).or_else(|| default(name)).map(|member| ((*name).to_owned(), member)));
    }
    ordered.extend(from);
    Value::Object(ordered)
}

fn to_map(value: &impl serde::Serialize) -> Map<String, Value> {
    match serde_json::to_value(value) {
        Ok(Value::Object(map)) => map,
        // Structs of strings, numbers and maps with texts as keys are objects.
        _ => Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pure_what_is_not_set_is_written() {
        let run = RunConfig { env: vec!["A=1".to_owned()], ..RunConfig::default() };
        let expected = concat!(
            r#"{"Hostname":"","Domainname":"","User":"","AttachStdin":false,"AttachStdout":false,"AttachStderr":false,"#,
            r#""Tty":false,"OpenStdin":false,"StdinOnce":false,"Env":["A=1"],"Cmd":null,"Image":"","Volumes":null,"#,
            r#""WorkingDir":"","Entrypoint":null,"OnBuild":[],"Labels":null}"#
        );
        assert_eq!(run.to_docker().to_string(), expected);
        let text =
            r#"{"future":1,"os":"linux","config":{"Later":2,"AttachStdin":true,"Cmd":[]},"rootfs":{"type":"layers"}}"#;
        let config = ImageConfig::parse(text.as_bytes()).expect("a config").to_docker();
        let names: Vec<&String> = config.as_object().expect("an object").keys().collect();
        assert_eq!(names, ["config", "architecture", "os", "rootfs", "future"]);
        assert_eq!(config["rootfs"], json!({"type": "layers"}));
        let run = &config["config"];
        assert_eq!((&run["AttachStdin"], &run["Cmd"], &run["Later"]), (&json!(true), &json!([]), &json!(2)));
    }
}
