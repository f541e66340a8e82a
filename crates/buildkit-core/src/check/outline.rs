//! What a build of a target can be given, as `--print=outline` shows it; the JSON form is
//! BuildKit's.

use std::collections::BTreeSet;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dockerfile::instruction::{Arg, Kind};
use dockerfile::lint::Comments;
use dockerfile::{Dockerfile, Source, Span};
use serde::Serialize;

use super::report::{Location, table};
use super::{CheckOptions, from, walk};
use crate::plan::{self, Outline, PlanError, PlanOptions};

/// What a build can be given.
#[derive(Clone, Debug, Serialize)]
pub struct BuildOutline {
    #[serde(skip_serializing_if = "String::is_empty")]
    name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    description: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    args: Vec<OutlineArg>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    secrets: Vec<Required>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ssh: Vec<Required>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cache: Vec<Cache>,
    /// The file, in base64.
    sources: Vec<String>,
}

#[derive(Clone, Debug, Serialize)]
struct OutlineArg {
    name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    description: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    value: String,
    location: Location,
    #[serde(skip)]
    start: usize,
}

#[derive(Clone, Debug, Serialize)]
struct Required {
    name: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    required: bool,
    location: Location,
}

#[derive(Clone, Debug, Serialize)]
struct Cache {
    #[serde(rename = "ID")]
    id: String,
    location: Location,
}

/// The outline of `options.plan.target`, or of the last stage.
///
/// # Errors
/// The file cannot be planned.
pub fn outline(source: &Source, file: &Dockerfile, options: &CheckOptions<'_>) -> Result<BuildOutline, PlanError> {
    let read = plan::outline(file, options.plan);
    if !read.errors.is_empty() {
        return Err(PlanError::File(read.errors));
    }
    let (target, needed) = read.needed(options.plan.target.as_deref())?;
    let walk = walk(file, options, &read, &needed);
    let comments = Comments::new(&file.ast);
    let name = read.stages.get(target).and_then(|stage| stage.name.clone()).unwrap_or_default();
    let start = read.stages.get(target).map_or(0, |stage| stage.from.span.start);
    let global = global(file, options.plan, &read);
    let mut args = Vec::new();
    let mut seen = BTreeSet::new();
    let mut add = |name: &str, value: &str, span: Span| {
        if seen.insert(name.to_owned()) {
            let description = comments.description(span.start, name).unwrap_or_default();
            let location = Location::of_lines(source, span);
            args.push(OutlineArg {
                name: name.to_owned(),
                description,
                value: value.to_owned(),
                location,
                start: span.start,
            });
        }
    };
    let (mut secrets, mut ssh, mut cache) = (Vec::new(), Vec::new(), Vec::new());
    // The target's own come first: of a name that several stages have, its value counts.
    for (index, walked) in walk.done.iter().rev() {
        let Some(stage) = read.stages.get(*index) else { continue };
        for (name, value, span) in &walked.uses.args {
            let declares_default = defaults(&stage.instructions, name);
            if declares_default || options.plan.build_args.contains_key(name) {
                add(name, value.as_deref().unwrap_or_default(), *span);
            } else if value.is_none() {
                add(name, "", *span);
            } else {
                // It is the global one's; a predefined one is nobody's.
                global.with_causes(name).iter().for_each(|(name, value, span)| add(name, value, *span));
            }
        }
        for name in global.used_in_from(&stage.from.kind, file.ast.escape) {
            global.with_causes(&name).iter().for_each(|(name, value, span)| add(name, value, *span));
        }
        let required = |(name, required, span): &(String, bool, Span)| {
            let location = Location::of_lines(source, *span);
            (span.start, Required { name: name.clone(), required: *required, location })
        };
        secrets.extend(walked.uses.secrets.iter().map(required));
        ssh.extend(walked.uses.agents.iter().map(required));
        cache.extend(
            walked
                .uses
                .caches
                .iter()
                .map(|(id, span)| (span.start, Cache { id: id.clone(), location: Location::of_lines(source, *span) })),
        );
    }
    args.sort_by_key(|arg| arg.start);
    Ok(BuildOutline {
        description: comments.description(start, &name).filter(|_| !name.is_empty()).unwrap_or_default(),
        name,
        args,
        secrets: once(secrets, |secret| &secret.name),
        ssh: once(ssh, |agent| &agent.name),
        cache: once(cache, |cache| &cache.id),
        sources: vec![STANDARD.encode(source.text())],
    })
}

/// The first of each name, in the order of the file.
fn once<T>(mut items: Vec<(usize, T)>, name: impl Fn(&T) -> &String) -> Vec<T> {
    items.sort_by_key(|(start, _)| *start);
    let mut seen = BTreeSet::new();
    items.into_iter().map(|(_, item)| item).filter(|item| seen.insert(name(item).clone())).collect()
}

fn defaults(instructions: &[Arc<dockerfile::Instruction>], name: &str) -> bool {
    instructions.iter().any(|instruction| match &instruction.kind {
        Kind::Arg(args) => args.iter().any(|arg| arg.name.text == name && arg.default.is_some()),
        _ => false,
    })
}

/// The ARGs before the first FROM.
struct Global<'a> {
    args: Vec<(&'a Arg, Span)>,
    values: &'a std::collections::BTreeMap<String, String>,
    escape: char,
    given: &'a std::collections::BTreeMap<String, String>,
}

fn global<'a>(file: &'a Dockerfile, options: &'a PlanOptions, read: &'a Outline) -> Global<'a> {
    let before = file.instructions.iter().map_while(|instruction| match &instruction.kind {
        Kind::Arg(args) => Some((args, instruction.span)),
        _ => None,
    });
    let args = before.flat_map(|(args, span)| args.iter().map(move |arg| (arg, span))).collect();
    Global { args, values: &read.global_args, escape: file.ast.escape, given: &options.build_args }
}

impl Global<'_> {
    /// The argument and those that its default is made of, unless it is predefined.
    fn with_causes(&self, name: &str) -> Vec<(String, String, Span)> {
        let mut found: Vec<(String, String, Span)> = Vec::new();
        let mut next = vec![name.to_owned()];
        while let Some(name) = next.pop() {
            if found.iter().any(|(old, _, _)| *old == name) {
                continue;
            }
            let Some((arg, span)) = self.args.iter().rev().find(|(arg, _)| arg.name.text == name) else { continue };
            if let (Some(default), false) = (&arg.default, self.given.contains_key(&name)) {
                let causes = from::expand(default, self.values, self.escape);
                next.extend(causes.into_iter().flat_map(|causes| causes.found));
            }
            let value = self.values.get(&name).cloned().unwrap_or_default();
            found.push((name, value, *span));
        }
        found
    }

    fn used_in_from(&self, kind: &Kind, escape: char) -> BTreeSet<String> {
        let Kind::From(from) = kind else { return BTreeSet::new() };
        let words = std::iter::once(&from.base).chain(&from.platform);
        words.filter_map(|word| from::expand(word, self.values, escape)).flat_map(|expanded| expanded.found).collect()
    }
}

impl BuildOutline {
    /// Tables of what there is.
    pub fn text(&self) -> String {
        let mut parts = Vec::new();
        if !self.name.is_empty() {
            let mut head = format!("TARGET:      {}\n", self.name);
            if !self.description.is_empty() {
                head += &format!("DESCRIPTION: {}\n", self.description);
            }
            parts.push(head);
        }
        let required = |items: &[Required]| -> Vec<Vec<String>> {
            let mark = |item: &Required| if item.required { "true".to_owned() } else { String::new() };
            items.iter().map(|item| vec![item.name.clone(), mark(item)]).collect()
        };
        let args = self.args.iter().map(|arg| vec![arg.name.clone(), arg.value.clone(), arg.description.clone()]);
        for (head, rows) in [
            (&["BUILD ARG", "VALUE", "DESCRIPTION"][..], args.collect()),
            (&["SECRET", "REQUIRED"], required(&self.secrets)),
            (&["SSH", "REQUIRED"], required(&self.ssh)),
            (&["CACHE MOUNT"], self.cache.iter().map(|cache| vec![cache.id.clone()]).collect()),
        ] {
            if !rows.is_empty() {
                parts.push(table(head, rows));
            }
        }
        parts.join("\n")
    }
}
