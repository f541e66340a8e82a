//! Source policies: which images and URLs a build may use, and what stands in for which. The file is
//! BuildKit's JSON; as with Buildah, the first rule that matches counts, and a pattern is one with `*`
//! and `?` unless the rule says otherwise.

use oci::Reference;
use regex_lite::{NoExpand, Regex};
use serde::Deserialize;

const IMAGE: &str = "docker-image://";

/// What a build may use: everything, without a rule.
#[derive(Clone, Debug, Default)]
pub struct SourcePolicy {
    rules: Vec<Rule>,
}

/// Why a policy cannot be read, or a source is not used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SourcePolicyError {
    /// The file is no policy.
    #[error("{0}")]
    Invalid(String),
    /// A rule denies the source.
    #[error("{source_name} is denied by source policy: rule {rule} ({selector})")]
    Denied {
        /// The source.
        source_name: String,
        /// The rule's number, from 0.
        rule: usize,
        /// What it is about.
        selector: String,
    },
    /// A rule puts something else in the source's place that is no such source.
    #[error("the source policy turns {from} into {to}, which is no {expected}")]
    Converted {
        /// The source.
        from: String,
        /// What is to stand in for it.
        to: String,
        /// What would do.
        expected: &'static str,
    },
}

#[derive(Clone, Debug)]
struct Rule {
    action: Action,
    /// As written.
    identifier: String,
    matches: Matches,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Action {
    Allow,
    Deny,
    Convert(String),
}

#[derive(Clone, Debug)]
enum Matches {
    Exactly(String),
    Pattern(Regex),
    /// What stands in for a source may name groups of it.
    Expression(Regex),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    rules: Vec<FileRule>,
    #[serde(default, rename = "version")]
    _version: i64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileRule {
    #[serde(default)]
    action: String,
    selector: Selector,
    updates: Option<Updates>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Selector {
    #[serde(default)]
    identifier: String,
    #[serde(alias = "match_type")]
    match_type: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Updates {
    #[serde(default)]
    identifier: String,
}

impl SourcePolicy {
    /// Reads a policy's JSON. What it says and gabion does not obey is an error.
    pub fn parse(bytes: &[u8]) -> Result<SourcePolicy, SourcePolicyError> {
        let invalid = |error: serde_json::Error| SourcePolicyError::Invalid(error.to_string());
        // By way of an object, as a list of the fields' values would do, too.
        let object: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(bytes).map_err(invalid)?;
        let file: File = serde_json::from_value(object.into()).map_err(invalid)?;
        let rules = file.rules.into_iter().enumerate().map(|(number, rule)| {
            Rule::read(rule).map_err(|message| SourcePolicyError::Invalid(format!("rule {number}: {message}")))
        });
        Ok(SourcePolicy { rules: rules.collect::<Result<_, _>>()? })
    }

    /// The image to use where `name` is asked for.
    pub fn image(&self, name: &str) -> Result<String, SourcePolicyError> {
        let identifiers = match Reference::parse_normalized(name.strip_prefix("docker://").unwrap_or(name)) {
            // A tag that goes without saying may be said in the rule, and the other way round.
            Ok(reference) => {
                let said = format!("{IMAGE}{reference}");
                let is_bare = reference.tag().is_none() && reference.digest().is_none();
                let other =
                    if is_bare { format!("{said}:latest") } else { said.trim_end_matches(":latest").to_owned() };
                vec![said, other]
            }
            Err(_) => vec![name.to_owned()],
        };
        match self.decide(name, &identifiers)? {
            None => Ok(name.to_owned()),
            Some(to) => match to.strip_prefix(IMAGE) {
                Some(image) if Reference::parse_normalized(image).is_ok() => Ok(image.to_owned()),
                _ => Err(SourcePolicyError::Converted { from: name.to_owned(), to, expected: "docker-image://NAME" }),
            },
        }
    }

    /// The URL to use where `url` is asked for.
    pub fn url(&self, url: &str) -> Result<String, SourcePolicyError> {
        Ok(self.decide(url, &[url.to_owned()])?.unwrap_or_else(|| url.to_owned()))
    }

    /// What the first rule puts in the place of the source that has these identifiers.
    fn decide(&self, name: &str, identifiers: &[String]) -> Result<Option<String>, SourcePolicyError> {
        for (number, rule) in self.rules.iter().enumerate() {
            let Some(matched) = identifiers.iter().find(|identifier| rule.matches.is_match(identifier)) else {
                continue;
            };
            return match &rule.action {
                Action::Allow => Ok(None),
                Action::Deny => Err(SourcePolicyError::Denied {
                    source_name: name.to_owned(),
                    rule: number,
                    selector: rule.identifier.clone(),
                }),
                Action::Convert(to) => Ok(Some(rule.matches.replace(matched, to))),
            };
        }
        Ok(None)
    }
}

impl Rule {
    fn read(FileRule { action, selector, updates }: FileRule) -> Result<Rule, String> {
        let Selector { identifier, match_type } = selector;
        if identifier.is_empty() {
            return Err("selector.identifier is required".to_owned());
        }
        let to = updates.map(|updates| updates.identifier).filter(|to| !to.is_empty());
        let action = match (action.as_str(), to) {
            ("ALLOW", None) => Action::Allow,
            ("DENY", None) => Action::Deny,
            ("CONVERT", Some(to)) => Action::Convert(to),
            ("CONVERT", None) => return Err("CONVERT needs updates with an identifier".to_owned()),
            ("ALLOW" | "DENY", Some(_)) => return Err(format!("{action} takes no updates")),
            ("", _) => return Err("action is required: ALLOW, DENY or CONVERT".to_owned()),
            _ => return Err(format!("unknown action {action:?}, expected ALLOW, DENY or CONVERT")),
        };
        let regex = |text: &str| Regex::new(text).map_err(|error| format!("{identifier:?}: {error}"));
        let matches = match match_type.as_deref() {
            Some("EXACT") => Matches::Exactly(identifier.clone()),
            None | Some("WILDCARD") => Matches::Pattern(regex(&wildcard(&identifier))?),
            Some("REGEX") => Matches::Expression(regex(&identifier)?),
            Some(other) => return Err(format!("unknown matchType {other:?}, expected EXACT, WILDCARD or REGEX")),
        };
        Ok(Rule { action, identifier, matches })
    }
}

impl Matches {
    fn is_match(&self, identifier: &str) -> bool {
        match self {
            Matches::Exactly(text) => text == identifier,
            Matches::Pattern(regex) | Matches::Expression(regex) => regex.is_match(identifier),
        }
    }

    fn replace(&self, identifier: &str, to: &str) -> String {
        match self {
            Matches::Exactly(_) => to.to_owned(),
            Matches::Pattern(regex) => regex.replace(identifier, NoExpand(to)).into_owned(),
            Matches::Expression(regex) => regex.replace_all(identifier, to).into_owned(),
        }
    }
}

/// The regular expression of a pattern with `*` and `?`.
fn wildcard(pattern: &str) -> String {
    let mut expression = "(?s)^".to_owned();
    for c in pattern.chars() {
        match c {
            '*' => expression.push_str(".*"),
            '?' => expression.push('.'),
            c => expression.push_str(&regex_lite::escape(c.encode_utf8(&mut [0; 4]))),
        }
    }
    expression.push('$');
    expression
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(rules: &str) -> SourcePolicy {
        SourcePolicy::parse(format!(r#"{{"rules": [{rules}]}}"#).as_bytes()).expect(rules)
    }

    fn rule(action: &str, identifier: &str, more: &str) -> String {
        format!(r#"{{"action": "{action}", "selector": {{"identifier": "{identifier}"{more}}}}}"#)
    }

    #[test]
    fn pure_the_first_rule_that_matches_counts() {
        let deny_all = rule("DENY", "*", "");
        let allow = rule("ALLOW", "docker-image://docker.io/library/*", "");
        let both = policy(&format!("{allow}, {deny_all}"));
        assert_eq!(both.image("alpine").expect("allowed"), "alpine");
        assert!(both.image("localhost/base").is_err() && both.url("https://host/file").is_err());
        assert!(policy(&format!("{deny_all}, {allow}")).image("alpine").is_err());
        assert_eq!(SourcePolicy::default().image("x/y:1").expect("allowed"), "x/y:1");
    }

    #[test]
    fn pure_images_are_known_by_their_full_names() {
        for identifier in ["docker-image://docker.io/library/alpine:latest", "docker-image://docker.io/library/alpine"]
        {
            for more in ["", r#", "matchType": "EXACT""#] {
                let policy = policy(&rule("DENY", identifier, more));
                for name in ["alpine", "alpine:latest", "docker.io/alpine", "docker://alpine"] {
                    assert!(policy.image(name).is_err(), "{identifier} {name}");
                }
                assert!(policy.image("alpine:3").is_ok() && policy.image("localhost/alpine").is_ok());
            }
        }
        assert!(policy(&rule("DENY", "docker-image://*:?", "")).image("a/b:1").is_err());
        assert!(policy(&rule("DENY", "docker-image://*:?", "")).image("a/b:12").is_ok());
        assert!(policy(&rule("DENY", "/b:1.$", r#", "matchType": "REGEX""#)).image("a/b:12").is_err());
    }

    #[test]
    fn pure_sources_are_converted() {
        let convert = |identifier: &str, more: &str, to: &str| {
            let selector = format!(r#"{{"identifier": "{identifier}"{more}}}"#);
            policy(&format!(r#"{{"action": "CONVERT", "selector": {selector}, "updates": {{"identifier": "{to}"}}}}"#))
        };
        let pinned = convert("docker-image://docker.io/library/*", "", "docker-image://localhost/$1:2");
        assert!(pinned.image("alpine").is_err(), "a pattern has no groups");
        let pinned = convert("docker-image://docker.io/library/*", "", "docker-image://localhost/mine:2");
        assert_eq!(pinned.image("alpine").expect("converted"), "localhost/mine:2");
        let mirror = convert(
            "^docker-image://docker.io/library/(.*)$",
            r#", "matchType": "REGEX""#,
            "docker-image://localhost/mirror/$1",
        );
        assert_eq!(mirror.image("alpine:3").expect("converted"), "localhost/mirror/alpine:3");
        assert!(convert("*", "", "https://host/x").image("alpine").is_err());
        assert_eq!(convert("https://a/*", "", "https://b/x").url("https://a/y").expect("converted"), "https://b/x");
    }

    #[test]
    fn pure_what_is_not_obeyed_is_refused() {
        for text in [
            "",
            "[]",
            r#"{"rules": [{}]}"#,
            r#"{"rules": [{"action": "DENY", "selector": {"identifier": ""}}]}"#,
            r#"{"rules": [{"action": "deny", "selector": {"identifier": "x"}}]}"#,
            r#"{"rules": [{"action": "CONVERT", "selector": {"identifier": "x"}}]}"#,
            r#"{"rules": [{"action": "DENY", "selector": {"identifier": "x", "matchType": "GLOB"}}]}"#,
            r#"{"rules": [{"action": "DENY", "selector": {"identifier": "(", "matchType": "REGEX"}}]}"#,
            r#"{"rules": [{"action": "DENY", "selector": {"identifier": "x", "constraints": []}}]}"#,
            r#"{"rules": [{"action": "CONVERT", "selector": {"identifier": "x"},
                "updates": {"identifier": "y", "attrs": {"http.checksum": "z"}}}]}"#,
        ] {
            assert!(SourcePolicy::parse(text.as_bytes()).is_err(), "{text}");
        }
        assert!(SourcePolicy::parse(br#"{"version": 1}"#).is_ok());
    }
}
