//! What several commands print in the same way.

use serde_json::Value;

use crate::command_error::CommandError;

/// JSON indented by four spaces, as Buildah's is.
pub fn indented(value: &Value) -> Result<String, CommandError> {
    let mut bytes = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    serde::Serialize::serialize(value, &mut serde_json::Serializer::with_formatter(&mut bytes, formatter))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
