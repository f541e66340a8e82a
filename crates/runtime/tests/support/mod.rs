//! A root file system made of busybox, and steps that run in it.
#![allow(dead_code, clippy::expect_used, reason = "tests")]

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use runtime::{
    Exit, HostFiles, Isolation, Mount, MountKind, Network, Outcome, ProcessSpec, RunError, RunOptions, Stdio,
};

/// Steps without a runtime need a program that is protected from them, and that begins before any test.
#[unsafe(link_section = ".init_array")]
#[used]
static PROTECT: extern "C" fn() = protect;

extern "C" fn protect() {
    runtime::protect_own_program().expect("protect the tests' program");
}

/// What every case is run with: two runtimes, and none.
pub const RUNTIMES: [&str; 3] = ["runc", "crun", CHROOT];

/// Not a runtime: what the crate does itself.
pub const CHROOT: &str = "chroot";

/// A step to be.
pub struct Step {
    temp: tempfile::TempDir,
    pub options: RunOptions,
    stdin: Vec<u8>,
    pub stdout: Option<OwnedFd>,
}

/// A step that has been run.
pub struct Done {
    temp: tempfile::TempDir,
    id: String,
    pub result: Result<Outcome, RunError>,
    pub stdout: String,
    pub stderr: String,
}

impl Step {
    /// A step without a network, in a root file system of its own.
    pub fn new(runtime: &str) -> Step {
        let temp = tempfile::tempdir().expect("temp dir");
        let rootfs = temp.path().join("rootfs");
        for dir in ["bin", "etc", "proc", "dev", "sys", "tmp"] {
            fs::create_dir_all(rootfs.join(dir)).expect("mkdir");
        }
        fs::copy("/usr/bin/busybox", rootfs.join("bin/busybox"))
            .or_else(|_| fs::copy("/bin/busybox", rootfs.join("bin/busybox")))
            .expect("busybox-static is installed");
        for applet in "sh cat echo env sort pwd stat id ls grep wc head tail tr touch mknod chmod chroot hostname swapoff unshare test true
            false kill sleep df awk nc ip tty stty trap readlink dd seq mkdir rm"
            .split_whitespace()
        {
            symlink("busybox", rootfs.join("bin").join(applet)).expect("symlink");
        }
        fs::write(rootfs.join("etc/passwd"), "root:x:0:0::/root:/bin/sh\ntester:x:1000:1000::/home/tester:/bin/sh\n")
            .expect("write");
        fs::write(rootfs.join("etc/group"), "root:x:0:\ntester:x:1000:\naudio:x:29:tester\n").expect("write");
        let id = format!(
            "test-{}",
            temp.path().file_name().and_then(|name| name.to_str()).expect("name").trim_start_matches('.')
        );
        let process = ProcessSpec { env: vec!["PATH=/bin".into()], working_dir: "/".into(), ..ProcessSpec::default() };
        let mut options = RunOptions::new(temp.path().join("bundle"), rootfs, id, process);
        match runtime {
            // It does without.
            CHROOT => (options.runtime, options.isolation) = ("no-such-runtime".into(), Isolation::Chroot),
            runtime => options.runtime = runtime.into(),
        }
        options.network = Network::None;
        options.hostname = Some("step".into());
        options.host_files = HostFiles::default();
        Step { temp, options, stdin: Vec::new(), stdout: None }
    }

    pub fn dir(&self) -> &Path {
        self.temp.path()
    }

    pub fn rootfs(&self) -> &Path {
        &self.options.rootfs
    }

    pub fn sh(mut self, script: &str) -> Step {
        self.options.process.args = vec!["sh".into(), "-c".into(), script.into()];
        self
    }

    pub fn stdin(mut self, text: &str) -> Step {
        self.stdin = text.into();
        self
    }

    pub fn setup(self, change: impl FnOnce(&Path)) -> Step {
        change(self.rootfs());
        self
    }

    pub fn with(mut self, mount: Mount) -> Step {
        self.options.mounts.push(mount);
        self
    }

    pub fn mount(self, target: &str, kind: MountKind) -> Step {
        self.with(Mount { target: target.into(), kind, read_only: false })
    }

    pub fn read_only_mount(self, target: &str, kind: MountKind) -> Step {
        self.with(Mount { target: target.into(), kind, read_only: true })
    }

    /// Runs it with pipes as its streams.
    pub fn run(mut self) -> Done {
        let (stdin_reader, mut stdin) = std::io::pipe().expect("pipe");
        let (mut stdout, stdout_writer) = std::io::pipe().expect("pipe");
        let (mut stderr, stderr_writer) = std::io::pipe().expect("pipe");
        stdin.write_all(&self.stdin).expect("write");
        drop(stdin);
        let stdout_writer = self.stdout.take().unwrap_or_else(|| stdout_writer.into());
        self.options.stdio =
            Stdio::Descriptors { stdin: stdin_reader.into(), stdout: stdout_writer, stderr: stderr_writer.into() };
        self.options.forward_signals = false;
        let id = self.options.id.clone();
        let read = |pipe: &mut std::io::PipeReader| {
            let mut bytes = Vec::new();
            pipe.read_to_end(&mut bytes).expect("read");
            String::from_utf8_lossy(&bytes).into_owned()
        };
        let options = self.options;
        let (result, stdout, stderr) = std::thread::scope(|scope| {
            let out = scope.spawn(|| read(&mut stdout));
            let err = scope.spawn(|| read(&mut stderr));
            let result = runtime::run(options);
            (result, out.join().expect("stdout"), err.join().expect("stderr"))
        });
        Done { temp: self.temp, id, result, stdout, stderr }
    }
}

impl Done {
    pub fn exit(&self) -> Exit {
        match &self.result {
            Ok(outcome) => outcome.exit,
            Err(error) => panic!("{error}; stderr: {}", self.stderr),
        }
    }

    pub fn rootfs(&self) -> PathBuf {
        self.temp.path().join("rootfs")
    }

    pub fn bundle(&self) -> PathBuf {
        self.temp.path().join("bundle")
    }

    pub fn id(&self) -> String {
        self.id.clone()
    }
}

/// Control groups of a v1 hierarchy whose name holds `id`.
pub fn cgroups_named(hierarchy: &str, id: &str) -> Vec<PathBuf> {
    fn walk(dir: &Path, id: &str, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten().filter(|entry| entry.path().is_dir()) {
            if entry.file_name().to_string_lossy().contains(id) {
                found.push(entry.path());
            }
            walk(&entry.path(), id, found);
        }
    }
    let mut found = Vec::new();
    walk(&Path::new("/sys/fs/cgroup").join(hierarchy), id, &mut found);
    found
}
