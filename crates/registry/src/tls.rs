//! TLS as containers/image sets it up: system roots, and per host a directory of more.
//!
//! In a certificate directory `*.crt` are roots to trust, and `x.cert` with `x.key` is a client
//! certificate. `--cert-dir` names one; without it `<base>/<host[:port]>/` is looked up in each of
//! the base directories (containers-certs.d(5)).

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{WebPkiSupportedAlgorithms, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme,
};

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
    roots: Vec<CertificateDer<'static>>,
    identity: Option<Identity>,
}

/// A client certificate with its chain, and its key.
type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

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
                let certificates = certificates_of(&read(path)?).map_err(|reason| failed(path, reason))?;
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
                let chain = certificates_of(&read(path)?).map_err(|reason| failed(path, reason))?;
                let secret = PrivateKeyDer::from_pem_slice(&read(&key)?)
                    .map_err(|error| failed(&key, crate::error::root_cause(&error)))?;
                found.identity = Some((chain, secret));
            }
            Some("key") if !path.with_extension("cert").exists() => {
                return Err(failed(path, "its certificate (.cert) is missing".into()));
            }
            _ => {}
        }
    }
    Ok(found)
}

fn certificates_of(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(|error| crate::error::root_cause(&error))
}

/// The roots that the machine trusts, read once. A machine without any still reaches registries
/// whose root is in a certificate directory.
fn system_roots() -> &'static [CertificateDer<'static>] {
    static ROOTS: OnceLock<Vec<CertificateDer<'static>>> = OnceLock::new();
    ROOTS.get_or_init(|| rustls_native_certs::load_native_certs().certs)
}

/// How a client talks TLS: whom it trusts, and what it shows of itself.
pub(crate) fn client_config(certificates: HostCertificates, insecure: bool) -> Result<ClientConfig, Error> {
    let provider = ring::default_provider();
    let algorithms = provider.signature_verification_algorithms;
    let trust = match insecure {
        true => Trust { certificates: None, roots: RootCertStore::empty(), algorithms },
        false => Trust::new(certificates.roots, algorithms)?,
    };
    let builder = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(trust));
    match certificates.identity {
        Some((chain, key)) => builder.with_client_auth_cert(chain, key),
        None => Ok(builder.with_no_client_auth()),
    }
}

/// Which servers are trusted: those with a certificate that a root has signed, and those whose
/// certificate *is* one of the roots, as of a registry that has made its own.
#[derive(Debug)]
struct Trust {
    /// Those trusted; none where any server will do.
    certificates: Option<Vec<CertificateDer<'static>>>,
    roots: RootCertStore,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Trust {
    fn new(own: Vec<CertificateDer<'static>>, algorithms: WebPkiSupportedAlgorithms) -> Result<Trust, Error> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(system_roots().iter().cloned());
        own.iter().try_for_each(|certificate| roots.add(certificate.clone()))?;
        let certificates = system_roots().iter().cloned().chain(own).collect();
        Ok(Trust { certificates: Some(certificates), roots, algorithms })
    }
}

impl ServerCertVerifier for Trust {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(certificates) = &self.certificates else {
            return Ok(ServerCertVerified::assertion());
        };
        let parsed = ParsedCertificate::try_from(end_entity)?;
        let algorithms = self.algorithms.all;
        match verify_server_cert_signed_by_trust_anchor(&parsed, &self.roots, intermediates, now, algorithms) {
            Err(error) if is_authority(&error) && certificates.contains(end_entity) => {}
            verified => verified?,
        }
        verify_server_name(&parsed, server_name)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Whether a certificate, which is valid now, was not taken for the one reason that it may sign others.
fn is_authority(error: &Error) -> bool {
    match error {
        Error::InvalidCertificate(CertificateError::Other(OtherError(reason))) => {
            reason.downcast_ref() == Some(&webpki::Error::CaUsedAsEndEntity)
        }
        _ => false,
    }
}
