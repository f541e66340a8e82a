//! Images without a config, such as manifest lists: their records have random IDs, and what is stored
//! beside them changes.

use jiff::Timestamp;
use oci::{Digest, ImageId};

use crate::image_data::{BigData, StagedImage};
use crate::images::MANIFEST;
use crate::journal::{Entry, Purpose};
use crate::lock::{Guard, LockFile};
use crate::staging::make_dir;
use crate::{Error, Image, NewImage, Result, Store, random};

/// What becomes of names that other images have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TakenNames {
    /// They stay there: it is an error.
    Stay,
    /// They are taken from them.
    Move,
}

/// A lock that the tools hold while they change a manifest list. Released when dropped.
#[derive(Debug)]
pub struct ListLock {
    _guard: Guard,
}

impl Store {
    /// Records an image without layers under a new ID, with what `data` makes of the ID.
    ///
    /// # Errors
    /// [`Error::ImageNameTaken`] if an image has one of the names and may keep it.
    pub fn create_list<E: From<Error>>(
        &self,
        names: &[String],
        taken: TakenNames,
        data: impl FnOnce(&ImageId) -> Result<Vec<BigData>, E>,
    ) -> Result<Image, E> {
        let id = random::id()
            .and_then(|text| ImageId::parse(&text).map_err(|_| Error::IdTaken { kind: "image", id: text }))?;
        let data = data(&id)?;
        let staged = StagedImage::new(self, NewImage { names: names.to_vec(), ..without_config(id, data) })?;
        let made = self.journalled(|journal| {
            let mut images = self.inner.images.write()?;
            let is_taken = |name: &&String| images.by_name(name).is_some();
            if let Some(name) = names.iter().find(is_taken).filter(|_| taken == TakenNames::Stay)
                && let Some(owner) = images.by_name(name)
            {
                return Err(Error::ImageNameTaken { name: name.clone(), owner: owner.id.clone() });
            }
            journal.write(&Entry { images: vec![staged.image.id.clone()], ..Entry::default() }, Purpose::Add)?;
            self.record_image(&mut images, &staged)
        })?;
        Ok(made)
    }

    /// Stores items beside the image's record, in place of those with the same keys; the digest of a
    /// new manifest becomes the image's.
    pub fn set_image_data(&self, id: &ImageId, data: Vec<BigData>) -> Result<()> {
        let staged = StagedImage::new(self, without_config(id.clone(), data))?;
        let mut images = self.inner.images.write()?;
        if images.get(id.as_str()).is_none() {
            drop(images);
            // Of a read-only store, or unknown.
            let image = self.image_by_id(id)?;
            return Err(Error::ReadOnly { id: image.id.to_string() });
        }
        staged.place(self, false)?;
        if let Some(record) = images.get_mut(id.as_str()) {
            staged.index(&mut record.big_data);
            record.digest = staged.image.digest.clone().or_else(|| record.digest.take());
        }
        images.save()
    }

    /// Waits until no tool changes the manifest list `id`, and keeps all from doing so.
    pub fn lock_list(&self, id: &ImageId) -> Result<ListLock> {
        make_dir(&self.layout().digest_locks())?;
        let guard = LockFile::new(self.layout().digest_lock(&format!("sha256:{id}"))).write()?;
        Ok(ListLock { _guard: guard })
    }
}

fn without_config(id: ImageId, data: Vec<BigData>) -> NewImage {
    let digest = data.iter().find(|item| item.key == MANIFEST).map(|item| Digest::of(&item.bytes));
    NewImage { id, names: Vec::new(), layer: None, digest, metadata: String::new(), data, created: Timestamp::now() }
}
