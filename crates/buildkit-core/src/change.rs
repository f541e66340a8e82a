//! Edits of an image's config that are written as Dockerfile instructions, as `commit --change` has
//! them.

use std::collections::BTreeMap;
use std::sync::Arc;

use dockerfile::instruction::Kind;
use dockerfile::{Source, parse_instructions};
use oci::ImageConfig;

use crate::stage_state::{Scope, StageState};

/// An instruction that cannot change a config.
#[derive(Debug, thiserror::Error)]
#[error("invalid change {text:?}: {reason}")]
pub struct InvalidChange {
    /// As given.
    pub text: String,
    /// What is wrong.
    pub reason: String,
}

/// `config` after the instructions in `changes`, each of which may hold several lines: CMD,
/// ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, MAINTAINER, ONBUILD, SHELL, STOPSIGNAL, USER, VOLUME
/// and WORKDIR.
///
/// # Errors
/// What cannot be parsed, and instructions that do more than to change the config.
pub fn apply(config: ImageConfig, changes: &[String]) -> Result<ImageConfig, InvalidChange> {
    let scope =
        Scope { build_args: BTreeMap::new(), global_args: BTreeMap::new(), escape: '\\', put_in: Default::default() };
    let mut state = StageState::new(Arc::new(scope), config);
    for text in changes {
        let invalid = |reason: &str| InvalidChange { text: text.clone(), reason: reason.to_owned() };
        let parsed = parse_instructions(&Source::new("change", text.as_bytes()));
        if let Some(error) = parsed.errors().next() {
            return Err(invalid(&error.message));
        }
        if parsed.instructions.is_empty() {
            return Err(invalid("expected an instruction such as CMD or ENV"));
        }
        for instruction in &parsed.instructions {
            if matches!(instruction.kind, Kind::Run(_) | Kind::Copy(_) | Kind::From(_) | Kind::Arg(_)) {
                return Err(invalid(&format!("{} does more than to change the config", instruction.name())));
            }
            state.apply(instruction).map_err(|error| invalid(&error.message))?;
        }
    }
    Ok(state.config)
}

#[cfg(test)]
mod tests {
    use oci::Platform;

    use super::*;

    fn changed(changes: &[&str]) -> Result<ImageConfig, InvalidChange> {
        let changes: Vec<String> = changes.iter().map(|text| (*text).to_owned()).collect();
        apply(ImageConfig::new(&Platform::host()), &changes)
    }

    #[test]
    fn pure_instructions_change_a_config() {
        let config =
            changed(&["CMD [\"a\", \"b\"]", "ENV A=1 B=$A\nLABEL x=y", "WORKDIR /w", "workdir x", "EXPOSE 80"]);
        let run = config.expect("valid").config;
        assert_eq!(run.cmd, Some(vec!["a".into(), "b".into()]));
        assert_eq!((run.env, run.working_dir), (vec!["A=1".into(), "B=".into()], "/w/x".into()));
        assert_eq!((run.labels["x"].as_str(), run.exposed_ports.contains_key("80/tcp")), ("y", true));
    }

    #[test]
    fn pure_what_is_no_change_of_a_config_is_refused() {
        for (text, reason) in
            [("RUN x", "RUN does more"), ("COPY a b", "does more"), ("", "expected an instruction"), ("CPY", "unknown")]
        {
            let error = changed(&[text]).expect_err(text).to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}
