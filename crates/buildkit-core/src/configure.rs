//! Changes to the config of the image to be, as `gabion config` makes them: pure edits of a
//! working container's [`State`].

use std::collections::BTreeMap;

use oci::config::{Empty, Healthcheck};
use oci::{Format, ImageConfig};

use crate::working_container::State;

/// One edit of a list or map, in Buildah's notation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit {
    /// `-`: remove everything.
    Clear,
    /// `NAME-`: remove one entry.
    Remove(String),
    /// `NAME` or `NAME=value`: add or replace one entry.
    Set(String, Option<String>),
}

impl Edit {
    /// Parses an edit of a map: `-`, `NAME-`, `NAME` or `NAME=value`.
    pub fn of_map(text: &str) -> Edit {
        match (text.split_once('='), text.strip_suffix('-')) {
            (Some((name, value)), _) => Edit::Set(name.into(), Some(value.into())),
            (None, Some("")) => Edit::Clear,
            (None, Some(name)) => Edit::Remove(name.into()),
            (None, None) => Edit::Set(text.into(), None),
        }
    }

    /// Parses an edit of a set (ports, volumes, features): `-`, `ITEM-` or `ITEM`.
    pub fn of_set(text: &str) -> Edit {
        match text.strip_suffix('-') {
            Some("") => Edit::Clear,
            Some(item) => Edit::Remove(item.into()),
            None => Edit::Set(text.into(), None),
        }
    }
}

/// Changes of a health check; what is `None` stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HealthcheckChanges {
    /// The command: empty removes the health check, else `NONE`, `CMD …` or `CMD-SHELL …` in words.
    pub test: Option<Vec<String>>,
    /// Nanoseconds between checks.
    pub interval: Option<i64>,
    /// Nanoseconds of one check.
    pub timeout: Option<i64>,
    /// Nanoseconds of grace at the start.
    pub start_period: Option<i64>,
    /// Nanoseconds between checks during the grace.
    pub start_interval: Option<i64>,
    /// Failures that mean unhealthy.
    pub retries: Option<i64>,
}

/// Changes of a config; what is `None` or empty stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigChanges {
    /// Who made the image.
    pub author: Option<String>,
    /// What the history says made the new layer.
    pub created_by: Option<String>,
    /// Comment of the new layer's history entry.
    pub history_comment: Option<String>,
    /// CPU architecture.
    pub architecture: Option<String>,
    /// Variant of the architecture.
    pub variant: Option<String>,
    /// Operating system.
    pub os: Option<String>,
    /// Windows version.
    pub os_version: Option<String>,
    /// Windows features.
    pub os_features: Vec<Edit>,
    /// User of the command.
    pub user: Option<String>,
    /// Ports.
    pub ports: Vec<Edit>,
    /// Environment; a name without a value is a mistake of the caller and sets an empty one.
    pub env: Vec<Edit>,
    /// Entrypoint; empty removes it.
    pub entrypoint: Option<Vec<String>>,
    /// Command; empty removes it.
    pub cmd: Option<Vec<String>>,
    /// Shell of the shell form.
    pub shell: Option<Vec<String>>,
    /// Volumes.
    pub volumes: Vec<Edit>,
    /// Labels.
    pub labels: Vec<Edit>,
    /// Annotations.
    pub annotations: Vec<Edit>,
    /// Directory the command starts in.
    pub working_dir: Option<String>,
    /// Free text.
    pub comment: Option<String>,
    /// Domain name.
    pub domainname: Option<String>,
    /// Host name.
    pub hostname: Option<String>,
    /// ONBUILD triggers to add; `-` removes all.
    pub on_build: Vec<String>,
    /// Signal that stops the command.
    pub stop_signal: Option<String>,
    /// Health check.
    pub healthcheck: HealthcheckChanges,
}

/// Makes `changes` in `state`. Returns the names of fields set that the container's format has no
/// room for.
pub fn configure(state: &mut State, changes: &ConfigChanges) -> Vec<&'static str> {
    let before = state.config.docker_only_fields();
    set_texts(state, changes);
    set_commands(state, changes);
    edit_collections(state, changes);
    set_healthcheck(state, &changes.healthcheck);
    match state.format {
        Format::Docker => Vec::new(),
        Format::Oci => state.config.docker_only_fields().into_iter().filter(|name| !before.contains(name)).collect(),
    }
}

fn set_texts(state: &mut State, changes: &ConfigChanges) {
    let optional = |text: &String| (!text.is_empty()).then(|| text.clone());
    if let Some(text) = &changes.created_by {
        state.created_by.clone_from(text);
    }
    if let Some(text) = &changes.history_comment {
        state.history_comment.clone_from(text);
    }
    let config = &mut state.config;
    if let Some(text) = &changes.variant {
        config.variant = optional(text);
    }
    if let Some(text) = &changes.os_version {
        config.os_version = optional(text);
    }
    let run = &mut config.config;
    for (change, target) in [
        (&changes.author, &mut config.author),
        (&changes.architecture, &mut config.architecture),
        (&changes.os, &mut config.os),
        (&changes.comment, &mut config.comment),
        (&changes.user, &mut run.user),
        (&changes.working_dir, &mut run.working_dir),
        (&changes.domainname, &mut run.domainname),
        (&changes.hostname, &mut run.hostname),
        (&changes.stop_signal, &mut run.stop_signal),
    ] {
        if let Some(text) = change {
            target.clone_from(text);
        }
    }
}

fn set_commands(state: &mut State, changes: &ConfigChanges) {
    let run = &mut state.config.config;
    let some = |words: &Vec<String>| (!words.is_empty()).then(|| words.clone());
    if let Some(words) = &changes.entrypoint {
        run.entrypoint = some(words);
    }
    if let Some(words) = &changes.cmd {
        run.cmd = some(words);
    }
    if let Some(words) = &changes.shell {
        run.shell.clone_from(words);
    }
    for trigger in &changes.on_build {
        match trigger.as_str() {
            "-" => run.on_build.clear(),
            _ => run.on_build.push(trigger.clone()),
        }
    }
}

/// Edits the features of the operating system that an image needs.
pub(crate) fn edit_os_features(config: &mut ImageConfig, edits: &[Edit]) {
    for edit in edits {
        match edit {
            Edit::Clear => config.os_features.clear(),
            Edit::Remove(item) => config.os_features.retain(|old| old != item),
            Edit::Set(item, _) if config.os_features.contains(item) => {}
            Edit::Set(item, _) => config.os_features.push(item.clone()),
        }
    }
}

fn edit_collections(state: &mut State, changes: &ConfigChanges) {
    let config = &mut state.config;
    edit_os_features(config, &changes.os_features);
    let run = &mut config.config;
    for edit in &changes.env {
        match edit {
            Edit::Clear => run.env.clear(),
            Edit::Remove(name) => run.unset_env(name),
            Edit::Set(name, value) => {
                let value = expand(value.as_deref().unwrap_or_default(), |name| run.env(name));
                // The newest stands last, as with Buildah; a Dockerfile's ENV keeps the place.
                run.unset_env(name);
                run.env.push(format!("{name}={value}"));
            }
        }
    }
    edit_set(&mut run.exposed_ports, &changes.ports);
    edit_set(&mut run.volumes, &changes.volumes);
    edit_map(&mut run.labels, &changes.labels);
    edit_map(&mut state.annotations, &changes.annotations);
}

fn edit_set(set: &mut BTreeMap<String, Empty>, edits: &[Edit]) {
    for edit in edits {
        match edit {
            Edit::Clear => set.clear(),
            Edit::Remove(item) => _ = set.remove(item),
            Edit::Set(item, _) => _ = set.insert(item.clone(), Empty {}),
        }
    }
}

fn edit_map(map: &mut BTreeMap<String, String>, edits: &[Edit]) {
    for edit in edits {
        match edit {
            Edit::Clear => map.clear(),
            Edit::Remove(name) => _ = map.remove(name),
            Edit::Set(name, value) => _ = map.insert(name.clone(), value.clone().unwrap_or_default()),
        }
    }
}

/// Docker's times where a health check is begun without saying them, in nanoseconds.
const HEALTHCHECK_DEFAULT: i64 = 30_000_000_000;
const HEALTHCHECK_RETRIES: i64 = 3;

fn set_healthcheck(state: &mut State, changes: &HealthcheckChanges) {
    if *changes == HealthcheckChanges::default() {
        return;
    }
    if changes.test.as_ref().is_some_and(Vec::is_empty) {
        state.config.config.healthcheck = None;
        return;
    }
    let check = state.config.config.healthcheck.get_or_insert_with(|| Healthcheck {
        interval: HEALTHCHECK_DEFAULT,
        timeout: HEALTHCHECK_DEFAULT,
        retries: HEALTHCHECK_RETRIES,
        ..Healthcheck::default()
    });
    if let Some(test) = &changes.test {
        check.test.clone_from(test);
    }
    for (change, target) in [
        (changes.interval, &mut check.interval),
        (changes.timeout, &mut check.timeout),
        (changes.start_period, &mut check.start_period),
        (changes.start_interval, &mut check.start_interval),
        (changes.retries, &mut check.retries),
    ] {
        if let Some(number) = change {
            *target = number;
        }
    }
}

/// `text` with `$NAME` and `${NAME}` replaced by the values of `lookup`; what is not set is empty.
fn expand<'a>(text: &str, lookup: impl Fn(&str) -> Option<&'a str>) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        let (name, next) = match after.strip_prefix('{').and_then(|braced| braced.split_once('}')) {
            Some(braced) => braced,
            None => after.split_at(after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(after.len())),
        };
        match name {
            "" => out.push('$'),
            _ => out.push_str(lookup(name).unwrap_or_default()),
        }
        rest = next;
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use oci::{ContainerId, ImageConfig, Platform};

    fn state(format: Format) -> State {
        let id = ContainerId::parse(&"ab".repeat(32)).expect("valid");
        State::new(id, "work", ImageConfig::new(&Platform::host()), format)
    }

    fn maps(texts: &[&str]) -> Vec<Edit> {
        texts.iter().map(|text| Edit::of_map(text)).collect()
    }

    #[test]
    fn pure_edits_are_parsed_in_buildahs_notation() {
        let set = |name: &str, value: Option<&str>| Edit::Set(name.into(), value.map(str::to_owned));
        for (text, map, list) in [
            ("-", Edit::Clear, Edit::Clear),
            ("A-", Edit::Remove("A".into()), Edit::Remove("A".into())),
            ("A", set("A", None), set("A", None)),
            ("A=b", set("A", Some("b")), set("A=b", None)),
            ("A=b-", set("A", Some("b-")), Edit::Remove("A=b".into())),
            ("A=", set("A", Some("")), set("A=", None)),
        ] {
            assert_eq!((Edit::of_map(text), Edit::of_set(text)), (map, list), "{text}");
        }
    }

    #[test]
    fn pure_maps_and_sets_are_edited_in_order() {
        let mut state = state(Format::Oci);
        let changes = ConfigChanges {
            env: maps(&["A=1", "PATH=/bin", "PATH=$PATH:${A}x$", "A-"]),
            labels: maps(&["a=b", "c", "a-"]),
            annotations: maps(&["x=y", "-", "z=1"]),
            ports: ["80", "81/udp", "80-"].map(Edit::of_set).to_vec(),
            volumes: ["/v", "-"].map(Edit::of_set).to_vec(),
            ..ConfigChanges::default()
        };
        assert!(configure(&mut state, &changes).is_empty());
        let run = &state.config.config;
        assert_eq!(run.env, ["PATH=/bin:1x$"]);
        assert_eq!(run.labels.iter().collect::<Vec<_>>(), [(&"c".to_string(), &String::new())]);
        assert_eq!(run.exposed_ports.keys().collect::<Vec<_>>(), ["81/udp"]);
        assert!(run.volumes.is_empty());
        assert_eq!(state.annotations.keys().collect::<Vec<_>>(), ["z"]);
    }

    #[test]
    fn pure_what_the_format_cannot_hold_is_named_once() {
        let mut oci = state(Format::Oci);
        let changes =
            ConfigChanges { hostname: Some("h".into()), shell: Some(vec!["sh".into()]), ..Default::default() };
        assert_eq!(configure(&mut oci, &changes), ["hostname", "shell"]);
        assert!(configure(&mut oci, &changes).is_empty());
        assert!(configure(&mut state(Format::Docker), &changes).is_empty());
    }

    #[test]
    fn pure_healthcheck_has_dockers_defaults_and_goes() {
        let mut state = state(Format::Docker);
        let mut changes = ConfigChanges::default();
        changes.healthcheck.test = Some(vec!["CMD".into(), "x".into()]);
        changes.healthcheck.interval = Some(1);
        configure(&mut state, &changes);
        let check = state.config.config.healthcheck.clone().expect("set");
        assert_eq!((check.interval, check.timeout, check.retries), (1, HEALTHCHECK_DEFAULT, 3));
        changes = ConfigChanges::default();
        changes.healthcheck.test = Some(Vec::new());
        configure(&mut state, &changes);
        assert_eq!(state.config.config.healthcheck, None);
    }
}
