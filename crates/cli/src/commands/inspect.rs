//! `gabion inspect`

use std::process::ExitCode;

use buildkit_core::inspect;
use buildkit_core::manifest_list::{self, ManifestList};
use buildkit_core::working_container::WorkingContainer;
use serde_json::Value;
use store::Store;

use crate::command_error::CommandError;
use crate::output::{print_one, template_of};
use crate::session::Session;

/// Show what is known of a working container, an image or a manifest list
#[derive(clap::Args)]
pub struct Args {
    /// Print with this Go template instead of as JSON
    #[arg(short, long, value_name = "TEMPLATE")]
    format: Option<String>,
    /// What NAME names [default: a container, or else an image, or else a manifest list]
    #[arg(short = 't', long = "type", value_name = "TYPE")]
    kind: Option<Kind>,
    /// Name or ID; without --type, of a working container or else of an image, which for a manifest list is that for this
    /// machine
    name: String,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Kind {
    Container,
    Image,
    Manifest,
}

pub fn run(args: &Args, session: &Session) -> Result<ExitCode, CommandError> {
    let template = template_of(args.format.as_deref())?;
    let store = session.store()?;
    let value = match args.kind {
        Some(Kind::Image) => image(&store, &args.name)?,
        Some(Kind::Manifest) => list(&store, &args.name)?,
        Some(Kind::Container) => inspect::container(WorkingContainer::open(&store, &args.name)?.state()),
        None => match WorkingContainer::open(&store, &args.name) {
            Ok(container) => inspect::container(container.state()),
            Err(error) if error.is_unknown() => image(&store, &args.name)
                .or_else(|_| list(&store, &args.name))
                .map_err(|_| CommandError::new(format!("no working container or image is named {:?}", args.name)))?,
            Err(error) => return Err(error.into()),
        },
    };
    print_one(&value, template.as_ref())?;
    Ok(ExitCode::SUCCESS)
}

fn list(store: &Store, name: &str) -> Result<Value, CommandError> {
    Ok(manifest_list::inspect(&ManifestList::find(store, name)?)?)
}

fn image(store: &Store, name: &str) -> Result<Value, CommandError> {
    let image = buildkit_core::image::Image::find(store, name)?;
    Ok(inspect::image(image.name(), image.id(), image.config(), image.config_bytes(), image.manifest()))
}
