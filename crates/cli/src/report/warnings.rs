//! Warnings, each with the line of the Dockerfile that it is about.

use dockerfile::Source;
use maud::{Markup, html};

use crate::command_error::printable;

pub(super) fn warnings(warnings: &[String], source: &Source) -> Markup {
    html! {
        section id="warnings" {
            h2 { "Warnings" }
            @if warnings.is_empty() { p.note { "None." } }
            @for warning in warnings {
                div.warning {
                    p { (printable(warning)) }
                    @if let Some((number, line)) = line_of(warning, source) {
                        pre { span.number { (number) } "  " (printable(&line)) }
                    }
                }
            }
        }
    }
}

/// The line, with its number, that a message with a place is about.
fn line_of(warning: &str, source: &Source) -> Option<(usize, String)> {
    let mut offset = 0;
    for line in source.text().split_inclusive('\n') {
        let position = source.position(offset);
        let place = position.strip_suffix('1').unwrap_or(&position);
        if warning.starts_with(place) {
            return Some((source.line_column(offset).0, line.trim_end().to_owned()));
        }
        offset += line.len();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pure_a_warning_shows_its_line() {
        let source = Source::new("Dockerfile", b"FROM a\nMAINTAINER b\n");
        let line = |text: &str| line_of(text, &source);
        assert_eq!(line("Dockerfile:2:1: old"), Some((2, "MAINTAINER b".to_owned())));
        let several = Source::joined(&[("one".into(), b"FROM a\n".to_vec()), ("two".into(), b"RUN b\n".to_vec())]);
        assert_eq!(line_of("two:1:3: odd", &several), Some((1, "RUN b".to_owned())));
        for without in ["no place", "Dockerfile:9:1: gone", "Dockerfile:0:1: none", "Dockerfile: x", "other:1:1: x"] {
            assert_eq!(line(without), None, "{without}");
        }
    }
}
