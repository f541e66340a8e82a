//! How steps are confined, and what of the machine they may use: what `build`, `run` and `from`
//! take on their command lines.

use std::path::PathBuf;

use runtime::{Capabilities, Device, Isolation, Masks, Namespaces, Resources, Rlimit, Seccomp};

use super::cdi::{Cdi, CdiError, Edits};

/// How a step is confined.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What confines it.
    pub isolation: Isolation,
    /// Capabilities.
    pub capabilities: Capabilities,
    /// System call filter.
    pub seccomp: Seccomp,
    /// AppArmor profile; gabion's own when absent.
    pub apparmor: Option<String>,
    /// Whether the step may not gain rights by set-user-ID programs.
    pub no_new_privileges: bool,
    /// What of `/proc` and `/sys` is hidden.
    pub masks: Masks,
    /// Whose namespaces the step is in.
    pub namespaces: Namespaces,
    /// Groups beside the user's own.
    pub groups: Vec<u32>,
    /// Limits.
    pub rlimits: Vec<Rlimit>,
    /// Size of `/dev/shm` in bytes.
    pub shm_size: u64,
    /// Limits of control groups.
    pub resources: Resources,
    /// Devices that every step sees.
    pub devices: Vec<DeviceRequest>,
    /// Directories of OCI hooks.
    pub hook_dirs: Vec<PathBuf>,
    /// Where CDI specifications are; of two for one device, the later one counts.
    pub cdi_dirs: Vec<PathBuf>,
}

impl Default for Settings {
    /// Those of `buildah run`.
    fn default() -> Settings {
        // What Buildah asks for; the runtime cuts it to what the host gives.
        let limit = |name: &str| Rlimit { name: name.into(), soft: 1 << 20, hard: 1 << 20, may_be_lowered: true };
        Settings {
            isolation: Isolation::default(),
            capabilities: Capabilities::default(),
            seccomp: Seccomp::default(),
            apparmor: None,
            no_new_privileges: false,
            masks: Masks::default(),
            namespaces: Namespaces::default(),
            groups: Vec::new(),
            rlimits: vec![limit("nofile"), limit("nproc")],
            shm_size: 64 << 20,
            resources: Resources::default(),
            devices: Vec::new(),
            hook_dirs: Vec::new(),
            cdi_dirs: vec!["/etc/cdi".into(), "/var/run/cdi".into()],
        }
    }
}

/// A device as it is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeviceRequest {
    /// A node of the host, or a directory of such.
    Host(Device),
    /// What a CDI specification describes.
    Cdi {
        /// `vendor/class=name`.
        name: String,
        /// Whether the step fails without it.
        required: bool,
    },
}

/// A device that a step cannot get.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// No specification has it.
    #[error("device {0:?} is in no CDI specification in {1}")]
    Unknown(String, String),
    /// A specification cannot be used.
    #[error(transparent)]
    Cdi(#[from] CdiError),
    /// A directory of devices cannot be read.
    #[error("device directory {0}: {1}")]
    Directory(PathBuf, std::io::Error),
}

impl DeviceRequest {
    /// Parses the value of `--device`: `vendor/class=name`, or `/dev/x[:/dev/y][:rwm]`.
    pub fn parse(text: &str) -> Result<DeviceRequest, String> {
        if !text.starts_with('/') {
            let is_name = text.split_once('=').is_some_and(|(kind, name)| {
                kind.split_once('/').is_some_and(|(vendor, class)| !vendor.is_empty() && !class.is_empty())
                    && !name.is_empty()
            });
            return match is_name {
                true => Ok(DeviceRequest::Cdi { name: text.into(), required: true }),
                false => Err("expected /dev/name[:/dev/name][:rwm] or a CDI name, vendor/class=name".into()),
            };
        }
        let access = |text: &str| !text.is_empty() && text.bytes().all(|b| b"rwm".contains(&b));
        let parts: Vec<&str> = text.split(':').collect();
        let (host, path, letters) = match parts.as_slice() {
            [host] => (*host, *host, "rwm"),
            [host, letters] if access(letters) => (*host, *host, *letters),
            [host, path] => (*host, *path, "rwm"),
            [host, path, letters] if access(letters) => (*host, *path, *letters),
            _ => return Err("expected /dev/name[:/dev/name][:rwm]".into()),
        };
        if !path.starts_with('/') {
            return Err(format!("{path:?} is neither an absolute path nor letters of rwm"));
        }
        Ok(DeviceRequest::Host(Device { access: letters.into(), ..Device::new(host, path) }))
    }
}

impl Settings {
    /// The devices, and what else comes with them, of these settings and of `more`.
    pub(super) fn edits(&self, more: &[DeviceRequest]) -> Result<Edits, DeviceError> {
        let mut edits = Edits::default();
        let mut cdi: Option<Cdi> = None;
        for request in self.devices.iter().chain(more) {
            match request {
                DeviceRequest::Host(device) => edits.devices.extend(nodes_of(device)?),
                DeviceRequest::Cdi { name, required } => {
                    let cdi = match &mut cdi {
                        Some(cdi) => cdi,
                        None => cdi.insert(Cdi::read(&self.cdi_dirs)?),
                    };
                    if !cdi.apply(name, &mut edits)? && *required {
                        let dirs: Vec<_> = self.cdi_dirs.iter().map(|dir| dir.display().to_string()).collect();
                        return Err(DeviceError::Unknown(name.clone(), dirs.join(", ")));
                    }
                }
            }
        }
        Ok(edits)
    }
}

/// The device itself, or those in the directory.
pub(super) fn nodes_of(device: &Device) -> Result<Vec<Device>, DeviceError> {
    if !device.host_path.is_dir() {
        return Ok(vec![device.clone()]);
    }
    let failed = |error| DeviceError::Directory(device.host_path.clone(), error);
    let mut nodes = Vec::new();
    for entry in std::fs::read_dir(&device.host_path).map_err(failed)? {
        use std::os::unix::fs::FileTypeExt as _;
        let entry = entry.map_err(failed)?;
        let kind = entry.file_type().map_err(failed)?;
        let below = Device { host_path: entry.path(), path: device.path.join(entry.file_name()), ..device.clone() };
        if kind.is_dir() {
            nodes.extend(nodes_of(&below)?);
        } else if kind.is_char_device() || kind.is_block_device() {
            nodes.push(below);
        }
    }
    Ok(nodes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pure_devices_are_parsed() {
        let host = |host: &str, path: &str, access: &str| {
            Ok(DeviceRequest::Host(Device { access: access.into(), ..Device::new(host, path) }))
        };
        for (text, expected) in [
            ("/dev/a", host("/dev/a", "/dev/a", "rwm")),
            ("/dev/a:/dev/b", host("/dev/a", "/dev/b", "rwm")),
            ("/dev/a:rw", host("/dev/a", "/dev/a", "rw")),
            ("/dev/a:/dev/b:r", host("/dev/a", "/dev/b", "r")),
            ("v.org/gpu=0", Ok(DeviceRequest::Cdi { name: "v.org/gpu=0".into(), required: true })),
        ] {
            assert_eq!(DeviceRequest::parse(text), expected, "{text}");
        }
        for text in ["", "dev", "v/c", "v/=x", "v/c=", "/dev/a:x", "/dev/a:/dev/b:", "/a:/b:/c:r"] {
            assert!(DeviceRequest::parse(text).is_err(), "{text}");
        }
    }
}
