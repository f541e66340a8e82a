//! `gabion commit`

use std::path::PathBuf;
use std::process::ExitCode;

use buildkit_core::build::RunDefaults;
use buildkit_core::change;
use buildkit_core::commit::{Afterwards, CommitOptions, Committed, Layers, Times, commit};
use buildkit_core::destination::{Destination, commit_elsewhere};
use buildkit_core::image::Image;
use buildkit_core::manifest_list;
use buildkit_core::sbom::{Results, ScanOptions, scan_container};
use buildkit_core::transfer::pull::PullPolicy;
use buildkit_core::transfer::{CopyOptions, PushOptions};
use buildkit_core::working_container::{State, WorkingContainer};
use jiff::Timestamp;
use oci::config::RunConfig;
use oci::{Format, ImageConfig, Reference};
use serde_json::json;

use crate::args::compression::CompressionArgs;
use crate::args::parse_format;
use crate::args::pull::PullArgs;
use crate::args::registry::RegistryArgs;
use crate::args::run_settings::{prepare_isolation, runtime_program};
use crate::args::sbom::SbomArgs;
use crate::args::value;
use crate::command_error::CommandError;
use crate::output::indented;
use crate::progress::{Display, ProgressArgs, Work};
use crate::session::Session;

/// Make an image from a working container
///
/// Prints the image's ID, unless --iidfile takes it. IMAGE is a name in the store or a place such as docker://host/name:tag
/// or oci:directory:tag; without it the image has no name.
#[derive(clap::Args)]
pub struct Args {
    /// File of this machine to add to the image, but not to the container, where it is root's with mode 0644 (may be
    /// repeated) [default for PATH: FILE]
    #[arg(long, value_name = "FILE[:PATH]", value_parser = added_file)]
    add_file: Vec<(PathBuf, String)>,
    /// Annotation of the image's manifest
    #[arg(long, value_name = "NAME=VALUE", value_parser = parse_pair)]
    annotation: Vec<(String, String)>,
    /// Change the image's config by a Dockerfile instruction, such as "CMD /app"; the container's config stays
    #[arg(short, long, value_name = "INSTRUCTION")]
    change: Vec<String>,
    /// JSON file whose members replace or join those of the image's config; the container's config stays
    #[arg(long, value_name = "FILE", value_parser = value::file())]
    config: Option<PathBuf>,
    /// Add an annotation that says when the image was made [default: false, but true for buildah]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    created_annotation: Option<bool>,
    /// Format of the image: oci or docker [default: that of `gabion from`]
    #[arg(short, long, value_name = "FORMAT", env = "BUILDAH_FORMAT", hide_env = true, value_parser = parse_format)]
    format: Option<Format>,
    /// Label the image with gabion's version [default: true, unless times are given]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    identity_label: Option<bool>,
    /// File to write the image's ID to
    #[arg(long, value_name = "FILE", value_parser = value::new_file())]
    iidfile: Option<PathBuf>,
    /// Manifest list to add the image to; it is made if there is none
    #[arg(long, value_name = "LIST", value_parser = value::list_name)]
    manifest: Option<Reference>,
    /// File to write the image's digests to, as JSON
    #[arg(long, value_name = "FILE", value_parser = value::new_file())]
    metadata_file: Option<PathBuf>,
    /// Leave the history out of the image
    #[arg(long)]
    omit_history: bool,
    /// The same as --timestamp=0
    #[arg(long, hide = true, conflicts_with_all = ["timestamp", "reference_time", "source_date_epoch"])]
    omit_timestamp: bool,
    /// Do not tell of the progress
    #[arg(short, long)]
    quiet: bool,
    /// The same as --timestamp with the time of this file
    #[arg(long, hide = true, value_name = "FILE", conflicts_with_all = ["timestamp", "source_date_epoch"],
          value_parser = value::file())]
    reference_time: Option<PathBuf>,
    /// Give no file of the new layer a later time than --source-date-epoch [default: true, but false for buildah]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    rewrite_timestamp: Option<bool>,
    /// Remove the container afterwards
    #[arg(long)]
    rm: bool,
    /// Time of the image, in seconds since 1970 [default: the variable SOURCE_DATE_EPOCH, or else now]
    #[arg(long, value_name = "SECONDS", allow_hyphen_values = true, conflicts_with = "timestamp",
          value_parser = value::seconds)]
    source_date_epoch: Option<i64>,
    /// Make one layer of everything, the base image's included
    #[arg(long)]
    squash: bool,
    /// Time of the image and of every file in its new layer, in seconds since 1970
    #[arg(long, value_name = "SECONDS", allow_hyphen_values = true, value_parser = value::seconds)]
    timestamp: Option<i64>,
    /// Annotation of the base image to leave out
    #[arg(long, value_name = "NAME", value_delimiter = ',', value_parser = value::name)]
    unsetannotation: Vec<String>,
    /// Environment variable to leave out of the image
    #[arg(long, value_name = "NAME", value_delimiter = ',', value_parser = value::name)]
    unsetenv: Vec<String>,
    #[command(flatten)]
    compression: CompressionArgs,
    #[command(flatten)]
    progress: ProgressArgs,
    #[command(flatten)]
    pull: PullArgs,
    #[command(flatten)]
    registry: RegistryArgs,
    #[command(flatten)]
    sbom: SbomArgs,
    /// Name or ID of the working container
    container: String,
    /// Name of the image
    image: Option<String>,
}

pub fn run(args: &Args, session: &Session) -> Result<ExitCode, CommandError> {
    let destination = args.image.as_deref().map(Destination::parse).transpose()?;
    if let (Some(_), Some(Destination::Elsewhere(place))) = (&args.manifest, &destination) {
        let message = format!("--manifest needs the image in the store, and it goes to {place}");
        return Err(CommandError::new(message).hint("`gabion manifest add` adds images that are elsewhere"));
    }
    // Buildah sends layers to registries as they are, unless it is told otherwise.
    let compression = args.compression.resolve(!session.called_as_buildah(), &session.containers_conf()?)?;
    let times = times(args, session)?;
    let scan = scan_options(args, session)?;
    let remotes = session.remotes(&args.registry)?;
    let store = session.store()?;
    let display = Display::new(session, &args.progress, args.quiet, Work::Other)?;
    let events = |event| display.event(event);
    let container = WorkingContainer::open(&store, &args.container)?;
    args.manifest.as_ref().map_or(Ok(()), |list| manifest_list::check_name(&store, list))?;
    let labels = args.identity_label.unwrap_or(times == Times::Now);
    let mut options = CommitOptions {
        names: Vec::new(),
        format: args.format.or(session.called_as_buildah().then_some(Format::Oci)),
        layers: if args.squash { Layers::Squash } else { Layers::Append },
        times,
        afterwards: if args.rm { Afterwards::Remove } else { Afterwards::Keep },
        omit_history: args.omit_history,
        unset_env: args.unsetenv.clone(),
        config: changed_config(args, container.state())?,
        annotations: args.annotation.clone(),
        unset_annotations: args.unsetannotation.clone(),
        created_annotation: args.created_annotation.unwrap_or(session.called_as_buildah()),
        identity_label: labels.then(|| session.identity_label()),
        add_files: args.add_file.clone(),
        tells_container: session.called_as_buildah(),
        ..CommitOptions::default()
    };
    let parts = scan.map(|scan| {
        let run = scanner_run(&container, session)?;
        Ok::<_, CommandError>(scan_container(&container, &remotes, &scan, &run, &events)?)
    });
    let parts = parts.transpose()?;
    // What a person adds stands over what was found.
    options.add_files.splice(0..0, parts.iter().flat_map(Results::image_files));
    let committed = match &destination {
        Some(Destination::Elsewhere(location)) => {
            let push_options =
                PushOptions { copy: CopyOptions { format: None, compression }, ..PushOptions::default() };
            commit_elsewhere(container, &options, location, &remotes, &push_options, &events)?
        }
        Some(Destination::Store(name)) => {
            options.names.push(name.clone());
            commit(container, &options, &events)?
        }
        None => commit(container, &options, &events)?,
    };
    parts.map_or(Ok(()), |parts| parts.write())?;
    if let Some(list) = &args.manifest {
        let image = Image::find(&store, committed.image_id.as_str())?;
        manifest_list::add_images(&store, list, &[(image.config().platform(), committed.image_id.clone())])?;
    }
    if let Some(file) = &args.metadata_file {
        let names = destination.iter().filter_map(|destination| match destination {
            Destination::Store(name) => Some(name.to_string()),
            Destination::Elsewhere(_) => None,
        });
        session.write_file(file, &metadata(&committed, &names.collect::<Vec<_>>())?)?;
    }
    match &args.iidfile {
        Some(file) => session.write_file(file, &format!("sha256:{}", committed.image_id))?,
        None => println!("{}", committed.image_id),
    }
    Ok(ExitCode::SUCCESS)
}

/// The scan that is asked for.
fn scan_options(args: &Args, session: &Session) -> Result<Option<ScanOptions>, CommandError> {
    let pull = args.pull.given(session);
    let usual = if session.called_as_buildah() { PullPolicy::Always } else { PullPolicy::Missing };
    let scan = args.sbom.resolve(pull.unwrap_or(usual))?;
    match (pull, &scan) {
        (Some(_), None) => Err(CommandError::new("--pull is about the image of a scanner: give --sbom too")),
        _ => Ok(scan),
    }
}

/// How a scanner is run: as the container's own commands are.
fn scanner_run(container: &WorkingContainer<'_>, session: &Session) -> Result<RunDefaults, CommandError> {
    let conf = session.containers_conf()?;
    prepare_isolation(container.state().settings.isolation)?;
    let resolved = container.state().settings.resolve(&conf)?;
    Ok(RunDefaults {
        runtime: runtime_program(session.env("BUILDAH_RUNTIME").map(PathBuf::from), session, &conf),
        search_path: session.env("PATH"),
        network: resolved.network,
        host_files: resolved.host_files,
        settings: resolved.settings,
        host_env: if resolved.sees_proxies { session.proxies() } else { Vec::new() },
        ..RunDefaults::default()
    })
}

fn times(args: &Args, session: &Session) -> Result<Times, CommandError> {
    let of_file = |path: &PathBuf| {
        let modified = std::fs::metadata(path).and_then(|metadata| metadata.modified());
        let modified = modified.and_then(|time| Timestamp::try_from(time).map_err(std::io::Error::other));
        modified.map_err(|error| CommandError::new(format!("invalid --reference-time {:?}: {error}", path.display())))
    };
    match &args.reference_time {
        Some(path) => Ok(Times::Set(of_file(path)?)),
        None if args.omit_timestamp => Ok(Times::Set(Timestamp::UNIX_EPOCH)),
        None => session.times(args.timestamp, args.source_date_epoch, args.rewrite_timestamp),
    }
}

/// The config of the image, if it is not the container's.
fn changed_config(args: &Args, state: &State) -> Result<Option<ImageConfig>, CommandError> {
    if args.change.is_empty() && args.config.is_none() {
        return Ok(None);
    }
    let mut config = state.config.clone();
    if let Some(path) = &args.config {
        let invalid = |reason: String| CommandError::new(format!("invalid --config {}: {reason}", path.display()));
        let bytes = std::fs::read(path).map_err(|error| invalid(error.to_string()))?;
        let given: RunConfig = serde_json::from_slice(&bytes).map_err(|error| invalid(error.to_string()))?;
        override_config(&mut config.config, given);
    }
    let changed = change::apply(config, &args.change);
    Ok(Some(changed.map_err(|error| CommandError::invalid("--change", &error.text, &error.reason))?))
}

/// What is set in `given` replaces the same in `config`; lists of names are joined.
fn override_config(config: &mut RunConfig, given: RunConfig) {
    for (text, new) in [
        (&mut config.hostname, given.hostname),
        (&mut config.domainname, given.domainname),
        (&mut config.user, given.user),
        (&mut config.working_dir, given.working_dir),
        (&mut config.stop_signal, given.stop_signal),
    ] {
        if !new.is_empty() {
            *text = new;
        }
    }
    for entry in &given.env {
        let (name, value) = entry.split_once('=').unwrap_or((entry, ""));
        config.set_env(name, value);
    }
    config.exposed_ports.extend(given.exposed_ports);
    config.volumes.extend(given.volumes);
    config.labels.extend(given.labels);
    if given.entrypoint.is_some() {
        // The arguments belonged to the entrypoint that was.
        config.cmd = None;
        config.entrypoint = given.entrypoint;
    }
    config.cmd = given.cmd.or(config.cmd.take());
    config.healthcheck = given.healthcheck.or(config.healthcheck.take());
    for (list, new) in [(&mut config.on_build, given.on_build), (&mut config.shell, given.shell)] {
        if !new.is_empty() {
            *list = new;
        }
    }
}

/// What `--metadata-file` holds: the digests under BuildKit's names.
pub(super) fn metadata(committed: &Committed, names: &[String]) -> Result<String, CommandError> {
    let digest = committed.manifest.digest();
    let mut value = json!({
        "containerimage.config.digest": format!("sha256:{}", committed.image_id),
        "containerimage.descriptor": {
            "mediaType": committed.manifest.format().manifest(),
            "digest": digest,
            "size": committed.manifest.bytes().len(),
        },
        "containerimage.digest": digest,
    });
    if !names.is_empty() {
        value["image.name"] = names.join(",").into();
    }
    indented(&value)
}

/// A regular file, and its absolute path in the image.
fn added_file(text: &str) -> Result<(PathBuf, String), String> {
    let (file, target) = text.split_once(':').unwrap_or((text, text));
    let target = format!("/{}", target.trim_start_matches('/'));
    if file.is_empty() || target.ends_with('/') {
        return Err("expected FILE[:PATH]".to_owned());
    }
    match std::fs::metadata(file) {
        Ok(metadata) if metadata.is_file() => Ok((file.into(), target)),
        Ok(_) => Err("expected a regular file".to_owned()),
        Err(error) => Err(format!("expected a file: {error}")),
    }
}

fn parse_pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("expected NAME=VALUE".to_owned()),
    }
}
