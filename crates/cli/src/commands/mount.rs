//! `gabion mount`

use std::process::ExitCode;

use buildkit_core::working_container::WorkingContainer;
use serde_json::json;
use store::Store;

use crate::command_error::{CommandError, for_each};
use crate::output::{indented, list_or_null};
use crate::session::Session;

/// Mount working containers and print where; without arguments, list those that are mounted
///
/// Mounts are counted: a container mounted twice must be unmounted twice.
#[derive(clap::Args)]
pub struct Args {
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Print everything at its full length, as is always done
    #[arg(long, hide = true)]
    notruncate: bool,
    /// Names or IDs of working containers
    container: Vec<String>,
}

pub fn run(args: &Args, session: &Session) -> Result<ExitCode, CommandError> {
    let store = session.store()?;
    let mut mounted = Vec::new();
    let result = match args.container.as_slice() {
        [] => list(&store, session).map(|list| mounted = list),
        names => for_each(session, names, |name| {
            let path = WorkingContainer::open(&store, name)?.mount()?;
            mounted.push((name.clone(), path.to_string_lossy().into_owned()));
            Ok(())
        }),
    };
    if args.json {
        // Who names one container knows it already.
        let with_name = args.container.len() != 1;
        let rows = mounted.iter().map(|(name, path)| match with_name {
            true => json!({"container": name, "mountPoint": path}),
            false => json!({"mountPoint": path}),
        });
        println!("{}", indented(&list_or_null(rows.collect()))?);
    } else if args.container.len() == 1 {
        mounted.iter().for_each(|(_, path)| println!("{path}"));
    } else {
        mounted.iter().for_each(|(name, path)| println!("{name} {path}"));
    }
    result.map(|()| ExitCode::SUCCESS)
}

fn list(store: &Store, session: &Session) -> Result<Vec<(String, String)>, CommandError> {
    let mounts = store.mounts()?;
    let containers = session.working_containers(store)?.into_iter();
    let mounted = containers.filter_map(|container| {
        let mount = mounts.iter().find(|mount| mount.container.as_ref() == Some(container.id()))?;
        Some((container.name().to_owned(), mount.path.to_string_lossy().into_owned()))
    });
    Ok(mounted.collect())
}
