//! containers.conf: what all container tools of a host do by default. Only what commands of working
//! containers and pushes depend on is read.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// No file is read further than this many bytes.
const FILE_LIMIT: u64 = 1 << 20;

/// The defaults of the host; what is absent is left to the tools.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContainersConf {
    /// `containers.base_hosts_file`
    pub base_hosts_file: Option<String>,
    /// `containers.cgroupns`
    pub cgroupns: Option<String>,
    /// `containers.container_name_as_hostname`
    pub container_name_as_hostname: bool,
    /// `containers.default_capabilities`
    pub default_capabilities: Option<Vec<String>>,
    /// `containers.default_ulimits`
    pub default_ulimits: Vec<String>,
    /// `containers.devices`
    pub devices: Vec<String>,
    /// `containers.dns_options`
    pub dns_options: Vec<String>,
    /// `containers.dns_searches`
    pub dns_searches: Vec<String>,
    /// `containers.dns_servers`
    pub dns_servers: Vec<String>,
    /// `containers.ipcns`
    pub ipcns: Option<String>,
    /// `containers.netns`
    pub netns: Option<String>,
    /// `containers.pidns`
    pub pidns: Option<String>,
    /// `containers.shm_size`
    pub shm_size: Option<String>,
    /// `containers.utsns`
    pub utsns: Option<String>,
    /// `containers.volumes`
    pub volumes: Vec<String>,
    /// `engine.cdi_spec_dirs`
    pub cdi_spec_dirs: Option<Vec<String>>,
    /// `engine.compression_format`
    pub compression_format: Option<String>,
    /// `engine.compression_level`
    pub compression_level: Option<u32>,
    /// `engine.helper_binaries_dir`
    pub helper_binaries_dir: Vec<String>,
    /// `engine.runtime`
    pub runtime: Option<String>,
    /// `engine.runtimes`: where the runtime of a name may be.
    pub runtimes: BTreeMap<String, Vec<String>>,
    /// `network.default_network`
    pub default_network: Option<String>,
    /// `network.network_config_dir`
    pub network_config_dir: Option<PathBuf>,
}

/// A file that is no containers.conf.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {message}", path = .path.display())]
pub struct InvalidConf {
    path: PathBuf,
    message: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct File {
    containers: Containers,
    engine: Engine,
    network: NetworkSection,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Containers {
    base_hosts_file: Option<String>,
    cgroupns: Option<String>,
    container_name_as_hostname: Option<bool>,
    default_capabilities: Option<Vec<Item>>,
    default_ulimits: Option<Vec<Item>>,
    devices: Option<Vec<Item>>,
    dns_options: Option<Vec<Item>>,
    dns_searches: Option<Vec<Item>>,
    dns_servers: Option<Vec<Item>>,
    ipcns: Option<String>,
    netns: Option<String>,
    pidns: Option<String>,
    shm_size: Option<String>,
    utsns: Option<String>,
    volumes: Option<Vec<Item>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Engine {
    cdi_spec_dirs: Option<Vec<Item>>,
    compression_format: Option<String>,
    compression_level: Option<u32>,
    helper_binaries_dir: Option<Vec<Item>>,
    runtime: Option<String>,
    runtimes: BTreeMap<String, Vec<String>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct NetworkSection {
    default_network: Option<String>,
    network_config_dir: Option<PathBuf>,
}

/// A member of a list.
#[derive(Deserialize)]
#[serde(untagged)]
enum Item {
    Text(String),
    /// Whether the list is added to that of an earlier file, and not put in its place.
    Attribute {
        append: bool,
    },
}

impl ContainersConf {
    /// Reads those of `paths` that exist, in order: a later one has the last word.
    pub fn from_files(paths: &[PathBuf]) -> Result<ContainersConf, InvalidConf> {
        let mut conf = ContainersConf::default();
        for path in paths {
            let invalid = |message: String| InvalidConf { path: path.clone(), message };
            match read(path) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(invalid(error.to_string())),
                Ok(text) => conf.add(&text).map_err(invalid)?,
            }
        }
        Ok(conf)
    }

    /// Adds the text of one file.
    fn add(&mut self, text: &str) -> Result<(), String> {
        let in_one_line = |error: toml::de::Error| error.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
        let File { containers, engine, network } = toml::from_str(text).map_err(in_one_line)?;
        set(&mut self.base_hosts_file, containers.base_hosts_file);
        set(&mut self.cgroupns, containers.cgroupns);
        self.container_name_as_hostname =
            containers.container_name_as_hostname.unwrap_or(self.container_name_as_hostname);
        if let Some(items) = containers.default_capabilities {
            set_list(self.default_capabilities.get_or_insert_default(), Some(items));
        }
        set_list(&mut self.default_ulimits, containers.default_ulimits);
        set_list(&mut self.devices, containers.devices);
        set_list(&mut self.dns_options, containers.dns_options);
        set_list(&mut self.dns_searches, containers.dns_searches);
        set_list(&mut self.dns_servers, containers.dns_servers);
        set(&mut self.ipcns, containers.ipcns);
        set(&mut self.netns, containers.netns);
        set(&mut self.pidns, containers.pidns);
        set(&mut self.shm_size, containers.shm_size);
        set(&mut self.utsns, containers.utsns);
        set_list(&mut self.volumes, containers.volumes);
        if let Some(items) = engine.cdi_spec_dirs {
            set_list(self.cdi_spec_dirs.get_or_insert_default(), Some(items));
        }
        set(&mut self.compression_format, engine.compression_format);
        self.compression_level = engine.compression_level.or(self.compression_level);
        set_list(&mut self.helper_binaries_dir, engine.helper_binaries_dir);
        set(&mut self.runtime, engine.runtime);
        self.runtimes.extend(engine.runtimes);
        set(&mut self.default_network, network.default_network);
        if network.network_config_dir.is_some() {
            self.network_config_dir = network.network_config_dir;
        }
        Ok(())
    }

    /// Where the runtime of this name is, if the host says so.
    pub fn runtime_program(&self, name: &str) -> Option<PathBuf> {
        self.runtimes.get(name)?.iter().map(PathBuf::from).find(|path| path.is_file())
    }
}

fn read(path: &Path) -> std::io::Result<String> {
    use std::io::Read as _;
    let mut text = String::new();
    std::fs::File::open(path)?.take(FILE_LIMIT).read_to_string(&mut text)?;
    Ok(text)
}

fn set(value: &mut Option<String>, new: Option<String>) {
    if let Some(new) = new.filter(|new| !new.is_empty()) {
        *value = Some(new);
    }
}

fn set_list(list: &mut Vec<String>, items: Option<Vec<Item>>) {
    let Some(items) = items else { return };
    if !items.iter().any(|item| matches!(item, Item::Attribute { append: true })) {
        list.clear();
    }
    list.extend(items.into_iter().filter_map(|item| match item {
        Item::Text(text) => Some(text),
        Item::Attribute { .. } => None,
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tree_later_files_have_the_last_word() {
        let dir = tempfile::tempdir().expect("temp dir");
        let file = |name: &str, text: &str| {
            std::fs::write(dir.path().join(name), text).expect("write");
            dir.path().join(name)
        };
        let first = file(
            "1",
            "[containers]\ndefault_ulimits = [\"nofile=1:2\"]\ndns_servers = [\"1.1.1.1\"]\nunknown = 1\n\
             [engine]\nruntime = \"crun\"\n[engine.runtimes]\nmine = [\"/nosuch\", \"/bin/sh\"]\n",
        );
        let second = file(
            "2",
            "[containers]\ndefault_ulimits = [\"core=0\", {append=true}]\ndns_servers = []\nshm_size = \"1m\"\n\
             default_capabilities = [\"CHOWN\"]\n[network]\nnetwork_config_dir = \"/n\"\n",
        );
        let conf = ContainersConf::from_files(&[first, dir.path().join("nosuch"), second]).expect("valid");
        assert_eq!(conf.default_ulimits, ["nofile=1:2", "core=0"]);
        assert_eq!((conf.dns_servers.len(), conf.shm_size.as_deref()), (0, Some("1m")));
        assert_eq!((conf.runtime.as_deref(), conf.runtime_program("mine")), (Some("crun"), Some("/bin/sh".into())));
        assert_eq!(conf.default_capabilities, Some(vec!["CHOWN".to_owned()]));
        assert_eq!(conf.network_config_dir, Some("/n".into()));
        let bad = file("3", "[containers]\ndefault_ulimits = 7\n");
        let error = ContainersConf::from_files(&[bad]).expect_err("invalid").to_string();
        assert!(error.contains("/3: ") && !error.contains('\n'), "{error}");
    }
}
