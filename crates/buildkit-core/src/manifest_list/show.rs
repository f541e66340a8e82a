//! Lists as `manifest inspect` prints them.

use oci::index::Entry;
use oci::manifest::ManifestOrIndex;
use serde_json::{Value, json};

use super::{ListError, ManifestList};
use crate::transfer::TransferError;
use crate::transfer::place::Places;
use crate::transport::Location;

/// A list of the store: what either form says of it, Docker's and OCI's.
pub fn inspect(list: &ManifestList) -> Result<Value, ListError> {
    let index = &list.index;
    let media_type = index.format().index();
    let mut value = json!({ "schemaVersion": 2, "mediaType": media_type });
    put(&mut value, "artifactType", json!(index.artifact_type));
    let entries: Vec<Value> =
        index.entries.iter().map(|entry| shown(entry, list.artifacts.files(&entry.digest))).collect();
    value["manifests"] = if entries.is_empty() { Value::Null } else { entries.into() };
    put(&mut value, "subject", index.subject.as_ref().map_or(Value::Null, |subject| shown(subject, &[])));
    put(&mut value, "annotations", json!(index.annotations));
    Ok(value)
}

fn shown(entry: &Entry, files: &[String]) -> Value {
    let mut value = json!({ "mediaType": entry.media_type, "size": entry.size, "digest": entry.digest });
    put(&mut value, "urls", json!(entry.urls));
    value["platform"] = json!(entry.platform.clone().unwrap_or_default());
    put(&mut value, "annotations", json!(entry.annotations));
    put(&mut value, "artifactType", json!(entry.artifact_type));
    put(&mut value, "data", json!(entry.data));
    put(&mut value, "files", json!(files));
    value
}

/// Sets a member unless it says nothing.
fn put(value: &mut Value, name: &str, member: Value) {
    let is_empty = match &member {
        Value::Null => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(members) => members.is_empty(),
        _ => false,
    };
    if !is_empty && let Some(members) = value.as_object_mut() {
        members.insert(name.to_owned(), member);
    }
}

/// An index at a place other than the store, or on a registry, as it is there.
pub fn inspect_elsewhere(places: &Places<'_>, name: &str) -> Result<Value, ListError> {
    let locations = match Location::parse(name)? {
        Some(location) => vec![location],
        None => {
            let registries = places.remotes.registries().map_err(TransferError::from)?;
            let candidates = registries.candidates(name).map_err(TransferError::from)?;
            candidates.into_iter().map(|reference| Location::Docker(reference.with_default_tag())).collect()
        }
    };
    let mut failure = None;
    for location in locations {
        match places.with_source(&location, |source| source.manifest(None)) {
            Ok(raw) => {
                let invalid = |source| ListError::Manifest { name: location.to_string(), source };
                return match ManifestOrIndex::parse(&raw.bytes, raw.media_type.as_deref()).map_err(invalid)? {
                    ManifestOrIndex::Index(_) => Ok(serde_json::from_slice(&raw.bytes).unwrap_or_default()),
                    ManifestOrIndex::Manifest(_) => Err(ListError::NotAList { name: location.to_string() }),
                };
            }
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    Err(failure.map_or_else(|| ListError::NotAList { name: name.to_owned() }, ListError::from))
}
