//! Nameless images that running commands work with. Two builds may make the very same image for a
//! stage; the one that ends first leaves it to the other.
//!
//! Each process that publishes a nameless image holds a shared lock on `gabion/claims/lock-<image>`
//! as long as it runs, taken under `images.lock`.

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use oci::ImageId;

use crate::lock::{Guard, LockFile};
use crate::staging::make_dir;
use crate::{DeletedImage, Result, Store};

/// The claims of this process.
#[derive(Debug, Default)]
pub(crate) struct Claims(Mutex<HashMap<ImageId, Claim>>);

#[derive(Debug)]
struct Claim {
    path: PathBuf,
    guard: Option<Guard>,
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.guard = None;
        // The last one to let go removes the file; what fails is done by the next store opened.
        if let Ok(Some(guard)) = LockFile::new(self.path.clone()).try_write()
            && guard.is_current()
        {
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Store {
    /// Removes an image without a name, and the layers that nothing else uses. `None` if it has a
    /// name, or another process that published it still runs: then it stays.
    ///
    /// # Errors
    /// As [`Store::delete_image`].
    pub fn delete_nameless_image(&self, id: &ImageId) -> Result<Option<DeletedImage>> {
        drop(self.claims().remove(id));
        self.delete_image_if(id, |image| Ok(image.names.is_empty() && !self.is_claimed(id)?))
    }

    /// Keeps other processes from [`Store::delete_nameless_image`]. `images.lock` is held for writing.
    pub(crate) fn claim_image(&self, id: &ImageId) -> Result<()> {
        if self.claims().contains_key(id) {
            return Ok(());
        }
        make_dir(&self.layout().claims())?;
        let path = self.layout().claim(id);
        loop {
            let guard = LockFile::new(path.clone()).read()?;
            if guard.is_current() {
                self.claims().insert(id.clone(), Claim { path, guard: Some(guard) });
                return Ok(());
            }
        }
    }

    fn is_claimed(&self, id: &ImageId) -> Result<bool> {
        let path = self.layout().claim(id);
        if !path.exists() {
            return Ok(false);
        }
        Ok(LockFile::new(path).try_write()?.is_none())
    }

    fn claims(&self) -> std::sync::MutexGuard<'_, HashMap<ImageId, Claim>> {
        self.inner.claims.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{NewImage, StoreOptions};

    #[test]
    fn tree_a_nameless_image_stays_while_another_process_works_with_it() {
        let dir = tempfile::tempdir().expect("a directory");
        let open = || Store::open(StoreOptions::new(dir.path().join("g"), dir.path().join("r"))).expect("opened");
        let image = NewImage::new(br#"{"os":"linux"}"#.to_vec(), b"{}".to_vec(), None);
        let (one, two) = (open(), open());
        for store in [&one, &two, &one] {
            store.create_image(image.clone()).expect("created");
        }
        assert_eq!(one.delete_nameless_image(&image.id).expect("asked"), None);
        assert!(two.image_by_id(&image.id).is_ok());
        assert!(two.delete_nameless_image(&image.id).expect("asked").is_some());
        assert!(two.delete_nameless_image(&image.id).expect_err("gone").is_not_found());

        two.create_image(image.clone().with_names(vec!["localhost/a:1".into()])).expect("created");
        assert_eq!(two.delete_nameless_image(&image.id).expect("asked"), None);
        // A process that is gone claims nothing.
        two.set_image_names(&image.id, &[]).expect("unnamed");
        one.create_image(image.clone()).expect("created");
        drop(one);
        assert_eq!(fs::read_dir(two.layout().claims()).expect("read").count(), 0);
        assert!(two.delete_nameless_image(&image.id).expect("asked").is_some());
    }
}
