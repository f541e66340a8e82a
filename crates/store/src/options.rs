//! Where the store is and how it mounts, and `storage.conf`, which says so.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::driver::Driver;
use crate::{Error, Result};

/// Where a store is and how it is used.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// Persistent data: `/var/lib/containers/storage`.
    pub graph_root: PathBuf,
    /// Data that a reboot may drop, mount counts among them: `/run/containers/storage`. Tools that
    /// share a graph root must share the run root.
    pub run_root: PathBuf,
    /// How layers are kept; by default as they are in the store, overlay in a new one.
    pub driver: Option<Driver>,
    /// Graph roots that are read and never written.
    pub additional_image_stores: Vec<PathBuf>,
    /// Extra options of overlay mounts (`nodev`, `metacopy=on`).
    pub mount_options: Vec<String>,
    /// Whether to mount without `volatile` even what is marked so.
    pub disable_volatile: bool,
    /// Whether to leave out the bind mount of the driver's home on itself.
    pub skip_mount_home: bool,
}

impl StoreOptions {
    /// A store at these roots, everything else as the tools have it without configuration.
    pub fn new(graph_root: impl Into<PathBuf>, run_root: impl Into<PathBuf>) -> StoreOptions {
        StoreOptions {
            graph_root: graph_root.into(),
            run_root: run_root.into(),
            driver: None,
            additional_image_stores: Vec::new(),
            mount_options: Vec::new(),
            disable_volatile: false,
            skip_mount_home: false,
        }
    }

    /// Takes what `config` sets.
    ///
    /// # Errors
    /// The configuration names a driver that is not supported, or a mount program.
    pub fn apply(&mut self, config: &ConfigFile) -> Result<()> {
        if let Some(driver) = config.driver.as_deref().filter(|driver| !driver.is_empty()) {
            self.driver = Some(Driver::parse(driver)?);
        }
        if config.mount_program.as_deref().is_some_and(|program| !program.is_empty()) {
            return Err(Error::Config {
                path: config.path.clone(),
                reason: "mount_program is not supported: the kernel mounts overlays itself".into(),
            });
        }
        let set = |ours: &mut PathBuf, theirs: &Option<PathBuf>| {
            if let Some(path) = theirs.as_ref().filter(|path| !path.as_os_str().is_empty()) {
                ours.clone_from(path);
            }
        };
        set(&mut self.graph_root, &config.graph_root);
        set(&mut self.run_root, &config.run_root);
        if let Some(stores) = &config.additional_image_stores {
            self.additional_image_stores.clone_from(stores);
        }
        if let Some(options) = &config.mount_options {
            self.mount_options.clone_from(options);
        }
        self.disable_volatile = config.disable_volatile.unwrap_or(self.disable_volatile);
        self.skip_mount_home = config.skip_mount_home.unwrap_or(self.skip_mount_home);
        Ok(())
    }
}

/// What a `storage.conf` says; `None` where it is silent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigFile {
    /// Where it was read from.
    pub path: PathBuf,
    /// `driver`
    pub driver: Option<String>,
    /// `graphroot`
    pub graph_root: Option<PathBuf>,
    /// `runroot`
    pub run_root: Option<PathBuf>,
    /// `options.additionalimagestores`
    pub additional_image_stores: Option<Vec<PathBuf>>,
    /// `options.overlay.mountopt`, split at commas
    pub mount_options: Option<Vec<String>>,
    /// `options.overlay.mount_program`
    pub mount_program: Option<String>,
    /// `options.disable-volatile`
    pub disable_volatile: Option<bool>,
    /// `options.overlay.skip_mount_home`
    pub skip_mount_home: Option<bool>,
}

impl ConfigFile {
    /// Reads and parses the file at `path`.
    ///
    /// # Errors
    /// It cannot be read or is no valid TOML.
    pub fn read(path: &Path) -> Result<ConfigFile> {
        let text = std::fs::read_to_string(path).map_err(Error::io("read", path))?;
        ConfigFile::parse(path, &text)
    }

    /// Parses the `text` of the file at `path`, which is for messages.
    ///
    /// # Errors
    /// It is no valid TOML, or a value has the wrong type.
    pub fn parse(path: &Path, text: &str) -> Result<ConfigFile> {
        let invalid = |error: toml::de::Error| Error::Config {
            path: path.to_owned(),
            reason: error.to_string().split_whitespace().collect::<Vec<_>>().join(" "),
        };
        let file: File = toml::from_str(text).map_err(invalid)?;
        let storage = file.storage;
        let options = storage.options;
        let overlay = options.overlay;
        let flag = |value: Option<Flag>| value.and_then(Flag::get);
        Ok(ConfigFile {
            path: path.to_owned(),
            driver: storage.driver,
            graph_root: storage.graphroot,
            run_root: storage.runroot,
            additional_image_stores: options.additionalimagestores,
            mount_options: overlay.mountopt.or(options.mountopt).as_deref().map(split_list),
            mount_program: overlay.mount_program.or(options.mount_program),
            disable_volatile: flag(options.disable_volatile),
            skip_mount_home: flag(overlay.skip_mount_home.or(options.skip_mount_home)),
        })
    }
}

/// The file's tables; other tools' keys are left alone.
#[derive(Default, Deserialize)]
#[serde(default)]
struct File {
    storage: Storage,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Storage {
    driver: Option<String>,
    graphroot: Option<PathBuf>,
    runroot: Option<PathBuf>,
    options: Options,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Options {
    additionalimagestores: Option<Vec<PathBuf>>,
    #[serde(rename = "disable-volatile")]
    disable_volatile: Option<Flag>,
    mountopt: Option<String>,
    mount_program: Option<String>,
    skip_mount_home: Option<Flag>,
    overlay: Overlay,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Overlay {
    mountopt: Option<String>,
    mount_program: Option<String>,
    skip_mount_home: Option<Flag>,
}

/// Go's tools write some booleans as strings.
#[derive(Deserialize)]
#[serde(untagged)]
enum Flag {
    Bool(bool),
    Text(String),
}

impl Flag {
    fn get(self) -> Option<bool> {
        match self {
            Flag::Bool(value) => Some(value),
            Flag::Text(text) => parse_bool(&text),
        }
    }
}

fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "true" | "True" | "TRUE" | "t" | "T" | "1" => Some(true),
        "false" | "False" | "FALSE" | "f" | "F" | "0" | "" => Some(false),
        _ => None,
    }
}

fn split_list(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<ConfigFile> {
        ConfigFile::parse(Path::new("/etc/containers/storage.conf"), text)
    }

    #[test]
    fn pure_storage_conf_is_applied() {
        let text = r#"
            [storage]
            driver = "overlay"
            graphroot = "/data"
            future = 1
            [storage.options]
            additionalimagestores = ["/ro"]
            disable-volatile = true
            pull_options = {enable_partial_images = "true"}
            [storage.options.overlay]
            mountopt = "nodev,metacopy=on"
            skip_mount_home = "true"
        "#;
        let mut options = StoreOptions::new("/graph", "/run");
        options.apply(&parse(text).expect("valid")).expect("supported");
        assert_eq!((options.graph_root.as_path(), options.run_root.as_path()), (Path::new("/data"), Path::new("/run")));
        assert_eq!(options.additional_image_stores, [PathBuf::from("/ro")]);
        assert_eq!(options.mount_options, ["nodev", "metacopy=on"]);
        assert!(options.disable_volatile && options.skip_mount_home);
        assert_eq!(options.driver, Some(Driver::Overlay));
        options.apply(&parse("[storage]\ndriver = \"vfs\"").expect("valid")).expect("supported");
        options.apply(&parse("[storage]\ndriver = \"\"").expect("valid")).expect("silent");
        assert_eq!(options.driver, Some(Driver::Vfs));
    }

    #[test]
    fn pure_what_is_not_supported_is_an_error() {
        let mut options = StoreOptions::new("/graph", "/run");
        for (text, expected) in [
            (
                "[storage]\ndriver = \"btrfs\"",
                "storage driver \"btrfs\" is not supported: expected \"overlay\" or \"vfs\"",
            ),
            (
                "[storage.options.overlay]\nmount_program = \"/usr/bin/fuse-overlayfs\"",
                "/etc/containers/storage.conf: mount_program is not supported: the kernel mounts overlays itself",
            ),
        ] {
            let error = options.apply(&parse(text).expect("valid")).expect_err("not supported");
            assert_eq!(error.to_string(), expected);
        }
        assert!(parse("[storage").is_err());
    }
}
