//! `gabion manifest add`

use std::path::PathBuf;
use std::process::ExitCode;

use buildkit_core::manifest_list::{self, ArtifactOptions, Wanted, look_up, subject};
use buildkit_core::transfer::place::Places;
use oci::Platform;

use super::entry_args::EntryArgs;
use super::{ReachArgs, annotation};
use crate::args::value::{self, text};
use crate::command_error::CommandError;
use crate::session::{Progress, Session};

/// Add an image, or files as an artifact, to a manifest list
///
/// Prints the list's ID and the digest of what was added. IMAGE is one of the store, or else one on a registry or at
/// another place, such as oci:directory:name; of one that is a list itself, the image for --os, --arch and --variant is
/// added. The list remembers where it is, and the path of each file: they are read when the list is pushed.
#[derive(clap::Args)]
pub struct Args {
    /// Of an image that is a list itself, add all images
    #[arg(long, conflicts_with = "artifact")]
    all: bool,
    /// Add the files as an artifact
    #[arg(long)]
    artifact: bool,
    /// Annotation of the artifact's manifest (may be repeated)
    #[arg(long, value_name = "NAME=VALUE", value_delimiter = ',', value_parser = annotation, requires = "artifact")]
    artifact_annotation: Vec<(String, String)>,
    /// File with the artifact's config [default: one that says nothing]
    #[arg(long, value_name = "FILE", value_parser = value::file(), requires = "artifact")]
    artifact_config: Option<PathBuf>,
    /// Type of the artifact's config [default: application/vnd.oci.empty.v1+json]
    #[arg(long, value_name = "TYPE", value_parser = text(), requires = "artifact")]
    artifact_config_type: Option<String>,
    /// Leave the names of the files out of the artifact
    #[arg(long, requires = "artifact")]
    artifact_exclude_titles: bool,
    /// Type of the files [default: by their names and contents]
    #[arg(long, value_name = "TYPE", value_parser = text(), requires = "artifact")]
    artifact_layer_type: Option<String>,
    /// Image or list that the artifact is about
    #[arg(long, value_name = "IMAGE", value_parser = text(), requires = "artifact")]
    artifact_subject: Option<String>,
    /// Type of the artifact [default: application/vnd.unknown.artifact.v1]
    #[arg(long, value_name = "TYPE", value_parser = text(), requires = "artifact")]
    artifact_type: Option<String>,
    #[command(flatten)]
    entry: EntryArgs,
    #[command(flatten)]
    reach: ReachArgs,
    /// Name or ID of the list
    list: String,
    /// The image, or with --artifact the files
    #[arg(required = true, value_name = "IMAGE|FILE")]
    image: Vec<String>,
}

pub fn run(args: &Args, session: &Session) -> Result<ExitCode, CommandError> {
    let store = session.store()?;
    let remotes = session.remotes(&args.reach.registry())?;
    let events = session.events(Progress::Quiet);
    let places = Places { store: &store, remotes: &remotes, events: &events };
    let changes = args.entry.changes();
    let (id, digest) = if args.artifact {
        let options = artifact(args, &places)?;
        let files: Vec<PathBuf> = args.image.iter().map(PathBuf::from).collect();
        manifest_list::change(&store, &args.list, |list| {
            let digest = list.add_artifact(&files, &options)?;
            list.change_entry(&digest, &changes)?;
            Ok(digest)
        })?
    } else {
        let [image] = args.image.as_slice() else {
            return Err(CommandError::new("one image is added at a time: --artifact takes several files"));
        };
        // Before anything is asked of a registry.
        manifest_list::ManifestList::find(&store, &args.list)?;
        let entry = &args.entry;
        let wanted = wanted(args.all, entry.os.as_deref(), entry.arch.as_deref(), entry.variant.as_deref())?;
        let additions = look_up(&places, image, &wanted)?;
        let Some(digest) = additions.first().map(|addition| addition.entry.digest.clone()) else {
            return Err(CommandError::new(format!("{image}: the list is empty")));
        };
        manifest_list::change(&store, &args.list, |list| {
            list.add(additions);
            list.change_entry(&digest, &changes)?;
            Ok(digest)
        })?
    };
    println!("{id}: {digest}");
    Ok(ExitCode::SUCCESS)
}

fn artifact(args: &Args, places: &Places<'_>) -> Result<ArtifactOptions, CommandError> {
    Ok(ArtifactOptions {
        artifact_type: args.artifact_type.clone(),
        config_type: args.artifact_config_type.clone(),
        config: args.artifact_config.clone(),
        layer_type: args.artifact_layer_type.clone(),
        subject: args.artifact_subject.as_deref().map(|name| subject(places, name)).transpose()?,
        annotations: args.artifact_annotation.iter().cloned().collect(),
        exclude_titles: args.artifact_exclude_titles,
    })
}

/// Which images of an index the flags ask for.
pub(super) fn wanted(
    all: bool,
    os: Option<&str>,
    arch: Option<&str>,
    variant: Option<&str>,
) -> Result<Wanted, CommandError> {
    if all {
        return Ok(Wanted::All);
    }
    if os.is_none() && arch.is_none() && variant.is_none() {
        return Ok(Wanted::ForHost);
    }
    let host = Platform::host();
    let text = format!("{}/{}", os.unwrap_or(&host.os), arch.unwrap_or(&host.architecture));
    let mut platform: Platform = text.parse()?;
    if let Some(variant) = variant {
        platform.variant = Some(variant.to_owned());
    }
    Ok(Wanted::For(platform))
}
