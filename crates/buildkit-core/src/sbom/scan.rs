//! A scanner at work, in a working container of its own.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dockerfile::ignore::Ignore;
use oci::{Format, Platform};
use rootfs::Root;
use store::{Store, TemporaryDirectory};

use super::command::{CONTEXT, Plan, ROOTFS, SCANS};
use super::{ScanOptions, merge};
use crate::build::RunDefaults;
use crate::build::record::BuildRecord;
use crate::commit::{self, CommitError};
use crate::context::left_out;
use crate::event::{Event, Events};
use crate::image::Image;
use crate::run::{self, Exit, MountRequest, MountRequestKind, MountSource, RunError, RunOptions, Stdio, Stop};
use crate::transfer::pull::{PullOptions, resolve_or_pull};
use crate::transfer::{Remotes, TransferError};
use crate::working_container::{FromOptions, WorkingContainer, WorkingContainerError};

/// Why an image could not be scanned.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SbomError {
    /// The scanner's image could not be had.
    #[error("the scanner {image} cannot be had: {source}")]
    Image {
        /// Its name.
        image: String,
        /// Why not.
        source: Box<TransferError>,
    },
    /// The source policy stands against the scanner's image.
    #[error(transparent)]
    Policy(#[from] crate::source_policy::SourcePolicyError),
    /// The working container failed.
    #[error(transparent)]
    Container(#[from] WorkingContainerError),
    /// What the image shows cannot be put together.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// A directory could not be looked at.
    #[error(transparent)]
    Rootfs(#[from] rootfs::Error),
    /// The scanner could not be run.
    #[error("the scanner {image}: {source}")]
    Run {
        /// Its image.
        image: String,
        /// Why not.
        source: Box<RunError>,
    },
    /// The scanner failed.
    #[error("the scanner {image} failed: {command} ended with exit code {code}{}", last(.output))]
    Command {
        /// Its image.
        image: String,
        /// What was run.
        command: String,
        /// How it ended.
        code: u8,
        /// The last lines of its output.
        output: Vec<String>,
    },
    /// What the scanner left is of no use.
    #[error("the scanner {image}: {command} left no usable document: {reason}")]
    Document {
        /// Its image.
        image: String,
        /// What was run.
        command: String,
        /// What is wrong.
        reason: String,
    },
    /// All commands are for contexts, and there are none.
    #[error("nothing to scan: no command of the scanner has {{ROOTFS}}, and there is no build context")]
    Nothing,
    /// A file could not be written.
    #[error("{}: {source}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What failed.
        source: io::Error,
    },
    /// Somebody wanted it to end.
    #[error("interrupted")]
    Interrupted,
}

/// The end of an error's line: the last line of the output, if there is one.
fn last(output: &[String]) -> String {
    output.last().map_or(String::new(), |line| format!(": {}", line.trim()))
}

/// What was found; it is there as long as this lives.
#[derive(Debug)]
pub struct Results {
    dir: TemporaryDirectory,
    options: ScanOptions,
}

const SBOM: &str = "sbom";
const PURLS: &str = "purls";

impl Results {
    /// The files that the image is to get, each with its path in it.
    pub fn image_files(&self) -> Vec<(PathBuf, String)> {
        let ScanOptions { image_sbom, image_purls, .. } = &self.options;
        let file = |name: &str, target: &Option<String>| Some((self.dir.path().join(name), target.clone()?));
        file(SBOM, image_sbom).into_iter().chain(file(PURLS, image_purls)).collect()
    }

    /// Writes the files of the host.
    pub fn write(&self) -> Result<(), SbomError> {
        for (name, target) in [(SBOM, &self.options.sbom), (PURLS, &self.options.purls)] {
            let Some(target) = target else { continue };
            let copy = || io::copy(&mut File::open(self.dir.path().join(name))?, &mut File::create(target)?);
            copy().map_err(|source| SbomError::Io { path: target.clone(), source })?;
        }
        Ok(())
    }
}

/// Scans what the image of `container` is to show.
pub fn scan_container(
    container: &WorkingContainer<'_>,
    remotes: &Remotes,
    options: &ScanOptions,
    run: &RunDefaults,
    events: Events<'_>,
) -> Result<Results, SbomError> {
    let store = container.store();
    let name = &options.scanner.image;
    let pull = PullOptions { policy: options.pull, platform: Platform::host() };
    let image = resolve_or_pull(store, remotes, name, &pull, events)
        .map_err(|source| SbomError::Image { image: name.clone(), source: Box::new(source) })?;
    let shown = commit::shown(container)?;
    Scan { store, image: &image, options, run, stop: None, events }.scan(&shown.path(), &[])
}

/// A scan to be done.
pub(crate) struct Scan<'a> {
    pub store: &'a Store,
    /// The scanner's image.
    pub image: &'a Image,
    pub options: &'a ScanOptions,
    /// How the scanner is run.
    pub run: &'a RunDefaults,
    pub stop: Option<Arc<Stop>>,
    pub events: Events<'a>,
}

impl Scan<'_> {
    /// Scans the files at `rootfs`, and contexts without what stays out of them.
    pub fn scan(&self, rootfs: &Path, contexts: &[(&Path, &Ignore)]) -> Result<Results, SbomError> {
        let contexts = with_hidden(contexts)?;
        let shell = &self.image.config().config.shell;
        let plans = Plan::of(&self.options.scanner.commands, contexts.len(), shell);
        if plans.is_empty() {
            return Err(SbomError::Nothing);
        }
        let dir = self.store.temporary_directory()?;
        let scans = dir.path().join("scans");
        // The scanner may be anybody.
        let made = fs::create_dir(&scans).and_then(|()| fs::set_permissions(&scans, fs::Permissions::from_mode(0o777)));
        made.map_err(|source| SbomError::Io { path: scans.clone(), source })?;
        let mounts = mounts(rootfs, contexts, &scans);
        self.in_container(|container| plans.iter().try_for_each(|plan| self.command(container, plan, &mounts)))?;
        self.collect(&plans, &scans, dir)
    }

    /// A container that is gone afterwards, and after a kill.
    fn in_container(&self, work: impl FnOnce(&WorkingContainer<'_>) -> Result<(), SbomError>) -> Result<(), SbomError> {
        let private = self.store.private_directory()?;
        let record = BuildRecord::begin(&private).map_err(|source| SbomError::Io { path: private.clone(), source })?;
        let options = FromOptions {
            name: None,
            suffix: Some("scanner".to_owned()),
            format: Format::Oci,
            platform: Platform::host(),
        };
        let top = self.image.top_layer().cloned();
        let container = WorkingContainer::of_build(self.store, Some(self.image), top, &options, record.metadata())?;
        let done = work(&container);
        let removed = container.remove();
        drop(record);
        done.and(removed.map_err(SbomError::from))
    }

    fn command(&self, container: &WorkingContainer<'_>, plan: &Plan, mounts: &[MountRequest]) -> Result<(), SbomError> {
        let command = plan.words.join(" ");
        let image = self.options.scanner.image.clone();
        (self.events)(Event::Info(format!("scanning with {image}: {command}")));
        let mut options = RunOptions::new(plan.words.clone());
        options.host_env.clone_from(&self.run.host_env);
        options.mounts = mounts.to_vec();
        options.network = self.run.network.clone();
        options.host_files = self.run.host_files.clone();
        options.settings = self.run.settings.clone();
        options.runtime.clone_from(&self.run.runtime);
        options.runtime_flags.clone_from(&self.run.runtime_flags);
        options.search_path.clone_from(&self.run.search_path);
        options.make_volumes = false;
        options.keep_output_end = true;
        options.stop.clone_from(&self.stop);
        options.stdio = nowhere().map_err(|source| SbomError::Io { path: "/dev/null".into(), source })?;
        let outcome = run::run(container, options)
            .map_err(|source| SbomError::Run { image: image.clone(), source: Box::new(source) })?;
        match outcome.exit {
            _ if outcome.interrupted_by.is_some() => Err(SbomError::Interrupted),
            Exit::Code(0) => Ok(()),
            exit => Err(SbomError::Command { image, command, code: exit.code(), output: outcome.output_end }),
        }
    }

    /// Makes the results of what the commands left, which is not trusted.
    fn collect(&self, plans: &[Plan], scans: &Path, dir: TemporaryDirectory) -> Result<Results, SbomError> {
        let wrong = |(number, reason): (usize, String)| SbomError::Document {
            image: self.options.scanner.image.clone(),
            command: plans.get(number).map_or(String::new(), |plan| plan.words.join(" ")),
            reason,
        };
        let root = Root::open(scans)?;
        let mut documents = Vec::new();
        for (number, Plan { document, .. }) in plans.iter().enumerate() {
            let is_file = root.metadata_if_exists(document)?.is_some_and(|metadata| metadata.is_file());
            if !is_file {
                return Err(wrong((number, "there is no file at {OUTPUT}".to_owned())));
            }
            documents.push(root.open_file(document)?);
        }
        let create = |name: &str| {
            let path = dir.path().join(name);
            let file = File::create_new(&path);
            file.map(|file| (file, path.clone())).map_err(|source| SbomError::Io { path, source })
        };
        let (mut sbom, _) = create(SBOM)?;
        let purls = merge::merge(self.options.scanner.strategy, &mut documents, &mut sbom).map_err(wrong)?;
        let (purls_file, path) = create(PURLS)?;
        serde_json::to_writer(purls_file, &merge::purl_document(&purls))
            .map_err(|error| SbomError::Io { path, source: error.into() })?;
        Ok(Results { dir, options: self.options.clone() })
    }
}

/// The contexts of which anything is left, each with the paths that are not.
fn with_hidden<'c>(contexts: &[(&'c Path, &Ignore)]) -> Result<Vec<(&'c Path, Vec<PathBuf>)>, SbomError> {
    let mut shown = Vec::new();
    for (dir, ignore) in contexts {
        shown.extend(left_out(&Root::open(dir)?, "", ignore)?.map(|hidden| (*dir, hidden)));
    }
    Ok(shown)
}

/// What the scanner sees.
fn mounts(rootfs: &Path, contexts: Vec<(&Path, Vec<PathBuf>)>, scans: &Path) -> Vec<MountRequest> {
    let shown = |target: String, dir: &Path, hidden| MountRequest {
        target,
        kind: MountRequestKind::Bind {
            from: MountSource::Tree(dir.to_owned()),
            source: String::new(),
            recursive: false,
            propagation: Default::default(),
            hidden,
        },
        read_only: true,
        options: Vec::new(),
    };
    let mut mounts = vec![shown(ROOTFS.to_owned(), rootfs, Vec::new())];
    for (number, (dir, hidden)) in contexts.into_iter().enumerate() {
        mounts.push(shown(format!("{CONTEXT}{number}"), dir, hidden));
    }
    let kind = MountRequestKind::Volume {
        host_path: scans.to_owned(),
        discard_writes: false,
        give_to_user: false,
        propagation: Default::default(),
        recursive: false,
    };
    mounts.push(MountRequest { target: SCANS.to_owned(), kind, read_only: false, options: Vec::new() });
    mounts
}

/// Streams that nobody hears of: the end of the output is kept.
fn nowhere() -> io::Result<Stdio> {
    let open = || Ok::<_, io::Error>(File::options().read(true).write(true).open("/dev/null")?.into());
    Ok(Stdio::Descriptors { stdin: open()?, stdout: open()?, stderr: open()? })
}
