//! `gabion info`

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use serde_json::{Map, Value, json};
use store::{Driver, Store};

use crate::command_error::CommandError;
use crate::output::{print_one, template_of};
use crate::session::Session;

/// Show the host and the store as gabion sees them
#[derive(clap::Args)]
pub struct Args {
    /// Also show what is of use in a bug report
    #[arg(short, long)]
    debug: bool,
    /// Print with this Go template instead of as JSON
    #[arg(short = 'f', long, value_name = "TEMPLATE")]
    format: Option<String>,
}

pub fn run(args: &Args, session: &Session) -> Result<ExitCode, CommandError> {
    let template = template_of(args.format.as_deref())?;
    let store = session.store()?;
    let mut info = Map::new();
    if args.debug {
        info.insert("debug".into(), json!({ "gabion version": env!("CARGO_PKG_VERSION") }));
    }
    info.insert("host".into(), host());
    // Buildah says nothing of these.
    if !session.called_as_buildah() {
        info.insert("kernel".into(), kernel());
        info.insert("programs".into(), programs(session));
    }
    info.insert("store".into(), describe(&store)?);
    let info = Value::Object(info);
    print_one(&info, template.as_ref())?;
    Ok(ExitCode::SUCCESS)
}

/// Programs of the host that gabion uses: where each is, or what is missing without it and which
/// package brings it.
fn programs(session: &Session) -> Value {
    const PROGRAMS: [(&str, &str, &str); 7] = [
        ("runc", "runs commands (crun does, too; --isolation chroot needs neither)", "runc"),
        ("crun", "runs commands (runc does, too; --isolation chroot needs neither)", "crun"),
        ("netavark", "makes private networks of commands", "netavark"),
        ("aardvark-dns", "resolves names in Podman's networks", "aardvark-dns"),
        ("git", "fetches sources from git repositories", "git"),
        ("ssh", "reaches git repositories by git@HOST:PATH", "openssh-client"),
        ("cpp", "reads Containerfile.in", "cpp"),
    ];
    let search_path = session.env("PATH").unwrap_or_default();
    let helpers = ["/usr/libexec/podman", "/usr/lib/podman", "/usr/local/libexec/podman"];
    let directories = || search_path.split(':').chain(helpers).map(Path::new);
    let describe = |(name, purpose, package): (&str, &str, &str)| {
        let found = directories().map(|directory| directory.join(name)).find(|path| path.is_file());
        let text = match found {
            Some(path) => path.to_string_lossy().into_owned(),
            None => format!("missing: {purpose}; Debian's package {package} has it"),
        };
        (name.to_owned(), Value::from(text))
    };
    PROGRAMS.into_iter().map(describe).collect::<Map<_, _>>().into()
}

/// What gabion uses of the kernel where it is there, and what goes without.
fn kernel() -> Value {
    let reads = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let told = |is_there: bool, what: &str, without: &str| match is_there {
        true => what.to_owned(),
        false => format!("missing: {without}"),
    };
    let controllers = reads("/sys/fs/cgroup/cgroup.controllers");
    let has_overlay =
        reads("/proc/filesystems").lines().any(|line| line.trim_start_matches("nodev").trim() == "overlay");
    let has_seccomp = reads("/proc/self/status").contains("\nSeccomp:");
    let has_apparmor = reads("/sys/module/apparmor/parameters/enabled").starts_with('Y');
    json!({
        "apparmor": told(has_apparmor, "usable", "--security-opt apparmor= has no effect"),
        "control groups": told(!controllers.trim().is_empty(), controllers.trim(), "limits such as --memory need cgroup v2"),
        "overlay": told(has_overlay, "usable", "load the module overlay, or use --storage-driver vfs"),
        "seccomp": told(has_seccomp, "usable", "commands may call everything of the kernel"),
    })
}

fn host() -> Value {
    let platform = oci::Platform::host();
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let bytes = |key: &str| {
        let line = memory.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
        let kib: u64 = line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0);
        kib * 1024
    };
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let os = |key: &str| {
        let line = release.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        line.map_or_else(|| "unknown".to_owned(), |value| value.trim_matches('"').to_owned())
    };
    let system = rustix::system::uname();
    json!({
        "CgroupVersion": if Path::new("/sys/fs/cgroup/cgroup.controllers").exists() { "v2" } else { "v1" },
        "Distribution": { "distribution": os("ID"), "version": os("VERSION_ID") },
        "MemFree": bytes("MemFree"),
        "MemTotal": bytes("MemTotal"),
        "OCIRuntime": "runc",
        "SwapFree": bytes("SwapFree"),
        "SwapTotal": bytes("SwapTotal"),
        "arch": platform.architecture,
        "cpus": std::thread::available_parallelism().map_or(1, usize::from),
        "hostname": system.nodename().to_string_lossy(),
        "kernel": system.release().to_string_lossy(),
        "os": platform.os,
        "rootless": !rustix::process::geteuid().is_root(),
        "uptime": uptime(),
        "variant": platform.variant.unwrap_or_default(),
    })
}

/// `1h 9m 6.09s (Approximately 0.04 days)`
fn uptime() -> String {
    let text = fs::read_to_string("/proc/uptime").unwrap_or_default();
    let seconds: f64 = text.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(0.0);
    let whole = seconds as u64;
    let (hours, minutes) = (whole / 3600, whole / 60 % 60);
    let rest = seconds - (hours * 3600 + minutes * 60) as f64;
    let precise = match (hours, minutes) {
        (0, 0) => format!("{rest:.2}s"),
        (0, _) => format!("{minutes}m {rest:.2}s"),
        _ => format!("{hours}h {minutes}m {rest:.2}s"),
    };
    if hours == 0 { precise } else { format!("{precise} (Approximately {:.2} days)", hours as f64 / 24.0) }
}

fn describe(store: &Store) -> Result<Value, CommandError> {
    let options: Vec<String> = store
        .options()
        .additional_image_stores
        .iter()
        .map(|path| format!("overlay.imagestore={}", path.display()))
        .collect();
    let mount_options = &store.options().mount_options;
    let mount = (!mount_options.is_empty()).then(|| format!("overlay.mountopt={}", mount_options.join(",")));
    let status = match store.driver() {
        Driver::Vfs => json!({}),
        Driver::Overlay => json!({
            "Backing Filesystem": file_system(store.graph_root()),
            "Native Overlay Diff": "true",
            "Supports d_type": "true",
            "Using metacopy": "false",
        }),
    };
    Ok(json!({
        "ContainerStore": { "number": store.containers()?.len() },
        "GraphDriverName": store.driver().name(),
        "GraphOptions": options.into_iter().chain(mount).collect::<Vec<_>>(),
        "GraphRoot": store.graph_root().to_string_lossy(),
        "GraphStatus": status,
        "ImageStore": { "number": store.images()?.len() },
        "RunRoot": store.run_root().to_string_lossy(),
    }))
}

/// The name that containers/storage has for the file system.
fn file_system(path: &Path) -> String {
    let Ok(stat) = rustix::fs::statfs(path) else { return "<unknown>".to_owned() };
    match stat.f_type as u32 {
        0x0000_ef53 => "extfs".to_owned(),
        0x5846_5342 => "xfs".to_owned(),
        0x9123_683e => "btrfs".to_owned(),
        0x0102_1994 => "tmpfs".to_owned(),
        0x794c_7630 => "overlayfs".to_owned(),
        0x2fc1_2fc1 => "zfs".to_owned(),
        0xf2f5_2010 => "f2fs".to_owned(),
        0xca45_1a4e => "bcachefs".to_owned(),
        magic => format!("<unknown> ({magic:#x})"),
    }
}
