//! Every flag of every command, given what it cannot take: one line that names the flag, what was
//! given and what is accepted; exit code 125; and nothing changed.
#![allow(clippy::expect_used, reason = "tests")]

#[path = "flags/table.rs"]
mod table;

use std::collections::BTreeSet;
use std::fs;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use table::{Empty, FLAGS, SWITCHES, Values};
use test_support::Sandbox;

/// Flags of Buildah and gabion, those that no help shows among them.
const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/buildah-compatibility.md");

/// A flag as the help shows it.
#[derive(Debug)]
struct Flag {
    long: String,
    kind: Kind,
}

#[derive(Debug, PartialEq)]
enum Kind {
    Switch,
    /// A boolean, which may be left out.
    Boolean,
    Value,
    /// A value that may be left out.
    Optional,
}

/// The flags in a part of a help text.
fn flags(help: &str) -> Vec<Flag> {
    help.lines().filter_map(flag).collect()
}

fn flag(line: &str) -> Option<Flag> {
    let text = line.strip_prefix("  ")?.trim_start();
    if !text.starts_with('-') || line.len() - line.trim_start().len() > 6 {
        return None;
    }
    let text = text.get(text.find("--")?..)?;
    let head = text.split("  ").next().unwrap_or_default();
    let end = head.find([' ', '[', '=', '.']).unwrap_or(head.len());
    let (long, rest) = head.split_at(end);
    let kind = match rest {
        rest if rest.starts_with("[=<BOOL>]") => Kind::Boolean,
        rest if rest.starts_with('[') => Kind::Optional,
        rest if rest.contains('<') => Kind::Value,
        _ => Kind::Switch,
    };
    Some(Flag { long: long.to_owned(), kind })
}

/// A command's words: some have commands themselves.
fn words(command: &str) -> Vec<&str> {
    command.split(' ').filter(|word| !word.is_empty()).collect()
}

/// A command's own part of its help, and the part on global flags.
fn help(sandbox: &Sandbox, command: &str) -> (String, String) {
    let help = sandbox.gabion(words(command).into_iter().chain(["--help"])).ok();
    let (own, global) = help.split_once("\nGlobal options:").unwrap_or((&help, ""));
    (own.to_owned(), global.to_owned())
}

/// The commands in gabion's help, and those that they have.
fn commands(sandbox: &Sandbox) -> Vec<String> {
    let mut all = commands_of(sandbox, "");
    let inner: Vec<String> = all.iter().flat_map(|command| commands_of(sandbox, command)).collect();
    all.extend(inner);
    all
}

fn commands_of(sandbox: &Sandbox, command: &str) -> Vec<String> {
    let help = help(sandbox, command).0;
    let section = help.split("Commands:\n").nth(1).unwrap_or_default();
    let section = section.split("\n\n").next().unwrap_or_default();
    let names = section.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let names = names.filter_map(|line| line.split_whitespace().next());
    names.map(|name| format!("{command} {name}").trim_start().to_owned()).collect()
}

/// Command ("" for what may stand before it), flag and status in the document on Buildah's flags.
fn documented() -> Vec<(String, String, String)> {
    let text = fs::read_to_string(DOCUMENT).expect("the document");
    let mut command = String::new();
    let mut rows = Vec::new();
    for line in text.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            command = heading.trim_matches('`').replace("Global flags", "");
        }
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        if let [flag, status, ..] = cells[..]
            && flag.starts_with("`--")
        {
            rows.push((command.clone(), flag.trim_matches('`').to_owned(), status.to_owned()));
        }
    }
    rows
}

/// What commands need besides their flags, so that a flag is what is wrong.
fn arguments(command: &str) -> &'static [&'static str] {
    match command {
        "" => &["images"],
        "add" | "copy" => &["work", "file", "/"],
        "build" => &["."],
        "cache explain" => &["base"],
        "commit" => &["work", "new"],
        "completion" => &["bash"],
        "config" | "mount" | "rm" | "umount" => &["work"],
        "from" | "history" | "inspect" | "pull" | "rmi" => &["base"],
        "manifest add" | "manifest annotate" | "manifest remove" => &["list", "base"],
        "manifest create" => &["new"],
        "manifest exists" | "manifest inspect" | "manifest rm" => &["list"],
        "manifest push" => &["list", "dir:pushed"],
        "push" => &["base", "dir:pushed"],
        "rename" => &["work", "other"],
        "run" => &["work", "true"],
        "tag" | "untag" => &["base", "name"],
        _ => &[],
    }
}

/// What is in the store and beside it: records, names and IDs.
fn state(sandbox: &Sandbox) -> Vec<String> {
    let mut state = vec![sandbox.gabion(["inspect", "--type", "container", "work"]).ok()];
    for file in ["overlay-images/images.json", "overlay-layers/layers.json", "overlay-containers/containers.json"] {
        state.push(fs::read_to_string(sandbox.graph_root().join(file)).expect(file));
    }
    let entries = fs::read_dir(sandbox.path("empty")).expect("list").map(|entry| entry.expect("an entry").file_name());
    state.extend(entries.map(|name| name.to_string_lossy().into_owned()).collect::<BTreeSet<_>>());
    state
}

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new(env!("CARGO_BIN_EXE_gabion"));
    sandbox.import_base();
    sandbox.gabion(["from", "--name", "work", "base"]).ok();
    sandbox.gabion(["manifest", "create", "list", "base"]).ok();
    sandbox.write("empty/Dockerfile", "FROM base\n");
    sandbox.write("empty/file", "content");
    sandbox
}

/// Arguments, and words that the refusal has.
type Case = (Vec<String>, Vec<String>);

fn case(args: &[&[&str]], words: &[&[&str]]) -> Case {
    let owned = |parts: &[&[&str]]| parts.concat().into_iter().map(str::to_owned).collect();
    (owned(args), owned(words))
}

/// Runs what must fail with exit code 125 and one line that has all words in it; gives what did not.
fn wrong(sandbox: &Sandbox, cases: &[Case]) -> Vec<String> {
    let (next, wrong) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some((args, words)) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let outcome = sandbox.gabion(args).run();
                    let errors = outcome.stderr.lines().filter(|line| line.starts_with("Error: ")).collect::<Vec<_>>();
                    let says = errors.len() == 1 && words.iter().all(|word| errors[0].contains(word));
                    if outcome.code() != Some(125) || !says || outcome.stderr.contains("panicked") {
                        wrong.lock().expect("lock").push(format!("{words:?} expected, exit code 125: {outcome}"));
                    }
                }
            });
        }
    });
    wrong.into_inner().expect("lock")
}

/// All must fail so, and nothing may change by it.
fn assert_refused(sandbox: &Sandbox, cases: &[Case]) {
    let before = state(sandbox);
    let wrong = wrong(sandbox, cases);
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    assert_eq!(state(sandbox), before, "nothing changed");
}

#[test]
fn root_flags_refuse_what_they_cannot_take() {
    let sandbox = sandbox();
    let mut cases = Vec::new();
    for command in commands(&sandbox) {
        for Flag { long, kind } in flags(&help(&sandbox, &command).0) {
            let (command, long) = (command.as_str(), long.as_str());
            match kind {
                // A switch takes no value, or a boolean.
                Kind::Switch | Kind::Boolean => {
                    let given = format!("{long}=nonsense");
                    cases.push(case(
                        &[&words(command), &[&given], arguments(command)],
                        &[&[long, "nonsense", "true, false"]],
                    ));
                    let given = format!("{long}=");
                    cases.push(case(&[&words(command), &[&given], arguments(command)], &[&[long, "true, false"]]));
                }
                // The value is missing where the line ends.
                Kind::Value => cases.push(case(&[&words(command), &[long]], &[&[long, "a value is required"]])),
                Kind::Optional => {}
            }
        }
    }
    assert!(cases.len() > 300, "only {} cases were found", cases.len());
    // Help comes before all else.
    cases.retain(|(args, _)| !args.iter().any(|arg| arg.starts_with("--help")));
    assert_refused(&sandbox, &cases);
}

#[test]
fn root_malformed_values_are_refused_by_name() {
    let sandbox = sandbox();
    let mut cases = Vec::new();
    for (commands, flag, empty, values) in FLAGS {
        for command in commands.split(',') {
            let words: &[&str] = &words(command);
            if let Empty::Refused(expected) = empty {
                cases.push(case(&[words, &[&format!("{flag}=")], arguments(command)], &[&[flag, expected]]));
            }
            if let Values::Wrong(wrong) = values {
                cases.extend(wrong.iter().map(|(args, expected)| {
                    // What contradicts a flag is named, the flag itself where it can be.
                    let named: &[&str] = if args.len() == 1 { &[flag] } else { &[] };
                    case(&[words, args, arguments(command)], &[expected, named])
                }));
            }
        }
    }
    for (commands, args, expected) in SWITCHES {
        for command in commands.split(',') {
            cases.push(case(&[&words(command), args, arguments_of_switch(command, args)], &[expected]));
        }
    }
    assert_refused(&sandbox, &cases);
}

/// A pair of switches is what is wrong, or what is missing beside one.
fn arguments_of_switch(command: &str, args: &[&str]) -> &'static [&'static str] {
    match args {
        ["--all", "base"] | ["--all", "--prune"] => &[],
        _ => arguments(command),
    }
}

#[test]
fn root_every_flag_is_in_the_table() {
    let sandbox = sandbox();
    let in_table = |command: &str, long: &str| {
        FLAGS.iter().any(|(commands, flag, ..)| *flag == long && commands.split(',').any(|name| name == command))
    };
    let mut missing = Vec::new();
    let mut shown = BTreeSet::new();
    let mut look = |command: &str, part: &str| {
        for Flag { long, kind } in flags(part) {
            if matches!(kind, Kind::Value | Kind::Optional) && !in_table(command, &long) {
                missing.push(format!("{command} {long}"));
            }
            shown.insert((command.to_owned(), long));
        }
    };
    let global = help(&sandbox, "").1;
    assert!(!global.is_empty(), "the global flags were found");
    look("", &global);
    for command in commands(&sandbox) {
        look(&command, &help(&sandbox, &command).0);
    }
    assert_eq!(missing, [""; 0], "flags that take a value and are not in the table");
    for (_, flag, _, values) in FLAGS {
        let has_any = match values {
            Values::Wrong(wrong) => !wrong.is_empty(),
            Values::Free(why) => !why.is_empty(),
        };
        assert!(has_any, "{flag}: no wrong value, and no reason");
    }
    // What no help shows takes a value and is in the table, or is a switch that refuses one.
    let mut cases = Vec::new();
    for (command, long, status) in documented() {
        let words: &[&str] = &words(&command);
        let is_shown = shown.contains(&(command.clone(), long.clone()));
        if !is_shown && !in_table(&command, &long) && long != "--version" {
            let given = format!("{long}=nonsense");
            cases.push(case(&[words, &[&given], arguments(&command)], &[&[&long, "nonsense"]]));
        } else if status == "no" && !in_table(&command, &long) {
            missing.push(format!("{command} {long} is not refused"));
        }
    }
    assert!(cases.len() > 50, "only {} hidden flags were found", cases.len());
    assert_eq!(missing, [""; 0]);
    assert_refused(&sandbox, &cases);
}

#[test]
fn root_empty_values_that_mean_something_are_taken() {
    let sandbox = sandbox();
    for (commands, flag, empty, _) in FLAGS {
        let Empty::Taken(why) = empty else { continue };
        // A network of its own takes more than a machine for tests may have.
        for command in commands.split(',').filter(|command| (*command, *flag) != ("run", "--network")) {
            let words: &[&str] = match command {
                "run" => &["run", "--network=none"],
                _ => &words(command),
            };
            let outcome = sandbox.gabion([words, &[&format!("{flag}=")], arguments(command)].concat()).run();
            assert_eq!(outcome.code(), Some(0), "{command} {flag}= is {why}: {outcome}");
        }
    }
}

#[test]
fn root_switches_take_a_boolean_as_gos_do() {
    let sandbox = sandbox();
    // Its age is told in seconds.
    sandbox.gabion(["manifest", "rm", "list"]).ok();
    let quiet = sandbox.gabion(["images", "--quiet"]).ok();
    let table = sandbox.gabion(["images", "--no-trunc"]).ok();
    for (args, expected) in [
        (&["images", "-q=true"][..], &quiet),
        (&["images", "--quiet=1", "--digests=F"], &quiet),
        (&["images", "--quiet=false", "--no-trunc=TRUE"], &table),
        (&["images", "-q", "--quiet=0", "--no-trunc"], &table),
    ] {
        assert_eq!(&sandbox.gabion(args).ok(), expected, "{args:?}");
    }
    // What a variable of the environment says is read in the same way; an empty one says nothing.
    sandbox.gabion(["build", "--pull-never=1", "."]).env("BUILDAH_LAYERS", "0").ok();
    sandbox.gabion(["from", "--name", "other", "scratch"]).env("BUILDAH_FORMAT", "").ok();
    assert!(sandbox.gabion(["images", "--quiet=perhaps"]).fails().stderr.contains("true, false"));
}
