//! What a working container stands on: its base image's top layer, and what steps made over it.
//!
//! ```text
//! <container's directory>/gabion-steps.json    the layers with what they hold, and the history
//! ```
//! The file is written before the container goes on over another layer. Killed in between, the
//! container's state does not know of the layer; then the file does. Without it, or where another
//! tool has changed the container, only the key of the files is another one.

use std::fs;
use std::io::Write as _;
use std::sync::Arc;

use layers::ContentDigest;
use oci::{ContainerId, History, LayerId};
use serde::{Deserialize, Serialize};
use store::Store;

use super::super::error::StepError;
use super::super::layers::{Files, MadeLayer};
use crate::cache::key::Key;
use crate::working_container::{WorkingContainer, WorkingContainerError};

/// Name of the file.
const FILE_NAME: &str = "gabion-steps.json";

/// What a container stands on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Ground {
    /// The base image's top layer.
    base: Option<LayerId>,
    made: Vec<Made>,
    /// The history with the last step.
    history: Vec<History>,
}

/// A layer that a step made.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Made {
    layer: LayerId,
    content: ContentDigest,
    /// The key of the instructions up to the step.
    made_by: Key,
}

/// What `container` stands on. Its state learns of a step that was killed just before that.
pub(crate) fn settle(container: &mut WorkingContainer<'_>) -> Result<Ground, WorkingContainerError> {
    let store = container.store();
    let record = store.container_by_id(container.id())?;
    let top = store.layer(&record.layer)?.parent;
    let noted = Ground::read(store, container.id());
    let Some(mut ground) = noted else { return Ok(Ground::of_base(top)) };
    if ground.top() == top {
        if container.state().top_layer != top {
            ground.tell(container)?;
        }
        return Ok(ground);
    }
    // The last step was not done after all.
    while ground.made.pop().is_some() {
        if ground.top() == top {
            return Ok(ground);
        }
    }
    Ok(Ground::of_base(top))
}

/// The topmost layer below the container's own, if steps may have brought it there.
pub(crate) fn layers_below(store: &Store, container: &ContainerId) -> Option<LayerId> {
    Ground::read(store, container)?;
    store.layer(&store.container_by_id(container).ok()?.layer).ok()?.parent
}

/// Whether nothing was written to the container since it went on over its layers.
pub(crate) fn is_untouched(store: &Store, container: &ContainerId) -> Result<bool, WorkingContainerError> {
    let upper = store.upper_dir(container)?;
    let mut entries =
        fs::read_dir(&upper).map_err(|source| WorkingContainerError::Io { path: upper.clone(), source })?;
    Ok(entries.next().is_none())
}

impl Ground {
    fn of_base(base: Option<LayerId>) -> Ground {
        Ground { base, made: Vec::new(), history: Vec::new() }
    }

    fn read(store: &Store, container: &ContainerId) -> Option<Ground> {
        let bytes = store.container_file(container, FILE_NAME).ok().flatten()?;
        serde_json::from_slice(&bytes).ok()
    }

    /// The topmost layer.
    pub fn top(&self) -> Option<LayerId> {
        self.made.last().map(|made| made.layer.clone()).or_else(|| self.base.clone())
    }

    /// Whether there is a step's layer.
    pub fn has_steps(&self) -> bool {
        !self.made.is_empty()
    }

    /// The last step's layer with its content.
    pub(super) fn top_made(&self) -> Option<(LayerId, ContentDigest)> {
        self.made.last().map(|made| (made.layer.clone(), made.content.clone()))
    }

    /// The files, as a build knows them.
    pub(super) fn files(&self) -> Files {
        let made = |made: &Made| Arc::new(MadeLayer::stored(made.layer.clone(), made.content.clone()));
        Files { base: self.base.clone(), made: self.made.iter().map(made).collect() }
    }

    /// The key of the files.
    pub(super) fn key(&self) -> Key {
        let base = Files::of_base(self.base.clone()).base_key();
        self.made.iter().fold(base, |key, made| key.then(made.content.as_str()))
    }

    /// The key of the instructions that made them.
    pub(super) fn made_by(&self) -> Key {
        let base = || Files::of_base(self.base.clone()).base_key();
        self.made.last().map_or_else(base, |made| made.made_by.clone())
    }

    /// The same with one more layer.
    pub(super) fn with(&self, layer: LayerId, content: ContentDigest, made_by: Key) -> Ground {
        let mut next = self.clone();
        next.made.push(Made { layer, content, made_by });
        next
    }

    /// Has `container`, of whose last step the history says `entry`, stand on this: `change` makes it
    /// so in the store.
    pub(super) fn go_on(
        &self,
        container: &mut WorkingContainer<'_>,
        entry: History,
        change: impl FnOnce(&ContainerId) -> Result<(), StepError>,
    ) -> Result<(), StepError> {
        let state = container.state();
        let mut history = state.config.history.clone();
        history.extend(state.prepended_empty_layers.iter().cloned());
        history.push(entry);
        history.extend(state.appended_empty_layers.iter().cloned());
        let noted = Ground { history, ..self.clone() };
        noted.write(container)?;
        change(container.id())?;
        Ok(noted.tell(container)?)
    }

    /// Tells the container's state.
    fn tell(&self, container: &mut WorkingContainer<'_>) -> Result<(), WorkingContainerError> {
        let state = container.state_mut();
        state.config.history.clone_from(&self.history);
        state.prepended_empty_layers.clear();
        state.appended_empty_layers.clear();
        state.top_layer = self.top();
        state.mount_point.clear();
        container.save()
    }

    fn write(&self, container: &WorkingContainer<'_>) -> Result<(), WorkingContainerError> {
        let directory = container.store().container_directory(container.id())?;
        let path = directory.join(FILE_NAME);
        let write = || {
            let mut file = tempfile::Builder::new().prefix(".tmp-").tempfile_in(&directory)?;
            file.write_all(&serde_json::to_vec(self)?)?;
            // Lost in a power cut, it costs no more than hits: nothing has to be synced.
            file.persist(&path).map(drop).map_err(|error| error.error)
        };
        write().map_err(|source| WorkingContainerError::Io { path: path.clone(), source })
    }
}
