//! What several commands print in the same way.

use std::io::IsTerminal as _;

use serde_json::Value;

use crate::command_error::CommandError;
use crate::template::Template;

/// JSON indented by four spaces, as Buildah's is.
pub fn indented(value: &Value) -> Result<String, CommandError> {
    let mut bytes = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    serde::Serialize::serialize(value, &mut serde_json::Serializer::with_formatter(&mut bytes, formatter))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// A list, or `null` where it is empty: so does Go write a list that was never begun.
pub fn list_or_null(list: Vec<Value>) -> Value {
    if list.is_empty() { Value::Null } else { Value::Array(list) }
}

/// The template that `--format` of a command about one thing gives: it must have an action in it.
pub fn template_of(format: Option<&str>) -> Result<Option<Template>, CommandError> {
    let Some(text) = format else { return Ok(None) };
    let has_action = text.split_once("{{").is_some_and(|(_, rest)| rest.contains("}}"));
    if !has_action {
        let reason = "expected a Go template with an action in it, such as {{.host}}";
        return Err(CommandError::invalid("--format", text, reason));
    }
    Template::parse(text).map(Some)
}

/// Prints `value` by `template`, or as JSON. What a template gives ends as it ends, so that scripts
/// can join it with other text; only a terminal gets a new line.
pub fn print_one(value: &Value, template: Option<&Template>) -> Result<(), CommandError> {
    match template {
        Some(template) => {
            print!("{}", template.render(value)?);
            if std::io::stdout().is_terminal() {
                println!();
            }
        }
        None => println!("{}", indented(value)?),
    }
    Ok(())
}
