//! `gabion du`

use std::process::ExitCode;

use buildkit_core::prune::{UsedItem, usage};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::prune::{kind_name, short};
use crate::command_error::{CommandError, printable};
use crate::output::indented;
use crate::session::Session;
use crate::tabular::{BUILDAH_UNITS, ago, align, print_rows, size};

/// List what takes room in the store: images, containers, the build cache, cache mounts, records of builds, leftovers of
/// killed builds
///
/// An image's size is that of all its layers; SHARED is how much of it other images have too.
#[derive(clap::Args)]
pub struct Args {
    /// Print each with this Go template
    #[arg(long, value_name = "TEMPLATE", conflicts_with = "json")]
    format: Option<String>,
    /// Print JSON, sizes in bytes
    #[arg(long)]
    json: bool,
    /// Print whole IDs
    #[arg(long)]
    no_trunc: bool,
    /// Leave the table's heading and totals out
    #[arg(short, long)]
    noheading: bool,
}

pub fn run(args: &Args, session: &Session) -> Result<ExitCode, CommandError> {
    let store = session.store_with_leftovers()?;
    let usage = usage(&store)?;
    let now = Timestamp::now();
    if args.json {
        println!("{}", indented(&usage.items.iter().map(to_json).collect::<Value>())?);
    } else if let Some(format) = &args.format {
        let heading = json!({
            "Type": "TYPE", "ID": "ID", "Size": "SIZE", "Shared": "SHARED", "Created": "CREATED",
            "LastUsed": "LAST USED", "InUse": "IN USE", "Names": "NAME",
        });
        let rows = usage.items.iter().map(|item| to_template(item, now));
        print_rows(format, (!args.noheading).then_some(&heading), rows)?;
    } else {
        print!("{}", table(&usage.items, args, now));
        if !args.noheading {
            let (total, reclaimable) = (size(usage.total, BUILDAH_UNITS), size(usage.reclaimable, BUILDAH_UNITS));
            println!("total: {total}, of which `gabion prune` frees {reclaimable}");
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn table(items: &[UsedItem], args: &Args, now: Timestamp) -> String {
    let mut rows = Vec::new();
    if !args.noheading {
        rows.push("TYPE\tID\tSIZE\tSHARED\tCREATED\tLAST USED\tIN USE\tNAME".to_owned());
    }
    let when = |time: Option<Timestamp>| time.map_or("-".to_owned(), |time| ago(time, now));
    for item in items {
        let id = if args.no_trunc { &item.id } else { short(&item.id) };
        rows.push(format!(
            "{}\t{id}\t{}\t{}\t{}\t{}\t{}\t{}",
            kind_name(item.kind),
            size(item.size, BUILDAH_UNITS),
            size(item.shared, BUILDAH_UNITS),
            when(item.created),
            when(item.last_used),
            if item.in_use { "yes" } else { "no" },
            printable(&item.names.join(", ")),
        ));
    }
    align(&rows, 3, 0)
}

fn to_json(item: &UsedItem) -> Value {
    json!({
        "type": kind_name(item.kind),
        "id": item.id,
        "names": item.names,
        "size": item.size,
        "shared": item.shared,
        "created": item.created,
        "lastused": item.last_used,
        "inuse": item.in_use,
    })
}

fn to_template(item: &UsedItem, now: Timestamp) -> Value {
    let when = |time: Option<Timestamp>| time.map_or(String::new(), |time| ago(time, now));
    json!({
        "Type": kind_name(item.kind),
        "ID": item.id,
        "Names": item.names.join(", "),
        "Size": size(item.size, BUILDAH_UNITS),
        "Shared": size(item.shared, BUILDAH_UNITS),
        "Created": when(item.created),
        "LastUsed": when(item.last_used),
        "InUse": item.in_use,
    })
}
