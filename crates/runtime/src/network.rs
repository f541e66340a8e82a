//! Whose network the process sees; a private one is made by netavark, as Podman's are.
//!
//! netavark joins a network namespace to a bridge of the host. What it is told is a definition in
//! Podman's format and the addresses to use: choosing them is the caller's business. Podman counts
//! upwards from the beginning of the subnet and notes what it gave in a database of its own; here
//! the upper half is used, each address being a file that is locked while it is in use, so that
//! a killed process takes none with it.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use nix::fcntl::{Flock, FlockArg};
use serde_json::{Value, json};

/// No definition is read further than this many bytes.
const FILE_LIMIT: u64 = 1 << 20;
/// How many addresses are tried before giving up.
const TRIES: u128 = 4096;

/// Network of a process.
#[derive(Clone, Debug)]
pub enum Network {
    /// The host's own.
    Host,
    /// Loopback alone.
    None,
    /// That of a file such as `/proc/1234/ns/net`, as it is.
    Path(PathBuf),
    /// Its own, joined to a bridge of the host by netavark.
    Private(NetworkConfig),
    /// As `Private`, one for several runs: making it takes longer than starting a process.
    Shared(Arc<SharedNetwork>),
}

impl Default for Network {
    fn default() -> Network {
        Network::Private(NetworkConfig::default())
    }
}

impl Network {
    /// The same network, but a private one is made once for all runs that get a clone of it.
    pub fn shared(self) -> Network {
        match self {
            Network::Private(config) => Network::Shared(SharedNetwork::new(config)),
            other => other,
        }
    }
}

/// What a private network is made by.
#[derive(Clone, Debug)]
pub struct NetworkConfig {
    /// The netavark program; where the distributions put it when absent.
    pub netavark: Option<PathBuf>,
    /// Where addresses in use are noted, one locked file each; should not outlive a boot.
    pub state_dir: PathBuf,
    /// The network's definition in Podman's format; Podman's default bridge when absent.
    pub definition: Option<PathBuf>,
    /// Podman's lock around netavark; not taken if its directory does not exist.
    pub lock_file: PathBuf,
}

impl Default for NetworkConfig {
    fn default() -> NetworkConfig {
        NetworkConfig {
            netavark: None,
            state_dir: "/run/gabion/networks".into(),
            definition: None,
            lock_file: "/etc/containers/networks/netavark.lock".into(),
        }
    }
}

/// A private network for several runs, made when the first one needs it. It goes with the value.
#[derive(Debug)]
pub struct SharedNetwork {
    config: NetworkConfig,
    made: Mutex<Option<PrivateNetwork>>,
}

impl SharedNetwork {
    /// A network that is not made yet.
    pub fn new(config: NetworkConfig) -> Arc<SharedNetwork> {
        Arc::new(SharedNetwork { config, made: Mutex::new(None) })
    }

    /// The network, made now if need be.
    pub(crate) fn join(&self, id: &str, search_path: &str) -> Result<Membership, NetworkError> {
        let mut made = self.made.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let network = match made.take() {
            Some(network) => network,
            None => PrivateNetwork::set_up(&self.config, id, search_path)?,
        };
        let namespace = network.namespace.try_clone().map_err(NetworkError::Namespace);
        let (addresses, gateway) = (network.addresses.clone(), network.gateway);
        *made = Some(network);
        Ok(Membership { namespace: namespace?, addresses, gateway })
    }
}

/// What a process in a private network needs to know of it.
#[derive(Debug)]
pub(crate) struct Membership {
    /// The network namespace.
    pub namespace: OwnedFd,
    /// The process's addresses.
    pub addresses: Vec<IpAddr>,
    /// The host's address on the bridge.
    pub gateway: Option<IpAddr>,
}

/// A new network namespace. It is made by a thread that ends at once, so that the caller stays
/// where it is.
fn new_namespace() -> std::io::Result<OwnedFd> {
    let make = || -> std::io::Result<OwnedFd> {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET)?;
        Ok(File::open("/proc/thread-self/ns/net")?.into())
    };
    let thread = std::thread::Builder::new().name("network".into()).spawn(make)?;
    thread.join().map_err(|_| std::io::Error::other("the thread ended"))?
}

/// A private network that cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NetworkError {
    /// netavark is not on this machine.
    #[error(
        "netavark not found, which makes private networks: install it (Debian and Ubuntu: apt install netavark iptables) or use --network host or none"
    )]
    NetavarkNotFound,
    /// netavark failed.
    #[error("netavark was unable to {0} the network: {1}")]
    Netavark(&'static str, String),
    /// netavark failed and its firewall program is missing.
    #[error(
        "netavark was unable to set up the network: {0}; no iptables is installed, which it may need (Debian and Ubuntu: apt install iptables)"
    )]
    FirewallNotFound(String),
    /// The definition cannot be used.
    #[error("invalid network definition {0}: {1}")]
    Definition(PathBuf, String),
    /// No address is left.
    #[error("no free address in the upper half of {0}")]
    NoAddress(String),
    /// The kernel refuses a namespace.
    #[error("unable to make a network namespace: {0}")]
    Namespace(std::io::Error),
    /// The state cannot be kept.
    #[error("unable to keep the network's state in {0}: {1}")]
    State(PathBuf, std::io::Error),
}

/// A network that is set up; `tear_down` undoes it.
#[derive(Debug)]
struct PrivateNetwork {
    addresses: Vec<IpAddr>,
    gateway: Option<IpAddr>,
    netavark: PathBuf,
    config: NetworkConfig,
    search_path: String,
    namespace: OwnedFd,
    request: Vec<u8>,
    /// Locked while the addresses are in use.
    leases: Vec<Lease>,
    is_up: bool,
}

impl PrivateNetwork {
    /// Makes a network namespace and joins it to the bridge.
    fn set_up(config: &NetworkConfig, id: &str, search_path: &str) -> Result<PrivateNetwork, NetworkError> {
        let netavark = find_netavark(config, search_path).ok_or(NetworkError::NetavarkNotFound)?;
        let definition = match &config.definition {
            Some(path) => read_definition(path)?,
            None => default_definition(),
        };
        let origin = config.definition.clone().unwrap_or_else(|| "of the default bridge".into());
        let invalid = |message: &str| NetworkError::Definition(origin.clone(), message.into());
        let name = definition.get("name").and_then(Value::as_str).ok_or_else(|| invalid("it has no name"))?.to_owned();
        if name.is_empty()
            || !name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
            || name.starts_with('.')
        {
            return Err(invalid("its name has characters beyond letters, digits, '.', '_' and '-'"));
        }
        let mut addresses = Vec::new();
        let mut gateway = None;
        let mut leases = Vec::new();
        for subnet in definition.get("subnets").and_then(Value::as_array).into_iter().flatten() {
            let text =
                subnet.get("subnet").and_then(Value::as_str).ok_or_else(|| invalid("a subnet has no \"subnet\""))?;
            let range = Subnet::parse(text).ok_or_else(|| invalid("a subnet is not of the form address/bits"))?;
            let lease = Lease::take(&config.state_dir.join(&name), range)?;
            addresses.push(lease.address);
            leases.push(lease);
            if let Some(Ok(address)) = subnet.get("gateway").and_then(Value::as_str).map(str::parse) {
                gateway = gateway.or(Some(address));
            }
        }
        let namespace = new_namespace().map_err(NetworkError::Namespace)?;
        let request = json!({
            "container_id": id,
            "container_name": id,
            "networks": {&name: {"static_ips": addresses, "interface_name": "eth0", "aliases": []}},
            "network_info": {&name: definition},
        });
        let request = request.to_string().into_bytes();
        let mut network = PrivateNetwork {
            addresses,
            gateway,
            netavark,
            config: config.clone(),
            search_path: search_path.into(),
            namespace,
            request,
            leases,
            is_up: true,
        };
        match network.call("setup") {
            Ok(()) => Ok(network),
            Err(error) => {
                network.is_up = false;
                let has_iptables = crate::program::find_on_host(Path::new("iptables"), search_path).is_some();
                match error {
                    NetworkError::Netavark(_, message) if !has_iptables => Err(NetworkError::FirewallNotFound(message)),
                    error => Err(error),
                }
            }
        }
    }

    /// Undoes it. That it cannot be undone harms nobody: what is in the namespace goes with it.
    fn tear_down(&mut self) {
        if std::mem::take(&mut self.is_up) {
            let _ = self.call("teardown");
        }
        self.leases.clear();
    }

    fn call(&self, command: &'static str) -> Result<(), NetworkError> {
        // One call at a time in this process, and one on this machine, Podman's included.
        static ONE: Mutex<()> = Mutex::new(());
        let _one = ONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let _lock = lock_against_podman(&self.config.lock_file);
        let failed =
            |message: String| NetworkError::Netavark(if command == "setup" { "set up" } else { "take down" }, message);
        let path = format!("/proc/{}/fd/{}", std::process::id(), self.namespace.as_raw_fd());
        let mut child = Command::new(&self.netavark)
            .args([command, &path])
            .env_clear()
            .env("PATH", &self.search_path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .map_err(|error| failed(error.to_string()))?;
        if let Some(mut stdin) = child.stdin.take() {
            let _ = stdin.write_all(&self.request);
        }
        let output = child.wait_with_output().map_err(|error| failed(error.to_string()))?;
        if output.status.success() {
            return Ok(());
        }
        let message = serde_json::from_slice::<Value>(&output.stdout).ok();
        let message = message.as_ref().and_then(|value| value.get("error")).and_then(Value::as_str).map(String::from);
        let stderr = String::from_utf8_lossy(&output.stderr);
        let last = stderr.lines().rfind(|line| !line.trim().is_empty()).map(str::to_owned);
        Err(failed(message.or(last).unwrap_or_else(|| output.status.to_string())))
    }
}

impl Drop for PrivateNetwork {
    fn drop(&mut self) {
        self.tear_down();
    }
}

/// Taking Podman's lock is a courtesy: without its directory there is no Podman to be polite to.
fn lock_against_podman(path: &Path) -> Option<OwnedFd> {
    use nix::fcntl::{FcntlArg, OFlag, fcntl, open};
    let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_CLOEXEC;
    let file = open(path, flags, nix::sys::stat::Mode::from_bits_truncate(0o644)).ok()?;
    let whole = nix::libc::flock {
        l_type: nix::libc::F_WRLCK as nix::libc::c_short,
        l_whence: nix::libc::SEEK_SET as nix::libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    fcntl(&file, FcntlArg::F_OFD_SETLKW(&whole)).ok()?;
    Some(file)
}

fn find_netavark(config: &NetworkConfig, search_path: &str) -> Option<PathBuf> {
    const PLACES: [&str; 4] = [
        "/usr/local/libexec/podman/netavark",
        "/usr/local/lib/podman/netavark",
        "/usr/libexec/podman/netavark",
        "/usr/lib/podman/netavark",
    ];
    let find = |path: &Path| crate::program::find_on_host(path, search_path);
    match &config.netavark {
        Some(path) => find(path),
        None => PLACES.iter().find_map(|place| find(Path::new(place))).or_else(|| find(Path::new("netavark"))),
    }
}

fn read_definition(path: &Path) -> Result<Value, NetworkError> {
    let invalid = |message: String| NetworkError::Definition(path.into(), message);
    let mut text = Vec::new();
    let read = File::open(path).and_then(|file| file.take(FILE_LIMIT).read_to_end(&mut text));
    read.map_err(|error| invalid(error.to_string()))?;
    serde_json::from_slice(&text).map_err(|error| invalid(error.to_string()))
}

/// Podman's default network; the ID is what Podman gives it.
fn default_definition() -> Value {
    json!({
        "name": "podman",
        "id": "2f259bab93aaaaa2542ba43ef33eb990d0999ee1b9924b557b7be53c0b7a1bb9",
        "driver": "bridge",
        "network_interface": "podman0",
        "created": "2000-01-01T00:00:00Z",
        "subnets": [{"subnet": "10.88.0.0/16", "gateway": "10.88.0.1"}],
        "ipv6_enabled": false,
        "internal": false,
        "dns_enabled": false,
        "ipam_options": {"driver": "host-local"},
    })
}

/// A range of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Subnet {
    base: u128,
    host_bits: u32,
    is_v6: bool,
}

impl Subnet {
    fn parse(text: &str) -> Option<Subnet> {
        let (address, bits) = text.split_once('/')?;
        let bits: u32 = bits.parse().ok()?;
        let (base, width, is_v6) = match address.parse().ok()? {
            IpAddr::V4(address) => (u128::from(u32::from(address)), 32, false),
            IpAddr::V6(address) => (u128::from(address), 128, true),
        };
        let host_bits = u32::checked_sub(width, bits)?;
        if !(3..=120).contains(&host_bits) {
            return None;
        }
        Some(Subnet { base: base >> host_bits << host_bits, host_bits, is_v6 })
    }

    /// Address number `index` of the upper half; the last one is the broadcast address and not used.
    fn upper(self, index: u128) -> IpAddr {
        let half = 1u128 << (self.host_bits - 1);
        let value = self.base + half + index % (half - 1);
        if self.is_v6 { Ipv6Addr::from(value).into() } else { Ipv4Addr::from(value as u32).into() }
    }
}

/// An address in use: a locked file of its name.
#[derive(Debug)]
struct Lease {
    address: IpAddr,
    path: PathBuf,
    _lock: Flock<File>,
}

impl Lease {
    /// Takes a free address of `range`. The first one tried depends on the process, so that several
    /// do not queue for the same.
    fn take(dir: &Path, range: Subnet) -> Result<Lease, NetworkError> {
        let failed = |error: std::io::Error| NetworkError::State(dir.into(), error);
        std::fs::create_dir_all(dir).map_err(failed)?;
        let start = u128::from(std::process::id());
        for index in start..start + TRIES {
            let address = range.upper(index);
            let path = dir.join(address.to_string());
            let file =
                File::options().read(true).write(true).create(true).truncate(false).open(&path).map_err(failed)?;
            let Ok(lock) = Flock::lock(file, FlockArg::LockExclusiveNonblock) else { continue };
            // Its former holder may have removed it between our opening and our locking.
            use std::os::unix::fs::MetadataExt as _;
            if lock.metadata().is_ok_and(|metadata| metadata.nlink() > 0) {
                return Ok(Lease { address, path, _lock: lock });
            }
        }
        Err(NetworkError::NoAddress(format!("{}/{}", range.upper(0), range.host_bits)))
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // Removed while still locked: who opened it before finds it without a name.
        let _ = std::fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pure_subnets_give_addresses_of_their_upper_half() {
        let subnet = |text| Subnet::parse(text);
        let range = subnet("10.88.0.0/16").expect("subnet");
        assert_eq!(range.upper(0).to_string(), "10.88.128.0");
        assert_eq!(range.upper(257).to_string(), "10.88.129.1");
        assert_eq!(range.upper((1 << 15) - 2).to_string(), "10.88.255.254");
        assert_eq!(range.upper((1 << 15) - 1).to_string(), "10.88.128.0");
        assert_eq!(subnet("fd00::/64").expect("subnet").upper(5).to_string(), "fd00::8000:0:0:5");
        for text in ["10.88.0.0", "10.88.0.0/33", "10.0.0.0/30", "x/8", "::/0", "10.0.0.0/-1"] {
            assert_eq!(subnet(text), None, "{text}");
        }
    }

    #[test]
    fn tree_leases_are_exclusive_and_leave_nothing() {
        let dir = tempfile::tempdir().expect("temp dir");
        let range = Subnet::parse("10.88.0.0/29").expect("subnet");
        let leases: Vec<_> = (0..3).map(|_| Lease::take(dir.path(), range).expect("free")).collect();
        let mut addresses: Vec<_> = leases.iter().map(|lease| lease.address.to_string()).collect();
        addresses.sort();
        assert_eq!(addresses, ["10.88.0.4", "10.88.0.5", "10.88.0.6"]);
        assert!(matches!(Lease::take(dir.path(), range), Err(NetworkError::NoAddress(_))));
        drop(leases);
        assert_eq!(std::fs::read_dir(dir.path()).expect("dir").count(), 0);
        assert!(Lease::take(dir.path(), range).is_ok());
    }
}
