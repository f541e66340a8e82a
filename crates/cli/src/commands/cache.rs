//! `gabion cache`

use std::process::ExitCode;

use buildkit_core::build::Explanation;
use buildkit_core::image::Image;

use crate::command_error::CommandError;
use crate::explanation;
use crate::output::indented;
use crate::session::Session;

/// Look at what builds remember of each other
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    Explain(ExplainArgs),
}

/// Tell how the build came about that made an image: which steps were done, and why
#[derive(clap::Args)]
struct ExplainArgs {
    /// Print JSON, with all that each step depends on
    #[arg(long)]
    json: bool,
    /// Name or ID of the image
    image: String,
}

pub fn run(args: &Args, session: &Session) -> Result<ExitCode, CommandError> {
    let Command::Explain(args) = &args.command;
    let store = session.store()?;
    let image = Image::find(&store, &args.image)?;
    let explanation = Explanation::of_image(&store.private_directory()?, image.id()).ok_or_else(|| {
        CommandError::new(format!("nothing is remembered of how image {} was built", args.image))
            .hint("builds with --layers=false remember nothing, and what was pulled was built elsewhere")
    })?;
    match args.json {
        true => println!("{}", indented(&serde_json::to_value(&explanation)?)?),
        false => explanation::lines(&explanation).iter().for_each(|line| println!("{line}")),
    }
    Ok(ExitCode::SUCCESS)
}
