//! What the image says of itself beside what the Dockerfile states.

use std::collections::BTreeMap;
use std::path::PathBuf;

use buildkit_core::commit::Times;
use buildkit_core::configure::Edit;
use clap::Args;

use super::parse_pair;
use crate::args::value;
use crate::command_error::CommandError;
use crate::session::Session;

/// The image's config, and the arguments that the Dockerfile gets.
#[derive(Args)]
pub(super) struct ImageArgs {
    /// Annotation of the image
    #[arg(long, value_name = "NAME=VALUE", value_parser = parse_pair)]
    pub annotation: Vec<(String, String)>,
    /// Value of an ARG; without a value, that of gabion's own environment
    #[arg(long, value_name = "NAME[=VALUE]", value_parser = value::variable)]
    build_arg: Vec<String>,
    /// File with a NAME=VALUE of --build-arg in each line; # begins a comment
    #[arg(long, value_name = "FILE", value_parser = value::file())]
    build_arg_file: Vec<PathBuf>,
    /// Add an annotation that says when the image was made [default: false, but true for buildah]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    created_annotation: Option<bool>,
    /// Environment variable of the image; without a value, that of gabion's own environment
    #[arg(long, value_name = "NAME[=VALUE]", value_parser = value::variable)]
    env: Vec<String>,
    /// Label the image with gabion's version [default: true, unless times are given]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub identity_label: Option<bool>,
    /// Take over the base image's annotations
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true",
          default_value_t = true, action = clap::ArgAction::Set)]
    pub inherit_annotations: bool,
    /// Take over the base image's labels
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true",
          default_value_t = true, action = clap::ArgAction::Set)]
    pub inherit_labels: bool,
    /// Label of the image
    #[arg(long, value_name = "NAME=VALUE", value_parser = parse_pair)]
    pub label: Vec<(String, String)>,
    /// Label of images that are not the result: those of other stages, and what a failed build had done
    #[arg(long, value_name = "NAME=VALUE", value_parser = parse_pair)]
    pub layer_label: Vec<(String, String)>,
    /// Leave the history out of the image
    #[arg(long)]
    pub omit_history: bool,
    /// Feature of the operating system that the image needs; with a - behind it, one that it does not need
    #[arg(long, value_name = "FEATURE", value_parser = parse_os_feature)]
    pub os_feature: Vec<Edit>,
    /// Version of the operating system that the image is for
    #[arg(long, value_name = "VERSION", value_parser = value::text())]
    pub os_version: Option<String>,
    /// Give no file of the new layers a later time than --source-date-epoch [default: true, but false for buildah]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    rewrite_timestamp: Option<bool>,
    /// Time of the image, in seconds since 1970 [default: the variable SOURCE_DATE_EPOCH, or else now]
    #[arg(long, value_name = "SECONDS", allow_hyphen_values = true, conflicts_with = "timestamp",
          value_parser = value::seconds)]
    source_date_epoch: Option<i64>,
    /// Time of the image and of every file in its new layers, in seconds since 1970
    #[arg(long, value_name = "SECONDS", allow_hyphen_values = true, value_parser = value::seconds)]
    timestamp: Option<i64>,
    /// Annotation of the base image to leave out
    #[arg(long, value_name = "NAME", value_delimiter = ',', value_parser = value::name)]
    pub unsetannotation: Vec<String>,
    /// Environment variable to leave out of the image
    #[arg(long, value_name = "NAME", value_parser = value::name)]
    pub unsetenv: Vec<String>,
    /// Label to leave out of the image
    #[arg(long, value_name = "NAME", value_parser = value::name)]
    pub unsetlabel: Vec<String>,
}

impl ImageArgs {
    pub fn times(&self, session: &Session) -> Result<Times, CommandError> {
        session.times(self.timestamp, self.source_date_epoch, self.rewrite_timestamp)
    }

    /// The label that names the builder, if the image is to have it.
    pub fn identity_label(&self, session: &Session, times: Times) -> Option<(String, String)> {
        self.identity_label.unwrap_or(times == Times::Now).then(|| session.identity_label())
    }

    pub fn created_annotation(&self, session: &Session) -> bool {
        self.created_annotation.unwrap_or(session.called_as_buildah())
    }

    /// `--env`, those without a value from the environment.
    pub fn env(&self, session: &Session) -> Vec<(String, String)> {
        self.env.iter().filter_map(|text| own_value(text, session)).collect()
    }

    /// The arguments of the files, then those of the command line, which count more.
    pub fn build_args(&self, session: &Session) -> Result<BTreeMap<String, String>, CommandError> {
        let mut args = BTreeMap::new();
        for path in &self.build_arg_file {
            let failed =
                |error: std::io::Error| CommandError::new(format!("--build-arg-file {}: {error}", path.display()));
            let text = std::fs::read_to_string(path).map_err(failed)?;
            let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
            args.extend(lines.filter_map(|line| own_value(line, session)));
        }
        args.extend(self.build_arg.iter().filter_map(|text| own_value(text, session)));
        Ok(args)
    }
}

fn parse_os_feature(text: &str) -> Result<Edit, String> {
    match Edit::of_set(text) {
        Edit::Set(name, _) | Edit::Remove(name) if name.is_empty() => Err("expected a name".to_owned()),
        edit => Ok(edit),
    }
}

fn own_value(text: &str, session: &Session) -> Option<(String, String)> {
    match text.split_once('=') {
        Some((name, value)) => Some((name.to_owned(), value.to_owned())),
        None => session.env(text).map(|value| (text.to_owned(), value)),
    }
}
