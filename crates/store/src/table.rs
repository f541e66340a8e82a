//! Tables of records: JSON files under one lock, cached for as long as the lock's token says that
//! nobody changed them.

use std::collections::HashMap;
use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::lock::{Guard, LockFile, Token};
use crate::row_index::RowIndex;
use crate::rows::{self, Row};
use crate::{Error, Result};

/// What a table's rows are.
pub(crate) trait Record: Clone + Serialize + DeserializeOwned {
    /// Every key, to recognise those that somebody spelt with other capitals.
    const KEYS: &'static [&'static str];
    fn id(&self) -> &str;
    fn names(&self) -> &[String];
    fn names_mut(&mut self) -> &mut Vec<String>;
    fn mark_read_only(&mut self);
}

/// Which of a table's files a record is in. It never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// The plain file.
    Stable,
    /// The `volatile-` file, which is written without a sync.
    Volatile,
}

/// The files of one kind of record, and their lock.
#[derive(Debug)]
pub(crate) struct Db<T> {
    lock: LockFile,
    files: Vec<(Place, PathBuf)>,
    /// Where rows are found without reading all of them.
    index: Option<RowIndex>,
    /// A file of free space for removals on a full disk.
    reserve: Option<PathBuf>,
    cache: Mutex<Option<Cached<T>>>,
}

#[derive(Debug)]
struct Cached<T> {
    token: Option<Token>,
    stamps: Vec<Stamp>,
    table: Arc<Table<T>>,
    /// Whether the rows were found by the index.
    is_indexed: bool,
}

/// Inode, size and mtime: the Go tools look at the mtime too.
pub(crate) type Stamp = Option<(u64, u64, i64, i64)>;

/// The rows as they were read.
#[derive(Clone, Debug)]
pub(crate) struct Table<T> {
    rows: Vec<Row<T>>,
    by_id: HashMap<String, usize>,
}

/// A read lock and what it protects.
#[derive(Debug)]
pub(crate) struct Reading<T> {
    pub table: Arc<Table<T>>,
    _guard: Option<Guard>,
}

/// A write lock, and the rows that [`Writing::save`] writes.
#[derive(Debug)]
pub(crate) struct Writing<'a, T> {
    db: &'a Db<T>,
    guard: Guard,
    table: Table<T>,
    dirty: Vec<Place>,
    use_reserve: bool,
}

impl<T: Record> Db<T> {
    /// The table of the store that we write: `stable` and, if there is one, `volatile`.
    pub fn new(lock: LockFile, stable: PathBuf, volatile: Option<PathBuf>, private_directory: &Path) -> Db<T> {
        let mut files = vec![(Place::Stable, stable)];
        files.extend(volatile.map(|path| (Place::Volatile, path)));
        let name = files.first().and_then(|(_, path)| path.file_name()).unwrap_or_default().to_string_lossy();
        let index = Some(RowIndex::new(private_directory, &name));
        Db { lock, files, index, reserve: Some(private_directory.join("reserve")), cache: Mutex::new(None) }
    }

    /// The table of a store that is only read.
    pub fn read_only(lock: PathBuf, stable: PathBuf, volatile: Option<PathBuf>) -> Db<T> {
        let mut files = vec![(Place::Stable, stable)];
        files.extend(volatile.map(|path| (Place::Volatile, path)));
        Db { lock: LockFile::of_read_only_store(lock), files, index: None, reserve: None, cache: Mutex::new(None) }
    }

    /// Takes the read lock and reads what changed.
    pub fn read(&self) -> Result<Reading<T>> {
        let guard = match self.lock.read() {
            Ok(guard) => Some(guard),
            // Nobody writes to a medium where not even the lock file could be made.
            Err(Error::Io { source, .. }) if self.is_read_only() && source.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let table = self.refresh(guard.as_ref(), true)?;
        Ok(Reading { table, _guard: guard })
    }

    /// Takes the write lock and reads what changed.
    pub fn write(&self) -> Result<Writing<'_, T>> {
        let guard = self.lock.write()?;
        // What is written back is what was read from the files themselves.
        let mut table = (*self.refresh(Some(&guard), false)?).clone();
        let dirty = table.settle_names();
        Ok(Writing { db: self, guard, table, dirty, use_reserve: false })
    }

    fn is_read_only(&self) -> bool {
        self.reserve.is_none()
    }

    fn refresh(&self, guard: Option<&Guard>, may_use_index: bool) -> Result<Arc<Table<T>>> {
        // The token is taken before the files are read: a change in between is seen next time.
        let token = guard.map(Guard::token).transpose()?;
        let stamps = self.stamps()?;
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(cached) = cache.as_ref()
            && cached.token == token
            && cached.stamps == stamps
            && (may_use_index || !cached.is_indexed)
        {
            return Ok(Arc::clone(&cached.table));
        }
        let state = self.index.as_ref().zip(token.as_ref());
        let indexed = state.filter(|_| may_use_index).and_then(|(index, token)| index.read(token, &stamps));
        let is_indexed = indexed.is_some();
        let mut indexed = indexed.unwrap_or_default().into_iter();
        let mut rows = Vec::new();
        let mut keys = Vec::new();
        for (place, path) in &self.files {
            let text: Arc<str> = read_text(path)?.into();
            let of_file = match indexed.next() {
                Some(of_file) => of_file,
                None => {
                    let failed = |source| Error::Json { path: path.to_owned(), source };
                    let of_file = rows::parse(&text).map_err(failed)?;
                    keys.push(of_file.clone());
                    of_file
                }
            };
            rows.extend(of_file.into_iter().map(|key| Row::in_file(*place, &text, key, self.is_read_only())));
        }
        if let Some((index, token)) = state.filter(|_| !is_indexed && may_use_index) {
            index.write(token, &stamps, keys);
        }
        let table = Arc::new(Table::new(rows));
        *cache = Some(Cached { token, stamps, table: Arc::clone(&table), is_indexed });
        Ok(table)
    }

    fn stamps(&self) -> Result<Vec<Stamp>> {
        let stamp = |(_, path): &(Place, PathBuf)| match fs::metadata(path) {
            Ok(data) => Ok(Some((data.ino(), data.size(), data.mtime(), data.mtime_nsec()))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io("stat", path)(error)),
        };
        self.files.iter().map(stamp).collect()
    }
}

impl<T: Record> Table<T> {
    fn new(rows: Vec<Row<T>>) -> Table<T> {
        let mut by_id = HashMap::with_capacity(rows.len());
        for (index, row) in rows.iter().enumerate() {
            by_id.entry(row.id().to_owned()).or_insert(index);
        }
        Table { rows, by_id }
    }

    /// The records, oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &T> {
        self.rows.iter().filter_map(Row::record)
    }

    /// The records that may have a field or value with these words in it.
    pub fn with_words(&self, words: &'static str) -> impl Iterator<Item = &T> {
        self.rows.iter().filter(move |row| row.may_have(words)).filter_map(Row::record)
    }

    /// Whether a row with this ID is there that is no record as we know them.
    pub fn has_unknown_row(&self, id: &str) -> bool {
        self.rows.iter().any(|row| row.id() == id && row.record().is_none())
    }

    /// The layers that rows which are no records as we know them may stand for or need.
    pub fn layers_of_unknown_rows(&self) -> impl Iterator<Item = &str> {
        let unknown = self.rows.iter().filter_map(|row| row.opaque()?.as_object());
        let fields = unknown.flatten().filter(|(key, _)| {
            ["id", "layer", "parent", "mapped-layers"].iter().any(|name| key.eq_ignore_ascii_case(name))
        });
        fields.flat_map(|(_, value)| match value {
            Value::Array(items) => items.iter().filter_map(Value::as_str).collect(),
            value => value.as_str().into_iter().collect::<Vec<_>>(),
        })
    }

    /// The record with this ID.
    pub fn get(&self, id: &str) -> Option<&T> {
        self.rows.get(*self.by_id.get(id)?)?.record()
    }

    /// The record that has this name; of several the last one, as the other tools decide it.
    pub fn by_name(&self, name: &str) -> Option<&T> {
        let has_it = |row: &&Row<T>| row.names().iter().any(|own| own == name);
        self.rows.iter().rev().filter(has_it).find_map(Row::record)
    }

    /// The records whose IDs begin with `prefix`.
    pub fn by_prefix<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a T> {
        self.rows.iter().filter(move |row| row.id().starts_with(prefix)).filter_map(Row::record)
    }

    /// Leaves each name to the last record that has it. Gives the files that this changed.
    fn settle_names(&mut self) -> Vec<Place> {
        let mut seen = std::collections::HashSet::new();
        let mut dirty = Vec::new();
        for row in self.rows.iter_mut().rev() {
            let before = row.names().len();
            let own: Vec<String> = row.names().iter().filter(|name| seen.insert((*name).clone())).cloned().collect();
            if own.len() != before
                && let Some(record) = row.record_mut()
            {
                *record.names_mut() = own;
                dirty.push(row.place);
            }
        }
        dirty
    }
}

impl<T> std::ops::Deref for Writing<'_, T> {
    type Target = Table<T>;

    fn deref(&self) -> &Table<T> {
        &self.table
    }
}

impl<T: Record> Writing<'_, T> {
    /// The record with this ID, to be changed.
    pub fn get_mut(&mut self, id: &str) -> Option<&mut T> {
        let index = *self.table.by_id.get(id)?;
        let row = self.table.rows.get_mut(index)?;
        let place = row.place;
        let record = row.record_mut()?;
        self.dirty.push(place);
        Some(record)
    }

    /// Appends a record.
    pub fn push(&mut self, record: T) {
        self.table.by_id.insert(record.id().to_owned(), self.table.rows.len());
        self.table.rows.push(Row::new(Place::Stable, record));
        self.dirty.push(Place::Stable);
    }

    /// Removes the record with this ID.
    pub fn remove(&mut self, id: &str) -> Option<T> {
        let index = *self.table.by_id.get(id)?;
        let row = self.table.rows.remove(index);
        self.dirty.push(row.place);
        self.table = Table::new(std::mem::take(&mut self.table.rows));
        row.into_record()
    }

    /// Takes `names` from every record that has one of them.
    pub fn take_names(&mut self, names: &[String]) {
        for row in &mut self.table.rows {
            if row.names().iter().any(|name| names.contains(name))
                && let Some(record) = row.record_mut()
            {
                record.names_mut().retain(|name| !names.contains(name));
                self.dirty.push(row.place);
            }
        }
    }

    /// Lets [`Writing::save`] use the space kept for removals.
    pub fn use_reserve(&mut self) {
        self.use_reserve = true;
    }

    /// Writes the files that changed: token, temporary file, sync, rename.
    pub fn save(&mut self) -> Result<()> {
        if self.dirty.is_empty() {
            return Ok(());
        }
        let result = self.write_files();
        let mut cache = self.db.cache.lock().unwrap_or_else(PoisonError::into_inner);
        *cache = match &result {
            Ok(token) => Some(Cached {
                token: Some(token.clone()),
                stamps: self.db.stamps()?,
                table: Arc::new(self.table.clone()),
                is_indexed: false,
            }),
            Err(_) => None,
        };
        drop(cache);
        result.map(|_| self.dirty.clear())
    }

    fn write_files(&mut self) -> Result<Token> {
        let token = self.guard.touch()?;
        for (place, path) in &self.db.files {
            if !self.dirty.contains(place) {
                continue;
            }
            let rows = self.table.rows.iter().filter(|row| row.place == *place).map(Row::to_text);
            let rows = rows.collect::<serde_json::Result<Vec<_>>>();
            let rows = rows.map_err(|source| Error::Json { path: path.clone(), source })?;
            let bytes = format!("[{}]", rows.join(",")).into_bytes();
            let sync = *place == Place::Stable;
            let outcome = write_atomically(path, &bytes, sync);
            match (outcome, &self.db.reserve) {
                (Err(Error::Io { source, .. }), Some(reserve)) if self.use_reserve && is_full(&source) => {
                    fs::remove_file(reserve).map_err(Error::io("remove", reserve))?;
                    write_atomically(path, &bytes, sync)?;
                }
                (outcome, _) => outcome?,
            }
        }
        Ok(token)
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// The elements of the array in the file at `path`; none if it is missing or empty.
pub(crate) fn read_array(path: &Path) -> Result<Vec<Value>> {
    let text = read_text(path)?;
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let rows: Option<Vec<Value>> =
        serde_json::from_str(&text).map_err(|source| Error::Json { path: path.to_owned(), source })?;
    Ok(rows.unwrap_or_default())
}

/// The file's text, empty if there is none.
fn read_text(path: &Path) -> Result<String> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(Error::io("read", path)(error)),
    }
}

/// Replaces the file at `path`, mode 0600, so that there is the old content or the new at any
/// time. Only one writer at a time: the caller holds the lock. With `sync` the new content is on
/// disk when this returns.
pub(crate) fn write_atomically(path: &Path, bytes: &[u8], sync: bool) -> Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    // The name is fixed, so that a kill leaves at most one such file.
    let temporary = path.with_file_name(format!(".tmp-{name}-gabion"));
    let write = || -> io::Result<()> {
        let mut file = File::create(&temporary)?;
        file.write_all(bytes)?;
        file.set_permissions(Permissions::from_mode(0o600))?;
        if sync {
            file.sync_data()?;
        }
        fs::rename(&temporary, path)?;
        if let (true, Some(parent)) = (sync, path.parent()) {
            File::open(parent)?.sync_all()?;
        }
        Ok(())
    };
    write().map_err(|error| {
        let _ = fs::remove_file(&temporary);
        Error::io("write", path)(error)
    })
}
