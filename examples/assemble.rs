//! Assembles an image with the library alone: no command line, no Dockerfile, no base image.
//!
//! ```console
//! # cargo run -p buildkit-core --example assemble -- /tmp/store /tmp/run
//! ```
//!
//! makes `localhost/greeting` in a store at the first directory, whose state is in the second.

use std::error::Error;
use std::path::Path;

use buildkit_core::commit::{Afterwards, CommitOptions, commit};
use buildkit_core::configure::{ConfigChanges, Edit, configure};
use buildkit_core::event::Event;
use buildkit_core::image::store_name;
use buildkit_core::working_container::{FromOptions, WorkingContainer};
use oci::{Format, Platform};
use rootfs::{Owner, Root};
use store::{Store, StoreOptions};

fn main() -> Result<(), Box<dyn Error>> {
    let mut directories = std::env::args_os().skip(1);
    let (Some(graph_root), Some(run_root)) = (directories.next(), directories.next()) else {
        return Err("expected two directories: the store's and its state's".into());
    };
    let store = Store::open(StoreOptions::new(graph_root, run_root))?;

    // A working container from scratch, and a file in it.
    let options = FromOptions { name: None, suffix: None, format: Format::Oci, platform: Platform::host() };
    let mut container = WorkingContainer::from(&store, None, &options)?;
    write_greeting(&container.mount()?)?;
    container.unmount(false)?;

    // What the image says of itself.
    let changes = ConfigChanges {
        labels: vec![Edit::Set("org.opencontainers.image.title".into(), Some("greeting".into()))],
        working_dir: Some("/srv".into()),
        created_by: Some("examples/assemble.rs".into()),
        ..ConfigChanges::default()
    };
    configure(container.state_mut(), &changes);
    container.save()?;

    // The container becomes the image: none of its files is copied.
    let options = CommitOptions {
        names: vec![store_name("greeting")?],
        afterwards: Afterwards::Remove,
        ..CommitOptions::default()
    };
    let print = |event: Event| eprintln!("{event:?}");
    let committed = commit(container, &options, &print)?;
    println!("{} {}", committed.image_id, committed.manifest.digest());
    Ok(())
}

/// Files in a rootfs are reached through [`Root`], which no symlink can lead out of it.
fn write_greeting(rootfs: &Path) -> Result<(), Box<dyn Error>> {
    let root = Root::open(rootfs)?;
    let owner = Owner { uid: 0, gid: 0 };
    root.create_dir_all("srv", 0o755, owner)?;
    let mut file = root.create_file("srv/greeting", 0o644, owner)?;
    std::io::Write::write_all(&mut file, b"Hello from a library\n")?;
    Ok(())
}
