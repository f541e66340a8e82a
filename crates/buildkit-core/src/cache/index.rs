//! From a step's key to what it made.
//!
//! ```text
//! <graphroot>/gabion/cache/
//!   steps/<2 digits>/<key>      what the step made: a record, JSON
//!   kinds/<2 digits>/<key>      that such a step is in a record, whatever it came after: empty
//!   files/<2 digits>/<key>      the layer whose files, and all below it, have this key
//!   images/<2 digits>/<key>     the image whose layers and config have this key
//! ```
//! All are replaced by rename. A look-up opens one file, whatever else there is. What cannot be read
//! counts as missing.

use std::fs::{self, File, FileTimes};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use jiff::Timestamp;
use layers::ContentDigest;
use oci::{ImageId, LayerId};
use serde::{Deserialize, Serialize};

use super::key::{Key, Parts};

/// What a step made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The layer it made, if it changed anything, with its content. The layer may have been deleted
    /// since: ask the store.
    pub made: Option<(LayerId, ContentDigest)>,
    /// What the history says of the step.
    pub created_by: String,
    /// When it was done.
    pub created: Timestamp,
    /// What the step depended on.
    pub parts: Parts,
}

/// A record as it is written.
#[derive(Serialize)]
struct Stored<'a> {
    #[serde(flatten)]
    record: &'a Record,
    kind: &'a Key,
}

/// A file of the index, for housekeeping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Indexed {
    /// A step's record: its layer, if it made one, and its kind.
    Step(Option<LayerId>, Option<Key>),
    /// That a step of this kind is in a record.
    Kind(String),
    /// The layer with certain files.
    Layer(LayerId),
    /// The image with a certain config and layers.
    Image(ImageId),
    /// Nothing that can be read.
    Unreadable,
}

/// The records of a store. Several processes may use it at once.
#[derive(Clone, Debug)]
pub struct Index {
    dir: PathBuf,
}

impl Index {
    /// The index below a store's private directory ([`store::Store::private_directory`]).
    pub fn new(private_directory: &Path) -> Index {
        Index { dir: private_directory.join("cache") }
    }

    /// What the step with this key made, if that is remembered. Marks the record as used now.
    pub fn get(&self, key: &Key) -> Option<Record> {
        let file = File::open(self.path("steps", key)).ok()?;
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

    /// Remembers what a step made, in the place of an earlier record of its key. `kind` is the key of
    /// the step's parts without those that say what it came after.
    pub fn put(&self, record: &Record, kind: &Key) -> io::Result<()> {
        let bytes = serde_json::to_vec(&Stored { record, kind })?;
        self.write("steps", &record.parts.key(), &bytes)?;
        self.write("kinds", kind, b"")
    }

    /// Whether a record of such a step was ever written.
    pub fn has_kind(&self, kind: &Key) -> bool {
        self.path("kinds", kind).exists()
    }

    /// The layer whose files, with those below it, have this key. Ask the store whether it is there.
    pub fn layer(&self, files: &Key) -> Option<LayerId> {
        LayerId::parse(fs::read_to_string(self.path("files", files)).ok()?.trim()).ok()
    }

    /// Remembers a layer by the key of its files.
    pub fn put_layer(&self, files: &Key, layer: &LayerId) -> io::Result<()> {
        self.write("files", files, layer.as_str().as_bytes())
    }

    /// The image with this key. Ask the store whether it is there.
    pub fn image(&self, key: &Key) -> Option<ImageId> {
        ImageId::parse(fs::read_to_string(self.path("images", key)).ok()?.trim()).ok()
    }

    /// Remembers an image by its key.
    pub fn put_image(&self, key: &Key, image: &ImageId) -> io::Result<()> {
        self.write("images", key, image.as_str().as_bytes())
    }

    /// Forgets what the step with this key made.
    pub fn remove(&self, key: &Key) -> io::Result<()> {
        match fs::remove_file(self.path("steps", key)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// All files of the index. What cannot be read is left out.
    pub(crate) fn files(&self) -> impl Iterator<Item = (PathBuf, Indexed)> {
        let below = |dir: PathBuf| fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
        let in_table = move |dir: &Path, table: &'static str| {
            below(dir.join(table)).flat_map(below).map(move |path| (table, path))
        };
        let dir = self.dir.clone();
        let tables = ["steps", "kinds", "files", "images"];
        tables.into_iter().flat_map(move |table| in_table(&dir, table)).map(|(table, path)| {
            let indexed = read_file(table, &path).unwrap_or(Indexed::Unreadable);
            (path, indexed)
        })
    }

    fn write(&self, table: &str, key: &Key, bytes: &[u8]) -> io::Result<()> {
        let path = self.path(table, key);
        let dir = path.parent().unwrap_or(&self.dir);
        fs::create_dir_all(dir)?;
        let mut file = tempfile::NamedTempFile::new_in(dir)?;
        file.write_all(bytes)?;
        // Lost in a power cut, it is no record: nothing has to be synced.
        file.persist(path).map_err(|error| error.error)?;
        Ok(())
    }

    fn path(&self, table: &str, key: &Key) -> PathBuf {
        let text = key.as_str();
        self.dir.join(table).join(text.get(..2).unwrap_or(text)).join(text)
    }
}

fn read_file(table: &str, path: &Path) -> Option<Indexed> {
    /// What counts of a record.
    #[derive(Deserialize)]
    struct Read {
        made: Option<(LayerId, ContentDigest)>,
        #[serde(default)]
        kind: Option<Key>,
    }
    let name = path.file_name()?.to_str()?;
    if name.len() != 64 {
        return None;
    }
    let text = || fs::read_to_string(path).ok();
    match table {
        "steps" => {
            let read: Read = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
            Some(Indexed::Step(read.made.map(|(layer, _)| layer), read.kind))
        }
        "kinds" => Some(Indexed::Kind(name.to_owned())),
        "files" => LayerId::parse(text()?.trim()).ok().map(Indexed::Layer),
        _ => ImageId::parse(text()?.trim()).ok().map(Indexed::Image),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(digit: char) -> LayerId {
        LayerId::parse(&digit.to_string().repeat(64)).expect("an ID")
    }

    fn record(value: &str) -> Record {
        let mut parts = Parts::default();
        parts.add("instruction", value);
        Record { made: None, created_by: format!("RUN {value}"), created: Timestamp::UNIX_EPOCH, parts }
    }

    #[test]
    fn tree_records_are_found_replaced_and_forgotten() {
        let dir = tempfile::tempdir().expect("temp dir");
        let index = Index::new(dir.path());
        let (one, two) = (record("one"), record("two"));
        let kind = Key::of("kind", "one");
        assert!(index.get(&one.parts.key()).is_none() && !index.has_kind(&kind));
        index.put(&one, &kind).expect("written");
        index.put(&two, &kind).expect("written");
        assert!(index.has_kind(&kind));
        assert_eq!(index.get(&one.parts.key()), Some(one.clone()));
        let again = Record { created_by: "RUN again".into(), ..record("one") };
        index.put(&again, &kind).expect("replaced");
        assert_eq!(index.get(&one.parts.key()), Some(again));
        index.remove(&one.parts.key()).expect("removed");
        index.remove(&one.parts.key()).expect("removed already");
        assert_eq!((index.get(&one.parts.key()), index.get(&two.parts.key())), (None, Some(two)));
    }

    #[test]
    fn tree_layers_are_found_by_their_files() {
        let dir = tempfile::tempdir().expect("temp dir");
        let index = Index::new(dir.path());
        let (one, two) = (Key::of("layer", "1"), Key::of("layer", "1").then("2"));
        index.put_layer(&one, &layer('1')).expect("written");
        index.put_layer(&two, &layer('2')).expect("written");
        index.put_layer(&one, &layer('3')).expect("replaced");
        assert_eq!((index.layer(&one), index.layer(&two)), (Some(layer('3')), Some(layer('2'))));
        fs::write(index.path("files", &two), "../../x").expect("written");
        assert_eq!(index.layer(&two), None);
    }

    #[test]
    fn tree_damaged_and_foreign_records_are_none() {
        let dir = tempfile::tempdir().expect("temp dir");
        let index = Index::new(dir.path());
        let (one, two, kind) = (record("one"), record("two"), Key::of("kind", "any"));
        index.put(&one, &kind).expect("written");
        index.put(&two, &kind).expect("written");
        let (path, other) = (index.path("steps", &one.parts.key()), index.path("steps", &two.parts.key()));
        fs::copy(&other, &path).expect("copied");
        assert_eq!(index.get(&one.parts.key()), None);
        fs::write(&path, "{").expect("cut short");
        assert_eq!(index.get(&one.parts.key()), None);
        index.put(&one, &kind).expect("written again");
        assert_eq!(index.get(&one.parts.key()), Some(one));
    }
}
