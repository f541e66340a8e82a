//! `gabion history`: Podman's, since Buildah has none.

use std::collections::HashSet;
use std::process::ExitCode;

use buildkit_core::image_list::{ImageList, ListedImage};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::command_error::CommandError;
use crate::session::Session;
use crate::tabular::{PODMAN_UNITS, ago, align, go_time, size};
use crate::template::Template;

/// Show the steps that made an image, the newest first
#[derive(clap::Args)]
pub struct Args {
    /// Print each step with this Go template, or all as `json`
    #[arg(long, value_name = "TEMPLATE")]
    format: Option<String>,
    /// Print how long ago instead of times
    #[arg(short = 'H', long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1,
        default_missing_value = "true", require_equals = true)]
    human: bool,
    /// Print whole IDs and commands
    #[arg(long)]
    no_trunc: bool,
    /// Print IDs only
    #[arg(short, long)]
    quiet: bool,
    /// Name or ID of the image
    image: String,
}

/// A step, newest first.
struct Step<'a> {
    id: Option<&'a ListedImage>,
    created: Option<Timestamp>,
    created_by: &'a str,
    comment: &'a str,
    size: u64,
}

pub fn run(args: &Args, session: &Session) -> Result<ExitCode, CommandError> {
    let template = match args.format.as_deref() {
        None | Some("json") => None,
        Some(text) => Some(Template::parse(text)?),
    };
    let store = session.store()?;
    let id = store.image(&args.image)?.id;
    let list = ImageList::read(&store)?;
    let image = list.get(&id).ok_or_else(|| CommandError::new(format!("{}: image not known", args.image)))?;
    let steps = steps(&list, image);
    if args.format.as_deref() == Some("json") {
        println!("{}", steps.iter().map(to_json).collect::<Value>());
        return Ok(ExitCode::SUCCESS);
    }
    if args.quiet {
        steps.iter().for_each(|step| println!("{}", shown_id(step, args)));
        return Ok(ExitCode::SUCCESS);
    }
    let now = Timestamp::now();
    let heading = json!({
        "ID": "ID", "Created": "CREATED", "CreatedSince": "CREATED", "CreatedAt": "CREATED AT",
        "CreatedBy": "CREATED BY", "Size": "SIZE", "Comment": "COMMENT", "Tags": "TAGS",
    });
    let (template, has_heading) = match template {
        Some(template) => {
            let has_heading = template.is_table();
            (template, has_heading)
        }
        None => (Template::parse("{{.ID}}\\t{{.Created}}\\t{{.CreatedBy}}\\t{{.Size}}\\t{{.Comment}}")?, true),
    };
    let mut lines = Vec::new();
    if has_heading {
        lines.push(template.render(&heading)?);
    }
    for step in &steps {
        lines.push(template.render(&to_template(step, args, now))?);
    }
    print!("{}", align(&lines, 2, 12));
    Ok(ExitCode::SUCCESS)
}

/// The history joined with the layers: each step that is not empty made one.
fn steps<'a>(list: &'a ImageList, image: &'a ListedImage) -> Vec<Step<'a>> {
    let mut layers = list.stack(&image.record).peekable();
    let mut seen = HashSet::new();
    let history = image.config.iter().flat_map(|config| config.history.iter().rev());
    let step = |entry: &'a oci::History| {
        // An image that ends with this step's layer is what the step made.
        let top = layers.peek().map(|layer| &layer.id);
        let made = match seen.is_empty() {
            true => Some(image),
            false => list.iter().find(|other| top.is_some() && other.record.layer.as_ref() == top),
        };
        let id = made.filter(|made| seen.insert(made.record.id.clone()));
        let size = match entry.empty_layer {
            true => 0,
            false => layers.next().map_or(0, |layer| u64::try_from(layer.diff_size).unwrap_or(0)),
        };
        Step { id, created: entry.created, created_by: &entry.created_by, comment: &entry.comment, size }
    };
    history.map(step).collect()
}

const MISSING: &str = "<missing>";

fn shown_id(step: &Step, args: &Args) -> String {
    match step.id {
        None => MISSING.to_owned(),
        Some(image) if args.no_trunc => image.record.id.to_string(),
        Some(image) => image.record.id.short().to_owned(),
    }
}

fn to_template(step: &Step, args: &Args, now: Timestamp) -> Value {
    let seconds = step.created.and_then(|time| Timestamp::from_second(time.as_second()).ok());
    let since = seconds.map_or_else(String::new, |time| ago(time, now));
    let at = seconds.map_or_else(String::new, go_time);
    let plain = seconds.map_or_else(String::new, |time| time.to_string());
    let created_by = match step.created_by.chars().count() > 45 && !args.no_trunc {
        true => format!("{}...", step.created_by.chars().take(42).collect::<String>()),
        false => step.created_by.to_owned(),
    };
    let tags = step.id.map(|image| image.record.names.join(", ")).unwrap_or_default();
    json!({
        "ID": shown_id(step, args),
        "Created": if args.human { since.clone() } else { plain },
        "CreatedSince": since,
        "CreatedAt": at,
        "CreatedBy": created_by.replace('\t', " "),
        "Size": size(step.size, PODMAN_UNITS),
        "Comment": step.comment,
        "Tags": tags,
    })
}

fn to_json(step: &Step) -> Value {
    let mut map = Map::new();
    map.insert("id".into(), step.id.map_or_else(|| MISSING.to_owned(), |image| image.record.id.to_string()).into());
    if let Some(created) = step.created {
        map.insert("created".into(), created.to_string().into());
    }
    map.insert("CreatedBy".into(), step.created_by.into());
    map.insert("size".into(), step.size.into());
    if !step.comment.is_empty() {
        map.insert("comment".into(), step.comment.into());
    }
    if let Some(names) = step.id.map(|image| &image.record.names).filter(|names| !names.is_empty()) {
        map.insert("tags".into(), json!(names));
    }
    if let Some(time) = step.created.and_then(|time| Timestamp::from_second(time.as_second()).ok()) {
        map.insert("Created".into(), time.to_string().into());
    }
    Value::Object(map)
}
