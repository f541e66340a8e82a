//! `gabion images`

pub mod filter; // --filter

use std::process::ExitCode;

use buildkit_core::image_list::{ImageList, ListedImage};
use jiff::Timestamp;
use serde_json::{Value, json};

use self::filter::Filter;
use crate::command_error::CommandError;
use crate::output::indented;
use crate::session::Session;
use crate::tabular::{BUILDAH_UNITS, ago, align, go_time, print_rows, size};

/// List the images of the store
#[derive(clap::Args)]
pub struct Args {
    /// Also list images that are only steps on the way to others
    #[arg(short, long)]
    all: bool,
    /// Show the manifests' digests
    #[arg(long)]
    digests: bool,
    /// List only those that match: after=, before=, since=, until=, dangling=, intermediate=, containers=, label=,
    /// readonly=, reference= or id=; with != those that do not (may be repeated)
    #[arg(short, long, value_name = "FILTER", value_delimiter = ',')]
    filter: Vec<String>,
    /// Print each with this Go template
    #[arg(long, value_name = "TEMPLATE", conflicts_with = "quiet")]
    format: Option<String>,
    /// Show the names that the images had before
    #[arg(long)]
    history: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Print whole IDs
    #[arg(long)]
    no_trunc: bool,
    /// Leave the table's heading out
    #[arg(short, long)]
    noheading: bool,
    /// Print IDs only
    #[arg(short, long)]
    quiet: bool,
    /// Name or ID of an image, to list that one only
    #[arg(conflicts_with = "all")]
    image: Option<String>,
}

pub fn run(args: &Args, session: &Session) -> Result<ExitCode, CommandError> {
    let store = session.store()?;
    let now = Timestamp::now();
    let filters = args.filter.iter().map(|text| Filter::parse(text, &store, now)).collect::<Result<Vec<_>, _>>()?;
    let only = args.image.as_deref().map(|text| store.image(text)).transpose()?;
    let list = ImageList::read(&store)?;
    let in_use = filter::images_in_use(&store)?;
    let asks_for_steps = filters.iter().any(Filter::is_about_steps);
    let images: Vec<&ListedImage> = list
        .iter()
        .filter(|image| only.as_ref().is_none_or(|only| only.id == image.record.id))
        .filter(|image| args.all || only.is_some() || asks_for_steps || !list.is_intermediate(image))
        .filter(|image| filter::all_accept(&filters, image, &list, &in_use))
        .collect();
    if args.json {
        let rows: Value = images.iter().map(|image| to_json(image, args, now)).collect();
        println!("{}", indented(&rows)?);
        return Ok(ExitCode::SUCCESS);
    }
    let mut newest_first = images;
    newest_first.sort_by_key(|image| std::cmp::Reverse(image.record.created));
    if args.quiet {
        newest_first.iter().for_each(|image| println!("{}", shown_id(image, args)));
        return Ok(ExitCode::SUCCESS);
    }
    let rows: Vec<Row> = newest_first.iter().flat_map(|image| rows(image, args, now)).collect();
    match &args.format {
        Some(format) => print_templated(format, &rows, args)?,
        None => print_table(&rows, args),
    }
    Ok(ExitCode::SUCCESS)
}

/// A line of the table: an image under one of its names.
struct Row {
    id: String,
    repository: String,
    tag: String,
    digest: String,
    created_at: String,
    created_at_raw: String,
    size: String,
    history: String,
    is_read_only: bool,
}

const NONE: &str = "<none>";

fn rows(image: &ListedImage, args: &Args, now: Timestamp) -> Vec<Row> {
    let record = &image.record;
    let names: Vec<Option<&String>> = match record.names.is_empty() {
        true => vec![None],
        false => record.names.iter().map(Some).collect(),
    };
    let row = |name: Option<&String>| {
        let (repository, tag) = name.map_or((NONE, NONE), |name| split_name(name));
        let mut history: &[String] = &record.names_history;
        if name.is_some() && history.first() == name {
            history = history.get(1..).unwrap_or_default();
        }
        Row {
            id: shown_id(image, args),
            repository: repository.to_owned(),
            tag: tag.to_owned(),
            digest: record.digest.as_ref().map_or_else(|| NONE.to_owned(), ToString::to_string),
            created_at: ago(record.created, now),
            created_at_raw: go_time(record.created),
            size: size(image.size, BUILDAH_UNITS),
            history: if history.is_empty() { NONE.to_owned() } else { history.join(", ") },
            is_read_only: record.read_only,
        }
    };
    names.into_iter().map(row).collect()
}

/// Repository and tag of a stored name; a digest stands where there is no tag.
fn split_name(name: &str) -> (&str, &str) {
    let (rest, digest) = name.split_once('@').map_or((name, None), |(rest, digest)| (rest, Some(digest)));
    match rest.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => (repository, tag),
        _ => (rest, if digest.is_some() { NONE } else { "latest" }),
    }
}

fn shown_id(image: &ListedImage, args: &Args) -> String {
    match args.no_trunc {
        true => format!("sha256:{}", image.record.id),
        false => image.record.id.short().to_owned(),
    }
}

fn print_table(rows: &[Row], args: &Args) {
    let mut lines = Vec::new();
    let mut columns = vec!["REPOSITORY", "TAG"];
    columns.extend(args.digests.then_some("DIGEST"));
    columns.extend(["IMAGE ID", "CREATED", "SIZE"]);
    columns.extend(args.history.then_some("HISTORY"));
    columns.extend(rows.iter().any(|row| row.is_read_only).then_some("R/O"));
    let has_read_only = columns.contains(&"R/O");
    if !args.noheading {
        lines.push(columns.join("\t"));
    }
    for row in rows {
        let mut cells = vec![row.repository.as_str(), &row.tag];
        cells.extend(args.digests.then_some(row.digest.as_str()));
        cells.extend([row.id.as_str(), &row.created_at, &row.size]);
        cells.extend(args.history.then_some(row.history.as_str()));
        cells.extend(has_read_only.then_some(if row.is_read_only { "true" } else { "false" }));
        lines.push(cells.join("\t"));
    }
    print!("{}", align(&lines, 3, 0));
}

fn print_templated(format: &str, rows: &[Row], args: &Args) -> Result<(), CommandError> {
    let heading = json!({
        "ID": "IMAGE ID", "Name": "REPOSITORY", "Repository": "REPOSITORY", "Tag": "TAG", "Digest": "DIGEST",
        "CreatedAt": "CREATED", "Created": "CREATED", "CreatedAtRaw": "CREATED", "Size": "SIZE",
        "ReadOnly": "R/O", "History": "HISTORY",
    });
    let rows = rows.iter().map(|row| {
        json!({
            "ID": row.id, "Name": row.repository, "Repository": row.repository, "Tag": row.tag, "Digest": row.digest,
            "CreatedAt": row.created_at, "Created": row.created_at, "CreatedAtRaw": row.created_at_raw,
            "Size": row.size, "ReadOnly": row.is_read_only, "History": row.history,
        })
    });
    print_rows(format, (!args.noheading).then_some(&heading), rows)
}

fn to_json(image: &ListedImage, args: &Args, now: Timestamp) -> Value {
    let record = &image.record;
    let list = |names: &[String]| if names.is_empty() { Value::Null } else { json!(names) };
    json!({
        "id": if args.no_trunc { format!("sha256:{}", record.id) } else { record.id.short().to_owned() },
        "names": list(&record.names),
        "digest": record.digest,
        "createdat": ago(record.created, now),
        "size": size(image.size, BUILDAH_UNITS),
        "created": record.created.as_second(),
        "createdatraw": record.created.to_string(),
        "readonly": record.read_only,
        "history": if args.history { list(&record.names_history) } else { Value::Null },
    })
}
