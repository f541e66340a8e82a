//! Where the rows of a large table are in its files, so that who wants a few of them reads no more.
//!
//! ```text
//! <graphroot>/gabion/tables/<name>.json     the state of the files that it is of, and the rows' keys
//! ```
//! It counts as long as lock token, inode, size and mtime of the files are what it says.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::lock::Token;
use crate::rows::RowKey;
use crate::table::{Stamp, write_atomically};

/// Files of fewer bytes are read as quickly as an index.
const SMALL: u64 = 128 << 10;

/// The index of a table.
#[derive(Clone, Debug)]
pub(crate) struct RowIndex {
    path: PathBuf,
}

#[derive(Serialize, Deserialize)]
struct Content {
    token: Token,
    stamps: Vec<Stamp>,
    /// Of each file.
    rows: Vec<Vec<RowKey>>,
}

impl RowIndex {
    /// The index of the table `name` below a store's private directory.
    pub fn new(private_directory: &Path, name: &str) -> RowIndex {
        RowIndex { path: private_directory.join("tables").join(name) }
    }

    /// The rows of each file, if the index is of files in this state.
    pub fn read(&self, token: &Token, stamps: &[Stamp]) -> Option<Vec<Vec<RowKey>>> {
        if is_small(stamps) {
            return None;
        }
        let content: Content = serde_json::from_slice(&fs::read(&self.path).ok()?).ok()?;
        (content.token == *token && content.stamps == stamps).then_some(content.rows)
    }

    /// Replaces the index. If that fails, the next reader reads the files.
    pub fn write(&self, token: &Token, stamps: &[Stamp], rows: Vec<Vec<RowKey>>) {
        if is_small(stamps) {
            return;
        }
        let content = Content { token: token.clone(), stamps: stamps.to_vec(), rows };
        let Ok(bytes) = serde_json::to_vec(&content) else { return };
        let dir = self.path.parent().unwrap_or(Path::new("."));
        let _ = fs::create_dir_all(dir);
        let _ = write_atomically(&self.path, &bytes, false);
    }
}

fn is_small(stamps: &[Stamp]) -> bool {
    stamps.iter().flatten().map(|(_, size, ..)| size).sum::<u64>() < SMALL
}

#[cfg(test)]
mod tests {
    use oci::LayerId;

    use crate::{NewImage, Store, StoreOptions};

    #[test]
    fn tree_a_large_table_is_read_by_its_index_until_it_changes() {
        let dir = tempfile::tempdir().expect("a directory");
        let open = || Store::open(StoreOptions::new(dir.path().join("g"), dir.path().join("r"))).expect("opened");
        let index = dir.path().join("g/gabion/tables/images.json");
        let make = |number: usize| {
            let config = format!(r#"{{"os":"linux","author":"{number}"}}"#).into_bytes();
            let image = NewImage::new(config, b"{}".to_vec(), None::<LayerId>);
            open().create_image(image.with_names(vec![format!("localhost/i:{number}")])).expect("created")
        };
        assert!(open().image("localhost/i:7").is_err() && !index.exists());
        let images: Vec<_> = (0..200).map(make).collect();
        assert_eq!(open().image("i:7").expect("found").id, images[7].id);
        let written = std::fs::read(&index).expect("an index");
        assert_eq!(open().image(&images[8].id.as_str()[..20]).expect("found").id, images[8].id);
        assert_eq!(open().images().expect("read").len(), 200);
        assert_eq!(std::fs::read(&index).expect("an index"), written, "nothing has changed");
        let more = make(200);
        assert_eq!(open().image("i:200").expect("found").id, more.id);
        assert_ne!(std::fs::read(&index).expect("an index"), written);
        std::fs::write(&index, "damaged").expect("written");
        assert_eq!(open().image("i:3").expect("found").id, images[3].id);
        open().delete_image(&more.id).expect("deleted");
        assert!(open().image("i:200").is_err());
    }
}
