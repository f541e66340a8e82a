//! `gabion containers`

use std::collections::HashSet;
use std::process::ExitCode;

use oci::ContainerId;
use serde_json::{Value, json};
use store::Store;

use crate::command_error::CommandError;
use crate::output::{indented, list_or_null};
use crate::session::Session;
use crate::tabular::print_rows;

/// List working containers
#[derive(clap::Args)]
#[command(visible_aliases = ["list", "ls", "ps"])]
pub struct Args {
    /// Also list containers of other tools
    #[arg(short, long)]
    all: bool,
    /// List only those that match: id=, name= or ancestor=
    #[arg(short, long, value_name = "FILTER", value_delimiter = ',')]
    filter: Vec<String>,
    /// Print each with this Go template
    #[arg(long, value_name = "TEMPLATE", conflicts_with_all = ["json", "quiet"])]
    format: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Leave the table's heading out
    #[arg(short, long)]
    noheading: bool,
    /// Print whole IDs
    #[arg(long)]
    notruncate: bool,
    /// Print IDs only
    #[arg(short, long)]
    quiet: bool,
}

/// A row of the list.
struct Row {
    id: String,
    is_working: bool,
    image_id: String,
    image_name: String,
    name: String,
}

pub fn run(args: &Args, session: &Session) -> Result<ExitCode, CommandError> {
    let filters = args.filter.iter().map(|text| Filter::parse(text)).collect::<Result<Vec<_>, _>>()?;
    let store = session.store()?;
    let rows: Vec<Row> = rows(&store, session)?
        .into_iter()
        .filter(|row| args.all || row.is_working)
        .filter(|row| filters.iter().all(|filter| filter.accepts(row)))
        .collect();
    if args.json {
        let list: Vec<Value> = rows.iter().map(Row::to_json).collect();
        println!("{}", indented(&list_or_null(list))?);
    } else if let Some(format) = &args.format {
        let heading = json!({
            "ContainerID": "CONTAINER ID", "Builder": "BUILDER", "ImageID": "IMAGE ID",
            "ImageName": "IMAGE NAME", "ContainerName": "CONTAINER NAME",
        });
        print_rows(format, (!args.noheading).then_some(&heading), rows.iter().map(Row::to_template))?;
    } else {
        print_table(&rows, args);
    }
    Ok(ExitCode::SUCCESS)
}

fn rows(store: &Store, session: &Session) -> Result<Vec<Row>, CommandError> {
    let working: HashSet<ContainerId> =
        session.working_containers(store)?.iter().map(|container| container.id().clone()).collect();
    let images = store.images()?;
    let rows = store.containers()?.into_iter().map(|record| {
        let image_name = match &record.image {
            None => "scratch".to_owned(),
            // The name that the image has now.
            Some(id) => images.iter().find(|i| &i.id == id).and_then(|i| i.names.first().cloned()).unwrap_or_default(),
        };
        Row {
            is_working: working.contains(&record.id),
            id: record.id.to_string(),
            image_id: record.image.map(|id| id.to_string()).unwrap_or_default(),
            image_name,
            name: record.names.first().cloned().unwrap_or_default(),
        }
    });
    Ok(rows.collect())
}

fn print_table(rows: &[Row], args: &Args) {
    if args.quiet {
        // Scripts take IDs from here, so they are whole.
        rows.iter().for_each(|row| println!("{}", row.id));
        return;
    }
    let shown = |id: &str| if args.notruncate { id.to_owned() } else { short(id) };
    // Buildah's table of whole IDs has one blank less here.
    let (width, gap) = if args.notruncate { (64, " ") } else { (12, "  ") };
    if !args.noheading {
        println!("{:<width$}{gap}BUILDER  {:<width$} {:<32} CONTAINER NAME", "CONTAINER ID", "IMAGE ID", "IMAGE NAME");
    }
    for row in rows {
        let mark = if row.is_working { "*" } else { "" };
        let (id, image_id) = (shown(&row.id), shown(&row.image_id));
        let image_name: String = match args.notruncate {
            true => row.image_name.clone(),
            false => row.image_name.chars().take(32).collect(),
        };
        println!("{id:<width$}{gap}{mark:^7}  {image_id:<width$} {image_name:<32} {}", row.name);
    }
}

fn short(id: &str) -> String {
    id.get(..12).unwrap_or(id).to_owned()
}

impl Row {
    fn to_json(&self) -> Value {
        json!({
            "id": self.id,
            "builder": self.is_working,
            "imageid": self.image_id,
            "imagename": self.image_name,
            "containername": self.name,
        })
    }

    /// IDs are whole, `--notruncate` or not.
    fn to_template(&self) -> Value {
        json!({
            "ContainerID": self.id,
            "Builder": if self.is_working { "   *" } else { "" },
            "ImageID": self.image_id,
            "ImageName": self.image_name,
            "ContainerName": self.name,
        })
    }
}

/// A condition of `--filter`.
struct Filter {
    key: FilterKey,
    value: String,
}

/// Whether `name` ends in `end`: in its repository, and has the same tag if `end` has one.
fn names_end_with(name: &str, end: &str) -> bool {
    let split = |text: &str| match text.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => (repository.to_owned(), Some(tag.to_owned())),
        _ => (text.to_owned(), None),
    };
    let ((repository, tag), (wanted, wanted_tag)) = (split(name), split(end));
    repository.ends_with(&wanted) && (wanted_tag.is_none() || wanted_tag == tag)
}

enum FilterKey {
    Id,
    Name,
    Ancestor,
}

impl Filter {
    fn parse(text: &str) -> Result<Filter, CommandError> {
        let invalid = || CommandError::invalid("--filter", text, "expected id=, name= or ancestor= with a value");
        let (key, value) = text.split_once('=').filter(|(_, value)| !value.is_empty()).ok_or_else(invalid)?;
        let key = match key {
            "id" => FilterKey::Id,
            "name" => FilterKey::Name,
            "ancestor" => FilterKey::Ancestor,
            _ => return Err(invalid()),
        };
        Ok(Filter { key, value: value.to_owned() })
    }

    fn accepts(&self, row: &Row) -> bool {
        match self.key {
            FilterKey::Id => row.id.starts_with(&self.value),
            FilterKey::Name => row.name.contains(&self.value),
            FilterKey::Ancestor => {
                row.image_id.starts_with(&self.value) || names_end_with(&row.image_name, &self.value)
            }
        }
    }
}
