//! How registries are reached: settings that are read, and connections that are made, when first
//! needed. A command that finds its image in the store pays for neither.

use std::sync::OnceLock;

use registry::registries_conf::{Registries, RegistriesError, RegistriesFiles};
use registry::{Client, ClientOptions, RegistryError};

/// How registries are reached.
pub struct Remotes {
    client_options: ClientOptions,
    files: RegistriesFiles,
    client: OnceLock<Client>,
    registries: OnceLock<Registries>,
}

impl Remotes {
    /// Nothing is read or connected yet.
    pub fn new(client_options: ClientOptions, files: RegistriesFiles) -> Remotes {
        Remotes { client_options, files, client: OnceLock::new(), registries: OnceLock::new() }
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

    /// How often and when a failed transfer is repeated.
    pub fn retry(&self) -> &registry::RetryOptions {
        &self.client_options.retry
    }
}
