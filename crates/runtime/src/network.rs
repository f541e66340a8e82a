//! Whose network the process sees.

use std::net::IpAddr;
use std::path::PathBuf;

/// Network of a process.
#[derive(Clone, Debug, Default)]
pub enum Network {
    /// The host's own.
    Host,
    /// Loopback alone.
    None,
    /// Its own, joined to the host's bridge by netavark.
    #[default]
    Private,
    /// As `Private`, with options.
    Configured(NetworkConfig),
}

/// What a private network is made by.
#[derive(Clone, Debug)]
pub struct NetworkConfig {
    /// The netavark program.
    pub netavark: PathBuf,
    /// Where addresses in use are noted, one locked file each; lives until the next boot.
    pub state_dir: PathBuf,
    /// The network's definition in Podman's format; Podman's default bridge when absent.
    pub definition: Option<PathBuf>,
    /// Name servers for the process; the host's when empty.
    pub dns_servers: Vec<IpAddr>,
}
