//! What holds for every file that is read without an error. The fuzz target uses it too.

use dockerfile::instruction::{Command, Copy, CopySource, Instruction, Kind, Test};
use dockerfile::{Dockerfile, Source, Word, format};

/// Formatting changes no meaning and happens once; words stand where they say. `read` is what
/// read `file`.
#[track_caller]
pub fn check_properties(source: &Source, file: &Dockerfile, read: fn(&Source) -> Dockerfile) {
    file.instructions.iter().for_each(|instruction| check_words(source, instruction, file.ast.escape));
    let text = format(source, file);
    if file.errors().next().is_some() {
        return;
    }
    let formatted = Source::new("formatted", text.as_bytes());
    let again = read(&formatted);
    let errors: Vec<String> = again.errors().map(|error| error.line(&formatted)).collect();
    assert!(errors.is_empty(), "formatting {:?} to {text:?} breaks it: {errors:?}", source.text());
    assert_eq!(meaning(&again), meaning(file), "{:?} is formatted to {text:?}", source.text());
    assert_eq!(format(&formatted, &again), text, "{:?} is formatted twice", source.text());
}

/// All that a file says, without the places.
fn meaning(file: &Dockerfile) -> Vec<String> {
    let without_places = |kind: &Kind| {
        let shown = format!("{kind:?}");
        let pieces = shown.split("Span { start: ");
        pieces.map(|piece| piece.trim_start_matches(|c: char| c.is_ascii_digit() || ", end:".contains(c))).collect()
    };
    let directives = file.ast.directives.iter().map(|it| format!("{}={}", it.name.text, it.value.text));
    let comments = file.ast.comments.iter().map(|comment| file.ast.comment(*comment).trim_end().to_owned());
    let instructions = file.instructions.iter().map(|instruction| without_places(&instruction.kind));
    directives.chain(comments).chain(instructions).collect()
}

/// A word that is written without quotes, escapes and line ends is the text at its place.
#[track_caller]
fn check_words(source: &Source, instruction: &Instruction, escape: char) {
    for word in words(instruction) {
        let written = source.text().get(word.span.start..word.span.end);
        let written = written.unwrap_or_else(|| panic!("{word:?} is not between characters"));
        if !written.contains(['"', '\'', '\n', escape]) {
            assert_eq!(written.to_lowercase(), word.text.to_lowercase(), "{word:?} of {:?}", instruction.text);
        }
    }
}

/// Every word of an instruction.
fn words(instruction: &Instruction) -> Vec<&Word> {
    let mut words = Vec::new();
    match &instruction.kind {
        Kind::From(from) => {
            words.push(&from.base);
            words.extend(from.name.iter().chain(&from.platform).chain(&from.after));
        }
        Kind::Arg(args) => args.iter().for_each(|arg| {
            words.push(&arg.name);
            words.extend(&arg.default);
        }),
        Kind::Run(run) => {
            words.extend(command(&run.command));
            words.extend(run.network.iter().map(|(_, word)| word));
            words.extend(run.security.iter().map(|(_, word)| word));
            words.extend(run.devices.iter().map(|device| &device.name));
            for mount in &run.mounts {
                words.extend(&mount.from);
                for (key, value) in &mount.fields {
                    words.push(key);
                    words.extend(value);
                }
            }
        }
        Kind::Copy(it) | Kind::Add(it) => words.extend(copy(it)),
        Kind::Env(pairs) | Kind::Label(pairs) => {
            words.extend(pairs.pairs.iter().flat_map(|pair| [&pair.name, &pair.value]));
        }
        Kind::Workdir(word) | Kind::User(word) | Kind::StopSignal(word) | Kind::Maintainer(word) => words.push(word),
        Kind::Expose(list) | Kind::Volume(list) | Kind::Shell(list) => words.extend(list),
        Kind::Cmd(it) | Kind::Entrypoint(it) => words.extend(command(it)),
        Kind::Healthcheck(check) => {
            if let Test::Command(it) = &check.test {
                words.extend(command(it));
            }
        }
        Kind::OnBuild(later) => words.extend(self::words(&later.trigger)),
    }
    words
}

fn command(command: &Command) -> Vec<&Word> {
    match command {
        Command::Shell(line) => vec![line],
        Command::Exec(list) => list.iter().collect(),
    }
}

fn copy(copy: &Copy) -> Vec<&Word> {
    let paths = copy.sources.iter().filter_map(|source| match source {
        CopySource::Path(path) => Some(path),
        CopySource::Heredoc(_) => None,
    });
    let flags = [&copy.from, &copy.chown, &copy.chmod, &copy.checksum];
    paths.chain([&copy.destination]).chain(&copy.exclude).chain(flags.into_iter().flatten()).collect()
}
