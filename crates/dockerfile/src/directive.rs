//! What the directives at the top of a file say.

use crate::ast::Directive;
use crate::diagnostic::{Diagnostic, Result};
use crate::text::{Span, Text, Word};

/// `# check=skip=A,B;error=true`: what a linter is told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Check {
    /// Rules that are left out.
    pub skip: Vec<Word>,
    /// `skip=all`: every rule is left out.
    pub skip_all: bool,
    /// Experimental rules that are applied.
    pub experimental: Vec<Word>,
    /// `experimental=all`: every experimental rule is applied.
    pub experimental_all: bool,
    /// Whether findings are errors.
    pub error: bool,
}

const OPTIONS: [&str; 3] = ["skip", "error", "experimental"];

impl Check {
    /// Reads the directive's value, which the build argument `BUILDKIT_DOCKERFILE_CHECK` has too.
    pub fn parse(value: &Word) -> Result<Check> {
        let text = Text::new(&value.text, value.span.start);
        let mut check = Check::default();
        for option in split(&text, ';').iter().filter(|option| !option.is_empty()) {
            let Some(at) = option.as_str().find('=') else {
                let message = format!("invalid option {:?} of check: expected name=value", option.as_str());
                return Err(Diagnostic::error(message, option.full_span()).hint("for example check=skip=all"));
            };
            let (name, list) = (option.slice(0..at).trim().to_word(), option.from(at + 1).trim());
            match name.text.as_str() {
                "skip" if list.as_str() == "all" => check.skip_all = true,
                "skip" => check.skip.extend(rules(&list)),
                "experimental" if list.as_str() == "all" => check.experimental_all = true,
                "experimental" => check.experimental.extend(rules(&list)),
                "error" => {
                    check.error = crate::instruction::boolean(list.as_str()).ok_or_else(|| {
                        let message = format!("invalid value {:?} of error: expected true or false", list.as_str());
                        Diagnostic::error(message, list.full_span())
                    })?;
                }
                other => {
                    let error = Diagnostic::error(format!("unknown option {other:?} of check"), name.span);
                    return Err(error.suggest(other, OPTIONS));
                }
            }
        }
        Ok(check)
    }
}

fn rules(list: &Text) -> impl Iterator<Item = Word> {
    split(list, ',').into_iter().map(|name| name.to_word()).filter(|name| !name.text.is_empty())
}

/// The pieces between separators, without blanks around them.
fn split(text: &Text, separator: char) -> Vec<Text> {
    let mut start = 0;
    let mut pieces = Vec::new();
    for piece in text.as_str().split(separator) {
        pieces.push(text.slice(start..start + piece.len()).trim());
        start += piece.len() + separator.len_utf8();
    }
    pieces
}

/// A note about a `# syntax` that names another language than this one, of which the official
/// images are `docker/dockerfile` and `docker/dockerfile-upstream`.
pub(crate) fn foreign_syntax(directive: &Directive) -> Option<Diagnostic> {
    let image = directive.value.text.split_whitespace().next().unwrap_or_default();
    let name = ["docker.io/", "index.docker.io/", "registry-1.docker.io/"]
        .iter()
        .find_map(|registry| image.strip_prefix(registry))
        .unwrap_or(image);
    let repository = name.split(['@', ':']).next().unwrap_or_default();
    if matches!(repository, "docker/dockerfile" | "docker/dockerfile-upstream") {
        return None;
    }
    let message = format!("the syntax {image} is not used: this file is read as docker/dockerfile");
    Some(Diagnostic::note(message, directive.value.span))
}

/// The frontend that `// syntax=…` or `{"syntax": "…"}` names: a file that begins so is in
/// another language.
pub(crate) fn foreign_file(text: &str, start: usize) -> Option<Diagnostic> {
    let rest = text.get(start..)?;
    let other = |frontend: &str, span: Span| {
        let message = format!("this file is for the frontend {frontend}, and no Dockerfile");
        Some(Diagnostic::error(message, span))
    };
    if let Some(comment) = rest.strip_prefix("//") {
        let line = comment.lines().next().unwrap_or_default();
        let (name, value) = line.split_once('=')?;
        let is_syntax = name.trim().eq_ignore_ascii_case("syntax") && !value.trim().is_empty();
        return is_syntax.then(|| other(value.trim(), Span::new(start, start + 2 + line.trim_end().len())))?;
    }
    if !rest.trim_start().starts_with('{') {
        return None;
    }
    let json: serde_json::Map<String, serde_json::Value> = serde_json::from_str(rest).ok()?;
    let at = start + (rest.len() - rest.trim_start().len());
    other(json.get("syntax")?.as_str()?, Span::new(at, at + 1))
}
