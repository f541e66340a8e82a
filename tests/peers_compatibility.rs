//! docs/buildah-compatibility.md tells the truth: it has every command and flag of Debian's Buildah,
//! of the newest one as far as its rows name them, and of gabion, and what it says of each is what
//! gabion does. With GABION_UPDATE_DOCS set the document is written anew; notes stay.
#![allow(clippy::expect_used, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use test_support::Sandbox;

const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/buildah-compatibility.md");

const INTRODUCTION: &str = "# Buildah's command line and gabion's

For each command of Buildah and each of its flags: **yes**, gabion does the same; **differs**, gabion has it with
another meaning, told behind it; **no**, gabion refuses it by name, for the reason behind it. Flags that gabion has on top
are **own**. Compared are Debian's Buildah 1.28 and, by their names, the flags of 1.44; where the two differ gabion follows the
newer one.

Called as `buildah`, gabion takes Buildah's defaults where its own are others: the label `io.buildah.version`, images in
OCI format whatever `from` said, layers that go to registries as they are with `commit`, the creation annotation, and
SOURCE_DATE_EPOCH without a change of files' times. `make install` makes such a link in `PREFIX/lib/gabion/bin`.

What holds for all commands: flags may stand behind arguments too; a flag with a value takes it as `--flag value` and
`--flag=value`, and a switch as `--flag=false`; of a flag that may be given once the last one counts. A failure of gabion's own has exit code 125.
What a Buildah does not know of in a container, as 1.28 what was copied with `--link`, is lost once it changes the container.
A value that nothing can be made of is refused, and so is an empty one that does not take something back: Buildah takes
some of these and does nothing, or fails once the work is done.

This file is checked, and can be written anew, by the test `peers_compatibility`.
";

/// A section's rows: name → (status, note).
type Rows = BTreeMap<String, (String, String)>;

/// The document's sections by their headings.
fn read() -> BTreeMap<String, Rows> {
    let text = fs::read_to_string(DOCUMENT).unwrap_or_default();
    let mut sections: BTreeMap<String, Rows> = BTreeMap::new();
    let mut heading = String::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("## ") {
            heading = name.trim_matches('`').to_owned();
        }
        let cells: Vec<&str> = line.trim_matches('|').splitn(3, '|').map(str::trim).collect();
        if let [name, status, note] = cells[..]
            && name.starts_with('`')
        {
            let row = (status.to_owned(), note.to_owned());
            sections.entry(heading.clone()).or_default().insert(name.trim_matches('`').to_owned(), row);
        }
    }
    sections
}

/// The long flags in a help text, up to the part on global ones.
fn flags(help: &str) -> BTreeSet<String> {
    let own = help.split("Global options:").next().unwrap_or_default();
    let flag = |line: &str| {
        let text = line.trim_start();
        let text = text.get(text.starts_with('-').then(|| text.find("--"))??..)?;
        let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '-')).unwrap_or(text.len());
        text.get(..end).map(str::to_owned)
    };
    own.lines().filter_map(flag).filter(|flag| flag != "--help" && flag.len() > 2).collect()
}

/// The commands in a help text.
fn commands(help: &str) -> BTreeSet<String> {
    let section = help.split("Commands:\n").nth(1).and_then(|rest| rest.split("\n\n").next()).unwrap_or_default();
    let names = section.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    names.filter_map(|line| line.split_whitespace().next().map(str::to_owned)).collect()
}

/// What gabion makes of a flag: its status, and the reason of a refusal.
fn judge(sandbox: &Sandbox, command: &[&str], flag: &str, in_help: bool) -> (&'static str, String) {
    if in_help {
        return ("yes", String::new());
    }
    // A value that no flag takes; a switch refuses it too, and is asked without it.
    let ask = |flag: &str| {
        let outcome = sandbox.gabion(command.iter().copied().chain([flag, "--nosuchflag"])).run();
        outcome.stderr.lines().next().unwrap_or_default().to_owned()
    };
    for text in [ask(&format!("{flag}=given")), ask(flag)] {
        if text.contains(&format!("unknown flag: {flag}")) {
            return ("no", String::new());
        }
        let reason =
            text.split_once("': ").filter(|_| text.contains("invalid value") && !text.contains("--nosuchflag"));
        if let Some((_, reason)) = reason.filter(|(_, reason)| !reason.contains("expected")) {
            return ("no", reason.trim_end_matches(" [possible values: true, false]").to_owned());
        }
    }
    ("yes", String::new())
}

/// One section's rows as they should be.
fn rows(
    names: BTreeSet<String>,
    theirs: &BTreeSet<String>,
    old: Option<&Rows>,
    mut judge: impl FnMut(&str) -> (&'static str, String),
) -> Rows {
    let row = |name: String| {
        let (status, reason) = judge(&name);
        let (old_status, old_note) = old.and_then(|rows| rows.get(&name)).cloned().unwrap_or_default();
        let is_own = !theirs.contains(&name) && (old_status.is_empty() || old_status == "own");
        let (status, note) = match status {
            "yes" if old_status == "differs" => ("differs", old_note),
            "yes" if is_own => ("own", String::new()),
            "no" if reason.is_empty() => ("no", if old_status == "no" { old_note } else { String::new() }),
            status => (status, reason),
        };
        (name, (status.to_owned(), note))
    };
    names.into_iter().map(row).collect()
}

/// The document as it should be, given the notes in `old`.
fn document(sandbox: &Sandbox, old: &BTreeMap<String, Rows>) -> BTreeMap<String, Rows> {
    let help = |gabion: bool, words: &[&str]| {
        let words = words.iter().copied().chain(["--help"]);
        if gabion { sandbox.gabion(words).run().stdout } else { sandbox.buildah(words).run().stdout }
    };
    let (mut ours, mut theirs) = (commands(&help(true, &[])), commands(&help(false, &[])));
    // Commands that have commands themselves.
    for command in ours.clone() {
        let inner = |gabion: bool| {
            let names = commands(&help(gabion, &[&command])).into_iter();
            names.map(|name| format!("{command} {name}")).collect::<Vec<_>>()
        };
        let own = inner(true);
        if !own.is_empty() && theirs.contains(&command) {
            theirs.extend(inner(false));
        }
        ours.extend(own);
    }
    let (ours, theirs) = (ours, theirs);
    let known = |section: &str| old.get(section).into_iter().flat_map(|rows| rows.keys().cloned());
    let names = ours.iter().cloned().chain(theirs.iter().cloned()).chain(known("Commands")).collect();
    let judge_command = |name: &str| (if ours.contains(name) { "yes" } else { "no" }, String::new());
    let mut sections = BTreeMap::new();
    sections.insert("Commands".to_owned(), rows(names, &theirs, old.get("Commands"), judge_command));

    let own_help = help(true, &[]);
    let global = own_help.split("Global options:").nth(1).unwrap_or_default();
    let (own, other) = (flags(global), flags(&help(false, &[])));
    let names = own.iter().cloned().chain(other.iter().cloned()).chain(known("Global flags")).collect();
    let section = rows(names, &other, old.get("Global flags"), |flag| judge(sandbox, &[], flag, own.contains(flag)));
    sections.insert("Global flags".to_owned(), section);

    for command in &ours {
        let words: Vec<&str> = command.split(' ').collect();
        let own = flags(&help(true, &words));
        let other =
            if theirs.contains(command) && command != "help" { flags(&help(false, &words)) } else { BTreeSet::new() };
        let names = own.iter().cloned().chain(other.iter().cloned()).chain(known(command)).collect();
        let section = rows(names, &other, old.get(command), |flag| judge(sandbox, &words, flag, own.contains(flag)));
        sections.insert(command.clone(), section);
    }
    sections
}

fn write(sections: &BTreeMap<String, Rows>) -> String {
    let mut text = INTRODUCTION.to_owned();
    for (heading, rows) in sections.iter().filter(|(_, rows)| !rows.is_empty()) {
        let (heading, column) = match heading.as_str() {
            "Commands" => (heading.clone(), "command"),
            "Global flags" => (heading.clone(), "flag"),
            command => (format!("`{command}`"), "flag"),
        };
        let _ = write!(text, "\n## {heading}\n\n| {column} | gabion | note |\n|---|---|---|\n");
        for (name, (status, note)) in rows {
            let _ = writeln!(text, "{}", format!("| `{name}` | {status} | {note} |").replace("|  |", "| |"));
        }
    }
    text
}

#[test]
fn peers_compatibility_is_told_truly() {
    let sandbox = Sandbox::new(env!("CARGO_BIN_EXE_gabion"));
    let sections = document(&sandbox, &read());
    let text = write(&sections);
    if std::env::var_os("GABION_UPDATE_DOCS").is_some() {
        fs::write(DOCUMENT, &text).expect("write the document");
    }
    let silent = |rows: &Rows| {
        let rows =
            rows.iter().filter(|(_, (status, note))| matches!(status.as_str(), "no" | "differs") && note.is_empty());
        rows.map(|(name, _)| name.clone()).collect::<Vec<_>>()
    };
    for (section, rows) in &sections {
        assert_eq!(silent(rows), [""; 0], "{section}: a reason is missing");
    }
    let written = fs::read_to_string(Path::new(DOCUMENT)).expect("the document");
    assert_eq!(written, text, "GABION_UPDATE_DOCS=1 writes it anew");
}
