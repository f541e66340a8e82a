//! The classic part of the language, read by the crate `dockerfile-parser` too. Where the two
//! differ, the reference is on our side; each difference is listed with its reason.

use dockerfile::instruction::{Command, CopySource, Kind, Pairs};
use dockerfile::words::Expander;
use dockerfile::{Source, Word};
use dockerfile_parser::{Dockerfile as Other, Instruction as OtherInstruction, ShellOrExecExpr};

/// Read in the same way.
const SAME: [&str; 67] = [
    "FROM a\nLABEL a b",
    "FROM alpine",
    "FROM alpine:3.20",
    "FROM alpine@sha256:0000000000000000000000000000000000000000000000000000000000000000",
    "FROM localhost:5000/team/app:1.2",
    "FROM alpine AS base",
    "FROM alpine as base",
    "FROM scratch\n",
    "FROM --platform=linux/arm64 alpine",
    "FROM --platform=$BUILDPLATFORM alpine AS build",
    "ARG VERSION\nFROM alpine",
    "ARG VERSION=3.20\nFROM alpine:$VERSION",
    "ARG VERSION=\"3.20\"\nFROM alpine:${VERSION}",
    "FROM a\nARG X=1",
    "FROM a\nARG X=''\nRUN b",
    "FROM a\nRUN make",
    "FROM a\nrun make",
    "FROM a\nRUN make   all",
    "FROM a\nRUN make && make install",
    "FROM a\nRUN make && \\\n    make install",
    "FROM a\nRUN make \\\n  -j 2 \\\n  all",
    "FROM a\nRUN make \\\n# why\n  all",
    "FROM a\nRUN echo \"a b\" 'c d'",
    "FROM a\nRUN echo $HOME ${HOME}",
    "FROM a\nRUN echo '# no comment'",
    "FROM a\nRUN echo a # kept",
    "FROM a\nRUN [\"make\", \"all\"]",
    "FROM a\nRUN [\"make\"]",
    "FROM a\nRUN [ \"make\" , \"all\" ]",
    "FROM a\nRUN [\"a b\", \"c\"]",
    "FROM a\nRUN [\"a\\\"b\"]",
    "FROM a\nRUN [ -f x ]",
    "FROM a\nCMD server",
    "FROM a\nCMD [\"server\", \"--port\", \"80\"]",
    "FROM a\nCMD []",
    "FROM a\nENTRYPOINT server",
    "FROM a\nENTRYPOINT [\"server\"]",
    "FROM a\nENTRYPOINT exec top -b",
    "FROM a\nCOPY a b",
    "FROM a\nCOPY a b c/",
    "FROM a\nCOPY . .",
    "FROM a\nCOPY *.c /src/",
    "FROM a\nCOPY --from=base /a /b",
    "FROM a\nCOPY --chown=1:2 a b",
    "FROM a\nCOPY --from=0 --chown=u:g a b/",
    "FROM a\nCOPY a \\\n  b \\\n  c/",
    "FROM a\nCOPY $A ${B} /c",
    "FROM a\nENV A=b",
    "FROM a\nENV A=b C=d",
    "FROM a\nENV A=\"b c\" D='e f'",
    "FROM a\nENV A=b \\\n    C=d",
    "FROM a\nENV A b",
    "FROM a\nENV A b c d",
    "FROM a\nENV A=$B",
    "FROM a\nLABEL a=b",
    "FROM a\nLABEL a=b c=d",
    "FROM a\nLABEL a=\"b c\"",
    "FROM a\nLABEL \"a.b\"=c",
    "FROM a\nLABEL a=b \\\n      c=d",
    "FROM a\nWORKDIR /src",
    "FROM a\nUSER app",
    "FROM a\nEXPOSE 80",
    "FROM a\nVOLUME /data",
    "FROM a\nSTOPSIGNAL SIGTERM",
    "# comment\nFROM a\n\n# comment\nRUN b\n",
    "FROM a AS one\nRUN x\n\nFROM b AS two\nCOPY --from=one /x /y\nCMD [\"/y\"]\n",
    "FROM golang:1.22 AS build\nWORKDIR /src\nCOPY go.mod go.sum ./\nRUN go mod download\nCOPY . .\nRUN go build -o /app\n\
     FROM scratch\nCOPY --from=build /app /app\nENTRYPOINT [\"/app\"]\n",
];

/// Read differently, and why.
const DIFFERENT: [(&str, &str); 14] = [
    ("FROM a\nARG X=", "it refuses an empty default"),
    ("FROM a\nRUN <<EOF\nx\nEOF", "it knows no heredocs"),
    ("FROM a\nCOPY <<EOF /x\ny\nEOF", "it knows no heredocs"),
    ("# escape=`\nFROM a\nRUN b `\n c", "it knows no directives"),
    ("FROM a\nCOPY --link b c", "a flag without a value is a source to it"),
    ("FROM a\nCOPY [\"a b\", \"c\"]", "it has no JSON form of COPY"),
    ("FROM a\nRUN --network=none b", "flags of RUN belong to the command to it"),
    ("FROM a\nARG X=1 Y=2", "it reads one argument per ARG"),
    ("FROM a\nARG X=${Y:-a b}", "it ends a value at a blank inside ${…}, and refuses what follows"),
    ("FROM a\nENV A=b\\ c", "an escaped blank ends a value to it"),
    ("FROM a\nCMD ['a']", "single quotes are JSON to it"),
    ("FROM a\nCMD [\"a\",]", "a comma at the end is JSON to it"),
    ("FROM a\nRUN a \\\n\n b", "it ends an instruction at a blank line"),
    ("\u{feff}FROM a", "a byte order mark is a word to it"),
];

fn plain(word: &Word) -> String {
    let keep = |name: &str| Some(format!("${name}"));
    Expander::new(&keep, '\\').expand(&word.text).unwrap_or_else(|_| word.text.clone())
}

fn one_line(text: &str) -> String {
    text.trim().to_owned()
}

fn pairs(name: &str, pairs: &Pairs) -> String {
    let list = pairs.pairs.iter().map(|pair| format!(" {}={}", plain(&pair.name), plain(&pair.value)));
    format!("{name}{}", list.collect::<String>())
}

fn ours(text: &str) -> Option<Vec<String>> {
    let source = Source::new("f", text.as_bytes());
    let file = dockerfile::parse(&source);
    if file.errors().next().is_some() {
        return None;
    }
    let command = |command: &Command| match command {
        Command::Shell(line) => one_line(&line.text),
        Command::Exec(list) => format!("{:?}", list.iter().map(|word| &word.text).collect::<Vec<_>>()),
    };
    let line = |instruction: &dockerfile::Instruction| match &instruction.kind {
        Kind::From(from) => {
            let name = from.name.as_ref().map_or(String::new(), |name| format!(" as {}", name.text));
            let platform = from.platform.as_ref().map_or(String::new(), |word| format!(" platform={}", word.text));
            format!("FROM {}{name}{platform}", from.base.text)
        }
        Kind::Arg(args) => {
            let value = |word: &Word| format!("={}", word.text.trim_matches(['"', '\'']));
            let list =
                args.iter().map(|arg| format!(" {}{}", arg.name.text, arg.default.as_ref().map_or("".into(), value)));
            format!("ARG{}", list.collect::<String>())
        }
        Kind::Run(run) if run.mounts.is_empty() && run.network.is_none() && run.heredocs.is_empty() => {
            format!("RUN {}", command(&run.command))
        }
        Kind::Cmd(it) => format!("CMD {}", command(it)),
        Kind::Entrypoint(it) => format!("ENTRYPOINT {}", command(it)),
        Kind::Env(it) => pairs("ENV", it),
        Kind::Label(it) => pairs("LABEL", it),
        Kind::Copy(copy) => {
            let sources = copy.sources.iter().map(|source| match source {
                CopySource::Path(path) => format!(" {}", path.text),
                CopySource::Heredoc(heredoc) => format!(" <<{}", heredoc.name),
            });
            let flag = |name: &str, word: &Option<Word>| {
                word.as_ref().map_or(String::new(), |word| format!(" {name}={}", word.text))
            };
            let flags = [flag("from", &copy.from), flag("chown", &copy.chown)].concat();
            format!("COPY{flags}{} {}", sources.collect::<String>(), copy.destination.text)
        }
        Kind::Run(run) => format!("RUN with flags or heredocs {}", command(&run.command)),
        _ => one_line(&instruction.text),
    };
    Some(file.instructions.iter().map(|instruction| line(instruction)).collect())
}

fn theirs(text: &str) -> Option<Vec<String>> {
    let file = Other::parse(text).ok()?;
    let command = |expr: &ShellOrExecExpr| match expr {
        ShellOrExecExpr::Shell(line) => one_line(&line.to_string()),
        ShellOrExecExpr::Exec(list) => format!("{:?}", list.elements.iter().map(|it| &it.content).collect::<Vec<_>>()),
    };
    let line = |instruction: &OtherInstruction| match instruction {
        OtherInstruction::From(from) => {
            let name = from.alias.as_ref().map_or(String::new(), |name| format!(" as {}", name.content));
            let flags = from.flags.iter().map(|flag| format!(" {}={}", flag.name.content, flag.value.content));
            format!("FROM {}{name}{}", from.image.content, flags.collect::<String>())
        }
        OtherInstruction::Arg(arg) => {
            let value = arg.value.as_ref().map_or(String::new(), |value| format!("={}", value.content));
            format!("ARG {}{value}", arg.name.content)
        }
        OtherInstruction::Run(it) => format!("RUN {}", command(&it.expr)),
        OtherInstruction::Cmd(it) => format!("CMD {}", command(&it.expr)),
        OtherInstruction::Entrypoint(it) => format!("ENTRYPOINT {}", command(&it.expr)),
        OtherInstruction::Env(it) => {
            let list = it.vars.iter().map(|var| format!(" {}={}", var.key.content, var.value));
            format!("ENV{}", list.collect::<String>())
        }
        OtherInstruction::Label(it) => {
            let list = it.labels.iter().map(|label| format!(" {}={}", label.name.content, label.value.content));
            format!("LABEL{}", list.collect::<String>())
        }
        OtherInstruction::Copy(copy) => {
            let flags = copy.flags.iter().map(|flag| format!(" {}={}", flag.name.content, flag.value.content));
            let sources = copy.sources.iter().map(|source| format!(" {}", source.content));
            format!("COPY{}{} {}", flags.collect::<String>(), sources.collect::<String>(), copy.destination.content)
        }
        OtherInstruction::Misc(it) => format!("{} {}", it.instruction.content, one_line(&it.arguments.to_string())),
    };
    Some(file.instructions.iter().map(line).collect())
}

#[test]
fn pure_the_classic_language_is_read_alike() {
    let wrong = SAME.iter().filter(|text| {
        let (ours, theirs) = (ours(text), theirs(text));
        ours.is_none() || ours != theirs
    });
    let shown: Vec<String> =
        wrong.map(|text| format!("{text:?}:\n  ours   {:?}\n  theirs {:?}", ours(text), theirs(text))).collect();
    assert!(shown.is_empty(), "{}", shown.join("\n"));
}

#[test]
fn pure_listed_differences_are_still_there() {
    for (text, reason) in DIFFERENT {
        assert!(ours(text).is_some(), "{text:?} has an error");
        assert_ne!(ours(text), theirs(text), "{text:?} is no difference any more: {reason}");
    }
}
