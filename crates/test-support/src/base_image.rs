//! A tiny base image made of the host's static busybox, as an OCI layout with one gzip layer and
//! tag `latest`. It is made without any of gabion's crates, so that it can judge them.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;

use crate::tool::Tool;
use crate::validate::sha256;

static LAYOUT: LazyLock<PathBuf> = LazyLock::new(make_layout);

/// The base image's OCI layout, shared by all tests: to be read only.
pub fn layout() -> &'static Path {
    &LAYOUT
}

/// Where busybox is on the host.
pub fn busybox() -> PathBuf {
    ["/bin/busybox", "/usr/bin/busybox"]
        .into_iter()
        .map(PathBuf::from)
        .find(|path| path.exists())
        .expect("busybox-static is installed")
}

/// The base layer as an uncompressed tar.
pub fn layer_tar() -> Vec<u8> {
    let program = busybox();
    let applets = Tool::new(&program).arg("--list").ok();
    let mut tar = tar::Builder::new(Vec::new());
    let mut dirs =
        vec![("bin", 0o755), ("etc", 0o755), ("home", 0o755), ("proc", 0o555), ("root", 0o700), ("run", 0o755)];
    dirs.extend([
        ("sys", 0o555),
        ("tmp", 0o1777),
        ("usr", 0o755),
        ("usr/bin", 0o755),
        ("var", 0o755),
        ("var/tmp", 0o1777),
    ]);
    for (name, mode) in dirs {
        let mut header = header(tar::EntryType::Directory, mode);
        tar.append_data(&mut header, format!("{name}/"), std::io::empty()).expect("append a directory");
    }
    let mut append_file = |name: &str, mode, content: &[u8]| {
        let mut header = header(tar::EntryType::Regular, mode);
        header.set_size(content.len() as u64);
        tar.append_data(&mut header, name, content).expect("append a file");
    };
    append_file("bin/busybox", 0o755, &fs::read(&program).expect("read busybox"));
    append_file("etc/group", 0o644, b"root:x:0:\nnogroup:x:65534:\n");
    append_file(
        "etc/passwd",
        0o644,
        b"root:x:0:0:root:/root:/bin/sh\nmason:x:1000:1000::/home:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n",
    );
    for applet in applets.lines().filter(|applet| *applet != "busybox") {
        let mut header = header(tar::EntryType::Symlink, 0o777);
        tar.append_link(&mut header, format!("bin/{applet}"), "busybox").expect("append a symlink");
    }
    tar.into_inner().expect("end a tar")
}

fn header(kind: tar::EntryType, mode: u32) -> tar::Header {
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(1_600_000_000);
    header.set_size(0);
    header
}

/// Writes an OCI layout of one image at `dir` under `tag`: `layers` are tars, stored as gzip if
/// `gzip`, else as they are; `run_config` is the config's `config`.
pub fn write_layout(dir: &Path, tag: &str, layers: &[Vec<u8>], gzip: bool, run_config: &serde_json::Value) {
    let blobs = dir.join("blobs/sha256");
    fs::create_dir_all(&blobs).expect("make a layout");
    let blob = |media_type: &str, bytes: &[u8]| {
        let digest = sha256(bytes);
        fs::write(blobs.join(digest.trim_start_matches("sha256:")), bytes).expect("write a blob");
        json!({"mediaType": format!("application/vnd.oci.image.{media_type}"), "digest": digest, "size": bytes.len()})
    };
    let descriptors: Vec<_> = layers
        .iter()
        .map(|tar| if gzip { blob("layer.v1.tar+gzip", &compress(tar)) } else { blob("layer.v1.tar", tar) })
        .collect();
    let diff_ids: Vec<_> = layers.iter().map(|tar| sha256(tar)).collect();
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let history: Vec<_> =
        layers.iter().map(|_| json!({"created": "2020-09-13T12:26:40Z", "created_by": "test"})).collect();
    let config = json!({"created": "2020-09-13T12:26:40Z", "architecture": architecture, "os": "linux", "config": run_config,
        "rootfs": {"type": "layers", "diff_ids": diff_ids}, "history": history});
    let config = blob("config.v1+json", config.to_string().as_bytes());
    let manifest = json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": config, "layers": descriptors});
    let mut manifest = blob("manifest.v1+json", manifest.to_string().as_bytes());
    manifest["annotations"] = json!({"org.opencontainers.image.ref.name": tag});
    let index = json!({"schemaVersion": 2, "manifests": [manifest]});
    fs::write(dir.join("index.json"), index.to_string()).expect("write the index");
    fs::write(dir.join("oci-layout"), r#"{"imageLayoutVersion": "1.0.0"}"#).expect("write the layout file");
}

/// `bytes` as gzip.
pub fn compress(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(bytes).expect("compress");
    gzip.finish().expect("compress")
}

/// Made once per version of busybox below `target/`; a rename makes it whole for all test processes.
fn make_layout() -> PathBuf {
    let tar = layer_tar();
    let images = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/test-images");
    fs::create_dir_all(&images).expect("make a directory below target");
    let images = images.canonicalize().expect("resolve target");
    let name = format!("busybox-{}", &sha256(&tar)[7..23]);
    let path = images.join(&name);
    if !path.exists() {
        let new = tempfile::tempdir_in(&images).expect("make a temporary directory");
        let run_config = json!({"Env": ["PATH=/bin:/usr/bin"], "Cmd": ["/bin/sh"]});
        write_layout(&new.path().join("image"), "latest", &[tar], true, &run_config);
        // Another process may have been first: its image is the same.
        let renamed = fs::rename(new.path().join("image"), &path);
        assert!(renamed.is_ok() || path.exists(), "cannot make {}: {renamed:?}", path.display());
    }
    path
}

#[cfg(test)]
mod tests {
    #[test]
    fn tree_base_image_is_valid() {
        let image = crate::validate::oci_layout(super::layout(), "latest");
        let files = image.files();
        assert_eq!(files["bin/sh"].file.link, "busybox");
        assert_eq!(files["tmp"].file.mode, 0o1777);
    }
}
