//! The page as a whole.

use std::time::Duration;

use buildkit_core::event::StepOutcome;
use buildkit_core::layer_contents::LayerContents;
use dockerfile::Source;
use jiff::Timestamp;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use oci::ImageId;

use super::seen::Seen;
use super::{layers, steps, timeline, warnings};
use crate::command_error::printable;
use crate::progress::time;
use crate::tabular::{BUILDAH_UNITS, size};

/// What the page tells of.
pub(super) struct Page<'a> {
    pub began: Timestamp,
    pub duration: Duration,
    pub source: &'a Source,
    pub seen: &'a Seen,
    pub result: &'a Result<'a>,
}

/// How the build ended.
pub(super) enum Result<'a> {
    Image { image: &'a ImageId, names: &'a [String], layers: &'a std::result::Result<Vec<LayerContents>, String> },
    Failed { details: &'a [String], message: &'a str, hint: Option<&'a str> },
}

/// Nothing of it is text from outside.
const STYLE: &str = include_str!("style.css");

impl Page<'_> {
    pub fn html(&self) -> String {
        let heading = match self.result {
            Result::Image { names, image, .. } => {
                format!("Build of {}", names.first().map_or(image.short(), String::as_str))
            }
            Result::Failed { .. } => "A build that failed".to_owned(),
        };
        let page = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    meta name="generator" content=(format!("gabion {}", env!("CARGO_PKG_VERSION")));
                    // A page that was tampered with loads nothing, either.
                    meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'";
                    title { (printable(&heading)) }
                    style { (PreEscaped(STYLE)) }
                }
                body {
                    header {
                        h1 { (printable(&heading)) }
                        p.note { code { (printable(self.source.name())) } ", " (self.began.to_string()) }
                    }
                    main {
                        (self.outcome())
                        (self.figures())
                        (timeline::timeline(self.seen, self.duration))
                        (steps::steps(self.seen))
                        @if let Result::Image { layers, .. } = self.result { (layers::layers(layers)) }
                        (warnings::warnings(&self.seen.warnings, self.source))
                    }
                }
            }
        };
        page.into_string()
    }

    fn outcome(&self) -> Markup {
        match self.result {
            Result::Image { image, names, .. } => html! {
                p.outcome.good {
                    "Image " code { (image) }
                    @for name in *names { br; code { (printable(name)) } }
                }
            },
            Result::Failed { details, message, hint } => html! {
                div.outcome.bad {
                    p { strong { (printable(message)) } }
                    @if !details.is_empty() { pre { (steps::lines(&details.join("\n"))) } }
                    @if let Some(hint) = hint { p { (printable(hint)) } }
                }
            },
        }
    }

    fn figures(&self) -> Markup {
        let seen = self.seen;
        let cached = seen.steps.iter().filter(|step| step.outcome == Some(StepOutcome::Cached)).count();
        let moved: u64 = seen.blobs.iter().map(|blob| blob.bytes).sum();
        let layers = match self.result {
            Result::Image { layers: Ok(layers), .. } => Some(layers),
            _ => None,
        };
        html! {
            dl.figures {
                div { dt { "Time" } dd { (time(self.duration)) } }
                div { dt { "Steps" } dd { (seen.steps.len()) } }
                div { dt { "By earlier builds" } dd { (cached) } }
                @if moved > 0 { div { dt { "Transferred" } dd { (size(moved, BUILDAH_UNITS)) } } }
                @if let Some(layers) = layers {
                    @let lost = layers.iter().map(|layer| layer.hidden + layer.rewritten).sum();
                    div { dt { "Files" } dd { (size(layers.iter().map(|layer| layer.bytes).sum(), BUILDAH_UNITS)) } }
                    div { dt { "Never seen" } dd { (size(lost, BUILDAH_UNITS)) } }
                }
                div { dt { "Warnings" } dd { (seen.warnings.len()) } }
            }
        }
    }
}
