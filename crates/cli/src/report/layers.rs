//! What each layer of the image holds, and what of it nobody sees.

use std::path::Path;

use buildkit_core::layer_contents::LayerContents;
use maud::{Markup, html};

use crate::command_error::printable;
use crate::tabular::{BUILDAH_UNITS, size};

pub(super) fn layers(layers: &Result<Vec<LayerContents>, String>) -> Markup {
    html! {
        section id="layers" {
            h2 { "Layers" }
            @match layers {
                Err(error) => { p.note { "The layers could not be read: " (printable(error)) } }
                Ok(layers) if layers.is_empty() => { p.note { "The image has none." } }
                Ok(layers) => { (summary(layers)) (table(layers)) }
            }
        }
    }
}

fn summary(layers: &[LayerContents]) -> Markup {
    let total: u64 = layers.iter().map(|layer| layer.bytes).sum();
    let (hidden, rewritten) =
        layers.iter().fold((0, 0), |(hidden, rewritten), layer| (hidden + layer.hidden, rewritten + layer.rewritten));
    html! {
        p {
            (bytes(total)) " of files in " (layers.len()) " layers. "
            @if hidden + rewritten == 0 {
                "All of them are seen in the image."
            } @else {
                strong { (bytes(hidden + rewritten)) } " of them travel with the image and are never seen: "
                (bytes(hidden)) " are hidden by later layers, " (bytes(rewritten)) " written anew."
            }
        }
    }
}

fn table(layers: &[LayerContents]) -> Markup {
    let largest = layers.iter().map(|layer| layer.bytes).max().unwrap_or(0);
    html! {
        table {
            thead {
                tr { th { "Layer" } th { "Made by" } th { "Files" } th { "Largest files" } th { "Never seen" } }
            }
            tbody {
                @for (position, layer) in layers.iter().enumerate() {
                    tr {
                        td.nowrap data-name="Layer" {
                            (position + 1)
                            @if let Some(id) = &layer.id { " " code { (id.as_str().get(..12).unwrap_or_default()) } }
                        }
                        td data-name="Made by" { code { (cut(&layer.created_by)) } }
                        td.nowrap data-name="Files" {
                            strong { (bytes(layer.bytes)) } (bar(layer, largest))
                            div.note { (counted(layer.files, "file")) }
                            @if layer.deletions > 0 { div.note { (counted(layer.deletions, "deletion")) } }
                        }
                        td data-name="Largest files" {
                            @for (path, size) in layer.largest.iter().take(NAMED) { (file(path, *size)) }
                        }
                        td data-name="Never seen" {
                            @if layer.hidden + layer.rewritten > 0 {
                                strong { (bytes(layer.hidden + layer.rewritten)) }
                            }
                            @for lost in layer.lost.iter().take(NAMED) {
                                (file(&lost.path, lost.bytes))
                                div.note.deep {
                                    @if lost.is_rewritten { "written anew" } @else { "hidden" }
                                    " by layer " (lost.by + 1)
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// So many files are named in a cell.
const NAMED: usize = 5;

fn file(path: &Path, size: u64) -> Markup {
    html! { div.file { span.size { (bytes(size)) } " " code { "/" (printable(&path.to_string_lossy())) } } }
}

/// How much the layer has beside the largest one, and how much of that is never seen.
fn bar(layer: &LayerContents, largest: u64) -> Markup {
    let part = |bytes: u64| format!("{:.1}", bytes as f64 / largest.max(1) as f64 * 100.0);
    html! {
        svg.share viewBox="0 0 100 4" preserveAspectRatio="none" aria-hidden="true" {
            rect.back width="100" height="4" {}
            rect.done width=(part(layer.bytes)) height="4" {}
            rect.lost width=(part(layer.hidden + layer.rewritten)) height="4" {}
        }
    }
}

fn bytes(bytes: u64) -> String {
    size(bytes, BUILDAH_UNITS)
}

fn cut(text: &str) -> String {
    const LONGEST: usize = 200;
    let text = printable(text);
    match text.chars().count() > LONGEST {
        true => text.chars().take(LONGEST).chain("…".chars()).collect(),
        false => text,
    }
}

fn counted(number: u64, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}
