//! How registries are reached: settings that are read, and connections that are made, when first
//! needed. A command that finds its image in the store pays for neither.

use std::path::PathBuf;
use std::sync::OnceLock;

use oci::Reference;
use registry::registries_conf::{Registries, RegistriesError, RegistriesFiles};
use registry::{Client, ClientOptions, Endpoint, RegistryError};

use super::policy::{Policy, PolicyError, RegistrySources};
use crate::transport::Location;

/// How registries are reached.
pub struct Remotes {
    client_options: ClientOptions,
    files: RegistriesFiles,
    client: OnceLock<Client>,
    registries: OnceLock<Registries>,
    policy_file: Option<PathBuf>,
    policy: OnceLock<Policy>,
    sources: RegistrySources,
}

impl Remotes {
    /// Nothing is read or connected yet.
    pub fn new(client_options: ClientOptions, files: RegistriesFiles) -> Remotes {
        let (client, registries, policy) = (OnceLock::new(), OnceLock::new(), OnceLock::new());
        Remotes {
            client_options,
            files,
            client,
            registries,
            policy_file: None,
            policy,
            sources: RegistrySources::default(),
        }
    }

    /// The same, with the signature policy of a file; without one images may come from anywhere.
    pub fn with_policy_file(self, policy_file: Option<PathBuf>) -> Remotes {
        Remotes { policy_file, ..self }
    }

    /// The same, with the registries that may be used.
    pub fn with_sources(self, sources: RegistrySources) -> Remotes {
        Remotes { sources, ..self }
    }

    /// Whether an image may be written to `location`.
    pub fn allow_writing(&self, location: &Location) -> Result<(), PolicyError> {
        self.sources.check(location)
    }

    /// Whether the registry of `location` may be used, and the signature policy lets its image in.
    pub fn allow(&self, location: &Location) -> Result<(), PolicyError> {
        self.sources.check(location)?;
        let Some(path) = &self.policy_file else { return Ok(()) };
        let policy = match self.policy.get() {
            Some(policy) => policy,
            None => {
                let policy = Policy::read(path)?;
                self.policy.get_or_init(|| policy)
            }
        };
        policy.check(location)
    }

    /// The client, made at the first call.
    pub fn client(&self) -> Result<&Client, RegistryError> {
        match self.client.get() {
            Some(client) => Ok(client),
            None => {
                let client = Client::new(self.client_options.clone())?;
                Ok(self.client.get_or_init(|| client))
            }
        }
    }

    /// The settings for registries, read at the first call.
    pub fn registries(&self) -> Result<&Registries, RegistriesError> {
        match self.registries.get() {
            Some(registries) => Ok(registries),
            None => {
                let registries = Registries::from_files(&self.files)?;
                Ok(self.registries.get_or_init(|| registries))
            }
        }
    }

    /// Where `reference` may be pulled from, the best place first.
    pub fn pull_endpoints(&self, reference: &Reference) -> Result<Vec<Endpoint>, RegistriesError> {
        let endpoints = self.registries()?.pull_endpoints(reference)?;
        Ok(endpoints.into_iter().map(|endpoint| self.as_sources_say(endpoint)).collect())
    }

    /// Where `reference` is pushed to.
    pub fn push_endpoint(&self, reference: &Reference) -> Result<Endpoint, RegistriesError> {
        Ok(self.as_sources_say(self.registries()?.push_endpoint(reference)?))
    }

    fn as_sources_say(&self, endpoint: Endpoint) -> Endpoint {
        let insecure = endpoint.insecure || self.sources.is_insecure(endpoint.reference.domain());
        Endpoint { insecure, ..endpoint }
    }

    /// How often and when a failed transfer is repeated.
    pub fn retry(&self) -> &registry::RetryOptions {
        &self.client_options.retry
    }
}
