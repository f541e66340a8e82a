//! What a step of a script depends on. Of a command it is what the same RUN of a Dockerfile would: they
//! share what they have done. A copy keeps to the rules of `buildah copy`, and shares nothing with COPY.

use std::fs;
use std::path::Path;

use dockerfile::Span;
use dockerfile::ignore::Ignore;
use dockerfile::instruction::{Mount, MountKind};
use rootfs::Root;
use store::Store;

use super::super::error::StepError;
use super::super::layers::Files;
use super::super::step_key::{self, Command, ReadFiles, StepParts};
use super::{CachedCopy, is_untouched, platform, settle};
use crate::cache::file_digests::FileDigests;
use crate::cache::key::{Key, Parts};
use crate::commit::Times;
use crate::copy::{Meaning, Source, SourceDigest, Tree, Unpack, digest_tree};
use crate::image::Image;
use crate::run::{MountRequest, MountRequestKind, MountSource, RunOptions, absolute};
use crate::step::{CopyStep, StepSource};
use crate::working_container::WorkingContainer;

/// What a command depends on.
pub(super) fn of_command(
    container: &WorkingContainer<'_>,
    options: &RunOptions,
    times: Times,
) -> Result<StepParts, StepError> {
    let config = &container.state().config.config;
    let working_dir = absolute("/", options.working_dir.as_deref().unwrap_or(&config.working_dir));
    let is_volume =
        |mount: &&MountRequest| matches!(mount.kind, MountRequestKind::Volume { .. } | MountRequestKind::Copy { .. });
    let volumes: Vec<MountRequest> = options.mounts.iter().filter(is_volume).cloned().collect();
    let mut parts = begin(container, times);
    let command = Command {
        args: &options.command,
        script: None,
        env: &config.env,
        args_env: &options.env,
        user: options.user.as_deref().unwrap_or(&config.user),
        workdir: &working_dir,
        volumes: config.volumes.keys().collect(),
        make_volumes: options.make_volumes,
        network: step_key::network_name(&options.network),
        is_insecure: false,
        devices: &[],
        hostname: options.hostname.as_ref().or(Some(&config.hostname).filter(|name| !name.is_empty())),
        settings: &options.settings,
        add_hosts: &options.host_files.add_hosts,
        mounts: &volumes,
    };
    step_key::command(&mut parts.own, &command);
    for (name, is_made) in [("/etc/hosts", options.host_files.hosts), ("/etc/hostname", options.host_files.hostname)] {
        if !is_made {
            parts.own.add(format!("{name} of the image"), "");
        }
    }
    for request in options.mounts.iter().filter(|mount| !is_volume(mount)) {
        mount(container.store(), request, &working_dir, &mut parts)?;
    }
    Ok(parts)
}

fn begin(container: &WorkingContainer<'_>, times: Times) -> StepParts {
    StepParts { own: step_key::begin(times, &platform(container).to_string()), ..StepParts::default() }
}

/// Of a bind mount, what it shows counts; of a cache, which one it is.
fn mount(store: &Store, request: &MountRequest, working_dir: &str, parts: &mut StepParts) -> Result<(), StepError> {
    let target = absolute(working_dir, &request.target);
    let (kind, shown) = match &request.kind {
        MountRequestKind::Bind { from, source, recursive, propagation, .. } => {
            let propagation = Some(*propagation).filter(|one| *one != Default::default());
            let propagation = propagation.map(|propagation| propagation.name().to_owned());
            if !recursive {
                parts.own.add(format!("mounts below the source of {target}"), "left out");
            }
            // What is mounted below is among the files that are looked at: it need not be told as well.
            let kind = MountKind::Bind { source: source.clone(), recursive: false, propagation };
            (kind, Some((from, source)))
        }
        MountRequestKind::Cache { id, from, source, sharing, mode, uid, gid, .. } => {
            let shown = Some((from, source)).filter(|(from, _)| **from != MountSource::Host);
            let kind = MountKind::Cache {
                id: id.clone().unwrap_or_else(|| request.target.clone()),
                sharing: *sharing,
                source: source.clone(),
                mode: *mode,
                uid: *uid,
                gid: *gid,
            };
            (kind, shown)
        }
        MountRequestKind::Tmpfs { size, mode, copy_up } => {
            (MountKind::Tmpfs { size: *size, mode: *mode, copy_up: *copy_up }, None)
        }
        MountRequestKind::Volume { .. } | MountRequestKind::Copy { .. } | MountRequestKind::File { .. } => {
            return Ok(());
        }
    };
    let name = format!("files mounted at {target}");
    let (read_only, options) = (request.read_only, request.options.clone());
    step_key::mount(&mut parts.own, &Mount { kind, target, read_only, options });
    match shown {
        Some((MountSource::Host, source)) => {
            let path = fs::canonicalize(source)?;
            let (dir, name_in_dir) = match path.parent() {
                Some(parent) if !path.is_dir() => (parent, path.file_name().unwrap_or_default()),
                _ => (path.as_path(), Default::default()),
            };
            parts.source(name, digest_of(store, dir, &name_in_dir.to_string_lossy())?);
        }
        Some((MountSource::Tree(dir), source)) => parts.source(name, digest_of(store, dir, source)?),
        Some((MountSource::Named(from), source)) => match Image::find(store, from) {
            Ok(image) => parts.read.push((name, read_image(&image))),
            Err(_) => match known_container(store, from)? {
                Known::Layers(read) => parts.read.push((name, read)),
                Known::Container(id) => {
                    let mounted = store.mounted(&id)?;
                    let root = Root::open(mounted.path())?;
                    parts.source(name, digest_tree(&root, source, &Ignore::default(), None)?);
                }
            },
        },
        None => {}
    }
    Ok(())
}

/// The digest of `path` in the directory `dir` of the host, whose files are remembered.
fn digest_of(store: &Store, dir: &Path, path: &str) -> Result<SourceDigest, StepError> {
    let step = Key::of("mount", &dir.to_string_lossy()).then(path);
    let known = FileDigests::of_step(&store.private_directory()?, &step);
    let digest = digest_tree(&Root::open(dir)?, path, &Ignore::default(), Some(&known))?;
    // What is not remembered is read again.
    let _ = known.save();
    Ok(digest)
}

/// How the files of a container are known.
enum Known {
    /// By its layers: nothing was written to it since.
    Layers(ReadFiles),
    /// Only by looking at them.
    Container(oci::ContainerId),
}

fn known_container(store: &Store, name: &str) -> Result<Known, StepError> {
    let id = store.container(name)?.id;
    if is_untouched(store, &id)?
        && let Ok(mut container) = WorkingContainer::open(store, id.as_str())
    {
        let ground = settle(&mut container)?;
        return Ok(Known::Layers(ReadFiles { files: ground.files(), made_by: ground.made_by(), digest: None }));
    }
    Ok(Known::Container(id))
}

fn read_image(image: &Image) -> ReadFiles {
    let files = Files::of_base(image.top_layer().cloned());
    let made_by = files.base_key();
    ReadFiles { files, made_by, digest: None }
}

/// Name of the part that stands for what is copied.
const COPIED: &str = "files copied";

/// What a copy depends on, but for its sources, unless they are in layers.
pub(super) fn of_copy(
    container: &WorkingContainer<'_>,
    copy: &CachedCopy<'_>,
    times: Times,
) -> Result<StepParts, StepError> {
    let options = copy.options;
    let mut parts = begin(container, times);
    let step = CopyStep {
        is_add: options.unpack != Unpack::Nothing,
        sources: copy.sources.iter().cloned().map(StepSource::Path).collect(),
        destination: options.destination.clone(),
        written_destination: options.destination.clone(),
        from: None,
        chown: None,
        chmod: options.chmod.as_ref().map(|chmod| (format!("{chmod:?}"), Span::default())),
        checksum: options.checksum.clone().map(|checksum| (checksum, Span::default())),
        keep_git_dir: options.keep_git_dir,
        unpack: None,
        link: options.link,
        parents: options.parents,
        // What they leave out is not among the sources' files.
        exclude: Vec::new(),
    };
    if options.meaning == Meaning::Buildah {
        parts.own.add("rules", "those of buildah copy");
    }
    if !options.destination.starts_with('/') {
        parts.own.add("WORKDIR", container.state().config.config.working_dir.clone());
    }
    if options.preserve_owner {
        parts.own.add("owners", "those of the sources");
    }
    if options.keep_symlinks {
        parts.own.add("symlinks", "as they are");
    }
    if let Some(time) = options.timestamp {
        parts.own.add("time of files copied", time.to_string());
    }
    step_key::copy(&mut parts.own, &step, options.chown.as_deref());
    if let Tree::Named(name) = &options.from
        && options.sources.iter().all(|source| matches!(source, Source::Path(_)))
    {
        // As in the copy, a container of that name comes before an image.
        let read = match container.store().container(name) {
            Ok(_) => known_container(container.store(), name)?,
            Err(_) => Known::Layers(read_image(&Image::find(container.store(), name)?)),
        };
        if let Known::Layers(read) = read {
            parts.read.push((COPIED.to_owned(), read));
        }
    }
    Ok(parts)
}

/// Adds what the sources are.
pub(super) fn add_sources(parts: &mut StepParts, digest: SourceDigest, copy: &CachedCopy<'_>) {
    match parts.read.first_mut() {
        Some((_, read)) => read.digest = Some(digest.digest),
        // As of layers of which only the content is known.
        None if matches!(copy.options.from, Tree::Named(_)) => {
            parts.own.add(COPIED, format!("content {}", digest.digest));
        }
        None => {
            let digest = match &copy.base {
                Some(base) => digest.relative_to(base),
                None => digest,
            };
            parts.source(COPIED.to_owned(), digest);
        }
    }
}

/// What is remembered of the files of the host that are copied.
pub(super) fn memory(store: &Store, copy: &CachedCopy<'_>) -> Result<Option<FileDigests>, StepError> {
    let mut key = Parts::default();
    match &copy.options.from {
        Tree::Named(_) => return Ok(None),
        Tree::Host => key.add("host", copy.base.as_deref().unwrap_or(Path::new("/")).to_string_lossy()),
        Tree::Directory(dir) => key.add("directory", dir.to_string_lossy()),
    }
    copy.sources.iter().for_each(|source| key.add("source", source.clone()));
    Ok(Some(FileDigests::of_step(&store.private_directory()?, &key.key())))
}

/// What the history says of a command.
pub(super) fn shown_command(command: &[String]) -> String {
    match command {
        [shell, flag, script] if shell == "/bin/sh" && flag == "-c" => format!("/bin/sh -c {script}"),
        words => format!("/bin/sh -c {}", words.join(" ")),
    }
}

/// What stands before the digest of a copy in the history, and behind it.
const SHOWN_COPY: (&str, &str) = ("/bin/sh -c #(nop) ", " in ");

/// What the history says of a copy.
pub(super) fn shown_copy(copy: &CachedCopy<'_>, digest: &str) -> String {
    let (before, behind) = SHOWN_COPY;
    let keyword = if copy.options.unpack == Unpack::Nothing { "COPY" } else { "ADD" };
    format!("{before}{keyword} {digest}{behind}{} ", copy.options.destination)
}

/// The hex digest in what the history says of a copy.
pub(super) fn digest_of_copy(shown: &str) -> &str {
    let (before, behind) = SHOWN_COPY;
    let digest = shown.strip_prefix(before).and_then(|rest| rest.split_once(' ')?.1.split_once(behind));
    let digest = digest.map_or("", |(digest, _)| digest);
    digest.split_once(':').map_or(digest, |(_, hex)| hex)
}
