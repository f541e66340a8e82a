//! A store of the test's own, with gabion and the peers pointed at it.
//!
//! ```text
//! <temporary directory>/
//!   store/  run/                     graphroot and runroot
//!   home/   tmp/                     HOME and TMPDIR of every tool
//!   storage.conf  containers.conf  registries.conf  policy.json  auth.json
//! ```
//!
//! The Go tools' defaults fail on machines without CAP_SYS_RESOURCE or systemd, hence the
//! containers.conf; the other files keep the machine's own configuration out of the tests.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::mount::{UnmountFlags, unmount};
use tempfile::TempDir;

use crate::tool::Tool;

static MADE: AtomicUsize = AtomicUsize::new(0);

/// A temporary store. When dropped, what is mounted in it is unmounted and all of it is removed.
pub struct Sandbox {
    // `None` once dropped.
    dir: Option<TempDir>,
    gabion: PathBuf,
    driver: &'static str,
}

impl Sandbox {
    /// An empty store. `gabion` is the binary: `env!("CARGO_BIN_EXE_gabion")`.
    pub fn new(gabion: impl Into<PathBuf>) -> Sandbox {
        Sandbox::below(&std::env::temp_dir(), gabion)
    }

    /// An empty store with this storage driver.
    pub fn with_driver(driver: &'static str, gabion: impl Into<PathBuf>) -> Sandbox {
        let mut sandbox = Sandbox::new(gabion);
        sandbox.driver = driver;
        sandbox.write_storage_conf();
        sandbox
    }

    /// The store's driver.
    pub fn driver(&self) -> &'static str {
        self.driver
    }

    fn write_storage_conf(&self) {
        let (driver, store, run) = (self.driver, self.graph_root(), self.run_root());
        let text = format!("[storage]\ndriver = {driver:?}\ngraphroot = {store:?}\nrunroot = {run:?}\n");
        self.write("storage.conf", text);
    }

    /// An empty store in a new directory below `parent`, to choose the disk that it is on.
    pub fn below(parent: &Path, gabion: impl Into<PathBuf>) -> Sandbox {
        // Paths become image names (`oci:PATH`), which have no capitals.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_nanos());
        let prefix = format!("gabion-test-{:x}-{now:x}-{}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
        let mut builder = tempfile::Builder::new();
        let dir = builder.prefix(&prefix).rand_bytes(0).tempdir_in(parent).expect("make a temporary directory");
        let sandbox = Sandbox { dir: Some(dir), gabion: gabion.into(), driver: "overlay" };
        for name in ["home", "tmp", "empty"] {
            fs::create_dir(sandbox.path(name)).expect("make a directory");
        }
        sandbox.write_storage_conf();
        sandbox.write(
            "containers.conf",
            format!(
                "[containers]\ndefault_ulimits = [\"nofile=1024:1024\", \"nproc=1024:1024\"]\n\
                 [engine]\nruntime = \"runc\"\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"file\"\nlock_type = \"file\"\n\
                 [network]\nnetwork_backend = \"netavark\"\nnetwork_config_dir = {:?}\n",
                sandbox.path("networks")
            ),
        );
        sandbox.write("registries.conf", "unqualified-search-registries = []\n");
        sandbox.write("policy.json", "{\"default\": [{\"type\": \"insecureAcceptAnything\"}]}\n");
        sandbox.write("auth.json", "{}\n");
        sandbox
    }

    /// The directory that holds everything of this sandbox.
    pub fn dir(&self) -> &Path {
        self.dir.as_ref().expect("not dropped").path()
    }

    /// A path in the sandbox's directory.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.dir().join(name)
    }

    /// Writes a file in the sandbox's directory, making the directories above it; gives its path.
    pub fn write(&self, name: impl AsRef<Path>, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("has a parent")).expect("make directories");
        fs::write(&path, content).unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
        path
    }

    /// The store's graphroot.
    pub fn graph_root(&self) -> PathBuf {
        self.path("store")
    }

    /// The store's runroot.
    pub fn run_root(&self) -> PathBuf {
        self.path("run")
    }

    /// gabion on this store.
    pub fn gabion<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Tool {
        self.on_store(&self.gabion).args(args)
    }

    /// Buildah on this store.
    pub fn buildah<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Tool {
        self.on_store("buildah").args(args)
    }

    /// Podman on this store, with no state outside the sandbox.
    pub fn podman<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Tool {
        self.on_store("podman").arg("--tmpdir").arg(self.path("run/podman")).args(args)
    }

    /// `podman run --rm` without a network; the arguments go on with the image.
    pub fn podman_run<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Tool {
        self.podman(["run", "--rm", "--network=none"]).args(args)
    }

    /// Skopeo; the store's images are `sandbox.storage("NAME")`.
    pub fn skopeo<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Tool {
        self.any("skopeo").arg("--policy").arg(self.path("policy.json")).args(args)
    }

    /// Any program, with the sandbox's environment.
    pub fn any(&self, program: impl AsRef<OsStr>) -> Tool {
        Tool::new(program)
            .env("HOME", self.path("home"))
            .env("TMPDIR", self.path("tmp"))
            .env("CONTAINERS_CONF", self.path("containers.conf"))
            .env("CONTAINERS_STORAGE_CONF", self.path("storage.conf"))
            .env("CONTAINERS_REGISTRIES_CONF", self.path("registries.conf"))
            .env("REGISTRY_AUTH_FILE", self.path("auth.json"))
            .env("LC_ALL", "C.UTF-8")
            .env_remove("STORAGE_DRIVER")
            .env_remove("STORAGE_OPTS")
            .env_remove("XDG_RUNTIME_DIR")
            .env_remove("XDG_CONFIG_HOME")
            .env_remove("SOURCE_DATE_EPOCH")
            .env_remove("http_proxy")
            .env_remove("https_proxy")
            .env_remove("HTTP_PROXY")
            .env_remove("HTTPS_PROXY")
            .in_dir(self.path("empty"))
    }

    /// Any program that takes Buildah's global options, on this store.
    pub fn on_store(&self, program: impl AsRef<OsStr>) -> Tool {
        let mut words = self.store_command(program).into_iter();
        self.any(words.next().expect("begins with the program")).args(words)
    }

    /// A program and the global options that point it at this store, as words.
    pub fn store_command(&self, program: impl AsRef<OsStr>) -> Vec<OsString> {
        let mut words = vec![program.as_ref().to_owned()];
        words.extend(["--root".into(), self.graph_root().into(), "--runroot".into(), self.run_root().into()]);
        words.extend(["--storage-driver".into(), self.driver.into()]);
        words
    }

    /// The name of an image of this store as Skopeo understands it.
    pub fn storage(&self, image: &str) -> String {
        let (store, run) = (self.graph_root(), self.run_root());
        format!("containers-storage:[{}@{}+{}]{image}", self.driver, store.display(), run.display())
    }

    /// Puts the base image into the store under `localhost/base:latest`, by Skopeo.
    pub fn import_base(&self) {
        let layout = format!("oci:{}:latest", crate::base_image::layout().display());
        self.skopeo(["copy", "-q", &layout, &self.storage("localhost/base:latest")]).ok();
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        let Some(dir) = self.dir.take() else { return };
        unmount_below(dir.path());
        let path = dir.path().to_owned();
        if std::thread::panicking() && std::env::var_os("GABION_TEST_KEEP").is_some() {
            eprintln!("kept: {}", dir.keep().display());
        } else if let Err(error) = dir.close() {
            eprintln!("cannot remove {}: {error}", path.display());
        }
    }
}

/// Unmounts everything below `dir`, the newest mount first.
pub fn unmount_below(dir: &Path) {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    // The fifth field is the mount point; temporary directories need no unescaping.
    let points = table.lines().rev().filter_map(|line| line.split(' ').nth(4));
    for point in points.filter(|point| Path::new(point).starts_with(dir)) {
        if let Err(error) = unmount(point, UnmountFlags::DETACH) {
            eprintln!("cannot unmount {point}: {error}");
        }
    }
}
