//! Is a store whole? Judged from outside: its files as they lie, and what Podman and Skopeo make
//! of them. To be called while nobody else writes.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::sandbox::Sandbox;
use crate::validate;

/// Asserts that the store is whole: records and directories agree, nothing is left half made, and
/// every image can be copied out with the digests that it claims (manifest lists lead to images only).
#[track_caller]
pub fn assert_sound(sandbox: &Sandbox) {
    assert_records_sound(sandbox);
    let is_list =
        |image: &Value| image["big-data-names"].as_array().into_iter().flatten().any(|name| name == "instances.json");
    let images = read_records(&sandbox.graph_root(), sandbox.driver(), "images");
    for image in images.into_iter().filter(|image| !is_list(image)) {
        let copy = tempfile::tempdir_in(sandbox.path("tmp")).expect("make a temporary directory");
        let id = text(&image["id"]);
        let source = sandbox.storage(&format!("@{id}"));
        sandbox.skopeo(["copy", "-q", &source, &format!("dir:{}", copy.path().display())]).ok();
        let copied = validate::dir_image(copy.path());
        if copied.manifest["config"]["digest"].as_str().is_some_and(|digest| digest.ends_with(id)) {
            assert_eq!(copied.config_digest, format!("sha256:{id}"));
        }
    }
    // Newer Podmans have a check of their own.
    if sandbox.podman(["system", "check", "--help"]).run().stdout.contains("--max") {
        assert_eq!(sandbox.podman(["system", "check"]).ok(), "");
    }
}

/// As [`assert_sound`], but without reading the layers.
#[track_caller]
pub fn assert_records_sound(sandbox: &Sandbox) {
    sandbox.podman(["images", "-a", "-q"]).ok();
    let root = sandbox.graph_root();
    let driver = sandbox.driver();
    let is_vfs = driver == "vfs";
    let records_of = |driver: &str, kind: &str| read_records(&root, driver, kind);
    let (layers, images, containers) =
        (records_of(driver, "layers"), records_of(driver, "images"), records_of(driver, "containers"));
    let layer_ids: BTreeSet<&str> = layers.iter().map(|layer| text(&layer["id"])).collect();
    assert_eq!(layer_ids.len(), layers.len(), "layer IDs are unique");

    let home = root.join(if is_vfs { "vfs/dir" } else { driver });
    let mut dirs = names(&home);
    dirs.retain(|name| !matches!(name.as_str(), "l" | "staging" | "tempdirs" | ".has-mount-program"));
    let dirs: BTreeSet<&str> = dirs.iter().map(String::as_str).collect();
    assert_eq!(dirs, layer_ids, "directories and records of layers");
    let mut links = names(&home.join("l"));

    let container_layers: BTreeSet<&str> = containers.iter().map(|container| text(&container["layer"])).collect();
    for layer in &layers {
        let id = text(&layer["id"]);
        assert!(layer["flags"]["incomplete"] != true, "{layer}");
        if let Some(parent) = layer["parent"].as_str().filter(|parent| !parent.is_empty()) {
            assert!(layer_ids.contains(parent), "parent of {layer}");
        }
        if !is_vfs {
            let dir = home.join(id);
            let link = fs::read_to_string(dir.join("link")).expect("read link");
            assert!(dir.join("diff").is_dir(), "{} has a diff", dir.display());
            assert!(links.remove(&link), "l/{link} of {id}");
        }
        if !container_layers.contains(id) {
            assert!(layer["diff-digest"].is_string(), "{layer}");
            assert!(
                root.join(format!("{driver}-layers")).join(format!("{id}.tar-split.gz")).exists(),
                "tar-split of {id}"
            );
        }
    }
    assert!(links.is_empty(), "links without a layer: {links:?}");

    let split_ids: BTreeSet<String> = names(&root.join(format!("{driver}-layers")))
        .into_iter()
        .filter_map(|name| name.strip_suffix(".tar-split.gz").map(str::to_owned))
        .collect();
    for id in &split_ids {
        assert!(layer_ids.contains(id.as_str()), "tar-split of {id}, which is no layer");
    }
    let image_ids: BTreeSet<&str> = images.iter().map(|image| text(&image["id"])).collect();
    let mut seen_names = BTreeSet::new();
    for image in &images {
        if let Some(layer) = image["layer"].as_str().filter(|layer| !layer.is_empty()) {
            assert!(layer_ids.contains(layer), "layer of {image}");
        }
        for name in image["names"].as_array().into_iter().flatten() {
            assert!(seen_names.insert(text(name)), "{name} names two images");
        }
        for (key, size) in image["big-data-sizes"].as_object().into_iter().flatten() {
            let file = big_data_file(key);
            let path = root.join(format!("{driver}-images")).join(text(&image["id"])).join(file);
            let found = fs::metadata(&path).map(|metadata| metadata.len()).ok();
            assert_eq!(found, size.as_u64(), "{} of {image}", path.display());
        }
    }
    for container in &containers {
        assert!(layer_ids.contains(text(&container["layer"])), "layer of {container}");
        if let Some(image) = container["image"].as_str().filter(|image| !image.is_empty()) {
            assert!(image_ids.contains(image), "image of {container}");
        }
    }
}

/// The records of one kind (`layers`, `images`, `containers`) as they lie in a store of the overlay driver.
pub fn records(graph_root: &Path, kind: &str) -> Vec<Value> {
    read_records(graph_root, "overlay", kind)
}

fn read_records(graph_root: &Path, driver: &str, kind: &str) -> Vec<Value> {
    let path = graph_root.join(format!("{driver}-{kind}/{kind}.json"));
    match fs::read(&path) {
        Ok(bytes) if !bytes.is_empty() => {
            serde_json::from_slice(&bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        }
        _ => Vec::new(),
    }
}

fn big_data_file(key: &str) -> String {
    let plain = key.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '.');
    if plain { key.to_owned() } else { format!("={}", STANDARD.encode(key)) }
}

fn names(dir: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(dir).into_iter().flatten();
    entries.map(|entry| entry.expect("read a directory").file_name().to_string_lossy().into_owned()).collect()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("a string is expected instead of {value}"))
}
