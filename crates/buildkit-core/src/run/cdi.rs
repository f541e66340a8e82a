//! Devices by CDI (Container Device Interface 0.3 to 1.0): files in `/etc/cdi` and `/var/run/cdi`
//! say what a device is made of.

use std::path::{Path, PathBuf};

use runtime::{BindSource, Device, Hook, Mount, MountKind};
use serde::Deserialize;
use serde::de::IgnoredAny;

/// No specification is read further than this many bytes.
const FILE_LIMIT: u64 = 1 << 20;

/// A specification that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("CDI specification {path}: {message}", path = .path.display())]
pub struct CdiError {
    path: PathBuf,
    message: String,
}

/// The specifications of the host.
#[derive(Debug, Default)]
pub(super) struct Cdi(Vec<(PathBuf, Specification)>);

/// What devices add to a step.
#[derive(Debug, Default)]
pub(super) struct Edits {
    pub env: Vec<String>,
    pub devices: Vec<Device>,
    pub mounts: Vec<Mount>,
    pub hooks: Vec<Hook>,
    pub groups: Vec<u32>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Specification {
    cdi_version: String,
    kind: String,
    /// Means nothing to a step.
    #[serde(rename = "annotations", default)]
    _annotations: IgnoredAny,
    #[serde(default)]
    devices: Vec<Described>,
    #[serde(default)]
    container_edits: ContainerEdits,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Described {
    name: String,
    /// Means nothing to a step.
    #[serde(rename = "annotations", default)]
    _annotations: IgnoredAny,
    #[serde(default)]
    container_edits: ContainerEdits,
}

/// What is not named here would be left out silently: it is refused.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ContainerEdits {
    #[serde(default)]
    env: Vec<String>,
    #[serde(default)]
    device_nodes: Vec<DeviceNode>,
    #[serde(default)]
    mounts: Vec<CdiMount>,
    #[serde(default)]
    hooks: Vec<CdiHook>,
    #[serde(default)]
    additional_gids: Vec<u32>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct DeviceNode {
    path: PathBuf,
    host_path: Option<PathBuf>,
    /// Taken from the host's node.
    #[serde(rename = "type")]
    _type: Option<String>,
    #[serde(rename = "major")]
    _major: Option<i64>,
    #[serde(rename = "minor")]
    _minor: Option<i64>,
    file_mode: Option<u32>,
    permissions: Option<String>,
    uid: Option<u32>,
    gid: Option<u32>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CdiMount {
    host_path: PathBuf,
    container_path: PathBuf,
    #[serde(default)]
    options: Vec<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CdiHook {
    hook_name: String,
    path: PathBuf,
    #[serde(default)]
    args: Vec<String>,
    #[serde(default)]
    env: Vec<String>,
    timeout: Option<i64>,
}

impl Cdi {
    /// Reads all `*.json`, `*.yaml` and `*.yml` in `dirs`; a directory that is not there has none.
    pub fn read(dirs: &[PathBuf]) -> Result<Cdi, CdiError> {
        let mut specifications = Vec::new();
        // The first one with a device counts: later directories go first.
        for dir in dirs.iter().rev() {
            let entries = std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
            let mut paths: Vec<PathBuf> = entries.collect();
            paths.sort();
            for path in paths {
                let is_yaml = match path.extension().and_then(|extension| extension.to_str()) {
                    Some("json") => false,
                    Some("yaml" | "yml") => true,
                    _ => continue,
                };
                let specification = read(&path, is_yaml).map_err(|message| CdiError { path: path.clone(), message })?;
                specifications.push((path, specification));
            }
        }
        Ok(Cdi(specifications))
    }

    /// Adds what `name` is made of to `edits`: `vendor/class=device`, `…=*` for every device of
    /// the class, or without a device the first of them. False if there is none.
    pub fn apply(&self, name: &str, edits: &mut Edits) -> Result<bool, CdiError> {
        let (kind, wanted) = name.split_once('=').unwrap_or((name, ""));
        let mut names: Vec<&str> = Vec::new();
        let mut common: Vec<&PathBuf> = Vec::new();
        for (path, specification) in self.0.iter().filter(|(_, specification)| specification.kind == kind) {
            let failed = |message| CdiError { path: path.clone(), message };
            for device in &specification.devices {
                let is_first = wanted.is_empty() && names.is_empty();
                let is_wanted = is_first || wanted == "*" || device.name == wanted;
                if !is_wanted || names.contains(&device.name.as_str()) {
                    continue;
                }
                names.push(&device.name);
                if !common.contains(&path) {
                    common.push(path);
                    edits.add(&specification.container_edits).map_err(failed)?;
                }
                edits.add(&device.container_edits).map_err(failed)?;
            }
        }
        Ok(!names.is_empty())
    }
}

fn read(path: &Path, is_yaml: bool) -> Result<Specification, String> {
    use std::io::Read as _;
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(|error| error.to_string())?;
    file.take(FILE_LIMIT).read_to_string(&mut text).map_err(|error| error.to_string())?;
    let specification: Specification = match is_yaml {
        true => yaml_serde::from_str(&text).map_err(|error| error.to_string())?,
        false => serde_json::from_str(&text).map_err(|error| error.to_string())?,
    };
    let version = &specification.cdi_version;
    if !version.starts_with("0.") && !version.starts_with("1.") {
        return Err(format!("version {version} is not supported, expected 0.x or 1.x"));
    }
    Ok(specification)
}

impl Edits {
    fn add(&mut self, edits: &ContainerEdits) -> Result<(), String> {
        self.env.extend(edits.env.iter().cloned());
        self.groups.extend(edits.additional_gids.iter().filter(|gid| **gid != 0));
        for node in &edits.device_nodes {
            let host = node.host_path.as_ref().filter(|path| !path.as_os_str().is_empty()).unwrap_or(&node.path);
            let permissions = node.permissions.as_deref().filter(|letters| !letters.is_empty()).unwrap_or("rwm");
            let access: String = permissions.chars().filter(|letter| "rwm".contains(*letter)).collect();
            let (mode, uid, gid) = (node.file_mode, node.uid, node.gid);
            self.devices.push(Device { access, mode, uid, gid, ..Device::new(host, &node.path) });
        }
        for mount in &edits.mounts {
            self.mounts.push(mount_of(mount)?);
        }
        for hook in &edits.hooks {
            if !Hook::MOMENTS.contains(&hook.hook_name.as_str()) {
                return Err(format!("unknown hook {:?}, expected one of {}", hook.hook_name, Hook::MOMENTS.join(", ")));
            }
            self.hooks.push(Hook {
                when: hook.hook_name.clone(),
                path: hook.path.clone(),
                args: hook.args.clone(),
                env: hook.env.clone(),
                timeout: hook.timeout,
            });
        }
        Ok(())
    }
}

fn mount_of(mount: &CdiMount) -> Result<Mount, String> {
    if !matches!(mount.kind.as_deref(), None | Some("" | "bind")) {
        let kind = mount.kind.as_deref().unwrap_or_default();
        return Err(format!("a mount of type {kind} is not supported, expected bind"));
    }
    let has = |name: &str| mount.options.iter().any(|option| option == name);
    let propagation = mount.options.iter().find_map(|option| runtime::Propagation::parse(option)).unwrap_or_default();
    let is_further = |option: &&String| {
        !matches!(option.as_str(), "ro" | "rw" | "bind" | "rbind") && runtime::Propagation::parse(option).is_none()
    };
    let kind = MountKind::Bind {
        source: BindSource::Path(mount.host_path.clone()),
        propagation,
        recursive: has("rbind"),
        discard_writes: false,
        hidden: Vec::new(),
        options: mount.options.iter().filter(is_further).cloned().collect(),
    };
    Ok(Mount { target: mount.container_path.clone(), kind, read_only: has("ro") })
}

#[cfg(test)]
mod tests {
    use super::*;

    const JSON: &str = r#"{"cdiVersion": "0.6.0", "kind": "v.org/gpu",
        "devices": [
            {"name": "0", "containerEdits": {"env": ["GPU=0"], "deviceNodes": [{"path": "/dev/g0", "hostPath": "/dev/zero"}]}},
            {"name": "1", "containerEdits": {"env": ["GPU=1"]}}],
        "containerEdits": {"env": ["ALL=1"], "additionalGids": [0, 44],
            "mounts": [{"hostPath": "/lib", "containerPath": "/drivers", "options": ["ro", "nosuid", "rbind"]}],
            "hooks": [{"hookName": "createContainer", "path": "/bin/true", "args": ["true"]}]}}"#;
    const YAML: &str = "cdiVersion: 0.5.0\nkind: v.org/net\ndevices:\n- name: a\n  containerEdits:\n    deviceNodes:\n    \
        - path: /dev/n\n      permissions: rw\n      fileMode: 432\n      uid: 7\n";

    fn cdi(files: &[(&str, &str)]) -> (tempfile::TempDir, Result<Cdi, CdiError>) {
        let dir = tempfile::tempdir().expect("temp dir");
        for (name, text) in files {
            std::fs::write(dir.path().join(name), text).expect("write");
        }
        let cdi = Cdi::read(&[dir.path().join("none"), dir.path().to_owned()]);
        (dir, cdi)
    }

    fn env_of(cdi: &Cdi, name: &str) -> Option<String> {
        let mut edits = Edits::default();
        cdi.apply(name, &mut edits).expect(name).then(|| edits.env.join(" "))
    }

    #[test]
    fn tree_cdi_devices_are_found() {
        let (_dir, cdi) = cdi(&[("a.json", JSON), ("b.yaml", YAML), ("c.txt", "no specification")]);
        let cdi = cdi.expect("valid");
        assert_eq!(env_of(&cdi, "v.org/gpu=0").as_deref(), Some("ALL=1 GPU=0"));
        assert_eq!(env_of(&cdi, "v.org/gpu=*").as_deref(), Some("ALL=1 GPU=0 GPU=1"));
        assert_eq!(env_of(&cdi, "v.org/gpu").as_deref(), Some("ALL=1 GPU=0"));
        for name in ["v.org/gpu=2", "v.org/none=0", "gpu", ""] {
            assert_eq!(env_of(&cdi, name), None, "{name}");
        }
        let mut edits = Edits::default();
        assert!(
            cdi.apply("v.org/gpu=0", &mut edits).expect("edits")
                && cdi.apply("v.org/net=a", &mut edits).expect("edits")
        );
        let node = Device { access: "rw".into(), mode: Some(0o660), uid: Some(7), ..Device::new("/dev/n", "/dev/n") };
        assert_eq!(edits.devices, [Device::new("/dev/zero", "/dev/g0"), node]);
        assert_eq!((edits.groups, edits.hooks.len()), (vec![44], 1));
        assert!(
            matches!(&edits.mounts[..], [Mount { read_only: true, kind: MountKind::Bind { recursive: true, options, .. }, .. }]
            if options == &["nosuid"])
        );
    }

    #[test]
    fn tree_cdi_that_is_not_understood_is_refused() {
        for (text, expected) in [
            (r#"{"cdiVersion": "9.0.0", "kind": "v/c"}"#, "version 9.0.0 is not supported"),
            (r#"{"cdiVersion": "0.6.0"}"#, "missing field `kind`"),
            (
                r#"{"cdiVersion": "0.6.0", "kind": "v/c", "containerEdits": {"intelRdt": {}}}"#,
                "unknown field `intelRdt`",
            ),
            ("[", "EOF"),
        ] {
            let error = cdi(&[("x.json", text)]).1.expect_err(text).to_string();
            assert!(error.contains("x.json: ") && error.contains(expected), "{error}");
        }
        let text = r#"{"cdiVersion": "0.6.0", "kind": "v/c", "devices": [{"name": "x", "containerEdits":
            {"hooks": [{"hookName": "later", "path": "/x"}]}}]}"#;
        let (_dir, cdi) = cdi(&[("x.json", text)]);
        let error = cdi.expect("valid").apply("v/c=x", &mut Edits::default()).expect_err("hook").to_string();
        assert!(error.contains("unknown hook \"later\""), "{error}");
    }
}
