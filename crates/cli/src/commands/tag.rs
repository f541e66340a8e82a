//! `gabion tag` and `gabion untag`

use std::process::ExitCode;

use buildkit_core::image::store_name;

use crate::command_error::CommandError;
use crate::session::Session;

/// Give an image further names
#[derive(clap::Args)]
pub struct TagArgs {
    /// Name or ID of the image
    image: String,
    /// Names to add; one without a registry is put under localhost/
    #[arg(required = true)]
    name: Vec<String>,
}

/// Take names from an image; without names, all it has
#[derive(clap::Args)]
pub struct UntagArgs {
    /// Name or ID of the image
    image: String,
    /// Names to remove
    name: Vec<String>,
}

pub fn tag(args: &TagArgs, session: &Session) -> Result<ExitCode, CommandError> {
    let store = session.store()?;
    let image = store.image(&args.image)?;
    let names = args.name.iter().map(|name| store_name(name).map(|name| name.to_string()));
    store.add_image_names(&image.id, &names.collect::<Result<Vec<_>, _>>()?)?;
    Ok(ExitCode::SUCCESS)
}

pub fn untag(args: &UntagArgs, session: &Session) -> Result<ExitCode, CommandError> {
    let store = session.store()?;
    let image = store.image(&args.image)?;
    let mut names = Vec::new();
    for text in &args.name {
        let name = match image.names.contains(text) {
            true => text.clone(),
            false => store_name(text)?.to_string(),
        };
        if !image.names.contains(&name) {
            return Err(CommandError::new(format!("{text}: image {} has no such name", image.id.short())));
        }
        names.push(name);
    }
    store.remove_image_names(&image.id, if names.is_empty() { &image.names } else { &names })?;
    Ok(ExitCode::SUCCESS)
}
