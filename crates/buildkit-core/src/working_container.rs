//! Working containers: a record in the store, a layer to write to, and the [`State`] beside it.
//!
//! They are the same containers that Buildah, Podman and CRI-O see; a container is a *working*
//! container if its directory holds a state file.

mod kept; // how commands are run
mod naming; // names like alpine-working-container-1
mod state; // buildah.json

use std::io::Write;
use std::path::PathBuf;

use oci::{ContainerId, Format, ImageConfig, LayerId, Platform};
use store::{NewContainer, Store};

use crate::build::cached_step;
use crate::image::Image;
pub use kept::{CommonOptions, Isolation, KeptDevice, KeptSettings, NamespaceOption, NetworkPolicy};
pub use state::{FILE_NAME, InvalidState, LinkedLayer, State, default_options};

/// A working container.
pub struct WorkingContainer<'s> {
    store: &'s Store,
    record: store::Container,
    state: State,
}

/// How to make a working container.
#[derive(Clone, Debug)]
pub struct FromOptions {
    /// Its name; by default one is made from the image's.
    pub name: Option<String>,
    /// What a name made from the image's ends in, in place of `working-container`.
    pub suffix: Option<String>,
    /// Format of the image to be.
    pub format: Format,
    /// Platform of a container without a base image.
    pub platform: Platform,
}

/// Why a working container could not be made, found or changed.
#[derive(Debug, thiserror::Error)]
pub enum WorkingContainerError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The state file is damaged.
    #[error("working container {name}: {source}")]
    State {
        /// The container's name.
        name: String,
        /// What is wrong with the file.
        source: InvalidState,
    },
    /// Another tool's container.
    #[error("{0:?} is no working container: another tool made it, and it has no {FILE_NAME}")]
    Foreign(String),
    /// The state file could not be read or written.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What failed.
        source: std::io::Error,
    },
}

impl WorkingContainerError {
    /// Whether no container has the name or ID that was asked for.
    pub fn is_unknown(&self) -> bool {
        matches!(self, WorkingContainerError::Store(error) if error.is_not_found())
    }
}

impl<'s> WorkingContainer<'s> {
    /// Makes a working container on `image`, or an empty one.
    pub fn from(
        store: &'s Store,
        image: Option<&Image>,
        options: &FromOptions,
    ) -> Result<WorkingContainer<'s>, WorkingContainerError> {
        let top = image.and_then(|image| image.top_layer().cloned());
        WorkingContainer::of_build(store, image, top, options, String::new())
    }

    /// The same over the layer `top` of a stage that began with `image`, with a text for the record that
    /// says whose container it is.
    pub(crate) fn of_build(
        store: &'s Store,
        image: Option<&Image>,
        top: Option<LayerId>,
        options: &FromOptions,
        metadata: String,
    ) -> Result<WorkingContainer<'s>, WorkingContainerError> {
        // A nameless image is called by what led to it.
        let base =
            image.map_or("scratch", |image| if image.record().names.is_empty() { image.asked() } else { image.name() });
        let mut attempt = 0;
        let record = loop {
            let name = match &options.name {
                Some(name) => name.clone(),
                None => naming::default_name(base, options.suffix.as_deref(), attempt),
            };
            let mut new = NewContainer::new(name, image.map(|image| image.id().clone()));
            new.layer.clone_from(&top);
            new.metadata.clone_from(&metadata);
            match store.create_container(new) {
                Err(store::Error::NameTaken { .. }) if options.name.is_none() => attempt += 1,
                result => break result?,
            }
        };
        let config = match image {
            Some(image) => image.config().clone(),
            None => ImageConfig::new(&options.platform),
        };
        let name = record.names.first().cloned().unwrap_or_default();
        let mut state = State::new(record.id.clone(), &name, config, options.format);
        if let Some(image) = image {
            state.image = image.name().to_owned();
            state.image_id = Some(image.id().clone());
            state.image_digest = Some(image.manifest().digest());
            state.base_config = image.config_bytes().to_vec();
            state.base_manifest = image.manifest().bytes().to_vec();
            state.annotations = image.manifest().annotations();
            state.annotations.insert(BASE_NAME.into(), image.stored_name().to_owned());
            state.annotations.insert(BASE_DIGEST.into(), image.manifest().digest().to_string());
        }
        state.top_layer = top;
        let container = WorkingContainer { store, record, state };
        container.save()?;
        Ok(container)
    }

    /// Finds a working container by name, ID or unambiguous start of an ID.
    pub fn open(store: &'s Store, name_or_id: &str) -> Result<WorkingContainer<'s>, WorkingContainerError> {
        let record = store.container(name_or_id)?;
        WorkingContainer::of_record(store, record)?.ok_or_else(|| WorkingContainerError::Foreign(name_or_id.to_owned()))
    }

    /// All working containers, oldest first, those whose state cannot be read as the error that
    /// says so; those of other tools are left out.
    pub fn list(
        store: &'s Store,
    ) -> Result<impl Iterator<Item = Result<WorkingContainer<'s>, WorkingContainerError>>, WorkingContainerError> {
        let records = store.containers()?;
        Ok(records.into_iter().filter_map(|record| WorkingContainer::of_record(store, record).transpose()))
    }

    fn of_record(
        store: &'s Store,
        record: store::Container,
    ) -> Result<Option<WorkingContainer<'s>>, WorkingContainerError> {
        // Read without making anything: the container may be on its way out.
        let Some(bytes) = store.container_file(&record.id, FILE_NAME)? else { return Ok(None) };
        let name = || record.names.first().cloned().unwrap_or_else(|| record.id.to_string());
        match State::parse(&bytes) {
            Ok(state) => Ok(Some(WorkingContainer { store, record, state })),
            Err(InvalidState::Type(_)) => Ok(None),
            Err(source) => Err(WorkingContainerError::State { name: name(), source }),
        }
    }

    /// The store it is in.
    pub fn store(&self) -> &'s Store {
        self.store
    }

    /// Its record in the store.
    pub fn record(&self) -> &store::Container {
        &self.record
    }

    /// Its ID.
    pub fn id(&self) -> &ContainerId {
        &self.record.id
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.state.container_name
    }

    /// What is remembered of it.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// What is remembered of it, to be changed and then saved.
    pub fn state_mut(&mut self) -> &mut State {
        &mut self.state
    }

    /// Writes the state file, whole or not at all.
    pub fn save(&self) -> Result<(), WorkingContainerError> {
        let bytes = self
            .state
            .to_bytes()
            .map_err(|source| WorkingContainerError::State { name: self.name().to_owned(), source })?;
        let directory = self.store.container_directory(self.id())?;
        let path = directory.join(FILE_NAME);
        let write = || {
            let mut file = tempfile::Builder::new().prefix(".tmp-").tempfile_in(&directory)?;
            file.write_all(&bytes)?;
            file.as_file().sync_data()?;
            file.persist(&path).map_err(|error| error.error)
        };
        write().map(drop).map_err(|source| WorkingContainerError::Io { path: path.clone(), source })
    }

    /// Mounts it (once more, if it is mounted already) and says where.
    pub fn mount(&mut self) -> Result<PathBuf, WorkingContainerError> {
        let path = self.store.mount(self.id())?;
        let text = path.to_string_lossy();
        if self.state.mount_point != text {
            self.state.mount_point = text.into_owned();
            self.save()?;
        }
        Ok(path)
    }

    /// Takes one mount back; with `force` all of them.
    pub fn unmount(&mut self, force: bool) -> Result<(), WorkingContainerError> {
        let unmounted = self.store.unmount(self.id(), force)?;
        if unmounted && !self.state.mount_point.is_empty() {
            self.state.mount_point.clear();
            self.save()?;
        }
        Ok(())
    }

    /// Gives it another name, which must be free.
    pub fn rename(&mut self, name: &str) -> Result<(), WorkingContainerError> {
        self.store.rename_container(self.id(), name)?;
        self.record.names = vec![name.to_owned()];
        self.state.container_name = name.to_owned();
        self.save()
    }

    /// Removes it with everything written to it.
    pub fn remove(self) -> Result<(), WorkingContainerError> {
        Ok(remove(self.store, self.id())?)
    }
}

/// Removes any container with everything written to it, and layers of its steps that nothing else has.
pub fn remove(store: &Store, id: &ContainerId) -> store::Result<()> {
    let below = cached_step::layers_below(store, id);
    store.delete_container(id)?;
    below.map_or(Ok(()), |top| store.remove_unused_layers(&top).map(drop))
}

/// Annotation that names the base image, as the OCI specification defines it.
pub const BASE_NAME: &str = "org.opencontainers.image.base.name";
/// Annotation with the base image's manifest digest, as the OCI specification defines it.
pub const BASE_DIGEST: &str = "org.opencontainers.image.base.digest";
