//! What a build made becomes visible: at its end all at once, or earlier where another build waits
//! for it.

use std::sync::{Arc, PoisonError};

use oci::{DiffId, ImageId, LayerId};
use store::{NewImage, NewLayer, StagedLayer};

use super::Build;
use super::draft::{Ready, anchor};
use super::error::StepError;
use super::layers::{Files, MadeLayer};
use super::unfinished::Unfinished;
use crate::commit::recorded_layers;

/// Makes an image of its top layer's ID, and the diff IDs and sizes of all its layers.
pub(super) type MakeImage<'a> = Box<dyn FnOnce(Option<LayerId>, &[(DiffId, u64)]) -> Result<Ready, StepError> + 'a>;

/// An image over some files, to be published.
pub(super) enum Over<'a> {
    /// The image that it gets.
    Image(MakeImage<'a>),
    /// One that only keeps the files in the store's reach, until a later one does.
    Anchor,
}

/// Layers that are on their way, and what they are to become.
#[derive(Default)]
struct Batch {
    made: Vec<Arc<MadeLayer>>,
    staged: Vec<(StagedLayer, NewLayer)>,
    images: Vec<NewImage>,
    anchors: Vec<ImageId>,
}

impl Build<'_> {
    /// Publishes the files with their images. All of them have been read. Gives what became of the
    /// images that are no anchors.
    pub(super) fn publish(&self, all: Vec<(Files, Over<'_>)>) -> Result<Vec<Ready>, StepError> {
        let _alone = self.moves.write().unwrap_or_else(PoisonError::into_inner);
        let mut batch = Batch::default();
        let result = self.prepare(all, &mut batch).and_then(|ready| {
            if !batch.staged.is_empty() || !batch.images.is_empty() {
                self.store.publish(&batch.staged, std::mem::take(&mut batch.images))?;
            }
            Ok(ready)
        });
        for (made, (staged, new)) in batch.made.iter().zip(batch.staged) {
            match &result {
                Ok(_) => {
                    made.is_now(new.id());
                    // A copy of what was there already may be mounted.
                    self.discarded.lock().push(staged);
                }
                Err(_) => made.put_back(staged),
            }
        }
        let ready = result?;
        if let Some(cache) = &self.cache {
            Unfinished::new(&cache.private_directory).note(&batch.anchors);
        }
        Ok(ready)
    }

    /// Collects what is to be published; what has been taken for it is in `batch` in any case.
    fn prepare(&self, all: Vec<(Files, Over<'_>)>, batch: &mut Batch) -> Result<Vec<Ready>, StepError> {
        let mut ready = Vec::new();
        for (files, over) in all {
            let (mut top, count) = files.stored();
            let mut layers = match &top {
                Some(top) => recorded_layers(self.store, top)?,
                None => Vec::new(),
            };
            for made in files.made.iter().skip(count) {
                let digested = made.digest()?;
                let lost = || StepError::Value("a layer is not where it was".to_owned());
                let new = NewLayer { parent: top, ..digested.new.ok_or_else(lost)? };
                layers.push((new.diff_id.clone(), new.diff_size));
                top = Some(new.id());
                if !batch.made.iter().any(|other| Arc::ptr_eq(other, made)) {
                    batch.staged.push((made.take().ok_or_else(lost)?, new));
                    batch.made.push(made.clone());
                }
            }
            match over {
                Over::Image(image) => {
                    let mut image = image(top, &layers)?;
                    if let Some(new) = image.image.take() {
                        // Two stages may come to the same image: the later one's has the names.
                        batch.images.retain(|other| other.id != new.id);
                        batch.images.push(new);
                    }
                    ready.push(image);
                }
                Over::Anchor => {
                    if let Some(top) = top {
                        let image = anchor(&self.options.plan.platform, &self.options.layer_labels, top, &layers)?;
                        batch.anchors.push(image.id.clone());
                        batch.images.push(image);
                    }
                }
            }
        }
        Ok(ready)
    }

    /// Publishes what another build waits for.
    pub(super) fn serve_waiting(&self) -> Result<(), StepError> {
        for position in 0..self.works.len() {
            let is_waited_for = self
                .work(position)
                .unrecorded
                .iter()
                .any(|done| done.claim.as_ref().is_some_and(|claim| claim.is_waited_for()));
            if is_waited_for {
                self.publish_read(position)?;
            }
        }
        Ok(())
    }

    /// Publishes what of the stage has been read.
    pub(super) fn publish_read(&self, position: usize) -> Result<(), StepError> {
        self.settle(position)?;
        let mut files = self.work(position).files.clone();
        let read = files.made.iter().take_while(|made| made.digest_if_known().is_some()).count();
        files.made.truncate(read);
        if files.stored().1 < read {
            self.publish(vec![(files, Over::Anchor)])?;
        }
        self.record(position)
    }
}
