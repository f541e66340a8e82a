//! `--format`: Go templates over the JSON that a command would print.
//!
//! The language is a library's; here are the functions that users of Buildah and Podman know
//! (`json`, `join`, `split`, `upper`, `lower`, `title`, `pad`, `truncate`), and the Go names of members of image
//! configs, which in JSON have other ones (`.OCIv1.Config.Env`).

use std::collections::HashMap;

use gtmpl_ng::{Context, Func, FuncError, Value};

use crate::command_error::CommandError;

/// A parsed template.
pub struct Template {
    inner: gtmpl_ng::Template,
    is_table: bool,
}

impl Template {
    /// Parses `text`; a leading `table ` asks for a heading, and `\t` and `\n` may be written out.
    pub fn parse(text: &str) -> Result<Template, CommandError> {
        if text.is_empty() {
            return Err(CommandError::invalid("--format", text, "expected a Go template"));
        }
        let (is_table, body) = match text.strip_prefix("table ") {
            Some(body) => (true, body),
            None => (false, text),
        };
        let mut inner = gtmpl_ng::Template::default();
        let functions: [(&str, Func); 9] = [
            ("index", index),
            ("json", json),
            ("join", join),
            ("split", split),
            ("upper", upper),
            ("lower", lower),
            ("title", title),
            ("pad", pad),
            ("truncate", truncate),
        ];
        inner.add_funcs(&functions);
        inner
            .parse(body.replace("\\t", "\t").replace("\\n", "\n"))
            .map_err(|error| CommandError::invalid("--format", text, format!("expected a Go template: {error}")))?;
        Ok(Template { inner, is_table })
    }

    /// Whether a heading was asked for.
    pub fn is_table(&self) -> bool {
        self.is_table
    }

    /// The template's text for `value`.
    pub fn render(&self, value: &serde_json::Value) -> Result<String, CommandError> {
        self.inner.render(&Context::from(top_level(value))).map(|text| with_durations(&text)).map_err(|error| {
            // The library shows all of the value that has no such field.
            let text = error.to_string();
            let reason = text.split_once(" in map[").map_or(text.as_str(), |(text, _)| text);
            CommandError::new(format!("--format: {reason}"))
        })
    }
}

/// An object is a Go struct: a member it does not have is an error, not "no value".
fn top_level(value: &serde_json::Value) -> Value {
    match to_template(value, GoNames::OfImages) {
        Value::Map(members) => Value::Object(members),
        other => other,
    }
}

/// Whether an object's members are also found by the names of the Go structs they come from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum GoNames {
    No,
    /// Below `OCIv1`, `Docker` and `History`.
    OfImages,
    Yes,
}

fn to_template(value: &serde_json::Value, names: GoNames) -> Value {
    use serde_json::Value as Json;
    match value {
        Json::Null => Value::Nil,
        Json::Bool(flag) => Value::from(*flag),
        Json::String(text) => Value::from(text.as_str()),
        Json::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(integer), _) => Value::from(integer),
            (None, float) => Value::from(float.unwrap_or_default()),
        },
        Json::Array(items) => Value::Array(items.iter().map(|item| to_template(item, names)).collect()),
        Json::Object(members) => {
            let mut map = HashMap::new();
            for (name, member) in members {
                let below = match (names, name.as_str()) {
                    (GoNames::OfImages, "OCIv1" | "Docker" | "History") => GoNames::Yes,
                    (GoNames::OfImages, _) => GoNames::No,
                    (_, "Labels" | "annotations" | "Volumes" | "ExposedPorts") => GoNames::No,
                    _ => names,
                };
                let mut member = match (member, name.as_str()) {
                    (Json::Null, name) => zero(name),
                    (Json::Object(set), "Volumes" | "ExposedPorts") => {
                        Value::Map(set.keys().map(|key| (key.clone(), Value::from(EMPTY))).collect())
                    }
                    (Json::Number(time), name) if below == GoNames::Yes && TIMES.contains(&name) => {
                        Value::from(format!("{TIME}{}{TIME}", time.as_i64().unwrap_or_default()))
                    }
                    (Json::String(time), "created") if names == GoNames::Yes => Value::from(go_time(time)),
                    (member, _) => to_template(member, below),
                };
                if below == GoNames::Yes {
                    fill_in(&mut member, always_there(name));
                }
                if let Some(go_name) = go_name(name).filter(|_| names == GoNames::Yes) {
                    map.insert(go_name.to_owned(), member.clone());
                }
                map.insert(name.clone(), member);
            }
            Value::Map(map)
        }
    }
}

/// How Go prints a struct without members, which the sets of an image's config are made of.
const EMPTY: &str = "{}";

/// Members of a config that its JSON leaves out where they are not set.
const CONFIG: [&str; 9] =
    ["User", "ExposedPorts", "Env", "Entrypoint", "Cmd", "Volumes", "WorkingDir", "Labels", "StopSignal"];

/// Members of an entry of an image's history.
const HISTORY: [&str; 4] = ["Author", "Comment", "CreatedBy", "EmptyLayer"];

/// Members of a health check that are times: Go prints them so, and writes nanoseconds in JSON.
const TIMES: [&str; 4] = ["Interval", "Timeout", "StartPeriod", "StartInterval"];

/// Stands around the nanoseconds of a time until it is known whether they are printed or written as JSON. No text has
/// it: it is no character.
const TIME: char = '\u{10ffff}';

/// The text with its times as Go prints them.
fn with_durations(text: &str) -> String {
    let print = |(number, part): (usize, &str)| match part.parse() {
        Ok(nanoseconds) if number % 2 == 1 => go_duration(nanoseconds),
        _ => part.to_owned(),
    };
    text.split(TIME).enumerate().map(print).collect()
}

/// The nanoseconds of a time.
fn nanoseconds(text: &str) -> Option<i64> {
    text.strip_prefix(TIME)?.strip_suffix(TIME)?.parse().ok()
}

/// Members of a health check.
const HEALTHCHECK: [&str; 6] = ["Test", "Interval", "Timeout", "StartPeriod", "StartInterval", "Retries"];

/// A time as Go prints it: `1h0m0s`, `1m30s`, `1.5s`, `250ms`.
fn go_duration(nanoseconds: i64) -> String {
    const SECOND: i64 = 1_000_000_000;
    const MINUTE: i64 = 60 * SECOND;
    let seconds = || fraction(nanoseconds % MINUTE, SECOND, "s");
    match nanoseconds {
        ..=0 => "0s".to_owned(),
        1..1_000 => format!("{nanoseconds}ns"),
        1_000..1_000_000 => fraction(nanoseconds, 1_000, "µs"),
        1_000_000..SECOND => fraction(nanoseconds, 1_000_000, "ms"),
        SECOND..MINUTE => seconds(),
        _ => match nanoseconds / MINUTE {
            minutes @ ..60 => format!("{minutes}m{}", seconds()),
            minutes => format!("{}h{}m{}", minutes / 60, minutes % 60, seconds()),
        },
    }
}

/// A moment as Go prints it: `1970-01-01 00:00:40 +0000 UTC`.
fn go_time(text: &str) -> String {
    match text.parse::<jiff::Timestamp>() {
        Ok(moment) => format!("{} +0000 UTC", moment.to_string().trim_end_matches('Z').replace('T', " ")),
        Err(_) => text.to_owned(),
    }
}

/// The moment that [`go_time`] has printed, as JSON has it.
fn json_time(text: &str) -> String {
    match text.strip_suffix(" +0000 UTC") {
        Some(moment) => format!("{}Z", moment.replace(' ', "T")),
        None => text.to_owned(),
    }
}

/// `number` in `unit`s, a power of ten, with as many decimals as it takes.
fn fraction(number: i64, unit: i64, name: &str) -> String {
    let digits = unit.ilog10() as usize;
    let rest = format!("{:0digits$}", number % unit);
    let rest = rest.trim_end_matches('0');
    let point = if rest.is_empty() { "" } else { "." };
    format!("{}{point}{rest}{name}", number / unit)
}

/// Gives `value`, or each of a list, the members that it does not have.
fn fill_in(value: &mut Value, absent: &[&str]) {
    match value {
        Value::Array(items) if absent == HISTORY => items.iter_mut().for_each(|item| fill_in(item, absent)),
        Value::Map(members) => {
            for name in absent {
                members.entry((*name).to_owned()).or_insert_with(|| zero(name));
            }
        }
        _ => {}
    }
}

/// The members that the Go struct of a member has even where they are not in its JSON.
fn always_there(member: &str) -> &'static [&'static str] {
    match member {
        "OCIv1" => &["History"],
        "Docker" => &["History", "Parent"],
        "rootfs" => &["DiffIDs"],
        "history" => &HISTORY,
        "config" | "container_config" => &CONFIG,
        "Healthcheck" => &HEALTHCHECK,
        _ => &[],
    }
}

/// What a member of a Go struct is where nothing was put: an empty list, map or text.
fn zero(member: &str) -> Value {
    match member {
        "Labels" | "Volumes" | "ExposedPorts" | "ImageAnnotations" => Value::Map(HashMap::new()),
        "Env" | "Entrypoint" | "Cmd" | "OnBuild" | "Shell" | "History" | "DiffIDs" | "Devices" | "Test" => {
            Value::Array(Vec::new())
        }
        "User" | "WorkingDir" | "StopSignal" | "Author" | "Comment" | "CreatedBy" | "Parent" => Value::from(""),
        "EmptyLayer" => Value::from(false),
        "Retries" => Value::from(0),
        time if TIMES.contains(&time) => Value::from(format!("{TIME}0{TIME}")),
        _ => Value::Nil,
    }
}

/// The Go name of a member that JSON spells otherwise.
fn go_name(json_name: &str) -> Option<&'static str> {
    Some(match json_name {
        "created" => "Created",
        "author" => "Author",
        "architecture" => "Architecture",
        "variant" => "Variant",
        "os" => "OS",
        "os.version" => "OSVersion",
        "os.features" => "OSFeatures",
        "config" => "Config",
        "container_config" => "ContainerConfig",
        "container" => "Container",
        "docker_version" => "DockerVersion",
        "parent" => "Parent",
        "rootfs" => "RootFS",
        "type" => "Type",
        "diff_ids" => "DiffIDs",
        "history" => "History",
        "created_by" => "CreatedBy",
        "empty_layer" => "EmptyLayer",
        "comment" => "Comment",
        _ => return None,
    })
}

fn to_json(value: &Value) -> serde_json::Value {
    use serde_json::Value as Json;
    match value {
        Value::Bool(flag) => Json::from(*flag),
        Value::String(text) if text == EMPTY => Json::Object(serde_json::Map::new()),
        Value::String(text) => match nanoseconds(text) {
            Some(nanoseconds) => Json::from(nanoseconds),
            None => Json::from(text.as_str()),
        },
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(integer), _) => Json::from(integer),
            (None, float) => Json::from(float),
        },
        Value::Array(items) => items.iter().map(to_json).collect(),
        Value::Object(members) | Value::Map(members) => {
            let aliases: Vec<_> = members.keys().filter_map(|name| go_name(name)).collect();
            // Docker's config shows what is not set, as null; the others leave it out.
            let omits = (always_there("config").iter().all(|name| members.contains_key(*name))
                || members.contains_key("rootfs")
                || members.contains_key("DiffIDs")
                || members.contains_key("StartInterval"))
                && !members.contains_key("AttachStdin");
            let is_history = HISTORY.iter().all(|name| members.contains_key(*name));
            let is_unset = |name: &str, member: &Value| *member != Value::Nil && *member == zero(name);
            let mut names: Vec<_> = members.iter().filter(|(name, _)| !aliases.contains(&name.as_str())).collect();
            names.retain(|(name, member)| !omits || !is_unset(name, member));
            names.retain(|(name, _)| !is_history || !HISTORY.contains(&name.as_str()));
            names.sort_by_key(|(name, _)| *name);
            let json = |name: &str, member: &Value| match member {
                Value::String(time) if name == "created" => Json::from(json_time(time)),
                Value::String(_) => to_json(member),
                // Buildah has a list of nothing here, and nothing else.
                Value::Array(triggers) if name == "OnBuild" && triggers.is_empty() => Json::Array(Vec::new()),
                member if is_unset(name, member) => Json::Null,
                member => to_json(member),
            };
            Json::Object(names.into_iter().map(|(name, member)| (name.clone(), json(name, member))).collect())
        }
        Value::NoValue | Value::Nil | Value::Function(_) => Json::Null,
    }
}

fn argument<'a>(function: &str, arguments: &'a [Value], index: usize) -> Result<&'a Value, FuncError> {
    arguments.get(index).ok_or_else(|| FuncError::AtLeastXArgs(function.to_owned(), index + 1))
}

/// Go's `index`, of maps of texts: what is not there is the empty text.
fn index(arguments: &[Value]) -> Result<Value, FuncError> {
    gtmpl_ng::funcs::index(arguments).map(|value| match value {
        Value::NoValue => Value::from(""),
        value => value,
    })
}

fn json(arguments: &[Value]) -> Result<Value, FuncError> {
    Ok(Value::from(to_json(argument("json", arguments, 0)?).to_string()))
}

fn join(arguments: &[Value]) -> Result<Value, FuncError> {
    let separator = argument("join", arguments, 1)?.to_string();
    match argument("join", arguments, 0)? {
        Value::Array(items) => Ok(Value::from(items.iter().map(Value::to_string).collect::<Vec<_>>().join(&separator))),
        other => Err(FuncError::Generic(format!("join: {other} is not a list"))),
    }
}

fn split(arguments: &[Value]) -> Result<Value, FuncError> {
    let text = argument("split", arguments, 0)?.to_string();
    let separator = argument("split", arguments, 1)?.to_string();
    Ok(Value::Array(text.split(separator.as_str()).map(Value::from).collect()))
}

fn upper(arguments: &[Value]) -> Result<Value, FuncError> {
    Ok(Value::from(argument("upper", arguments, 0)?.to_string().to_uppercase()))
}

fn lower(arguments: &[Value]) -> Result<Value, FuncError> {
    Ok(Value::from(argument("lower", arguments, 0)?.to_string().to_lowercase()))
}

fn length(function: &str, arguments: &[Value], index: usize) -> Result<usize, FuncError> {
    match argument(function, arguments, index)? {
        Value::Number(number) => number.as_u64().and_then(|number| usize::try_from(number).ok()),
        _ => None,
    }
    .filter(|length| *length <= 1000)
    .ok_or_else(|| FuncError::Generic(format!("{function}: expected a number up to 1000")))
}

/// `pad TEXT BEFORE AFTER`: blanks around a text that is not empty.
fn pad(arguments: &[Value]) -> Result<Value, FuncError> {
    let text = argument("pad", arguments, 0)?.to_string();
    let (before, after) = (length("pad", arguments, 1)?, length("pad", arguments, 2)?);
    Ok(Value::from(match text.is_empty() {
        true => text,
        false => format!("{}{text}{}", " ".repeat(before), " ".repeat(after)),
    }))
}

/// `truncate TEXT LENGTH`: no more than so many characters of a text.
fn truncate(arguments: &[Value]) -> Result<Value, FuncError> {
    let text = argument("truncate", arguments, 0)?.to_string();
    let length = length("truncate", arguments, 1)?;
    Ok(Value::from(text.chars().take(length).collect::<String>()))
}

fn title(arguments: &[Value]) -> Result<Value, FuncError> {
    let text = argument("title", arguments, 0)?.to_string();
    let mut at_start = true;
    let titled = text.chars().flat_map(|c| {
        let first = std::mem::replace(&mut at_start, c.is_whitespace());
        if first { c.to_uppercase().collect::<Vec<_>>() } else { vec![c] }
    });
    Ok(Value::from(titled.collect::<String>()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(template: &str, expected: &str) {
        let value = json!({
            "ID": "abc", "Size": 12, "Names": ["a", "b"], "Flag": true, "Labels": {"z": "1", "k": "v w"}, "Nothing": null,
            "ImageAnnotations": null,
            "Docker": {"config": {"AttachStdin": false, "Cmd": null, "OnBuild": null}, "rootfs": {"type": "layers"},
                "history": [{"created_by": "x", "empty_layer": true}, {"comment": "y"}]},
            "OCIv1": {"config": {"Env": ["A=1"], "Volumes": {"/v": {}}, "Labels": {"config": "kept"}}, "rootfs": {"diff_ids": ["sha256:00"]}},
        });
        assert_eq!(Template::parse(template).and_then(|t| t.render(&value)).expect(template), expected, "{template}");
    }

    #[test]
    fn pure_templates_render_what_go_would() {
        check("{{.ID}} {{.Size}}", "abc 12");
        check("{{ .Names }} {{.Labels}}", "[a b] map[k:v w z:1]");
        check(r#"{{join .Names ","}}\t{{ .ID | upper }}"#, "a,b\tABC");
        check("{{json .Names}} {{json .OCIv1.Config.Env}}", r#"["a","b"] ["A=1"]"#);
        check("{{range .Names}}<{{.}}>{{end}}{{if .Flag}}yes{{end}}", "<a><b>yes");
        check(r#"{{index .Labels "k"}} {{index (split "x:y" ":") 1}} {{title .ID}}"#, "v w y Abc");
        check(r#"{{pad .ID 1 2}}|{{truncate .ID 2}}|{{truncate .ID 9}}"#, " abc  |ab|abc");
        check("{{.OCIv1.Config.Env}} {{index .OCIv1.RootFS.DiffIDs 0}}", "[A=1] sha256:00");
        check("{{range .Docker.History}}{{.CreatedBy}}|{{.Comment}}|{{.EmptyLayer}};{{end}}", "x||true;|y|false;");
        check("{{json .Docker.History}}", r#"[{"created_by":"x","empty_layer":true},{"comment":"y"}]"#);
        let config = r#"{"Env":["A=1"],"Labels":{"config":"kept"},"Volumes":{"/v":{}}}"#;
        check("{{json .OCIv1.Config}} {{json .OCIv1.Config.Volumes}}", &format!(r#"{config} {{"/v":{{}}}}"#));
        check("{{.OCIv1.Config.Cmd}} {{.OCIv1.Config.Volumes}} {{.OCIv1.Config.ExposedPorts}}", "[] map[/v:{}] map[]");
        check("{{.OCIv1.History}}|{{.OCIv1.Config.User}}|{{.Docker.Config.Cmd}}|{{.ImageAnnotations}}", "[]||[]|map[]");
        check(r#"{{printf "%q" .Docker.Config.Labels}} {{index .ImageAnnotations "none"}}"#, "map[] ");
        let check_times = |template: &str, expected: &str| {
            let health =
                json!({"Test": ["CMD", "x"], "Interval": 90_000_000_000_i64, "StartPeriod": 5_000_000_000_i64});
            let value = json!({"Docker": {"config": {"Healthcheck": health}}, "OCIv1": {}});
            assert_eq!(
                Template::parse(template).and_then(|t| t.render(&value)).expect(template),
                expected,
                "{template}"
            );
        };
        let made = json!({"Docker": {"created": "1970-01-01T00:00:40Z", "history": [{"created": "2026-01-02T03:04:05.5Z"}], "rootfs": {"type": "layers"}}});
        let check_made = |template: &str, expected: &str| {
            let text = Template::parse(template).and_then(|t| t.render(&made));
            assert_eq!(text.expect(template), expected, "{template}");
        };
        check_made("{{.Docker.Created}}", "1970-01-01 00:00:40 +0000 UTC");
        check_made("{{(index .Docker.History 0).Created}}|{{.Docker.Parent}}", "2026-01-02 03:04:05.5 +0000 UTC|");
        let kept = r#"{"created":"1970-01-01T00:00:40Z","history":[{"created":"2026-01-02T03:04:05.5Z"}],"rootfs":{"type":"layers"}}"#;
        check_made("{{json .Docker}}", kept);
        check_times("{{with .Docker.Config.Healthcheck}}{{.Interval}} {{.StartPeriod}}{{end}}", "1m30s 5s");
        let written = r#"{"Interval":90000000000,"StartPeriod":5000000000,"Test":["CMD","x"]}"#;
        check_times("{{json .Docker.Config.Healthcheck}}", written);
        check_times("{{with .Docker.Config.Healthcheck}}{{json .Interval}} {{json .Timeout}}{{end}}", "90000000000 0");
        check_times("{{with .Docker.Config.Healthcheck}}{{.Timeout}} {{.Retries}} {{.Test}}{{end}}", "0s 0 [CMD x]");
        check("{{len .OCIv1.Config.Entrypoint}}{{if .OCIv1.Config.Cmd}}no{{end}}", "0");
        check("{{len .Docker.RootFS.DiffIDs}} {{json .Docker.RootFS}}", r#"0 {"type":"layers"}"#);
    }

    #[test]
    fn pure_times_are_written_as_go_does() {
        for (nanoseconds, expected) in [
            (0, "0s"),
            (15, "15ns"),
            (1_500, "1.5µs"),
            (250_000_000, "250ms"),
            (1_050_000_000, "1.05s"),
            (60_000_000_000, "1m0s"),
            (3_600_000_000_000, "1h0m0s"),
            (90_061_500_000_000, "25h1m1.5s"),
        ] {
            assert_eq!(go_duration(nanoseconds), expected);
        }
    }

    #[test]
    fn pure_mistakes_are_errors() {
        for text in ["{{.ID", "{{nosuch .ID}}", "{{if}}"] {
            assert!(Template::parse(text).is_err(), "{text}");
        }
        let template = Template::parse("{{.NoSuchMember}}").expect("valid");
        assert!(template.render(&json!({"ID": 1})).is_err());
    }
}
