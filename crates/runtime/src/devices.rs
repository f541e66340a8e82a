//! Devices of the host that the process sees, and what it may do with devices at all.

use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use oci_spec::OciSpecError;
use oci_spec::runtime::{
    LinuxDevice, LinuxDeviceBuilder, LinuxDeviceCgroup, LinuxDeviceCgroupBuilder, LinuxDeviceType,
};

/// A device of the host that the process sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// The node on the host; symlinks are followed.
    pub host_path: PathBuf,
    /// Where the process sees it.
    pub path: PathBuf,
    /// What it may do: letters of `r` (read), `w` (write), `m` (make nodes of it).
    pub access: String,
    /// Mode of the node; the host's when absent.
    pub mode: Option<u32>,
    /// Its owner; the host's when absent.
    pub uid: Option<u32>,
    /// Its group; the host's when absent.
    pub gid: Option<u32>,
}

/// A device that cannot be given.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// There is none.
    #[error("device {0}: {1}")]
    Missing(PathBuf, std::io::Error),
    /// It is no device.
    #[error("{0} is no device")]
    NoDevice(PathBuf),
    /// The specification refuses it.
    #[error("unable to describe device {0}: {1}")]
    Spec(PathBuf, OciSpecError),
}

impl Device {
    /// The host's node `host_path`, seen at `path`, to be read, written and made.
    pub fn new(host_path: impl Into<PathBuf>, path: impl Into<PathBuf>) -> Device {
        let (host_path, path) = (host_path.into(), path.into());
        Device { host_path, path, access: "rwm".into(), mode: None, uid: None, gid: None }
    }
}

/// As the runtime specification has them: the nodes, and what the control group allows.
pub(crate) type Described = (Vec<LinuxDevice>, Vec<LinuxDeviceCgroup>);

/// Describes `devices`; nothing else is allowed beside what every process may use, unless `all` is.
pub(crate) fn describe(devices: &[Device], all: bool) -> Result<Described, DeviceError> {
    let rule = |allow| LinuxDeviceCgroupBuilder::default().allow(allow).access("rwm").build();
    let mut rules = vec![rule(all).map_err(|error| DeviceError::Spec("all".into(), error))?];
    let mut nodes = Vec::new();
    for device in devices {
        let failed = |error| DeviceError::Spec(device.host_path.clone(), error);
        let metadata =
            device.host_path.metadata().map_err(|error| DeviceError::Missing(device.host_path.clone(), error))?;
        let kind = match metadata.file_type() {
            kind if kind.is_char_device() => LinuxDeviceType::C,
            kind if kind.is_block_device() => LinuxDeviceType::B,
            _ => return Err(DeviceError::NoDevice(device.host_path.clone())),
        };
        let (major, minor) = (rustix::fs::major(metadata.rdev()), rustix::fs::minor(metadata.rdev()));
        let node = LinuxDeviceBuilder::default()
            .typ(kind)
            .path(&device.path)
            .major(i64::from(major))
            .minor(i64::from(minor))
            .file_mode(device.mode.unwrap_or(metadata.mode()) & 0o777)
            .uid(device.uid.unwrap_or(metadata.uid()))
            .gid(device.gid.unwrap_or(metadata.gid()));
        nodes.push(node.build().map_err(failed)?);
        let rule = LinuxDeviceCgroupBuilder::default()
            .allow(true)
            .typ(kind)
            .major(i64::from(major))
            .minor(i64::from(minor))
            .access(device.access.as_str());
        rules.push(rule.build().map_err(failed)?);
    }
    Ok((nodes, rules))
}

/// What a process that is hardly confined has beside the devices of every process: those by which
/// images of disks are mounted. A node that the host lacks is left out.
pub(crate) fn for_insecure() -> Vec<Device> {
    let loops = (0..8).map(|number| format!("/dev/loop{number}"));
    let names = ["/dev/loop-control", "/dev/fuse", "/dev/kmsg"].into_iter().map(String::from);
    names.chain(loops).filter(|path| Path::new(path).exists()).map(|path| Device::new(path.clone(), path)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tree_devices_are_described() {
        let zero = Device { mode: Some(0o600), access: "r".into(), ..Device::new("/dev/zero", "/dev/nought") };
        let (nodes, rules) = describe(&[zero], false).expect("a device");
        assert_eq!((nodes[0].typ(), nodes[0].major(), nodes[0].minor()), (LinuxDeviceType::C, 1, 5));
        assert_eq!((nodes[0].path().as_path(), nodes[0].file_mode()), (Path::new("/dev/nought"), Some(0o600)));
        assert_eq!(rules.iter().map(|rule| rule.allow()).collect::<Vec<_>>(), [false, true]);
        assert_eq!(rules[1].access().as_deref(), Some("r"));
        let error = |path: &str| describe(&[Device::new(path, "/dev/x")], false).expect_err(path).to_string();
        assert_eq!(error("/etc/passwd"), "/etc/passwd is no device");
        assert!(error("/dev/none").starts_with("device /dev/none: "));
    }
}
