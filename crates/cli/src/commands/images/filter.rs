//! `--filter` of `gabion images`.

use std::collections::HashSet;

use buildkit_core::image_list::{ImageList, ListedImage};
use jiff::Timestamp;
use oci::ImageId;
use store::Store;

use crate::command_error::CommandError;

/// A condition.
pub enum Filter {
    After(Timestamp),
    Before(Timestamp),
    Dangling(bool),
    Intermediate(bool),
    Containers(bool),
    ReadOnly(bool),
    Label {
        key: String,
        value: Option<String>,
    },
    Reference(String),
    Id(String),
    /// All that the other one does not accept: `key!=value`.
    Not(Box<Filter>),
}

impl Filter {
    /// Parses `key=value` or `key!=value`; images named in it are looked up in `store`.
    pub fn parse(text: &str, store: &Store, now: Timestamp) -> Result<Filter, CommandError> {
        let invalid = |reason: &str| CommandError::invalid("--filter", text, reason);
        let (key, value) = text
            .split_once('=')
            .filter(|(_, value)| !value.is_empty())
            .ok_or_else(|| invalid("expected key=value or key!=value"))?;
        if let Some(key) = key.strip_suffix('!') {
            return Ok(Filter::Not(Box::new(Filter::parse(&format!("{key}={value}"), store, now)?)));
        }
        let flag = || match value {
            "true" | "1" | "t" => Ok(true),
            "false" | "0" | "f" => Ok(false),
            _ => Err(invalid("expected true or false")),
        };
        let time_of_image =
            || store.image(value).map(|image| image.created).map_err(|error| invalid(&error.to_string()));
        Ok(match key {
            "after" | "since" => Filter::After(time_of_image()?),
            "before" => Filter::Before(time_of_image()?),
            "until" => Filter::Before(parse_time(text, value, now)?),
            "dangling" => Filter::Dangling(flag()?),
            "intermediate" => Filter::Intermediate(flag()?),
            "containers" => Filter::Containers(flag()?),
            "readonly" => Filter::ReadOnly(flag()?),
            "label" => match value.split_once('=') {
                Some((key, value)) => Filter::Label { key: key.to_owned(), value: Some(value.to_owned()) },
                None => Filter::Label { key: value.to_owned(), value: None },
            },
            "reference" => Filter::Reference(value.to_owned()),
            "id" => Filter::Id(value.trim_start_matches("sha256:").to_owned()),
            _ => {
                return Err(invalid(
                    "expected after=, before=, since=, until=, dangling=, intermediate=, containers=, readonly=, label=, \
                     reference= or id=",
                ));
            }
        })
    }

    /// Whether the user chose steps on the way to other images, or against them.
    pub fn is_about_steps(&self) -> bool {
        match self {
            Filter::Not(filter) => filter.is_about_steps(),
            filter => matches!(filter, Filter::Intermediate(_)),
        }
    }

    fn accepts(&self, image: &ListedImage, list: &ImageList, in_use: &HashSet<ImageId>) -> bool {
        let record = &image.record;
        match self {
            Filter::After(time) => record.created > *time,
            Filter::Before(time) => record.created < *time,
            Filter::Dangling(wanted) => list.is_dangling(image) == *wanted,
            Filter::Intermediate(wanted) => list.is_intermediate(image) == *wanted,
            Filter::Containers(wanted) => in_use.contains(&record.id) == *wanted,
            Filter::ReadOnly(wanted) => record.read_only == *wanted,
            Filter::Label { key, value } => {
                let labels = image.config.as_ref().map(|config| &config.config.labels);
                let own = labels.and_then(|labels| labels.get(key));
                own.is_some_and(|own| value.as_ref().is_none_or(|value| value == own))
            }
            Filter::Reference(pattern) => record.names.iter().any(|name| names_match(pattern, name)),
            Filter::Id(prefix) => record.id.as_str().starts_with(prefix.as_str()),
            Filter::Not(filter) => !filter.accepts(image, list, in_use),
        }
    }
}

/// Conditions of one kind are alternatives for `reference` and `id`; all others must hold at once.
pub fn all_accept(filters: &[Filter], image: &ListedImage, list: &ImageList, in_use: &HashSet<ImageId>) -> bool {
    let accepts = |filter: &Filter| filter.accepts(image, list, in_use);
    let any_of = |kind: fn(&Filter) -> bool| {
        let mut of_kind = filters.iter().filter(|filter| kind(filter)).peekable();
        of_kind.peek().is_none() || of_kind.any(accepts)
    };
    any_of(|filter| matches!(filter, Filter::Reference(_)))
        && any_of(|filter| matches!(filter, Filter::Id(_)))
        && filters.iter().filter(|filter| !matches!(filter, Filter::Reference(_) | Filter::Id(_))).all(accepts)
}

/// The images that containers are based on.
pub fn images_in_use(store: &Store) -> Result<HashSet<ImageId>, CommandError> {
    Ok(store.containers()?.into_iter().filter_map(|container| container.image).collect())
}

/// A time stamp, seconds since 1970, or a time span before now; `filter` is the whole text.
pub fn parse_time(filter: &str, text: &str, now: Timestamp) -> Result<Timestamp, CommandError> {
    let span = || {
        let span = crate::args::parse_duration(text).ok()?;
        now.checked_sub(jiff::SignedDuration::try_from(span).ok()?).ok()
    };
    let seconds = || text.parse().ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
    text.parse()
        .ok()
        .or_else(seconds)
        .or_else(span)
        .ok_or_else(|| CommandError::invalid("--filter", filter, "expected a time such as 2h or 2026-01-31T00:00:00Z"))
}

/// Whether `pattern`, with `*` and `?`, fits `name`, whole or without its registry or its tag.
fn names_match(pattern: &str, name: &str) -> bool {
    let without_tag = match name.rsplit_once(':') {
        Some((rest, tag)) if !tag.contains('/') => rest,
        _ => name,
    };
    let mut forms = vec![name, without_tag];
    for form in [name, without_tag] {
        forms.extend(form.match_indices('/').filter_map(|(at, _)| form.get(at + 1..)));
    }
    forms.into_iter().any(|form| glob(pattern.as_bytes(), form.as_bytes()))
}

/// `*` and `?` stand for anything, slashes too.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(&c) if c == b'?' || text.get(t) == Some(&c) => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((at, from)) => {
                    p = at + 1;
                    t = from + 1;
                    star = Some((at, t));
                }
                None => return false,
            },
        }
    }
    pattern.get(p..).unwrap_or_default().iter().all(|c| *c == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pure_reference_patterns_fit_parts_of_names() {
        let name = "quay.io/team/tool:1";
        for pattern in ["tool", "tool:1", "team/tool", "quay.io/team/tool:1", "*tool*", "t?ol", "quay.io/*", "*:1"] {
            assert!(names_match(pattern, name), "{pattern}");
        }
        for pattern in ["tool:2", "too", "am/tool", "quay.io", ""] {
            assert!(!names_match(pattern, name), "{pattern}");
        }
    }
}
