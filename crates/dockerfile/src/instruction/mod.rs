//! Typed instructions: what each node of the syntax tree means, variables not yet expanded.

mod command; // RUN's, CMD's… shell and exec form
mod copy; // COPY, ADD
mod env; // ENV, LABEL, ARG: names and values
mod expose; // EXPOSE and what its words mean
mod flags; // the flags an instruction takes
mod from; // FROM
mod healthcheck; // HEALTHCHECK
mod mount; // RUN --mount
mod run; // RUN

pub use command::Command;
pub use copy::{Checksum, Copy, CopySource};
pub use env::{Arg, Pair, Pairs};
pub use expose::parse_ports;
pub use from::From;
pub use healthcheck::{Healthcheck, Test};
pub(crate) use mount::boolean;
pub use mount::{Mount, MountKind, RunMount, Sharing};
pub use run::{Device, Network, Run, Script, Security};

use crate::ast::Node;
use crate::diagnostic::{Diagnostic, Result};
use crate::parser;
use crate::text::{Span, Text, Word};
use flags::Flags;

/// An instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// What it is.
    pub kind: Kind,
    /// Its name as written.
    pub keyword: Text,
    /// All of it as written, lines joined, without heredocs' contents.
    pub text: Text,
    /// Where it stands, heredocs included.
    pub span: Span,
}

/// What an instruction says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Begins a stage.
    From(Box<From>),
    /// Declares build arguments.
    Arg(Vec<Arg>),
    /// Runs a command.
    Run(Box<Run>),
    /// Copies files.
    Copy(Box<Copy>),
    /// Copies files, fetches URLs, unpacks archives.
    Add(Box<Copy>),
    /// Sets environment variables.
    Env(Pairs),
    /// Sets labels.
    Label(Pairs),
    /// Sets the working directory.
    Workdir(Word),
    /// Sets the user.
    User(Word),
    /// Declares ports.
    Expose(Vec<Word>),
    /// Declares volumes.
    Volume(Vec<Word>),
    /// Sets the command.
    Cmd(Command),
    /// Sets the entrypoint.
    Entrypoint(Command),
    /// Sets the shell of the shell form.
    Shell(Vec<Word>),
    /// Sets the signal that stops the command.
    StopSignal(Word),
    /// Sets the health check.
    Healthcheck(Box<Healthcheck>),
    /// Leaves an instruction for builds on the result.
    OnBuild(OnBuild),
    /// Sets the author.
    Maintainer(Word),
}

/// An instruction for later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnBuild {
    /// The instruction.
    pub trigger: Box<Instruction>,
    /// Its text as it is kept in the image, heredocs included.
    pub expression: String,
}

/// Names of all instructions.
pub const KEYWORDS: [&str; 18] = [
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

impl Kind {
    /// Whether `word` is the name of an instruction.
    pub fn is_known(word: &str) -> bool {
        KEYWORDS.iter().any(|known| known.eq_ignore_ascii_case(word))
    }
}

impl Instruction {
    /// Gives a node its meaning; `escape` is the file's escape character. What is
    /// taken but means nothing goes to `notes`.
    pub(crate) fn parse(node: &Node, escape: char, notes: &mut Vec<Diagnostic>) -> Result<Instruction> {
        let mut name = [0; 16];
        let name = capitals(node.keyword.as_str(), &mut name);
        let kind = match name {
            "FROM" => Kind::From(Box::new(from::parse(node)?)),
            "ARG" => Kind::Arg(env::parse_arg(node, escape)?),
            "RUN" => Kind::Run(Box::new(run::parse(node, notes)?)),
            "COPY" => Kind::Copy(Box::new(copy::parse_copy(node)?)),
            "ADD" => Kind::Add(Box::new(copy::parse_add(node)?)),
            "ENV" => Kind::Env(env::parse_pairs(node, escape)?),
            "LABEL" => Kind::Label(env::parse_pairs(node, escape)?),
            "WORKDIR" => Kind::Workdir(single(node)?),
            "USER" => Kind::User(single(node)?),
            "STOPSIGNAL" => Kind::StopSignal(single(node)?),
            "MAINTAINER" => Kind::Maintainer(single(node)?),
            "EXPOSE" => Kind::Expose(several(node)?),
            "VOLUME" => Kind::Volume(volumes(node)?),
            "CMD" => Kind::Cmd(command::parse_without_flags(node)?),
            "ENTRYPOINT" => Kind::Entrypoint(command::parse_without_flags(node)?),
            "SHELL" => Kind::Shell(shell(node)?),
            "HEALTHCHECK" => Kind::Healthcheck(Box::new(healthcheck::parse(node, notes)?)),
            "ONBUILD" => Kind::OnBuild(onbuild(node, escape, notes)?),
            _ => {
                let error = Diagnostic::error(
                    format!("unknown instruction {:?}", node.keyword.as_str()),
                    node.keyword.full_span(),
                );
                return Err(error.suggest(node.keyword.as_str(), KEYWORDS));
            }
        };
        Ok(Instruction { kind, keyword: node.keyword.clone(), text: node.text.clone(), span: node.span })
    }

    /// The instruction's name in capitals.
    pub fn name(&self) -> String {
        self.keyword.to_ascii_uppercase()
    }
}

/// `word` in capitals, if it is short enough for a keyword.
fn capitals<'b>(word: &str, buffer: &'b mut [u8; 16]) -> &'b str {
    let Some(buffer) = buffer.get_mut(..word.len()) else { return "" };
    buffer.copy_from_slice(word.as_bytes());
    buffer.make_ascii_uppercase();
    std::str::from_utf8(buffer).unwrap_or_default()
}

/// An error for a node without arguments.
fn missing(node: &Node, what: &str) -> Diagnostic {
    let name = node.keyword.to_ascii_uppercase();
    Diagnostic::error(format!("{name} needs {what}"), node.keyword.full_span())
}

/// All arguments as one.
fn single(node: &Node) -> Result<Word> {
    Flags::none(node)?;
    if node.arguments.is_empty() {
        return Err(missing(node, "an argument"));
    }
    Ok(node.arguments.to_word())
}

fn several(node: &Node) -> Result<Vec<Word>> {
    Flags::none(node)?;
    let words = node.arguments.split_blanks();
    if words.is_empty() { Err(missing(node, "at least one argument")) } else { Ok(words) }
}

fn volumes(node: &Node) -> Result<Vec<Word>> {
    Flags::none(node)?;
    let words = match command::json(&node.arguments)? {
        Some(words) => words,
        None => node.arguments.split_blanks(),
    };
    if words.is_empty() {
        return Err(missing(node, "at least one path"));
    }
    match words.iter().find(|word| word.text.trim().is_empty()) {
        Some(empty) => Err(Diagnostic::error("a volume's path is empty", empty.span)),
        None => Ok(words),
    }
}

fn shell(node: &Node) -> Result<Vec<Word>> {
    Flags::none(node)?;
    match command::json(&node.arguments)? {
        Some(words) if !words.is_empty() => Ok(words),
        Some(_) => Err(missing(node, "at least one argument")),
        None if node.arguments.is_empty() => Err(missing(node, "a JSON list of arguments")),
        None => {
            let error = Diagnostic::error("SHELL needs a JSON list of arguments", node.arguments.full_span());
            Err(error.hint("for example SHELL [\"/bin/bash\", \"-c\"]"))
        }
    }
}

fn onbuild(node: &Node, escape: char, notes: &mut Vec<Diagnostic>) -> Result<OnBuild> {
    Flags::none(node)?;
    if node.arguments.is_empty() {
        return Err(missing(node, "an instruction"));
    }
    let inner = parser::inner_node(node, escape);
    let keyword = inner.keyword.to_ascii_uppercase();
    if matches!(keyword.as_str(), "ONBUILD" | "FROM" | "MAINTAINER") {
        return Err(Diagnostic::error(
            format!("{keyword} can't be left for later with ONBUILD"),
            inner.keyword.full_span(),
        ));
    }
    let mut expression = inner.text.as_str().to_owned();
    for heredoc in &inner.heredocs {
        expression.push('\n');
        expression.push_str(&heredoc.raw);
        expression.push_str(&heredoc.name);
    }
    Ok(OnBuild { trigger: Box::new(Instruction::parse(&inner, escape, notes)?), expression })
}
