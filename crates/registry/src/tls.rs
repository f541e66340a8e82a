//! TLS as containers/image sets it up: system roots, and per host a directory of more.
//!
//! In a certificate directory `*.crt` are roots to trust, and `x.cert` with `x.key` is a client
//! certificate. `--cert-dir` names one; without it `<base>/<host[:port]>/` is looked up in each of
//! the base directories (containers-certs.d(5)).

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::error::RegistryError;

/// Which certificates are trusted and shown.
#[derive(Clone, Debug, Default)]
pub struct TlsOptions {
    /// `--tls-verify`: `Some(false)` accepts any certificate and plain http; `None` leaves it to
    /// registries.conf.
    pub verify: Option<bool>,
    /// `--cert-dir`, for every registry.
    pub cert_dir: Option<PathBuf>,
    /// Directories that hold a directory per host, such as `/etc/containers/certs.d`.
    pub cert_base_dirs: Vec<PathBuf>,
}

/// What a certificate directory holds.
#[derive(Default)]
pub(crate) struct HostCertificates {
    pub(crate) roots: Vec<reqwest::Certificate>,
    pub(crate) identity: Option<reqwest::Identity>,
}

impl TlsOptions {
    /// The certificates for `host` (with its port).
    pub(crate) fn certificates(&self, host: &str) -> Result<HostCertificates, RegistryError> {
        if let Some(dir) = &self.cert_dir {
            return read_directory(dir);
        }
        let found = self.cert_base_dirs.iter().map(|base| base.join(host)).find(|dir| dir.is_dir());
        found.map_or_else(|| Ok(HostCertificates::default()), |dir| read_directory(&dir))
    }
}

fn read_directory(dir: &Path) -> Result<HostCertificates, RegistryError> {
    let failed = |path: &Path, reason: String| RegistryError::TlsFile { path: path.display().to_string(), reason };
    let read = |path: &Path| std::fs::read(path).map_err(|error| failed(path, crate::error::root_cause(&error)));
    let mut names: Vec<PathBuf> = std::fs::read_dir(dir)
        .and_then(|entries| entries.map(|entry| entry.map(|e| e.path())).collect())
        .map_err(|error| failed(dir, crate::error::root_cause(&error)))?;
    names.sort();
    let mut found = HostCertificates::default();
    for path in &names {
        match path.extension().and_then(|e| e.to_str()) {
            Some("crt") => {
                let certificates = reqwest::Certificate::from_pem_bundle(&read(path)?)
                    .map_err(|error| failed(path, crate::error::root_cause(&error)))?;
                if certificates.is_empty() {
                    return Err(failed(path, "it holds no PEM certificate".into()));
                }
                found.roots.extend(certificates);
            }
            Some("cert") => {
                let key = path.with_extension("key");
                if !key.exists() {
                    return Err(failed(path, format!("its key {} is missing", key.display())));
                }
                let mut pem = read(&key)?;
                pem.push(b'\n');
                pem.extend(read(path)?);
                let identity = reqwest::Identity::from_pem(&pem)
                    .map_err(|error| failed(path, crate::error::root_cause(&error)))?;
                found.identity = Some(identity);
            }
            Some("key") if !path.with_extension("cert").exists() => {
                return Err(failed(path, "its certificate (.cert) is missing".into()));
            }
            _ => {}
        }
    }
    Ok(found)
}

/// The roots that the machine trusts, read once. A machine without any still reaches registries
/// whose root is in a certificate directory.
pub(crate) fn system_roots() -> &'static [reqwest::Certificate] {
    static ROOTS: OnceLock<Vec<reqwest::Certificate>> = OnceLock::new();
    ROOTS.get_or_init(|| {
        let loaded = rustls_native_certs::load_native_certs();
        loaded.certs.iter().filter_map(|der| reqwest::Certificate::from_der(der).ok()).collect()
    })
}
