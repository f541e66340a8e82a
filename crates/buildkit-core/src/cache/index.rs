//! From a step's key to what it made.
//!
//! ```text
//! <graphroot>/gabion/steps/<first two digits>/<key>       a record, JSON, replaced by rename
//! ```
//! A look-up opens one file, whatever else there is. Records that cannot be read count as missing.

use std::fs::{self, File, FileTimes};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use oci::LayerId;
use serde::{Deserialize, Serialize};

use super::key::{Key, Parts};

/// What a step made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The layer on top after the step. It may have been deleted since: ask the store.
    pub layer: LayerId,
    /// What the history says of the step.
    pub created_by: String,
    /// What the step depended on.
    pub parts: Parts,
}

/// The records of a store. Several processes may use it at once.
#[derive(Clone, Debug)]
pub struct Index {
    dir: PathBuf,
}

impl Index {
    /// The index below a store's private directory ([`store::Store::private_directory`]).
    pub fn new(private_directory: &Path) -> Index {
        Index { dir: private_directory.join("steps") }
    }

    /// What the step with this key made, if that is remembered. Marks the record as used now.
    pub fn get(&self, key: &Key) -> Option<Record> {
        let file = File::open(self.path(key)).ok()?;
        let record: Record = serde_json::from_reader(io::BufReader::new(&file)).ok()?;
        // A record that was moved here from elsewhere says nothing about this key.
        if record.parts.key() != *key {
            return None;
        }
        let now = SystemTime::now();
        // Only the order of pruning depends on it.
        let _ = file.set_times(FileTimes::new().set_modified(now));
        Some(record)
    }

    /// Remembers what a step made, in the place of an earlier record of its key.
    pub fn put(&self, record: &Record) -> io::Result<()> {
        let path = self.path(&record.parts.key());
        let dir = path.parent().unwrap_or(&self.dir);
        fs::create_dir_all(dir)?;
        let mut file = tempfile::NamedTempFile::new_in(dir)?;
        serde_json::to_writer(&mut file, record)?;
        file.flush()?;
        // Lost in a power cut, it is no record: nothing has to be synced.
        file.persist(path).map_err(|error| error.error)?;
        Ok(())
    }

    /// Forgets what the step with this key made.
    pub fn remove(&self, key: &Key) -> io::Result<()> {
        match fs::remove_file(self.path(key)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn path(&self, key: &Key) -> PathBuf {
        let text = key.as_str();
        self.dir.join(text.get(..2).unwrap_or(text)).join(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(value: &str, digit: char) -> Record {
        let mut parts = Parts::default();
        parts.add("instruction", value);
        let layer = LayerId::parse(&digit.to_string().repeat(64)).expect("an ID");
        Record { layer, created_by: format!("RUN {value}"), parts }
    }

    #[test]
    fn tree_records_are_found_replaced_and_forgotten() {
        let dir = tempfile::tempdir().expect("temp dir");
        let index = Index::new(dir.path());
        let (one, two) = (record("one", '1'), record("two", '2'));
        assert_eq!(index.get(&one.parts.key()), None);
        index.put(&one).expect("written");
        index.put(&two).expect("written");
        assert_eq!(index.get(&one.parts.key()), Some(one.clone()));
        let again = record("one", '3');
        index.put(&again).expect("replaced");
        assert_eq!(index.get(&one.parts.key()), Some(again));
        index.remove(&one.parts.key()).expect("removed");
        index.remove(&one.parts.key()).expect("removed already");
        assert_eq!((index.get(&one.parts.key()), index.get(&two.parts.key())), (None, Some(two)));
    }

    #[test]
    fn tree_damaged_and_foreign_records_are_none() {
        let dir = tempfile::tempdir().expect("temp dir");
        let index = Index::new(dir.path());
        let (one, two) = (record("one", '1'), record("two", '2'));
        index.put(&one).expect("written");
        index.put(&two).expect("written");
        let (path, other) = (index.path(&one.parts.key()), index.path(&two.parts.key()));
        fs::copy(&other, &path).expect("copied");
        assert_eq!(index.get(&one.parts.key()), None);
        fs::write(&path, "{").expect("cut short");
        assert_eq!(index.get(&one.parts.key()), None);
        index.put(&one).expect("written again");
        assert_eq!(index.get(&one.parts.key()), Some(one));
    }
}
