//! What the tests compare: instructions as one line each, errors with their places.
#![allow(dead_code, reason = "not every test file needs all of it")]

mod properties;

use dockerfile::instruction::{Command, Copy, CopySource, Kind, Pairs, Script, Test};
pub use properties::check_properties;

use dockerfile::{Severity, Source, Word, parse, parse_instructions};

fn words(words: &[Word]) -> String {
    words.iter().map(|word| format!("[{}]", word.text)).collect()
}

fn command(command: &Command) -> String {
    match command {
        Command::Shell(line) => format!("shell({})", line.text),
        Command::Exec(list) => format!("exec{}", words(list)),
    }
}

fn pairs(pairs: &Pairs) -> String {
    let list: String = pairs.pairs.iter().map(|pair| format!("[{}={}]", pair.name.text, pair.value.text)).collect();
    if pairs.legacy { format!("legacy{list}") } else { list }
}

fn copy(copy: &Copy) -> String {
    let mut text = String::new();
    for (name, value) in
        [("from", &copy.from), ("chown", &copy.chown), ("chmod", &copy.chmod), ("checksum", &copy.checksum)]
    {
        if let Some(value) = value {
            text += &format!("{name}={} ", value.text);
        }
    }
    for (name, value) in [
        ("link", copy.link.then_some(true)),
        ("parents", copy.parents.then_some(true)),
        ("keep-git-dir", copy.keep_git_dir),
        ("unpack", copy.unpack),
    ] {
        if let Some(value) = value {
            text += &format!("{name}={value} ");
        }
    }
    for pattern in &copy.exclude {
        text += &format!("exclude={} ", pattern.text);
    }
    for source in &copy.sources {
        text += &match source {
            CopySource::Path(path) => format!("[{}]", path.text),
            CopySource::Heredoc(doc) => {
                format!("[{}{}:{}]", doc.name, if doc.expand { "$" } else { "" }, doc.content())
            }
        };
    }
    text + "→" + &copy.destination.text
}

/// One line that says all of an instruction.
pub fn dump(kind: &Kind) -> String {
    match kind {
        Kind::From(from) => {
            let part = |name: &str, word: &Option<Word>| {
                word.as_ref().map_or(String::new(), |word| format!(" {name}={}", word.text))
            };
            let after: String = from.after.iter().map(|stage| format!(" after={}", stage.text)).collect();
            format!("FROM {}{}{}{after}", from.base.text, part("as", &from.name), part("platform", &from.platform))
        }
        Kind::Arg(args) => {
            let list = args.iter().map(|arg| match &arg.default {
                Some(value) => format!("[{}={}]", arg.name.text, value.text),
                None => format!("[{}]", arg.name.text),
            });
            format!("ARG {}", list.collect::<String>())
        }
        Kind::Run(run) => {
            let script = match run.script() {
                Script::Exec(list) => format!("exec{list:?}"),
                Script::Shell(text) => format!("shell({text})"),
                Script::File { name, content } => format!("file {name}({content})"),
            };
            let network = run.network.as_ref().map_or(String::new(), |(network, _)| format!("{network:?} "));
            let mounts = run.mounts.iter().map(|mount| {
                let from = mount.from.as_ref().map_or(String::new(), |from| format!(" from {}", from.text));
                match mount.resolve(&|word| Ok(word.text.clone())) {
                    Ok(mount) => format!(
                        "{:?} at {}{}{from}; ",
                        mount.kind,
                        mount.target,
                        if mount.read_only { " ro" } else { "" }
                    ),
                    Err(error) => error.message,
                }
            });
            let security = run.security.as_ref().map_or(String::new(), |(security, _)| format!("{security:?} "));
            let devices = run.devices.iter().map(|device| {
                format!("device {}{} ", device.name.text, if device.required { " required" } else { "" })
            });
            let devices: String = devices.collect();
            format!("RUN {network}{security}{devices}{}{script}", mounts.collect::<String>())
        }
        Kind::Copy(it) => format!("COPY {}", copy(it)),
        Kind::Add(it) => format!("ADD {}", copy(it)),
        Kind::Env(it) => format!("ENV {}", pairs(it)),
        Kind::Label(it) => format!("LABEL {}", pairs(it)),
        Kind::Workdir(word) => format!("WORKDIR {}", word.text),
        Kind::User(word) => format!("USER {}", word.text),
        Kind::Expose(list) => format!("EXPOSE {}", words(list)),
        Kind::Volume(list) => format!("VOLUME {}", words(list)),
        Kind::Cmd(it) => format!("CMD {}", command(it)),
        Kind::Entrypoint(it) => format!("ENTRYPOINT {}", command(it)),
        Kind::Shell(list) => format!("SHELL {}", words(list)),
        Kind::StopSignal(word) => format!("STOPSIGNAL {}", word.text),
        Kind::Healthcheck(check) => {
            let test = match &check.test {
                Test::None => "NONE".to_owned(),
                Test::Command(it) => command(it),
            };
            let times = [check.interval, check.timeout, check.start_period, check.start_interval, check.retries];
            format!("HEALTHCHECK {test} {times:?}")
        }
        Kind::OnBuild(it) => format!("ONBUILD {{{}}} {:?}", dump(&it.trigger.kind), it.expression),
        Kind::Maintainer(word) => format!("MAINTAINER {}", word.text),
    }
}

/// Reads `text`, which has no errors, and compares its instructions.
#[track_caller]
pub fn check(text: &str, expected: &[&str]) {
    let source = Source::new("f", text.as_bytes());
    let read = parse_instructions(&source);
    let errors: Vec<_> = read.errors().map(|error| error.line(&source)).collect();
    assert!(errors.is_empty(), "{text:?}: {errors:?}");
    let found: Vec<_> = read.instructions.iter().map(|instruction| dump(&instruction.kind)).collect();
    assert_eq!(found, expected, "{text:?}");
    check_properties(&source, &read, parse_instructions);
}

/// Errors as `line:column: message | hint`.
#[track_caller]
pub fn check_errors(text: &str, expected: &[&str]) {
    let source = Source::new("f", text.as_bytes());
    let read = parse(&source);
    let found: Vec<_> = read
        .errors()
        .map(|error| {
            let hint = error.hint.as_ref().map_or(String::new(), |hint| format!(" | {hint}"));
            format!("{}{hint}", error.line(&source).trim_start_matches("f:"))
        })
        .collect();
    assert_eq!(found, expected, "{text:?}");
}

/// Warnings and notes as `line:column: message`.
#[track_caller]
pub fn check_warnings(text: &str, expected: &[&str]) {
    let source = Source::new("f", text.as_bytes());
    let read = parse(&source);
    assert_eq!(read.errors().count(), 0, "{text:?}");
    let found: Vec<_> =
        read.diagnostics.iter().map(|it| it.line(&source).trim_start_matches("f:").to_owned()).collect();
    assert!(read.diagnostics.iter().all(|it| it.severity < Severity::Error));
    assert_eq!(found, expected, "{text:?}");
}
