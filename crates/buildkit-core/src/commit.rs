//! From a working container to an image: its changes become a layer, its state becomes a config.
//!
//! Only what the container changed is read, and no lower layer ever. A container that is not
//! needed any more gives its upper dir away; one that is kept has it copied while it is hashed.

pub(crate) mod added_files; // files of the host that join the image
mod linked; // layers of their own

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use layers::{DiffOptions, DiffSummary, Mtimes};
use oci::config::{RootFs, RunConfig};
use oci::manifest::{InvalidManifest, descriptor};
use oci::media_type::Compression;
use oci::{ContainerId, DiffId, Digest, Format, History, ImageConfig, ImageId, LayerId, Manifest, Reference};
use rootfs::{Root, Time};
use store::{AfterSeal, LayerTree, Mounted, NewImage, NewLayer, StagedLayer, Store};

use crate::build::cached_step;
use crate::event::{Event, Events};
use crate::working_container::{LinkedLayer, WorkingContainer, WorkingContainerError};

/// How to commit a working container.
#[derive(Clone, Debug, Default)]
pub struct CommitOptions {
    /// Names that the image gets; whoever has them loses them.
    pub names: Vec<Reference>,
    /// Format of the image; by default the container's.
    pub format: Option<Format>,
    /// What the image's layers are.
    pub layers: Layers,
    /// The times of what is new.
    pub times: Times,
    /// What becomes of the container.
    pub afterwards: Afterwards,
    /// Whether to leave all history out.
    pub omit_history: bool,
    /// Environment variables to leave out of the image.
    pub unset_env: Vec<String>,
    /// The config of the image, apart from its layers and history; by default the container's.
    pub config: Option<ImageConfig>,
    /// Annotations of the manifest beside the container's.
    pub annotations: Vec<(String, String)>,
    /// Annotations of the container to leave out.
    pub unset_annotations: Vec<String>,
    /// Whether an annotation tells when the image was made.
    pub created_annotation: bool,
    /// Label that names the builder, as (name, value); `None` adds none.
    pub identity_label: Option<(String, String)>,
    /// Regular files of the host, each with its absolute path in the image: they are root's there, with
    /// mode 0644, and in a layer of their own unless everything is one.
    pub add_files: Vec<(PathBuf, String)>,
    /// Whether an image in Docker's format tells which container it was, unless times are given, and how
    /// that was set up.
    pub tells_container: bool,
    /// Paths in the rootfs that were made for a step's mounts only and are not part of the layer.
    pub stubs: Vec<PathBuf>,
}

/// The times of a new image and of the files in its new layer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Times {
    /// The image's is now, the files' are as they are.
    #[default]
    Now,
    /// The image's is this, the files' are as they are.
    Image(Timestamp),
    /// The image's is this, and no file's is later.
    Clamp(Timestamp),
    /// The image's and all the files' are this.
    Set(Timestamp),
}

impl Times {
    /// When the image is made.
    pub fn created(self) -> Timestamp {
        match self {
            Times::Now => Timestamp::now(),
            Times::Image(time) | Times::Clamp(time) | Times::Set(time) => time,
        }
    }

    /// What they mean for the files of a new layer.
    pub(crate) fn of_files(self) -> Mtimes {
        let seconds = |time: Timestamp| Time::from_seconds(time.as_second());
        match self {
            Times::Now | Times::Image(_) => Mtimes::Keep,
            Times::Clamp(time) => Mtimes::Clamp(seconds(time)),
            Times::Set(time) => Mtimes::Set(seconds(time)),
        }
    }
}

/// What the layers of a committed image are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Layers {
    /// Those of the base image and one with the container's changes.
    #[default]
    Append,
    /// Those of the base image only: the container's changes are left out.
    Keep,
    /// One with everything.
    Squash,
}

/// What becomes of a container that was committed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Afterwards {
    /// It stays as it is.
    #[default]
    Keep,
    /// It is removed; its files become the layer's without being copied.
    Remove,
}

/// A committed image.
#[derive(Clone, Debug)]
pub struct Committed {
    /// Its ID.
    pub image_id: ImageId,
    /// Its manifest.
    pub manifest: Manifest,
}

/// Why a container could not be committed.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// The container failed.
    #[error(transparent)]
    Container(#[from] WorkingContainerError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The container's files could not be read or copied.
    #[error(transparent)]
    Layer(#[from] layers::DiffError),
    /// A directory of the container could not be opened.
    #[error(transparent)]
    Rootfs(#[from] rootfs::Error),
    /// A file could not be added.
    #[error(transparent)]
    Copy(#[from] crate::copy::CopyError),
    /// A file that is to be added has an unusable path.
    #[error("cannot add {}: {error}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// What was copied for a layer of its own cannot be had.
    #[error("cannot make a layer of {}, which was copied with --link: {reason}", .path.display())]
    Linked {
        /// Where it is expected.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// A layer below the container's own, which is shown by nothing but an image.
    #[error("the container has a layer of its own below what was written to it, {}: commit it without --squash and \
             --sbom", .0.display())]
    LinkedBelow(PathBuf),
    /// The manifest could not be made.
    #[error(transparent)]
    Manifest(#[from] InvalidManifest),
    /// A layer of the base image without a digest.
    #[error("layer {0} of the base image has no recorded digest: pull the image again")]
    NoDigest(LayerId),
}

/// A layer that is ready to be published.
pub type ReadyLayer = (StagedLayer, NewLayer);

/// Commits `container`. Data is synced before the image's record is published: after a power cut
/// there is the whole image or none.
///
/// Steps that the cache knows have layers of their own; if nothing was written since the last one,
/// there is no other.
pub fn commit(
    container: WorkingContainer<'_>,
    options: &CommitOptions,
    events: Events<'_>,
) -> Result<Committed, CommitError> {
    let store = container.store();
    let (committed, top_step) = commit_beside_steps(container, options, events)?;
    if let Some(top) = top_step.filter(|_| options.layers != Layers::Squash) {
        cached_step::remove_needless(store, &top)?;
    }
    Ok(committed)
}

/// The same, but images that keep layers of steps in the store's reach stay; gives the top one of these
/// layers.
pub(crate) fn commit_beside_steps(
    mut container: WorkingContainer<'_>,
    options: &CommitOptions,
    events: Events<'_>,
) -> Result<(Committed, Option<LayerId>), CommitError> {
    let store = container.store();
    let ground = cached_step::settle(&mut container)?;
    let top_step = ground.top().filter(|_| ground.has_steps());
    let mut options = options.clone();
    if options.layers == Layers::Append && top_step.is_some() && cached_step::is_untouched(store, container.id())? {
        options.layers = Layers::Keep;
    }
    let options = &options;
    let after = match options.afterwards {
        Afterwards::Keep => None,
        Afterwards::Remove => Some(AfterSeal::Delete),
    };
    let created = options.times.created();
    let Stack { base: parent, ready, .. } = stack(&mut container, after, options, created)?;
    let mut layers = match &parent {
        Some(top) => recorded_layers(store, top)?,
        None => Vec::new(),
    };
    layers.extend(ready.iter().map(|(_, layer)| (layer.diff_id.clone(), layer.diff_size)));
    let format = options.format.unwrap_or(container.state().format);
    let diff_ids = layers.iter().map(|(diff_id, _)| diff_id.clone()).collect();
    let mut config = image_config(&container, options, created, diff_ids);
    if format == Format::Oci {
        for field in config.docker_only_fields() {
            events(Event::Debug(format!("{field} has no place in the OCI format and is left out")));
        }
    }
    let annotations = annotations(&container, options, created);
    let top_layer = ready.last().map(|(_, layer)| layer.id()).or(parent);
    // Steps that are known come to an image that is: no other one is made.
    let is_known = top_step.is_some() && ready.is_empty();
    let key =
        is_known.then(|| cached_step::image_key(&config, &annotations, top_layer.as_ref(), format, options.times));
    if let Some((image_id, manifest)) =
        key.as_ref().and_then(|key| cached_step::earlier_image(store, key, top_layer.as_ref()))
    {
        let names: Vec<String> = options.names.iter().map(Reference::to_string).collect();
        if !names.is_empty() {
            store.add_image_names(&image_id, &names)?;
        }
        if options.afterwards == Afterwards::Remove {
            container.remove()?;
        }
        return Ok((Committed { image_id, manifest }, top_step));
    }
    if options.tells_container {
        let mut set_up = container.state().config.config.clone();
        edit_run_config(&mut set_up, options);
        tell_container(&mut config, set_up, Some(container.id()), options.times);
    }
    let config = config.to_bytes(format);
    let manifest = image_manifest(format, &config, &layers, &annotations)?;
    let image_id = ImageId::of_config(&config);
    let mut image = NewImage::new(config, manifest.bytes().to_vec(), top_layer);
    image.names = options.names.iter().map(Reference::to_string).collect();
    image.created = created;
    store.publish(ready.as_slice(), vec![image])?;
    if let Some(key) = key {
        cached_step::remember_image(store, &key, &image_id);
    }
    if options.afterwards == Afterwards::Remove && options.layers != Layers::Append {
        container.remove()?;
    }
    Ok((Committed { image_id, manifest }, top_step))
}

/// The layers of an image in the making: one of the store with all below it, and new ones over that.
struct Stack<'s> {
    store: &'s Store,
    base: Option<LayerId>,
    ready: Vec<ReadyLayer>,
}

impl Stack<'_> {
    fn top(&self) -> Option<LayerId> {
        self.ready.last().map(|(_, layer)| layer.id()).or_else(|| self.base.clone())
    }

    /// Their directories, top first.
    fn directories(&self) -> Result<Vec<PathBuf>, CommitError> {
        let mut directories: Vec<PathBuf> =
            self.ready.iter().rev().map(|(staged, _)| staged.diff_dir().to_owned()).collect();
        if let Some(base) = &self.base {
            directories.extend(self.store.lower_directories(base)?);
        }
        Ok(directories)
    }

    fn link(&mut self, linked: &[LinkedLayer], options: &CommitOptions) -> Result<(), CommitError> {
        for linked in linked::with_files(linked) {
            let layer = linked::layer(self.store, linked, &self.directories()?, self.top(), options)?;
            self.ready.push(layer);
        }
        Ok(())
    }
}

/// Makes the new layers.
fn stack<'s>(
    container: &mut WorkingContainer<'s>,
    after: Option<AfterSeal>,
    options: &CommitOptions,
    created: Timestamp,
) -> Result<Stack<'s>, CommitError> {
    let store = container.store();
    if options.layers == Layers::Squash {
        return Ok(Stack { store, base: None, ready: vec![everything(container, options, created)?] });
    }
    let state = container.state();
    let mut stack = Stack { store, base: state.top_layer.clone(), ready: Vec::new() };
    stack.link(&state.prepended_linked_layers, options)?;
    if options.layers == Layers::Append {
        let changes = changes(container, &stack.directories()?, stack.top(), after, options)?;
        stack.ready.push(changes);
    }
    if !options.add_files.is_empty() {
        let added = added_files::layer(store, &stack.directories()?, stack.top(), options, created)?;
        stack.ready.push(added);
    }
    stack.link(&state.appended_linked_layers, options)?;
    Ok(stack)
}

/// Makes the container's changes a layer over the directories `below`, top first; `parent` is the topmost of
/// these. With `after` the upper dir itself becomes the layer's; without, it is copied.
fn changes(
    container: &WorkingContainer<'_>,
    below: &[PathBuf],
    parent: Option<LayerId>,
    after: Option<AfterSeal>,
    options: &CommitOptions,
) -> Result<ReadyLayer, CommitError> {
    let store = container.store();
    let lowers = below.iter().map(Root::open).collect::<Result<Vec<_>, _>>()?;
    let diff_options = diff_options(options);
    let (staged, summary) = match after {
        Some(after) => {
            let staged = store.stage_upper(container.id(), after)?;
            let upper = Root::open(staged.diff_dir())?;
            let summary = layers::seal_in_place(&upper, &lowers, io::sink(), staged.tar_split_file()?, &diff_options)?;
            (staged, summary)
        }
        None => {
            let staged = store.stage_layer()?;
            let changes = store.container_changes(container.id())?;
            let upper = Root::open(changes.path())?;
            let into = Root::open(staged.diff_dir())?;
            let summary =
                layers::seal_copy(&upper, &lowers, &into, io::sink(), staged.tar_split_file()?, &diff_options)?;
            (staged, summary)
        }
    };
    Ok((staged, new_layer(parent, summary)))
}

/// Makes everything that the image shows one layer: the container's rootfs, what is added, what is linked.
fn everything(
    container: &mut WorkingContainer<'_>,
    options: &CommitOptions,
    created: Timestamp,
) -> Result<ReadyLayer, CommitError> {
    let store = container.store();
    let linked = linked_files(container)?;
    let staged = store.stage_layer()?;
    let rootfs = container.mount()?;
    let copy = || -> Result<DiffSummary, CommitError> {
        let below = [rootfs];
        let added = match options.add_files.as_slice() {
            [] => None,
            _ => Some(added_files::stage(store, &below, options, created)?),
        };
        let mut directories = over(&linked);
        directories.extend(added.as_ref().map(|added| added.diff_dir().to_owned()).into_iter().chain(below));
        let into = Root::open(staged.diff_dir())?;
        let seal = |from: &Path| -> Result<DiffSummary, CommitError> {
            let (from, tar_split) = (Root::open(from)?, staged.tar_split_file()?);
            Ok(layers::seal_copy(&from, &[], &into, io::sink(), tar_split, &diff_options(options))?)
        };
        match directories.as_slice() {
            [rootfs] => seal(rootfs),
            several => seal(&store.open_tree(several)?.path()),
        }
    };
    let summary = copy();
    container.unmount(false)?;
    Ok((staged, new_layer(None, summary?)))
}

/// What is linked to the container, the lowest layer first.
fn linked_files(container: &WorkingContainer<'_>) -> Result<Vec<linked::Files>, CommitError> {
    let state = container.state();
    if let Some(below) = linked::with_files(&state.prepended_linked_layers).next() {
        return Err(CommitError::LinkedBelow(below.blob_path.clone()));
    }
    let linked = linked::with_files(&state.appended_linked_layers);
    linked.map(|linked| linked::files(container.store(), linked)).collect()
}

/// Where these are, top first.
fn over(linked: &[linked::Files]) -> Vec<PathBuf> {
    linked.iter().rev().map(|files| files.path().to_owned()).collect()
}

/// What an image of a container shows but for files that are added, as long as this lives.
pub(crate) struct Shown<'s> {
    tree: Option<LayerTree>,
    rootfs: Mounted<'s>,
    _linked: Vec<linked::Files>,
}

impl Shown<'_> {
    /// Where it is.
    pub fn path(&self) -> PathBuf {
        self.tree.as_ref().map_or_else(|| self.rootfs.path().to_owned(), LayerTree::path)
    }
}

/// What the image of `container` shows.
pub(crate) fn shown<'s>(container: &WorkingContainer<'s>) -> Result<Shown<'s>, CommitError> {
    let store = container.store();
    let linked = linked_files(container)?;
    let rootfs = store.mounted(container.id())?;
    let mut directories = over(&linked);
    directories.push(rootfs.path().to_owned());
    let tree = if linked.is_empty() { None } else { Some(store.open_tree(&directories)?) };
    Ok(Shown { tree, rootfs, _linked: linked })
}

pub(crate) fn diff_options(options: &CommitOptions) -> DiffOptions {
    DiffOptions { mtimes: options.times.of_files(), exclude: options.stubs.clone(), ..DiffOptions::default() }
}

fn new_layer(parent: Option<LayerId>, summary: DiffSummary) -> NewLayer {
    NewLayer {
        uid_set: summary.uid_set.into_iter().collect(),
        gid_set: summary.gid_set.into_iter().collect(),
        ..NewLayer::uncompressed(parent, summary.diff_id, summary.size)
    }
}

/// Diff ID and size of the uncompressed tar of `top` and of each layer below it, base first.
pub(crate) fn recorded_layers(store: &Store, top: &LayerId) -> Result<Vec<(DiffId, u64)>, CommitError> {
    let stack = store.layer_stack(top)?;
    let of_layer = |layer: store::Layer| match (layer.diff_id, u64::try_from(layer.diff_size)) {
        (Some(diff_id), Ok(size)) => Ok((diff_id, size)),
        _ => Err(CommitError::NoDigest(layer.id)),
    };
    stack.into_iter().map(of_layer).collect()
}

fn image_config(
    container: &WorkingContainer<'_>,
    options: &CommitOptions,
    created: Timestamp,
    diff_ids: Vec<DiffId>,
) -> ImageConfig {
    let state = container.state();
    let mut config = options.config.as_ref().unwrap_or(&state.config).clone();
    config.created = Some(created);
    config.rootfs = RootFs::of(diff_ids);
    // What an earlier builder said of its own last step is not true of this image.
    config.container = None;
    config.container_config = None;
    config.docker_version = None;
    edit_run_config(&mut config.config, options);
    if options.omit_history {
        config.history.clear();
        return config;
    }
    if options.layers == Layers::Squash {
        config.history.clear();
    }
    let of_this_image = |mut entry: History| {
        if options.times != Times::Now {
            entry.created = Some(created);
        }
        entry
    };
    config.history.extend(state.prepended_empty_layers.iter().cloned().map(of_this_image));
    let linked_history = |layers: &[LinkedLayer]| {
        let layers = if options.layers == Layers::Squash { &[] } else { layers };
        linked::with_files(layers).map(|linked| linked.history.clone()).collect::<Vec<_>>().into_iter()
    };
    config.history.extend(linked_history(&state.prepended_linked_layers).map(of_this_image));
    if options.layers != Layers::Keep {
        config.history.push(History {
            created: Some(created),
            created_by: created_by(container),
            author: config.author.clone(),
            comment: comment(&state.history_comment, &state.image, state.prepended_empty_layers.is_empty()),
            empty_layer: false,
        });
    }
    if !options.add_files.is_empty() && options.layers != Layers::Squash {
        config.history.push(added_files::history(options, created, &config.author));
    }
    config.history.extend(state.appended_empty_layers.iter().cloned().map(of_this_image));
    config.history.extend(linked_history(&state.appended_linked_layers).map(of_this_image));
    config
}

fn edit_run_config(config: &mut RunConfig, options: &CommitOptions) {
    options.unset_env.iter().for_each(|name| config.unset_env(name));
    if let Some((name, value)) = &options.identity_label {
        config.labels.insert(name.clone(), value.clone());
    }
}

/// Docker's members on the container behind an image; the OCI format has none. Given times make images
/// the same whatever the container's ID.
pub(crate) fn tell_container(
    config: &mut ImageConfig,
    mut set_up: RunConfig,
    container: Option<&ContainerId>,
    times: Times,
) {
    for run in [&mut config.config, &mut set_up].into_iter().filter(|run| run.hostname.is_empty()) {
        run.hostname = match container {
            _ if times != Times::Now => "sandbox".to_owned(),
            Some(id) => id.as_str().chars().take(12).collect(),
            None => String::new(),
        };
    }
    config.container_config = Some(set_up);
    config.container = container.filter(|_| times == Times::Now).map(ToString::to_string);
}

/// The annotations of the manifest.
fn annotations(
    container: &WorkingContainer<'_>,
    options: &CommitOptions,
    created: Timestamp,
) -> BTreeMap<String, String> {
    let mut annotations = container.state().annotations.clone();
    let is_unset = |name: &str| options.unset_annotations.iter().any(|unset| unset == name);
    annotations.retain(|name, _| !is_unset(name));
    annotations.extend(options.annotations.iter().cloned());
    if options.created_annotation && !is_unset(CREATED) {
        annotations.insert(CREATED.into(), created.to_string());
    }
    annotations
}

/// Annotation that says when the image was made, as the OCI specification defines it.
pub(crate) const CREATED: &str = "org.opencontainers.image.created";

pub(crate) fn created_by(container: &WorkingContainer<'_>) -> String {
    let state = container.state();
    match (state.created_by.as_str(), state.config.config.shell.as_slice()) {
        ("", []) => "/bin/sh".into(),
        ("", shell) => shell.join(" "),
        (text, _) => text.to_owned(),
    }
}

/// The comment of a new layer's history entry: `own` and the base, which is told of behind a comment
/// only where this is the first entry.
pub(crate) fn comment(own: &str, base: &str, is_first: bool) -> String {
    match (own, base) {
        ("", "") => String::new(),
        ("", base) => format!("FROM {base}"),
        (comment, base) if !base.is_empty() && is_first => format!("{comment} FROM {base}"),
        (comment, _) => comment.to_owned(),
    }
}

/// The manifest of an image with this config, whose layers are not compressed.
pub(crate) fn image_manifest(
    format: Format,
    config: &[u8],
    layers: &[(DiffId, u64)],
    annotations: &BTreeMap<String, String>,
) -> Result<Manifest, InvalidManifest> {
    let layer_type = format.layer(Compression::None);
    let layers = layers.iter().map(|(diff_id, size)| descriptor(layer_type, &diff_id.0, *size));
    let config = descriptor(format.config(), &Digest::of(config), config.len() as u64)?;
    Manifest::build(format, config, layers.collect::<Result<_, _>>()?, annotations)
}
