//! Several documents become one, and what packages they name is collected.

use std::collections::{BTreeSet, HashSet};
use std::fmt;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Seek as _, Write as _};

use serde_json::{Map, Value, json};

/// How documents become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MergeStrategy {
    /// One behind the other; no packages are looked for.
    Cat,
    /// CycloneDX documents: components whose name and version an earlier one has are left out.
    CycloneDx,
    /// SPDX documents: packages whose name and version an earlier one has are left out, and so are licenses.
    Spdx,
}

const NAMES: [(&str, MergeStrategy); 3] = [
    ("cat", MergeStrategy::Cat),
    ("merge-cyclonedx-by-component-name-and-version", MergeStrategy::CycloneDx),
    ("merge-spdx-by-package-name-and-versioninfo", MergeStrategy::Spdx),
];

impl MergeStrategy {
    /// The strategy of this name.
    pub fn parse(text: &str) -> Result<MergeStrategy, String> {
        let found = NAMES.iter().find(|(name, _)| *name == text).map(|(_, strategy)| *strategy);
        found.ok_or_else(|| format!("expected {}, {} or {}", NAMES[0].0, NAMES[1].0, NAMES[2].0))
    }
}

impl fmt::Display for MergeStrategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = NAMES.iter().find(|(_, strategy)| strategy == self).map_or("", |(name, _)| name);
        f.write_str(name)
    }
}

/// What is wrong with a document, which has this number.
pub(super) type Wrong = (usize, String);

/// Writes to `sbom` what the documents are together, and gives the package URLs in them.
pub(super) fn merge(
    strategy: MergeStrategy,
    documents: &mut [File],
    sbom: &mut File,
) -> Result<BTreeSet<String>, Wrong> {
    let failed = |number: usize| move |error: io::Error| (number, error.to_string());
    let mut purls = BTreeSet::new();
    let mut merged: Option<Map<String, Value>> = None;
    for (number, document) in documents.iter_mut().enumerate() {
        if strategy == MergeStrategy::Cat {
            io::copy(document, sbom).map_err(failed(number))?;
            continue;
        }
        let read: Result<Map<String, Value>, _> = serde_json::from_reader(BufReader::new(&*document));
        let read = read.map_err(|error| (number, format!("expected a JSON object: {error}")))?;
        let wrong = |reason| (number, reason);
        let lists: &[(&str, Key)] = match strategy {
            MergeStrategy::Spdx => &[("packages", spdx_package), ("hasExtractedLicensingInfos", license)],
            _ => &[("components", cyclonedx_component)],
        };
        let Some(base) = &mut merged else {
            for (member, key) in lists {
                keys(&read, member, *key, &mut purls).map_err(wrong)?;
            }
            merged = Some(read);
            continue;
        };
        for (member, key) in lists {
            join(base, &read, member, *key, &mut purls).map_err(wrong)?;
        }
    }
    match (merged, documents) {
        // A single document stays as it is.
        (Some(_), [only]) => only.rewind().and_then(|()| io::copy(only, sbom)).map(drop).map_err(failed(0))?,
        (Some(merged), _) => {
            let mut writer = BufWriter::new(sbom);
            let written = serde_json::to_writer(&mut writer, &merged).map_err(io::Error::from);
            written.and_then(|()| writeln!(writer)).and_then(|()| writer.flush()).map_err(failed(0))?;
        }
        (None, _) => {}
    }
    Ok(purls)
}

/// The package URLs as a document.
pub(super) fn purl_document(purls: &BTreeSet<String>) -> Value {
    let contents = if purls.is_empty() { json!({}) } else { json!({ "dependencies": purls }) };
    json!({ "image_contents": contents })
}

/// What tells a record from others; the package URLs in it are noted.
type Key = fn(&Value, &mut BTreeSet<String>) -> Result<String, String>;

/// Adds to the list `member` of `base` the records of `other` whose key it does not have.
fn join(
    base: &mut Map<String, Value>,
    other: &Map<String, Value>,
    member: &str,
    key: Key,
    purls: &mut BTreeSet<String>,
) -> Result<(), String> {
    let mut seen: HashSet<String> = keys(base, member, key, purls)?.into_iter().collect();
    let new = keys(other, member, key, purls)?;
    let records = other.get(member).and_then(Value::as_array).into_iter().flatten();
    let mut added: Vec<Value> =
        records.zip(new).filter(|(_, key)| seen.insert(key.clone())).map(|(record, _)| record.clone()).collect();
    match base.get_mut(member) {
        _ if added.is_empty() => {}
        Some(Value::Array(there)) => there.append(&mut added),
        _ => drop(base.insert(member.to_owned(), added.into())),
    }
    Ok(())
}

/// The keys of the records in the list `member`.
fn keys(
    document: &Map<String, Value>,
    member: &str,
    key: Key,
    purls: &mut BTreeSet<String>,
) -> Result<Vec<String>, String> {
    let records = document.get(member).and_then(Value::as_array).into_iter().flatten();
    let keys = records.map(|record| key(record, purls)).collect::<Result<_, _>>();
    keys.map_err(|reason| format!("{member}: {reason}"))
}

/// Name and version of a CycloneDX component.
fn cyclonedx_component(component: &Value, purls: &mut BTreeSet<String>) -> Result<String, String> {
    if component.get("purl").is_some() {
        purls.insert(text(component, "purl")?);
    }
    name_and_version(component, "version")
}

/// Name and version of an SPDX package.
fn spdx_package(package: &Value, purls: &mut BTreeSet<String>) -> Result<String, String> {
    let references = package.get("externalRefs").and_then(Value::as_array).into_iter().flatten();
    let is =
        |reference: &Value, member: &str, value: &str| reference.get(member).and_then(Value::as_str) == Some(value);
    for reference in references {
        if is(reference, "referenceCategory", "PACKAGE-MANAGER")
            && is(reference, "referenceType", "purl")
            && reference.get("referenceLocator").is_some()
        {
            purls.insert(text(reference, "referenceLocator")?);
        }
    }
    name_and_version(package, "versionInfo")
}

/// ID of an SPDX license.
fn license(license: &Value, _: &mut BTreeSet<String>) -> Result<String, String> {
    text(license, "licenseId")
}

fn name_and_version(record: &Value, version: &str) -> Result<String, String> {
    let name = text(record, "name")?;
    match record.get(version) {
        None => Ok(name),
        Some(_) => Ok(format!("{name}@{}", text(record, version)?)),
    }
}

fn text(record: &Value, member: &str) -> Result<String, String> {
    match record.get(member) {
        Some(Value::String(text)) => Ok(text.clone()),
        Some(_) => Err(format!("{member} is no text")),
        None => Err(format!("a record without {member}")),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    fn file(text: &str) -> File {
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(text.as_bytes()).and_then(|()| file.rewind()).expect("written");
        file
    }

    fn merged(strategy: MergeStrategy, documents: &[&str]) -> Result<(String, Value), Wrong> {
        let mut files: Vec<File> = documents.iter().map(|text| file(text)).collect();
        let mut sbom = file("");
        let purls = merge(strategy, &mut files, &mut sbom)?;
        let mut text = String::new();
        sbom.rewind().and_then(|()| sbom.read_to_string(&mut text)).expect("read");
        Ok((text, purl_document(&purls)))
    }

    #[test]
    fn tree_components_are_told_once() {
        let one = r#"{"bomFormat": "CycloneDX", "serialNumber": "1", "components": [
            {"name": "a", "version": "1", "purl": "pkg:b"}, {"name": "a", "version": "2"}]}"#;
        let two = r#"{"serialNumber": "2", "extra": 1, "components": [{"name": "a", "version": "2", "purl": "pkg:a"},
            {"name": "b"}, {"name": "b"}]}"#;
        let (text, purls) = merged(MergeStrategy::CycloneDx, &[one, two]).expect("merged");
        let expected = r#"{"bomFormat":"CycloneDX","serialNumber":"1","components":[{"name":"a","version":"1","purl":"pkg:b"},{"name":"a","version":"2"},{"name":"b"}]}"#;
        assert_eq!(text.trim_end(), expected);
        assert_eq!(purls, json!({"image_contents": {"dependencies": ["pkg:a", "pkg:b"]}}));
        // A single one is left to the byte.
        let (text, purls) = merged(MergeStrategy::CycloneDx, &[one]).expect("merged");
        assert_eq!((text.as_str(), &purls["image_contents"]["dependencies"]), (one, &json!(["pkg:b"])));
        let (_, purls) = merged(MergeStrategy::CycloneDx, &["{}", r#"{"components": null}"#]).expect("merged");
        assert_eq!(purls, json!({"image_contents": {}}));
    }

    #[test]
    fn tree_packages_and_licenses_are_told_once() {
        let purl = |text: &str| {
            json!([{"referenceCategory": "SECURITY", "referenceType": "purl", "referenceLocator": "no"},
                   {"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": text}])
        };
        let one = json!({"packages": [{"name": "a", "versionInfo": "1", "externalRefs": purl("pkg:a")}],
            "hasExtractedLicensingInfos": [{"licenseId": "L"}]});
        let two = json!({"packages": [{"name": "a", "versionInfo": "1"}, {"name": "c", "externalRefs": purl("pkg:c")}],
            "hasExtractedLicensingInfos": [{"licenseId": "L"}, {"licenseId": "M"}]});
        let (text, purls) = merged(MergeStrategy::Spdx, &[&one.to_string(), &two.to_string()]).expect("merged");
        let value: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(value["packages"].as_array().map(Vec::len), Some(2));
        assert_eq!(value["hasExtractedLicensingInfos"], json!([{"licenseId": "L"}, {"licenseId": "M"}]));
        assert_eq!(purls["image_contents"]["dependencies"], json!(["pkg:a", "pkg:c"]));
    }

    #[test]
    fn tree_what_cannot_be_merged_is_told_by_its_number() {
        assert_eq!(merged(MergeStrategy::Cat, &["x\n", "{"]).expect("joined").0, "x\n{");
        for (strategy, documents, number, reason) in [
            (MergeStrategy::CycloneDx, ["{}", "{"], 1, "expected a JSON object"),
            (MergeStrategy::CycloneDx, ["[]", "{}"], 0, "expected a JSON object"),
            (MergeStrategy::CycloneDx, [r#"{"components": [{}]}"#, "{}"], 0, "components: a record without name"),
            (MergeStrategy::CycloneDx, ["{}", r#"{"components": [{"name": 1}]}"#], 1, "components: name is no text"),
            (MergeStrategy::Spdx, ["{}", r#"{"packages": [1]}"#], 1, "packages: a record without name"),
            (
                MergeStrategy::Spdx,
                ["{}", r#"{"hasExtractedLicensingInfos": [{}]}"#],
                1,
                "hasExtractedLicensingInfos: a record without licenseId",
            ),
        ] {
            let (wrong, text) = merged(strategy, &documents).expect_err("wrong");
            assert!(wrong == number && text.contains(reason), "{wrong}: {text}");
        }
    }
}
