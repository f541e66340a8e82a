//! RUN.

use super::command::{self, Command};
use super::flags::Flags;
use super::missing;
use super::mount::{self, RunMount};
use crate::ast::{Heredoc, Node};
use crate::diagnostic::{Diagnostic, Result};
use crate::text::{Span, Text, Word};

/// `RUN [--mount=…] [--network=…] [--security=…] [--device=…] command`.
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
    /// How closely it is confined.
    pub security: Option<(Security, Word)>,
    /// The devices it sees.
    pub devices: Vec<Device>,
}

/// How closely `RUN --security` wants a command confined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Security {
    /// As every command.
    Sandbox,
    /// Hardly: all capabilities, all devices.
    Insecure,
}

/// A device of `RUN --device=name[,required]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Its name in CDI's notation, `vendor/class=device`, or the class alone.
    pub name: Word,
    /// Whether the command fails without it.
    pub required: bool,
    /// Where the flag stands.
    pub span: Span,
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
                if only.raw.starts_with("#!") {
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

pub(super) fn parse(node: &Node, notes: &mut Vec<Diagnostic>) -> Result<Run> {
    let flags = Flags::check(node, &["mount", "network", "security", "device"])?;
    let mounts = flags.values("mount")?.map(|(text, span)| mount::parse(text, span, notes));
    let mounts = mounts.collect::<Result<_>>()?;
    let network = match flags.value("network")? {
        None => None,
        Some(text) => Some((network(&text.to_word())?, text.to_word())),
    };
    let security = match flags.value("security")? {
        None => None,
        Some(text) => Some((security(&text.to_word())?, text.to_word())),
    };
    let devices = flags.values("device")?.map(|(text, span)| device(text, span)).collect::<Result<_>>()?;
    if node.arguments.is_empty() {
        return Err(missing(node, "a command"));
    }
    let command = command::parse(&node.arguments)?;
    if command == Command::Exec(Vec::new()) {
        return Err(missing(node, "a command"));
    }
    Ok(Run { command, heredocs: node.heredocs.clone(), mounts, network, security, devices })
}

fn security(word: &Word) -> Result<Security> {
    match word.text.as_str() {
        "sandbox" => Ok(Security::Sandbox),
        "insecure" => Ok(Security::Insecure),
        other => {
            let error =
                Diagnostic::error(format!("unknown security {other:?}: expected sandbox or insecure"), word.span);
            Err(error.suggest(other, ["sandbox", "insecure"]))
        }
    }
}

/// Names hold `=` too, so the first field that is no option is one.
fn device(text: &Text, span: Span) -> Result<Device> {
    let mut name: Option<Word> = None;
    let mut required = false;
    for range in mount::fields_of(text.as_str()) {
        let field = text.slice(range).to_word();
        let (key, value) = match field.text.split_once('=') {
            Some((key, value)) => (key, Some(value)),
            None => (field.text.as_str(), None),
        };
        match (key.to_ascii_lowercase().as_str(), value) {
            ("required", None) => required = true,
            ("required", Some(value)) => {
                required = mount::boolean(value).ok_or_else(|| {
                    let message = format!("invalid value {value:?} of required: expected true or false");
                    Diagnostic::error(message, field.span)
                })?;
            }
            ("name", Some(value)) if name.is_none() => {
                let start = text.as_str().find(&field.text).unwrap_or(0) + "name=".len();
                name = Some(text.word(start..start + value.len()));
            }
            ("name", Some(_)) => return Err(Diagnostic::error("a device has one name", field.span)),
            _ if name.is_none() => name = Some(field),
            (key, _) => {
                let error = Diagnostic::error(format!("unknown option {key:?} of --device"), field.span);
                return Err(error.suggest(key, ["name", "required"]));
            }
        }
    }
    match name.filter(|name| !name.text.is_empty()) {
        Some(name) => Ok(Device { name, required, span }),
        None => Err(Diagnostic::error("RUN --device needs a name", span)),
    }
}

fn network(word: &Word) -> Result<Network> {
    match word.text.as_str() {
        "default" => Ok(Network::Default),
        "none" => Ok(Network::None),
        "host" => Ok(Network::Host),
        other => {
            let error = Diagnostic::error(
                format!("unsupported value {other:?} for --network: expected default, none or host"),
                word.span,
            );
            Err(error.suggest(other, ["default", "none", "host"]))
        }
    }
}
