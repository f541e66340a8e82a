//! OCI hooks of the host: files in directories that say which programs the runtime starts on the way
//! to which commands (version 1.0.0 of `oci-hooks(5)`).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use regex_lite::Regex;
use runtime::Hook;
use serde::Deserialize;

/// No file is read further than this many bytes.
const FILE_LIMIT: u64 = 1 << 20;

/// A file that says of no hook.
#[derive(Debug, thiserror::Error)]
#[error("OCI hook {path}: {message}", path = .path.display())]
pub struct HookError {
    path: PathBuf,
    message: String,
}

/// What a hook is asked for.
pub(super) struct Subject<'a> {
    /// The command's first word.
    pub command: &'a str,
    /// Annotations of the image to be.
    pub annotations: &'a BTreeMap<String, String>,
    /// Whether the command has mounts that were asked for.
    pub has_bind_mounts: bool,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct File {
    #[serde(default)]
    version: String,
    hook: Program,
    when: When,
    stages: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Program {
    path: PathBuf,
    #[serde(default)]
    args: Vec<String>,
    #[serde(default)]
    env: Vec<String>,
    timeout: Option<i64>,
}

/// All conditions have to hold, and there has to be one.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct When {
    always: Option<bool>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
    #[serde(default)]
    commands: Vec<String>,
    has_bind_mounts: Option<bool>,
}

/// The hooks of all `*.json` in `dirs` that are for `subject`, in the order of their files' names; of
/// two files of one name, that of the later directory counts. A directory that is not there has none.
pub(super) fn matching(dirs: &[PathBuf], subject: &Subject<'_>) -> Result<Vec<Hook>, HookError> {
    let mut files: BTreeMap<String, PathBuf> = BTreeMap::new();
    for dir in dirs {
        let entries = std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
        for path in entries.filter(|path| path.extension().is_some_and(|extension| extension == "json")) {
            let name = path.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
            files.insert(name, path);
        }
    }
    let mut hooks = Vec::new();
    for path in files.into_values() {
        let failed = |message: String| HookError { path: path.clone(), message };
        let file = read(&path).map_err(failed)?;
        if !file.when.holds(subject).map_err(failed)? {
            continue;
        }
        for stage in file.stages {
            hooks.push(Hook {
                when: stage,
                path: file.hook.path.clone(),
                args: file.hook.args.clone(),
                env: file.hook.env.clone(),
                timeout: file.hook.timeout,
            });
        }
    }
    Ok(hooks)
}

fn read(path: &Path) -> Result<File, String> {
    use std::io::Read as _;
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(|error| error.to_string())?;
    file.take(FILE_LIMIT).read_to_string(&mut text).map_err(|error| error.to_string())?;
    let file: File = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    if file.version != "1.0.0" {
        return Err(format!("version {:?} is not supported, expected 1.0.0", file.version));
    }
    if !file.hook.path.is_absolute() || !file.hook.path.exists() {
        return Err(format!("there is no program {}", file.hook.path.display()));
    }
    match file.stages.iter().find(|stage| !Hook::MOMENTS.contains(&stage.as_str())) {
        Some(stage) => Err(format!("unknown stage {stage:?}, expected one of {}", Hook::MOMENTS.join(", "))),
        None => Ok(file),
    }
}

impl When {
    fn holds(&self, subject: &Subject<'_>) -> Result<bool, String> {
        let regex = |text: &str| Regex::new(text).map_err(|error| format!("{text:?}: {error}"));
        let mut conditions = Vec::new();
        conditions.extend(self.always);
        conditions.extend(self.has_bind_mounts.map(|wanted| wanted && subject.has_bind_mounts));
        for (key, value) in &self.annotations {
            let (key, value) = (regex(key)?, regex(value)?);
            conditions.push(subject.annotations.iter().any(|(name, text)| key.is_match(name) && value.is_match(text)));
        }
        if !self.commands.is_empty() {
            let patterns = self.commands.iter().map(|text| regex(text)).collect::<Result<Vec<_>, _>>()?;
            conditions.push(patterns.iter().any(|pattern| pattern.is_match(subject.command)));
        }
        Ok(!conditions.is_empty() && conditions.into_iter().all(|condition| condition))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tree_hooks_are_for_what_they_say() {
        let dir = tempfile::tempdir().expect("temp dir");
        let count_for = |when: &str| {
            let text = format!(
                r#"{{"version": "1.0.0", "hook": {{"path": "/bin/sh", "args": ["sh"]}}, "when": {when}, "stages": ["prestart", "poststop"]}}"#
            );
            std::fs::write(dir.path().join("a.json"), text).expect("write");
            let annotations = BTreeMap::from([("org.kind".to_owned(), "one".to_owned())]);
            let subject = Subject { command: "/bin/make", annotations: &annotations, has_bind_mounts: false };
            matching(&[dir.path().join("nosuch"), dir.path().to_owned()], &subject).map(|hooks| hooks.len())
        };
        for (when, count) in [
            (r#"{"always": true}"#, 2),
            (r#"{"always": false}"#, 0),
            (r#"{}"#, 0),
            (r#"{"commands": ["nosuch", "make$"]}"#, 2),
            (r#"{"commands": ["^make"]}"#, 0),
            (r#"{"always": true, "commands": ["^make"]}"#, 0),
            (r#"{"annotations": {"^org\\.kind$": "one"}}"#, 2),
            (r#"{"annotations": {"^org\\.kind$": "two"}}"#, 0),
            (r#"{"hasBindMounts": true}"#, 0),
        ] {
            assert_eq!(count_for(when).expect(when), count, "{when}");
        }
        for when in [r#"{"commands": ["("]}"#, r#"{"nosuch": 1}"#, "7"] {
            assert!(count_for(when).is_err(), "{when}");
        }
        for text in ["", "{}", r#"{"version": "0.1.0", "hook": "/bin/sh"}"#] {
            std::fs::write(dir.path().join("a.json"), text).expect("write");
            assert!(read(&dir.path().join("a.json")).is_err(), "{text}");
        }
    }
}
