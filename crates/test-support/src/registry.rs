//! Debian's docker-registry on a free loopback port: plain, with passwords, or with TLS.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};

use tempfile::TempDir;

use crate::tool::Tool;

/// A running registry. When dropped, it is ended and its content removed.
pub struct DockerRegistry {
    dir: TempDir,
    process: Child,
    address: String,
}

/// User of a registry with passwords.
pub const USER: &str = "mason";
/// Password of [`USER`].
pub const PASSWORD: &str = "s3cret:with colon";

impl DockerRegistry {
    /// HTTP, open to all.
    pub fn plain() -> DockerRegistry {
        start("")
    }

    /// HTTP; [`USER`] and [`PASSWORD`] are asked for by basic authentication.
    pub fn with_password() -> DockerRegistry {
        start("auth:\n  htpasswd: {realm: gabion test, path: DIR/htpasswd}\n")
    }

    /// HTTPS with a certificate for 127.0.0.1 and localhost signed by the CA in
    /// [`ca_dir`](DockerRegistry::ca_dir).
    pub fn with_tls() -> DockerRegistry {
        start("  tls: {certificate: DIR/server.crt, key: DIR/server.key}\n")
    }

    /// As [`with_tls`](DockerRegistry::with_tls), but the certificate has signed itself: it is what
    /// [`ca_dir`](DockerRegistry::ca_dir) has.
    pub fn with_own_certificate() -> DockerRegistry {
        start("  tls: {certificate: DIR/ca/ca.crt, key: DIR/ca.key}\n")
    }

    /// `127.0.0.1:PORT`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// `docker://127.0.0.1:PORT/NAME`.
    pub fn image(&self, name: &str) -> String {
        format!("docker://{}/{name}", self.address)
    }

    /// A directory with `ca.crt`, as `--cert-dir` wants it.
    pub fn ca_dir(&self) -> PathBuf {
        self.dir.path().join("ca")
    }

    /// The file that holds blob `digest` (`sha256:…`), whether or not it is there.
    pub fn blob(&self, digest: &str) -> PathBuf {
        let hex = digest.trim_start_matches("sha256:");
        let blobs = self.dir.path().join("data/docker/registry/v2/blobs/sha256");
        blobs.join(hex.get(..2).expect("a digest")).join(hex).join("data")
    }
}

impl Drop for DockerRegistry {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Starts a registry whose configuration ends in `extra`, where DIR stands for its directory.
fn start(extra: &str) -> DockerRegistry {
    let dir = tempfile::Builder::new().prefix("gabion-registry-").tempdir().expect("make a temporary directory");
    let path = dir.path();
    if extra.contains("htpasswd") {
        let line = Tool::new("htpasswd").args(["-nbB", USER, PASSWORD]).ok();
        fs::write(path.join("htpasswd"), line + "\n").expect("write htpasswd");
    }
    if extra.contains("tls") {
        make_certificates(path);
    }
    let config = format!(
        "version: 0.1\nlog: {{level: info, accesslog: {{disabled: true}}}}\n\
         storage:\n  filesystem: {{rootdirectory: DIR/data}}\n  delete: {{enabled: true}}\n\
         http:\n  addr: 127.0.0.1:0\n{extra}"
    );
    let config_file = path.join("config.yml");
    fs::write(&config_file, config.replace("DIR", path.to_str().expect("UTF-8"))).expect("write the configuration");
    let mut process = Command::new("docker-registry")
        .arg("serve")
        .arg(&config_file)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("cannot start docker-registry: {error}"));
    let address = address_from_log(process.stderr.take().expect("stderr is piped"));
    DockerRegistry { dir, process, address }
}

/// Waits until the registry says where it listens; a thread then reads on, so that it never blocks.
fn address_from_log(log: ChildStderr) -> String {
    let mut lines = BufReader::new(log).lines().map_while(Result::ok);
    let mut seen = Vec::new();
    for line in lines.by_ref() {
        if let Some((_, rest)) = line.split_once("listening on ") {
            let address: String = rest.chars().take_while(|c| c.is_ascii_digit() || matches!(c, '.' | ':')).collect();
            std::thread::spawn(move || lines.for_each(drop));
            return address;
        }
        seen.push(line);
    }
    panic!("docker-registry did not start: {}", seen.join("\n"));
}

fn make_certificates(dir: &Path) {
    let openssl = |args: &[&str]| Tool::new("openssl").args(args).in_dir(dir).ok();
    fs::create_dir(dir.join("ca")).expect("make a directory");
    let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"];
    let ca = ["req", "-x509", "-subj", "/CN=gabion test CA", "-keyout", "ca.key", "-out", "ca/ca.crt"];
    openssl(&[&ca[..], &key[..], &["-addext", "subjectAltName=IP:127.0.0.1"]].concat());
    let request = ["req", "-subj", "/CN=localhost", "-keyout", "server.key", "-out", "server.csr"];
    openssl(&[&request[..], &key[..5]].concat());
    fs::write(dir.join("extensions"), "subjectAltName=DNS:localhost,IP:127.0.0.1\nbasicConstraints=CA:FALSE\n")
        .expect("write the extensions");
    let sign = ["x509", "-req", "-in", "server.csr", "-CA", "ca/ca.crt", "-CAkey", "ca.key", "-CAcreateserial"];
    openssl(&[&sign[..], &["-days", "2", "-extfile", "extensions", "-out", "server.crt"]].concat());
}
