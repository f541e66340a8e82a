//! `gabion commit`

use std::path::PathBuf;
use std::process::ExitCode;

use buildkit_core::commit::{Afterwards, CommitOptions, Layers, commit};
use buildkit_core::destination::{Destination, commit_elsewhere};
use buildkit_core::transfer::PushOptions;
use buildkit_core::working_container::WorkingContainer;
use oci::Format;

use crate::args::parse_format;
use crate::args::registry::RegistryArgs;
use crate::command_error::CommandError;
use crate::session::{Progress, Session};

/// Make an image from a working container
///
/// Prints the image's ID, unless --iidfile takes it. IMAGE is a name in the store or a place such as docker://host/name:tag
/// or oci:directory:tag; without it the image has no name.
#[derive(clap::Args)]
pub struct Args {
    /// Format of the image: oci or docker [default: that of `gabion from`]
    #[arg(short, long, value_name = "FORMAT", value_parser = parse_format)]
    format: Option<Format>,
    /// Label the image with gabion's version
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true",
          default_value_t = true, action = clap::ArgAction::Set)]
    identity_label: bool,
    /// File to write the image's ID to
    #[arg(long, value_name = "FILE")]
    iidfile: Option<PathBuf>,
    /// Leave the history out of the image
    #[arg(long)]
    omit_history: bool,
    /// Do not tell of the progress
    #[arg(short, long)]
    quiet: bool,
    /// Remove the container afterwards
    #[arg(long)]
    rm: bool,
    /// Make one layer of everything, the base image's included
    #[arg(long)]
    squash: bool,
    /// Time of the image and of every file in its new layer, in seconds since 1970
    #[arg(long, value_name = "SECONDS", allow_hyphen_values = true)]
    timestamp: Option<i64>,
    /// Environment variable to leave out of the image
    #[arg(long, value_name = "NAME")]
    unsetenv: Vec<String>,
    #[command(flatten)]
    registry: RegistryArgs,
    /// Name or ID of the working container
    container: String,
    /// Name of the image
    image: Option<String>,
}

pub fn run(args: &Args, session: &Session) -> Result<ExitCode, CommandError> {
    let store = session.store()?;
    let events = session.events(Progress::from_quiet(args.quiet));
    let destination = args.image.as_deref().map(Destination::parse).transpose()?;
    let container = WorkingContainer::open(&store, &args.container)?;
    let mut options = CommitOptions {
        names: Vec::new(),
        format: args.format,
        layers: if args.squash { Layers::Squash } else { Layers::Append },
        times: session.times(args.timestamp)?,
        afterwards: if args.rm { Afterwards::Remove } else { Afterwards::Keep },
        omit_history: args.omit_history,
        unset_env: args.unsetenv.clone(),
        identity_label: args.identity_label.then(|| session.identity_label()),
        stubs: Vec::new(),
    };
    let committed = match destination {
        Some(Destination::Elsewhere(location)) => {
            let remotes = session.remotes(&args.registry)?;
            commit_elsewhere(container, &options, &location, &remotes, &PushOptions::default(), &events)?
        }
        Some(Destination::Store(name)) => {
            options.names.push(name);
            commit(container, &options, &events)?
        }
        None => commit(container, &options, &events)?,
    };
    match &args.iidfile {
        Some(file) => session.write_file(file, &format!("sha256:{}", committed.image_id))?,
        None => println!("{}", committed.image_id),
    }
    Ok(ExitCode::SUCCESS)
}
