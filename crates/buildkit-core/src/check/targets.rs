//! The stages of a file, as `--print=targets` shows them; the JSON form is BuildKit's.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dockerfile::instruction::Kind;
use dockerfile::lint::Comments;
use dockerfile::{Dockerfile, Source};
use serde::Serialize;

use super::report::{Location, table};

/// The stages of a file.
#[derive(Clone, Debug, Serialize)]
pub struct Targets {
    targets: Vec<Target>,
    /// The file, in base64.
    sources: Vec<String>,
}

#[derive(Clone, Debug, Serialize)]
struct Target {
    #[serde(skip_serializing_if = "String::is_empty")]
    name: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    default: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    description: String,
    base: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    platform: Option<String>,
    location: Location,
}

/// The stages of a file; names and descriptions as written, no variable put in.
pub fn targets(source: &Source, file: &Dockerfile) -> Targets {
    let comments = Comments::new(&file.ast);
    let stages = file.instructions.iter().filter_map(|instruction| match &instruction.kind {
        Kind::From(from) => Some((instruction, from)),
        _ => None,
    });
    let mut targets: Vec<Target> = stages
        .map(|(instruction, from)| {
            let name = from.name.as_ref().map(|name| name.text.clone()).unwrap_or_default();
            let description = comments.description(instruction.span.start, &name).filter(|_| !name.is_empty());
            Target {
                name,
                default: false,
                description: description.unwrap_or_default(),
                base: from.base.text.clone(),
                platform: from.platform.as_ref().map(|word| word.text.clone()),
                location: Location::of_lines(source, instruction.span),
            }
        })
        .collect();
    if let Some(last) = targets.last_mut() {
        last.default = true;
    }
    Targets { targets, sources: vec![STANDARD.encode(source.text())] }
}

impl Targets {
    /// A table of names and descriptions.
    pub fn text(&self) -> String {
        let row = |target: &Target| {
            let name = match (target.name.as_str(), target.default) {
                ("", true) => "(default)".to_owned(),
                (name, true) => format!("{name} (default)"),
                (name, false) => name.to_owned(),
            };
            vec![name, target.description.clone()]
        };
        table(&["TARGET", "DESCRIPTION"], self.targets.iter().map(row).collect())
    }
}
