//! Flags of every command that talks to a registry.

use std::path::PathBuf;

use clap::Args;

use super::value;

/// How to reach a registry.
#[derive(Args, Clone, Debug)]
pub struct RegistryArgs {
    /// File with credentials for registries
    #[arg(long, value_name = "FILE", env = "REGISTRY_AUTH_FILE", hide_env = true)]
    pub authfile: Option<PathBuf>,
    /// Directory with the registry's CA (*.crt) and a client certificate (*.cert, *.key)
    #[arg(long, value_name = "DIR", value_parser = value::directory())]
    pub cert_dir: Option<PathBuf>,
    /// Credentials for the registry
    #[arg(long, value_name = "USER[:PASSWORD]")]
    pub creds: Option<String>,
    /// File with the signature policy: which places images may come from [default: policy.json in ~/.config/containers or
    /// /etc/containers]
    #[arg(long, value_name = "FILE", value_parser = value::file())]
    pub signature_policy: Option<PathBuf>,
    /// Insist on HTTPS with a valid certificate [default: true, unless registries.conf calls the registry insecure]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub tls_verify: Option<bool>,
    /// How often to try again when a transfer fails
    #[arg(long, value_name = "NUMBER", default_value_t = 3, value_parser = value::number(0, u32::MAX))]
    pub retry: u32,
    /// Time between tries, such as 2s
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = super::parse_duration)]
    pub retry_delay: std::time::Duration,
}
