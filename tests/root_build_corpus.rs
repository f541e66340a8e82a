//! The corpus of builds: each file below `tests/corpus` is built, and the image that Skopeo takes out of
//! the store is flattened and compared with what the file says. `tests/corpus/README.md` has the format.
//! The environment variable `CASES` picks those whose names contain it.
#![allow(clippy::expect_used, reason = "tests")]

use std::collections::VecDeque;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Mutex;

use serde_json::{Map, Value, json};
use test_support::case::Case;
use test_support::flatten::{Files, changes};
use test_support::validate::{Image, dir_image, oci_layout};
use test_support::{Outcome, Sandbox, base_image, store_check};

/// What the cases share.
struct Shared {
    sandbox: Sandbox,
    base: Image,
    base_files: Files,
}

#[test]
fn root_corpus() {
    let mut cases = Case::read_all(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/corpus"));
    if let Ok(part) = std::env::var("CASES") {
        cases.retain(|case| case.name.contains(&part));
    } else {
        assert!(cases.len() >= 200, "{} cases", cases.len());
    }
    let sandbox = Sandbox::new(env!("CARGO_BIN_EXE_gabion"));
    sandbox.import_base();
    let base = oci_layout(base_image::layout(), "latest");
    let shared = Shared { sandbox, base_files: base.files(), base };
    let count = cases.len();
    let todo = Mutex::new(VecDeque::from(cases));
    let failures = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(case) = { todo.lock().expect("no panic while locked").pop_front() } {
                    if let Err(why) = outcome_of(&shared, &case) {
                        failures.lock().expect("no panic while locked").push(format!("==== {}\n{why}", case.name));
                    }
                }
            });
        }
    });
    let mut failures = failures.into_inner().expect("no panic while locked");
    failures.sort();
    assert!(failures.is_empty(), "{} of {count} cases fail:\n{}", failures.len(), failures.join("\n"));
    assert_eq!(store_check::records(&shared.sandbox.graph_root(), "containers"), Vec::<Value>::new());
    store_check::assert_records_sound(&shared.sandbox);
}

/// Builds and judges one case. A fixture's panic is a failure of this case only.
fn outcome_of(shared: &Shared, case: &Case) -> Result<(), String> {
    let judged = catch_unwind(AssertUnwindSafe(|| judge(shared, case)));
    judged.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        Err(text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default())
    })
}

fn judge(shared: &Shared, case: &Case) -> Result<(), String> {
    let sandbox = &shared.sandbox;
    let dir = sandbox.path(format!("cases/{}", case.name));
    let context = case.write_context(&dir)?;
    for (name, dockerfile) in case.all("image") {
        let file = dir.join("Dockerfile.image");
        fs::write(&file, dockerfile).map_err(|error| error.to_string())?;
        let args = ["build", "--identity-label=false", "--network=none", "--format=docker", "-t", name, "-f"];
        succeeded(&sandbox.gabion(args).arg(&file).arg(&context).run())?;
    }
    let replace = |text: &str| text.replace("$CASE", dir.to_str().expect("UTF-8"));
    let mut command = sandbox.gabion(["build", "--identity-label=false", "--network=none", "-t", &case.name]);
    command = command.args(case.lines("args").into_iter().map(replace));
    for (name, value) in case.lines("env").into_iter().filter_map(|line| line.split_once('=')) {
        command = command.env(name, replace(value));
    }
    if let Some(text) = case.section("stdin") {
        command = command.stdin(text);
    }
    let given = case.lines("context").first().map_or_else(|| context.display().to_string(), |given| replace(given));
    let outcome = command.arg(given).run();
    judge_output(case, &outcome)?;
    if case.section("error").is_some() {
        return judge_refusal(sandbox, case, &outcome);
    }
    succeeded(&outcome)?;
    let out = dir.join("out");
    let target = format!("dir:{}", out.display());
    sandbox.skopeo(["copy", "-q", &sandbox.storage(&format!("localhost/{}", case.name)), &target]).ok();
    let image = dir_image(&out);
    let judged = [
        judge_tree(shared, case, &image),
        judge_config(shared, case, &image),
        judge_history(shared, case, &image),
        judge_runs(sandbox, case),
    ];
    // What is large goes at once.
    fs::remove_dir_all(&dir).map_err(|error| error.to_string())?;
    let wrong: Vec<String> = judged.into_iter().filter_map(Result::err).collect();
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
}

fn succeeded(outcome: &Outcome) -> Result<(), String> {
    if outcome.status.success() { Ok(()) } else { Err(outcome.to_string()) }
}

/// Each line of `output` is printed, and none of `silent`; nothing is a fault of gabion's own.
fn judge_output(case: &Case, outcome: &Outcome) -> Result<(), String> {
    let all = format!("{}\n{}", outcome.stdout, outcome.stderr);
    let missing = case.lines("output").into_iter().find(|line| !all.contains(line));
    if let Some(line) = missing {
        return Err(format!("should print {line:?}: {outcome}"));
    }
    let unwanted = ["panicked"].into_iter().chain(case.lines("silent")).find(|line| all.contains(line));
    unwanted.map_or(Ok(()), |line| Err(format!("should not print {line:?}: {outcome}")))
}

/// The build failed with each line of `error` in what it said, and made no image.
fn judge_refusal(sandbox: &Sandbox, case: &Case, outcome: &Outcome) -> Result<(), String> {
    if outcome.code().is_none_or(|code| code == 0) {
        return Err(format!("should fail: {outcome}"));
    }
    if let Some(line) = case.lines("error").into_iter().find(|line| !outcome.stderr.contains(line)) {
        return Err(format!("should say {line:?}: {outcome}"));
    }
    let name = format!("localhost/{}:latest", case.name);
    let images = store_check::records(&sandbox.graph_root(), "images");
    if images.iter().any(|image| image["names"].as_array().is_some_and(|names| names.contains(&json!(name)))) {
        return Err("made an image".to_owned());
    }
    Ok(())
}

/// `tree`: all changes against the base image if the image has it, else all files. `times`: their times.
fn judge_tree(shared: &Shared, case: &Case, image: &Image) -> Result<(), String> {
    let files = image.files();
    let none = Files::new();
    let on_base = files.get("bin/busybox").is_some_and(|seen| {
        shared.base_files.get("bin/busybox").is_some_and(|base| base.file.content == seen.file.content)
    });
    let found = changes(if on_base { &shared.base_files } else { &none }, &files);
    let found: Vec<&str> = found.iter().map(String::as_str).collect();
    same("tree", &found, &case.lines("tree"))?;
    for (time, path) in case.lines("times").into_iter().filter_map(|line| line.split_once(" /")) {
        let seen = files.get(path).ok_or_else(|| format!("times: no /{path}"))?;
        same("times", &[&format!("{} /{path}", seen.file.mtime)], &[&format!("{time} /{path}")])?;
    }
    Ok(())
}

/// The config that an image from scratch begins with.
fn from_scratch() -> Value {
    json!({"Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"], "WorkingDir": "/"})
}

/// `config`: how `config` of the image's config differs from the base image's. `about`: parts of the whole.
fn judge_config(shared: &Shared, case: &Case, image: &Image) -> Result<(), String> {
    let empty = Map::new();
    let object = |value: &'_ Value| value.as_object().unwrap_or(&empty).clone();
    let on_base = image.config["history"][0] == shared.base.config["history"][0];
    let base = if on_base { object(&shared.base.config["config"]) } else { object(&from_scratch()) };
    // Docker's format has members that are not set, too.
    let is_set = |member: &Value| *member != Value::Null && *member != json!("") && *member != json!(false);
    let mut own = object(&image.config["config"]);
    own.retain(|key, member| is_set(member) && (key != "OnBuild" || *member != json!([])));
    let mut changed = Map::new();
    for key in base.keys().chain(own.keys()) {
        if base.get(key) != own.get(key) {
            changed.insert(key.clone(), own.get(key).cloned().unwrap_or_default());
        }
    }
    let expected = case.json("config")?.unwrap_or_else(|| json!({}));
    let found = Value::Object(changed);
    if found != expected {
        return Err(format!("config is {found:#}\ninstead of {expected:#}"));
    }
    let expected = case.json("about")?.unwrap_or_else(|| json!({}));
    if let Some(key) = differing(&expected, &image.config) {
        return Err(format!("about: {key} of {:#}", image.config));
    }
    Ok(())
}

/// The first path in `part` that `whole` has not or has otherwise. `null` is for what is missing.
fn differing(part: &Value, whole: &Value) -> Option<String> {
    let Value::Object(fields) = part else { return (part != whole).then(String::new) };
    fields.iter().find_map(|(key, value)| {
        let rest = differing(value, whole.get(key).unwrap_or(&Value::Null))?;
        Some(format!("{key}.{rest}"))
    })
}

/// `history`: `created_by` of the entries after the base's, `-` in front of those without a layer.
/// `layers`: how many there are after the base's.
fn judge_history(shared: &Shared, case: &Case, image: &Image) -> Result<(), String> {
    let entries = image.config["history"].as_array().map_or(&[][..], Vec::as_slice);
    let skip = usize::from(entries.first() == shared.base.config["history"].get(0));
    if case.section("history").is_some() {
        let line = |entry: &Value| {
            let mark = if entry["empty_layer"] == true { "- " } else { "" };
            format!("{mark}{}", entry["created_by"].as_str().unwrap_or_default()).replace('\n', "\\n")
        };
        let found: Vec<String> = entries.iter().skip(skip).map(line).collect();
        same("history", &found.iter().map(String::as_str).collect::<Vec<_>>(), &case.lines("history"))?;
    }
    if let [count] = case.lines("layers")[..] {
        same("layers", &[&(image.layers.len() - skip).to_string()], &[count])?;
    }
    Ok(())
}

/// `run ARGS`: what Podman prints.
fn judge_runs(sandbox: &Sandbox, case: &Case) -> Result<(), String> {
    for (args, expected) in case.all("run") {
        let image = format!("localhost/{}", case.name);
        let (options, args): (Vec<&str>, Vec<&str>) =
            args.split(' ').filter(|arg| !arg.is_empty()).partition(|arg| arg.starts_with("--"));
        let outcome = sandbox.podman_run(options).arg(&image).args(args).run();
        succeeded(&outcome)?;
        same("run", &outcome.stdout.lines().collect::<Vec<_>>(), &expected.lines().collect::<Vec<_>>())?;
    }
    Ok(())
}

/// Lines that are found and lines that are expected.
fn same(what: &str, found: &[&str], expected: &[&str]) -> Result<(), String> {
    if found == expected {
        return Ok(());
    }
    let missing = expected.iter().filter(|line| !found.contains(line)).map(|line| format!("  missing  {line}"));
    let extra = found.iter().filter(|line| !expected.contains(line)).map(|line| format!("  found    {line}"));
    let lines: Vec<String> = missing.chain(extra).collect();
    let lines = if lines.is_empty() { format!("  found in another order: {found:?}") } else { lines.join("\n") };
    Err(format!("{what}:\n{lines}"))
}
