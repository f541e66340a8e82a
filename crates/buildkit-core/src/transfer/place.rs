//! From the name of a place to the place.

use oci::Reference;
use store::{Store, StoreOptions};

use super::{Remotes, TransferError};
use crate::event::{Event, Events};
use crate::image::Image;
use crate::transport::dir::{DirSink, DirSource};
use crate::transport::docker::{DockerSink, DockerSource};
use crate::transport::docker_archive::{DockerArchiveSink, DockerArchiveSource};
use crate::transport::location::{ArchiveChoice, StoreChoice};
use crate::transport::oci_archive::{self, OciArchiveSink};
use crate::transport::oci_layout::{OciSink, OciSource};
use crate::transport::storage::StorageSource;
use crate::transport::{Location, Sink, Source};

/// The stores and registries that a location may mean.
#[derive(Clone, Copy)]
pub struct Places<'a> {
    /// The command's store.
    pub store: &'a Store,
    /// The registries.
    pub remotes: &'a Remotes,
    /// Where to tell of what happens.
    pub events: Events<'a>,
}

impl Places<'_> {
    /// Opens `location` to read from, if the signature policy allows that, and hands it to `work`.
    pub fn with_source<T>(
        &self,
        location: &Location,
        work: impl FnOnce(&dyn Source) -> Result<T, TransferError>,
    ) -> Result<T, TransferError> {
        self.remotes.allow(location)?;
        match location {
            Location::Docker(reference) => {
                let warn = |text| (self.events)(Event::Warning(text));
                work(&DockerSource::open(self.remotes, reference, warn)?)
            }
            Location::OciLayout { path, name } => work(&OciSource::open(path, name.as_deref())?),
            Location::OciArchive { path, name } => work(&oci_archive::open(path, name.as_deref())?),
            Location::DockerArchive { path, choice } => work(&DockerArchiveSource::open(path, choice)?),
            Location::Dir { path } => work(&DirSource::open(path)?),
            Location::Storage { store: None, name } => work(&StorageSource::open(self.store, name)?),
            Location::Storage { store: Some(choice), name } => {
                let store = self.open_store(choice)?;
                work(&StorageSource::open(&store, name)?)
            }
        }
    }

    /// Opens `location`, which is no store, to write to. `names` are those of the image.
    pub(crate) fn sink(&self, location: &Location, names: &[Reference]) -> Result<Box<dyn Sink>, TransferError> {
        self.remotes.allow_writing(location)?;
        Ok(match location {
            Location::Docker(reference) => Box::new(DockerSink::create(self.remotes, reference)?),
            Location::OciLayout { path, name } => Box::new(OciSink::create(path, name.as_deref())?),
            Location::OciArchive { path, name } => Box::new(OciArchiveSink::create(path, name.as_deref())?),
            Location::DockerArchive { path, choice } => {
                let mut all: Vec<Reference> = match choice {
                    ArchiveChoice::Named(reference) => vec![reference.clone()],
                    ArchiveChoice::Only => Vec::new(),
                    ArchiveChoice::Index(_) => {
                        return Err(TransferError::Unsupported(format!("{location}: an index is for reading only")));
                    }
                };
                for name in names.iter().filter(|name| name.digest().is_none()) {
                    if !all.contains(name) {
                        all.push(name.clone());
                    }
                }
                Box::new(DockerArchiveSink::create(path, all)?)
            }
            Location::Dir { path } => Box::new(DirSink::create(path)?),
            Location::Storage { .. } => {
                return Err(TransferError::Unsupported(format!("{location}: a store takes layers, not blobs")));
            }
        })
    }

    /// Opens another store than the command's.
    pub(super) fn open_store(&self, choice: &StoreChoice) -> Result<Store, TransferError> {
        let run_root = choice.run_root.clone().unwrap_or_else(|| self.store.run_root().to_owned());
        let options = StoreOptions { driver: choice.driver, ..StoreOptions::new(&choice.graph_root, run_root) };
        Ok(Store::open(options)?)
    }
}

/// The valid references among `image`'s names.
pub(super) fn references(image: &Image) -> Vec<Reference> {
    image.record().names.iter().filter_map(|name| Reference::parse_qualified(name).ok()).collect()
}
