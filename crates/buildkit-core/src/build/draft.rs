//! What the image of a stage is to say of itself besides its config: history and annotations; and
//! the image's config and manifest, once its layers are known.

use std::collections::BTreeMap;

use jiff::Timestamp;
use oci::config::RootFs;
use oci::{ContainerId, DiffId, Format, History, ImageConfig, ImageId, LayerId, Manifest, Platform};
use store::NewImage;

use super::options::BuildOptions;
use crate::cache::key::{Key, Parts};
use crate::commit::{CREATED, CommitError, Times, comment, image_manifest, tell_container};
use crate::configure::edit_os_features;
use crate::image::Image;
use crate::working_container::{BASE_DIGEST, BASE_NAME};

/// What an image is to say of itself.
#[derive(Clone, Debug, Default)]
pub(super) struct Draft {
    /// Name of the image that the stage, or the stage it began with, began with.
    pub base_name: String,
    pub annotations: BTreeMap<String, String>,
    pub history: Vec<History>,
    /// How many entries of it are the base image's.
    base_entries: usize,
}

/// An image that is ready but for its place in the store.
pub(super) struct Ready {
    pub id: ImageId,
    pub manifest: Manifest,
    /// The key of all that it says but for times.
    pub key: Key,
    /// What is to be recorded; nothing for an image of the store.
    pub image: Option<NewImage>,
}

impl Draft {
    /// What an image on `image` begins with.
    pub fn on_image(image: &Image) -> Draft {
        let mut annotations = image.manifest().annotations();
        annotations.insert(BASE_NAME.into(), image.stored_name().to_owned());
        annotations.insert(BASE_DIGEST.into(), image.manifest().digest().to_string());
        let history = image.config().history.clone();
        let base_entries = history.len();
        Draft { base_name: image.name().to_owned(), annotations, history, base_entries }
    }

    /// An entry for a step that made no layer.
    pub fn note(&mut self, created_by: String, author: &str, created: Timestamp) {
        self.push(created_by, author, created, true);
    }

    /// An entry for a step that made a layer.
    pub fn layer(&mut self, created_by: String, author: &str, created: Timestamp) {
        self.push(created_by, author, created, false);
    }

    fn push(&mut self, created_by: String, author: &str, created: Timestamp, empty_layer: bool) {
        // The first entry tells of the base.
        let is_first = self.history.len() == self.base_entries;
        let comment = if is_first { comment("", &self.base_name, true) } else { String::new() };
        let author = author.to_owned();
        self.history.push(History { created: Some(created), created_by, author, comment, empty_layer });
    }

    /// One layer holds what all steps did: the last of them has it in the history.
    pub fn one_layer(&mut self) {
        if let Some(entry) = self.history.get_mut(self.base_entries..).and_then(<[History]>::last_mut) {
            entry.empty_layer = false;
        }
    }

    /// All layers are one now: of the history only what came after the last step with files stays.
    pub fn squash(&mut self, created: Timestamp) {
        let last = self.history.iter().rposition(|entry| !entry.empty_layer);
        let mut history = self.history.split_off(last.unwrap_or(self.history.len()));
        match history.first_mut() {
            Some(entry) => entry.created = Some(created),
            None => {
                self.base_entries = 0;
                self.layer("/bin/sh".to_owned(), "", created);
            }
        }
        if last.is_some() {
            self.history = history;
        }
    }

    /// The image of `config` with these layers, made in `container`, if in any. Of the build's result
    /// (`is_target`), the command line says more.
    pub fn image(
        &self,
        config: &ImageConfig,
        top: Option<LayerId>,
        layers: &[(DiffId, u64)],
        options: &BuildOptions,
        is_target: bool,
        container: Option<&ContainerId>,
    ) -> Result<Ready, CommitError> {
        let created = options.times.created();
        let mut config = config.clone();
        config.created = Some(created);
        config.rootfs = RootFs::of(layers.iter().map(|(diff_id, _)| diff_id.clone()).collect());
        // What an earlier builder said of its own last step is not true of this image.
        config.container = None;
        config.container_config = None;
        config.docker_version = None;
        config.history.clone_from(&self.history);
        let mut annotations = self.annotations.clone();
        if is_target {
            options.unset_env.iter().for_each(|name| config.config.unset_env(name));
            if let Some((name, value)) = &options.identity_label {
                config.config.labels.insert(name.clone(), value.clone());
            }
            if options.omit_history {
                config.history.clear();
            }
            if options.os_version.is_some() {
                config.os_version.clone_from(&options.os_version);
            }
            edit_os_features(&mut config, &options.os_features);
            if options.created_annotation && !options.unset_annotations.iter().any(|unset| unset == CREATED) {
                annotations.insert(CREATED.into(), created.to_string());
            }
        }
        let key = image_key(&config, &annotations, top.as_ref(), options.format, options.times);
        if options.tells_container {
            let set_up = config.config.clone();
            tell_container(&mut config, set_up, container, options.times);
        }
        let bytes = config.to_bytes(options.format);
        let manifest = image_manifest(options.format, &bytes, layers, &annotations)?;
        let mut image = NewImage::new(bytes, manifest.bytes().to_vec(), top);
        image.created = created;
        Ok(Ready { id: image.id.clone(), manifest, key, image: Some(image) })
    }
}

/// An image that only keeps layers in the store's reach.
pub(super) fn anchor(
    platform: &Platform,
    labels: &[(String, String)],
    top: LayerId,
    layers: &[(DiffId, u64)],
) -> Result<NewImage, CommitError> {
    let mut config = ImageConfig::new(platform);
    let created = Timestamp::now();
    config.created = Some(created);
    config.config.labels.extend(labels.iter().cloned());
    config.rootfs.diff_ids = layers.iter().map(|(diff_id, _)| diff_id.clone()).collect();
    let bytes = config.to_bytes(Format::Oci);
    let manifest = image_manifest(Format::Oci, &bytes, layers, &BTreeMap::new())?;
    let mut image = NewImage::new(bytes, manifest.bytes().to_vec(), Some(top));
    image.created = created;
    Ok(image)
}

/// The key of an image: all that it says but for when it was made, if that is now.
pub(crate) fn image_key(
    config: &ImageConfig,
    annotations: &BTreeMap<String, String>,
    top: Option<&LayerId>,
    format: Format,
    times: Times,
) -> Key {
    let mut parts = Parts::default();
    let mut timeless = config.clone();
    if times == Times::Now {
        timeless.created = None;
        timeless.history.iter_mut().for_each(|entry| entry.created = None);
    }
    parts.add("config", String::from_utf8_lossy(&timeless.to_bytes(format)));
    parts.add("format", format.manifest());
    parts.add("top layer", top.map_or("", LayerId::as_str));
    for (name, value) in annotations {
        if name != CREATED || times != Times::Now {
            parts.add(format!("annotation {name}"), value.clone());
        }
    }
    parts.key()
}
