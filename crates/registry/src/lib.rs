//! The OCI distribution protocol, as a client; credentials; registries.conf.
//!
//! Every call blocks; the asynchronous HTTP client below is private. Blobs are streams in both
//! directions, so memory does not depend on their size. Nothing here reads the environment or the
//! home directory: [`ClientOptions`], [`auth::Credentials`] and [`registries_conf::RegistriesFiles`]
//! say what to use.
//!
//! ```no_run
//! use registry::{Client, ClientOptions, Endpoint, Selector};
//!
//! let client = Client::new(ClientOptions::default())?;
//! let reference = oci::Reference::parse_qualified("localhost:5000/app:1")?;
//! let repository = client.repository(&Endpoint { reference: reference.clone(), insecure: true })?;
//! let manifest = repository.manifest(&Selector::of(&reference))?;
//! println!("{} bytes, {}", manifest.bytes.len(), manifest.digest);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

pub mod auth; // who we are
mod blob; // reading blobs
mod challenge; // how a registry asks for credentials
mod client; // connections, redirects, retries
mod download; // a file by its URL
mod error; // one line each
mod origin; // to whom a secret may go
pub mod registries_conf; // short names, mirrors, blocked registries
mod repository; // manifests and tags
mod retry; // when a server wants to be asked again
mod tls; // roots and client certificates
mod token; // Authorization headers
mod upload; // writing blobs

pub use blob::BlobReader;
pub use client::{Client, ClientOptions, Endpoint, Notice, NoticeSink, ProxyOptions, RetryOptions};
pub use download::{Download, DownloadError};
pub use error::RegistryError;
pub use repository::{MAX_MANIFEST, ManifestHead, RawManifest, Repository, Selector};
pub use tls::TlsOptions;
pub use upload::{Mount, Upload};
