//! The rows of a table: text, until somebody wants the record. Most commands want few of them.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::table::{Place, Record};

/// A row.
#[derive(Clone, Debug)]
pub(crate) struct Row<T> {
    pub place: Place,
    id: String,
    names: Vec<String>,
    /// Where it stands in its file; `None` once it has been changed.
    text: Option<(Arc<str>, Range<usize>)>,
    is_read_only: bool,
    read: OnceLock<Read<T>>,
}

#[derive(Clone, Debug)]
enum Read<T> {
    Known(T),
    /// Something that is no record as we know them; it is written back as it is.
    Opaque(Value),
}

/// Where a row is in its file, and how it is found.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, Deserialize)]
pub(crate) struct RowKey {
    pub range: Range<usize>,
    pub id: String,
    pub names: Vec<String>,
}

/// The rows of the array in `text`; none if it is empty or `null`.
pub(crate) fn parse(text: &str) -> serde_json::Result<Vec<RowKey>> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let rows: Option<Vec<&RawValue>> = serde_json::from_str(text)?;
    let key = |raw: &RawValue| {
        let start = raw.get().as_ptr().addr() - text.as_ptr().addr();
        let (id, names) = peek(raw.get());
        RowKey { range: start..start + raw.get().len(), id, names }
    };
    Ok(rows.unwrap_or_default().into_iter().map(key).collect())
}

/// The ID and the names in a row's text, without reading the rest.
fn peek(text: &str) -> (String, Vec<String>) {
    #[derive(Deserialize)]
    struct Peek {
        id: String,
        #[serde(default)]
        names: Option<Vec<String>>,
    }
    if let Ok(Peek { id, names }) = serde_json::from_str(text) {
        return (id, names.unwrap_or_default());
    }
    // Other capitals, say: Go does not mind.
    let field = |name: &str| {
        let value: Value = serde_json::from_str(text).ok()?;
        value.as_object()?.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.clone())
    };
    let id = field("id").and_then(|id| id.as_str().map(str::to_owned)).unwrap_or_default();
    let names = field("names").and_then(|names| serde_json::from_value(names).ok()).unwrap_or_default();
    (id, names)
}

impl<T: Record> Row<T> {
    /// A row that is in a file with this text.
    pub fn in_file(place: Place, file: &Arc<str>, key: RowKey, is_read_only: bool) -> Row<T> {
        let RowKey { range, id, names } = key;
        Row { place, id, names, text: Some((file.clone(), range)), is_read_only, read: OnceLock::new() }
    }

    /// A row that is in no file yet.
    pub fn new(place: Place, record: T) -> Row<T> {
        let id = record.id().to_owned();
        Row { place, id, names: Vec::new(), text: None, is_read_only: false, read: Read::Known(record).into() }
    }

    pub fn id(&self) -> &str {
        &self.id
    }

    pub fn names(&self) -> &[String] {
        match self.read.get() {
            Some(Read::Known(record)) => record.names(),
            _ => &self.names,
        }
    }

    /// The record, if it is one.
    pub fn record(&self) -> Option<&T> {
        match self.read() {
            Read::Known(record) => Some(record),
            Read::Opaque(_) => None,
        }
    }

    /// What it is, if it is no record.
    pub fn opaque(&self) -> Option<&Value> {
        match self.read() {
            Read::Known(_) => None,
            Read::Opaque(value) => Some(value),
        }
    }

    /// The record, to be changed.
    pub fn record_mut(&mut self) -> Option<&mut T> {
        self.record()?;
        self.text = None;
        match self.read.get_mut() {
            Some(Read::Known(record)) => Some(record),
            _ => None,
        }
    }

    /// The record itself.
    pub fn into_record(self) -> Option<T> {
        self.record()?;
        match self.read.into_inner() {
            Some(Read::Known(record)) => Some(record),
            _ => None,
        }
    }

    /// What is to be written.
    pub fn to_text(&self) -> serde_json::Result<String> {
        match (self.text(), self.read()) {
            (Some(text), _) => Ok(text.to_owned()),
            (None, Read::Known(record)) => serde_json::to_string(record),
            (None, Read::Opaque(value)) => serde_json::to_string(value),
        }
    }

    /// Whether its text has `words` anywhere: without, no field has them.
    pub fn may_have(&self, words: &str) -> bool {
        self.text().is_none_or(|text| text.contains(words))
    }

    fn text(&self) -> Option<&str> {
        let (file, range) = self.text.as_ref()?;
        file.get(range.clone())
    }

    fn read(&self) -> &Read<T> {
        self.read.get_or_init(|| {
            let value = serde_json::from_str(self.text().unwrap_or_default()).unwrap_or(Value::Null);
            self.of_value(value)
        })
    }

    fn of_value(&self, mut value: Value) -> Read<T> {
        if let Value::Object(map) = &mut value {
            for &key in T::KEYS {
                if !map.contains_key(key) {
                    let other = map.keys().find(|other| other.eq_ignore_ascii_case(key)).cloned();
                    if let Some(field) = other.and_then(|other| map.remove(&other)) {
                        map.insert(key.to_owned(), field);
                    }
                }
            }
        }
        match T::deserialize(&value) {
            Ok(mut record) => {
                if self.is_read_only {
                    record.mark_read_only();
                }
                Read::Known(record)
            }
            Err(_) => Read::Opaque(value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Image;

    fn rows(text: &str) -> Vec<Row<Image>> {
        let file: Arc<str> = text.into();
        let keys = parse(&file).expect("an array");
        keys.into_iter().map(|key| Row::in_file(Place::Stable, &file, key, false)).collect()
    }

    #[test]
    fn pure_rows_are_found_without_being_read_and_written_as_they_were() {
        let id = "a".repeat(64);
        let known = format!(r#"{{"id":"{id}","names":["n:1"],"created":"2026-01-01T00:00:00Z","new-field":[1, 2]}}"#);
        let odd = format!(r#"{{"ID":"{id}","Names":["o:1"],"created":"2026-01-01T00:00:00Z"}}"#);
        let text = format!(" [ {known} ,{odd}, {{\"id\":7}}, 8 ]");
        let mut rows = rows(&text);
        assert_eq!(rows.iter().map(Row::id).collect::<Vec<_>>(), [&id, &id, "", ""]);
        assert_eq!((rows[0].names(), rows[1].names()), (&["n:1".to_owned()][..], &["o:1".to_owned()][..]));
        assert!(rows.iter().all(|row| row.read.get().is_none()));
        assert_eq!(rows[1].record().expect("a record").names, ["o:1"]);
        assert!(rows[2].record().is_none() && rows[3].opaque() == Some(&Value::from(8)));
        let written: Vec<String> = rows.iter().map(|row| row.to_text().expect("JSON")).collect();
        assert_eq!(written, [&known, &odd, "{\"id\":7}", "8"]);
        rows[0].record_mut().expect("a record").names.clear();
        assert!(rows[0].names().is_empty() && rows[0].to_text().expect("JSON").contains("new-field"));
        for text in ["", "null", "[]"] {
            assert!(parse(text).expect("nothing").is_empty());
        }
        assert!(parse("{}").is_err() && parse("[").is_err());
    }
}
