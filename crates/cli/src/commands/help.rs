//! `gabion help`

use std::process::ExitCode;

use crate::args;
use crate::command_error::CommandError;
use crate::session::Session;

/// Show the help of a command, or of a topic: short-names, storage or rootless
#[derive(clap::Args)]
pub struct Args {
    /// A command or a topic; `topics` lists the topics
    topic: Option<String>,
}

/// Name, what it is about, text.
const TOPICS: &[(&str, &str, &str)] = &[
    ("rootless", "which user gabion must be", include_str!("help/rootless.txt")),
    ("short-names", "which image a name like alpine is", include_str!("help/short-names.txt")),
    ("storage", "where images and containers are kept", include_str!("help/storage.txt")),
];

pub fn run(args: &Args, session: &Session) -> Result<ExitCode, CommandError> {
    let mut command = args::command(session.called_as_buildah());
    command.build();
    match args.topic.as_deref() {
        None => command.print_long_help()?,
        Some("topics") => TOPICS.iter().for_each(|(name, subject, _)| println!("{name:<12} {subject}")),
        Some(name) => {
            let topic = TOPICS.iter().find(|(topic, _, _)| *topic == name);
            match (command.find_subcommand_mut(name), topic) {
                (Some(subcommand), _) => subcommand.print_long_help()?,
                (None, Some((_, _, text))) => print!("{text}"),
                (None, None) => {
                    let topics: Vec<_> = TOPICS.iter().map(|(name, _, _)| *name).collect();
                    let message = format!("no help on {name:?}: expected a command, or {}", topics.join(", "));
                    return Err(CommandError::new(message).hint("gabion --help lists the commands"));
                }
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
