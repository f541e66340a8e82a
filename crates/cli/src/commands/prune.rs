//! `gabion prune`

use std::process::ExitCode;

use buildkit_core::prune::{Candidate, Kind, PruneOptions, plan};
use buildkit_core::run::parse_size;
use jiff::Timestamp;

use super::images::filter::parse_time;
use crate::command_error::{CommandError, for_each, printable};
use crate::session::Session;
use crate::tabular::{BUILDAH_UNITS, ago, align, size};

/// Remove what nothing needs: nameless images, layers of the build cache, cache mounts, what killed builds left
///
/// Records of builds whose layers are gone go, too. A layer of the cache, and a nameless image, was last used when a
/// build last took it. Prints the IDs of the images that are gone, as `buildah prune` does, and what else is. What is in use stays.
#[derive(clap::Args)]
pub struct Args {
    /// Remove every image that no container is based on, those with names too
    #[arg(short, long)]
    all: bool,
    /// Show what would go and how many bytes that frees, and remove nothing
    #[arg(long)]
    dry_run: bool,
    /// Remove only what matches: until=TIME, last used before a time such as 2026-01-31T00:00:00Z or so long ago,
    /// such as 24h
    #[arg(long, value_name = "FILTER")]
    filter: Vec<String>,
    /// Remove images though containers are based on them, and the containers too
    #[arg(short, long)]
    force: bool,
    /// Leave what was used last, up to this size, such as 10g
    #[arg(long, value_name = "SIZE", value_parser = parse_budget)]
    keep_storage: Option<u64>,
}

pub fn run(args: &Args, session: &Session) -> Result<ExitCode, CommandError> {
    let now = Timestamp::now();
    let mut options =
        PruneOptions { all: args.all, force: args.force, keep_storage: args.keep_storage, ..PruneOptions::default() };
    for filter in &args.filter {
        let until = match filter.split_once('=') {
            Some(("until", value)) => parse_time(filter, value, now)?,
            _ => return Err(CommandError::invalid("--filter", filter, "expected until=")),
        };
        options.until = Some(options.until.map_or(until, |other| other.min(until)));
    }
    let store = session.store_with_leftovers()?;
    let plan = plan(&store, &options)?;
    if args.dry_run {
        print!("{}", table(&plan.candidates, now));
        println!("would free {}", size(plan.frees(), BUILDAH_UNITS));
        return Ok(ExitCode::SUCCESS);
    }
    let pruned = plan.carry_out(&store);
    let images = || pruned.removed.iter().filter(|removed| removed.kind.is_image());
    for name in images().flat_map(|image| &image.names) {
        println!("untagged: {name}");
    }
    images().for_each(|image| println!("{}", image.id));
    // Buildah's scripts expect images only.
    if !session.called_as_buildah() {
        for other in pruned.removed.iter().filter(|removed| !removed.kind.is_image()) {
            println!("{}: {}", kind_name(other.kind), printable(other.names.first().unwrap_or(&other.id)));
        }
        let freed = pruned.removed.iter().map(|removed| removed.frees).sum();
        eprintln!("freed {}", size(freed, BUILDAH_UNITS));
    }
    for_each(session, pruned.errors, |error| Err(error.into()))?;
    Ok(ExitCode::SUCCESS)
}

fn table(candidates: &[Candidate], now: Timestamp) -> String {
    let mut rows = vec!["TYPE\tID\tSIZE\tLAST USED\tNAME".to_owned()];
    for candidate in candidates {
        let (kind, id) = (kind_name(candidate.kind), short(&candidate.id));
        let (bytes, used) = (size(candidate.frees, BUILDAH_UNITS), ago(candidate.last_used, now));
        rows.push(format!("{kind}\t{id}\t{bytes}\t{used}\t{}", printable(&candidate.names.join(", "))));
    }
    align(&rows, 3, 0)
}

/// What a kind is called in lists.
pub fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Leftover => "leftover",
        Kind::Container => "container",
        Kind::Image => "image",
        Kind::BuildCache => "build cache",
        Kind::Layer => "layer",
        Kind::CacheMount => "cache mount",
        Kind::Records => "records",
    }
}

/// As much of an ID as a table has room for.
pub fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}

/// A size on the command line.
pub fn parse_budget(text: &str) -> Result<u64, String> {
    parse_size(text).ok_or_else(|| "expected a number with k, m, g or t".to_owned())
}
