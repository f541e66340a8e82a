//! What the store's tests share: a sandbox with our store open on it, layers and images made by
//! the library alone.
#![allow(dead_code, clippy::expect_used, reason = "each test file uses a part; a fixture that fails ends the test")]

use std::fs;
use std::io;
use std::path::Path;

use oci::media_type::{OCI_CONFIG, OCI_LAYER, OCI_MANIFEST};
use oci::{DiffId, Format, ImageConfig, LayerId, Platform};
use rootfs::Root;
use store::{Image, Layer, NewImage, NewLayer, StagedLayer, Store, StoreOptions};
use test_support::Sandbox;

/// A temporary store of ours and of the peers.
pub fn sandbox() -> (Sandbox, Store) {
    let sandbox = Sandbox::new("/bin/false");
    let store = open(&sandbox);
    (sandbox, store)
}

/// Opens the sandbox's store anew, as another process would.
pub fn open(sandbox: &Sandbox) -> Store {
    Store::open(StoreOptions::new(sandbox.graph_root(), sandbox.run_root())).expect("the store opens")
}

/// Stages a layer with what `fill` makes in a directory.
pub fn stage(store: &Store, parent: Option<&LayerId>, fill: impl FnOnce(&Path)) -> (StagedLayer, NewLayer) {
    let upper = tempfile::tempdir().expect("temp dir");
    fill(upper.path());
    let staged = store.stage_layer().expect("staged");
    let summary = layers::seal_copy(
        &Root::open(upper.path()).expect("upper"),
        &[],
        &Root::open(staged.diff_dir()).expect("diff dir"),
        io::sink(),
        staged.tar_split_file().expect("tar-split"),
        &layers::DiffOptions::default(),
    )
    .expect("the layer is made");
    let new = NewLayer {
        uid_set: summary.uid_set.into_iter().collect(),
        gid_set: summary.gid_set.into_iter().collect(),
        ..NewLayer::uncompressed(parent.cloned(), summary.diff_id, summary.size)
    };
    (staged, new)
}

/// A layer with what `fill` makes in a directory.
pub fn put(store: &Store, parent: Option<&LayerId>, fill: impl FnOnce(&Path)) -> Layer {
    let (staged, new) = stage(store, parent, fill);
    store.put_layer(staged, new).expect("published")
}

/// A layer with one file.
pub fn put_file(store: &Store, parent: Option<&LayerId>, name: &str, content: &str) -> Layer {
    put(store, parent, |dir| fs::write(dir.join(name), content).expect("written"))
}

/// An image of `stack`, base first, not yet recorded.
pub fn new_image(stack: &[Layer], name: &str) -> NewImage {
    let diff_ids: Vec<DiffId> = stack.iter().filter_map(|layer| layer.diff_id.clone()).collect();
    new_image_of(
        &diff_ids,
        stack.iter().map(|layer| layer.diff_size).collect(),
        stack.last().map(|l| l.id.clone()),
        name,
    )
}

pub fn new_image_of(diff_ids: &[DiffId], sizes: Vec<i64>, top: Option<LayerId>, name: &str) -> NewImage {
    let mut config = ImageConfig::new(&Platform::host());
    config.created = Some(jiff::Timestamp::now());
    config.config.cmd = Some(vec!["/bin/sh".into()]);
    config.rootfs.diff_ids = diff_ids.to_vec();
    config.author = name.to_owned();
    let made =
        |_: &DiffId| oci::History { created: config.created, created_by: "test".into(), ..oci::History::default() };
    config.history = diff_ids.iter().map(made).collect();
    let config = config.to_bytes(Format::Oci);
    let layers: Vec<_> = diff_ids
        .iter()
        .zip(sizes)
        .map(|(id, size)| serde_json::json!({"mediaType": OCI_LAYER, "digest": id.0, "size": size}))
        .collect();
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": {"mediaType": OCI_CONFIG, "digest": oci::Digest::of(&config), "size": config.len()},
        "layers": layers,
    });
    NewImage::new(config, manifest.to_string().into_bytes(), top).with_names(vec![name.to_owned()])
}

/// An image of `stack`, base first.
pub fn image(store: &Store, stack: &[Layer], name: &str) -> Image {
    store.create_image(new_image(stack, name)).expect("recorded")
}

/// A base layer that can run commands: busybox.
pub fn busybox_layer(store: &Store) -> Layer {
    let staged = store.stage_layer().expect("staged");
    let summary = layers::apply(
        test_support::base_image::layer_tar().as_slice(),
        &Root::open(staged.diff_dir()).expect("diff dir"),
        staged.tar_split_file().expect("tar-split"),
        &layers::ApplyOptions::default(),
    )
    .expect("applied");
    let new = NewLayer {
        uid_set: summary.uid_set.into_iter().collect(),
        gid_set: summary.gid_set.into_iter().collect(),
        ..NewLayer::uncompressed(None, summary.diff_id, summary.size)
    };
    store.put_layer(staged, new).expect("published")
}

/// The digest of a layer's tar as the store gives it back.
pub fn tar_digest(store: &Store, id: &LayerId) -> oci::Digest {
    let mut reader = oci::DigestReader::new(store.layer_tar(id).expect("the tar opens"));
    io::copy(&mut reader, &mut io::sink()).expect("the tar is read");
    reader.finish().0
}

/// Seals a container's upper dir in place and stages it.
pub fn stage_upper(
    store: &Store,
    container: &store::Container,
    after: store::AfterSeal,
    parent: Option<&LayerId>,
) -> (StagedLayer, NewLayer) {
    let staged = store.stage_upper(&container.id, after).expect("staged");
    let summary = layers::seal_in_place(
        &Root::open(staged.diff_dir()).expect("diff dir"),
        &[],
        io::sink(),
        staged.tar_split_file().expect("tar-split"),
        &layers::DiffOptions::default(),
    )
    .expect("sealed");
    let new = NewLayer {
        uid_set: summary.uid_set.into_iter().collect(),
        gid_set: summary.gid_set.into_iter().collect(),
        ..NewLayer::uncompressed(parent.cloned(), summary.diff_id, summary.size)
    };
    (staged, new)
}
