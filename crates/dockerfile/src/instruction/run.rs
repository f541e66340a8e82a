//! RUN.

use super::command::{self, Command};
use super::flags::Flags;
use super::missing;
use super::mount::{self, RunMount};
use crate::ast::{Heredoc, Node};
use crate::diagnostic::{Diagnostic, Result};
use crate::text::Word;

/// `RUN [--mount=…] [--network=…] command`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// The command; markers of heredocs stand in it.
    pub command: Command,
    /// The heredocs.
    pub heredocs: Vec<Heredoc>,
    /// What is mounted while it runs.
    pub mounts: Vec<RunMount>,
    /// The network it runs in.
    pub network: Option<(Network, Word)>,
}

/// Networks that `RUN --network` can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// That of the build.
    Default,
    /// None.
    None,
    /// The host's.
    Host,
}

/// What is to be run, heredocs put in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Script {
    /// The arguments themselves.
    Exec(Vec<String>),
    /// Text for the shell.
    Shell(String),
    /// A file with an interpreter of its own (`#!`), to be run by itself.
    File {
        /// Name of the heredoc.
        name: String,
        /// The file's content.
        content: String,
    },
}

impl Run {
    /// What is to be run. A line that is a heredoc and nothing else is the script itself;
    /// otherwise the shell gets the line with its heredocs.
    pub fn script(&self) -> Script {
        let line = match &self.command {
            Command::Exec(words) => return Script::Exec(words.iter().map(|word| word.text.clone()).collect()),
            Command::Shell(line) => &line.text,
        };
        match self.heredocs.as_slice() {
            [] => Script::Shell(line.clone()),
            [only] if Heredoc::parse_marker(line).is_some() => {
                let content = only.content();
                if content.starts_with("#!") {
                    Script::File { name: only.name.clone(), content }
                } else {
                    Script::Shell(content)
                }
            }
            several => {
                let mut text = line.clone();
                for heredoc in several {
                    text.push('\n');
                    text.push_str(&heredoc.raw);
                    text.push_str(&heredoc.name);
                }
                Script::Shell(text)
            }
        }
    }
}

pub(super) fn parse(node: &Node) -> Result<Run> {
    let flags = Flags::check(node, &["mount", "network"], &["security", "device"])?;
    let mounts = flags.values("mount")?.map(|(text, span)| mount::parse(text, span)).collect::<Result<_>>()?;
    let network = match flags.value("network")? {
        None => None,
        Some(text) => Some((network(&text.to_word())?, text.to_word())),
    };
    if node.arguments.is_empty() {
        return Err(missing(node, "a command"));
    }
    let command = command::parse(&node.arguments)?;
    if command == Command::Exec(Vec::new()) {
        return Err(missing(node, "a command"));
    }
    Ok(Run { command, heredocs: node.heredocs.clone(), mounts, network })
}

fn network(word: &Word) -> Result<Network> {
    match word.text.as_str() {
        "default" => Ok(Network::Default),
        "none" => Ok(Network::None),
        "host" => Ok(Network::Host),
        other => {
            let error =
                Diagnostic::error(format!("unknown network {other:?}: expected default, none or host"), word.span);
            Err(error.suggest(other, ["default", "none", "host"]))
        }
    }
}
