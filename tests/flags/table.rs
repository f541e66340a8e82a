//! The flags that take a value, each with what it refuses.

/// What becomes of an empty value.
pub enum Empty {
    /// It is refused with these words.
    Refused(&'static str),
    /// It is taken, as Buildah does; why.
    Taken(&'static str),
}

/// Arguments, and the words of the refusal.
pub type Refusal = (&'static [&'static str], &'static [&'static str]);

/// Which values are wrong.
pub enum Values {
    /// There are other wrong ones than the empty one.
    Wrong(&'static [Refusal]),
    /// None that is not empty; why.
    Free(&'static str),
}

/// Commands, flag, its empty value, its wrong values.
pub type Row = (&'static str, &'static str, Empty, Values);

use Empty::{Refused, Taken};
use Values::{Free, Wrong};

/// Commands that reach registries.
const REGISTRY: &str = "add,build,commit,copy,from,pull,push,\
                        manifest add,manifest annotate,manifest create,manifest inspect,manifest push";
const TRANSFER: &str = "build,commit,pull,push,manifest push";
const COMPRESSION: &str = "build,commit,push,manifest push";
/// Commands about an entry of a manifest list.
const ENTRY: &str = "manifest add,manifest annotate";
const SANDBOX: &str = "build,from,run";
const LIMITS: &str = "build,from";
const PLATFORM: &str = "build,from,pull";

pub const FLAGS: &[Row] = &[
    // Registries.
    (
        REGISTRY,
        "--authfile",
        Refused("<FILE>"),
        Wrong(&[(&["--authfile=/nosuch"], &["/nosuch", "credential file is not accessible"])]),
    ),
    (
        REGISTRY,
        "--cert-dir",
        Refused("<DIR>"),
        Wrong(&[
            (&["--cert-dir=/nosuch"], &["/nosuch", "expected a directory"]),
            (&["--cert-dir=file"], &["file", "expected a directory"]),
        ]),
    ),
    (REGISTRY, "--creds", Refused("USER[:PASSWORD]"), Wrong(&[(&["--creds=:x"], &["USER[:PASSWORD]"])])),
    (
        REGISTRY,
        "--signature-policy",
        Refused("<FILE>"),
        Wrong(&[
            (&["--signature-policy=/nosuch"], &["/nosuch", "expected a file"]),
            (&["--signature-policy=."], &["'.'", "expected a file"]),
        ]),
    ),
    (
        REGISTRY,
        "--retry",
        Refused("whole number"),
        Wrong(&[
            (&["--retry=x"], &["'x'", "whole number"]),
            (&["--retry=-1"], &["'-1'", "from 0"]),
            (&["--retry=4294967296"], &["4294967296", "to 4294967295"]),
        ]),
    ),
    (
        REGISTRY,
        "--retry-delay",
        Refused("30s"),
        Wrong(&[(&["--retry-delay=soon"], &["soon", "30s"]), (&["--retry-delay=-1s"], &["-1s", "30s"])]),
    ),
    (
        TRANSFER,
        "--progress",
        Refused("auto, plain, tty, json, quiet"),
        Wrong(&[
            (&["--progress=nosuch"], &["nosuch", "auto, plain, tty, json, quiet"]),
            (&["--progress=tty"], &["tty", "terminal"]),
        ]),
    ),
    (
        COMPRESSION,
        "--compression-format",
        Refused("gzip, zstd or zstd:chunked"),
        Wrong(&[
            (&["--compression-format=lzma"], &["lzma", "gzip, zstd or zstd:chunked"]),
            (&["--compression-format=zstd", "--disable-compression"], &["--disable-compression"]),
        ]),
    ),
    (
        COMPRESSION,
        "--compression-level",
        Refused("from 1 to 20"),
        Wrong(&[
            (&["--compression-level=x"], &["'x'", "from 1 to 20"]),
            (&["--compression-level=0"], &["'0'", "from 1 to 20"]),
            (&["--compression-level=21"], &["'21'", "from 1 to 20"]),
            (&["--compression-level=12", "--compression-format=gzip"], &["12", "1 to 9 for gzip"]),
            (&["--compression-level=1", "-D"], &["--disable-compression"]),
        ]),
    ),
    // Platforms.
    (
        PLATFORM,
        "--platform",
        Refused("os/arch"),
        Wrong(&[
            (&["--platform=x"], &["'x'", "os/arch"]),
            (&["--platform=a/b/c/d"], &["a/b/c/d", "os/arch"]),
            (&["--platform=linux/amd64", "--arch=arm64"], &["--arch"]),
            (&["--platform=linux/amd64", "--os=linux"], &["--os"]),
            (&["--platform=linux/amd64", "--variant=v8"], &["--variant"]),
        ]),
    ),
    (PLATFORM, "--os", Refused("letters"), Wrong(&[(&["--os=a b"], &["a b", "letters"])])),
    (PLATFORM, "--arch", Refused("letters"), Wrong(&[(&["--arch=a/b"], &["a/b", "letters"])])),
    (PLATFORM, "--variant", Refused("letters"), Wrong(&[(&["--variant=a/b"], &["a/b", "letters"])])),
    // How commands are run.
    (
        SANDBOX,
        "--cap-add",
        Refused("capabilities(7)"),
        Wrong(&[(&["--cap-add=root"], &["root", "capabilities(7)"]), (&["--cap-add=kill,"], &["capabilities(7)"])]),
    ),
    (SANDBOX, "--cap-drop", Refused("capabilities(7)"), Wrong(&[(&["--cap-drop=root"], &["root", "capabilities(7)"])])),
    (SANDBOX, "--cdi-config-dir", Refused("directory"), Wrong(&[(&["--cdi-config-dir=/nosuch"], &["/nosuch"])])),
    (
        SANDBOX,
        "--device",
        Refused("/dev/name"),
        Wrong(&[
            (&["--device=x"], &["'x'", "/dev/name", "vendor/class=name"]),
            (&["--device=/dev/null:/dev/x:z"], &["/dev/null:/dev/x:z", "rwm"]),
            (&["--device=/dev/nosuch"], &["/dev/nosuch", "No such file"]),
        ]),
    ),
    (
        SANDBOX,
        "--cgroupns",
        Taken("the default"),
        Wrong(&[(&["--cgroupns=x"], &["'x'", "private, host, or the path"])]),
    ),
    (SANDBOX, "--ipc", Taken("the default"), Wrong(&[(&["--ipc=x"], &["'x'", "private, host, or the path"])])),
    (
        SANDBOX,
        "--pid",
        Taken("the default"),
        Wrong(&[(&["--pid=ns:/nosuch"], &["ns:/nosuch", "private, host, or the path"])]),
    ),
    (
        SANDBOX,
        "--uts",
        Taken("the default"),
        Wrong(&[(&["--uts=/nosuch"], &["/nosuch", "private, host, or the path"])]),
    ),
    (
        SANDBOX,
        "--network",
        Taken("the default"),
        Wrong(&[
            (&["--network=nosuch"], &["nosuch", "private, host, none"]),
            (&["--network=../x"], &["../x", "private, host, none"]),
            (&["--network=ns:/nosuch"], &["ns:/nosuch", "private, host, none"]),
        ]),
    ),
    (
        SANDBOX,
        "--isolation",
        Taken("the default"),
        Wrong(&[
            (&["--isolation=nosuch"], &["nosuch", "oci, rootless or chroot"]),
            (&["--isolation=chroot", "--network=private"], &["contradict", "--network=host, none"]),
            (&["--isolation=rootless", "--network=private"], &["contradict", "--network=host, none"]),
        ]),
    ),
    (
        SANDBOX,
        "--volume",
        Refused("host-dir:container-dir"),
        Wrong(&[
            (&["--volume=x"], &["'x'", "host-dir:container-dir"]),
            (&["--volume=/a:b"], &["/a:b", "absolute path"]),
            (&["--volume=/a:/b:nosuch"], &["/a:/b:nosuch"]),
            (&["--volume=/a:/b:ro,rw"], &["/a:/b:ro,rw", "contradicts"]),
            (&["--volume=/a:/b:O,z"], &["/a:/b:O,z", "contradicts"]),
            (&["--volume=/a:/b:idmap"], &["/a:/b:idmap", "not supported"]),
        ]),
    ),
    (
        "build,run",
        "--runtime",
        Refused("<PROGRAM>"),
        Wrong(&[
            (&["--runtime=nosuch"], &["nosuch", "program that is installed"]),
            (&["--runtime=/nosuch/runc"], &["/nosuch/runc", "program that is installed"]),
        ]),
    ),
    ("build,run", "--runtime-flag", Refused("one word"), Wrong(&[(&["--runtime-flag=a b"], &["a b", "one word"])])),
    (
        LIMITS,
        "--add-host",
        Refused("HOST:IP"),
        Wrong(&[
            (&["--add-host=x"], &["'x'", "HOST:IP"]),
            (&["--add-host=a:nosuch"], &["a:nosuch", "IP address", "host-gateway"]),
        ]),
    ),
    (
        LIMITS,
        "--cgroup-parent",
        Refused("path of a control group"),
        Wrong(&[(&["--cgroup-parent=/a/../b"], &["/a/../b", "path of a control group"])]),
    ),
    (
        LIMITS,
        "--cpu-period",
        Refused("from 0 to 1000000"),
        Wrong(&[
            (&["--cpu-period=x"], &["'x'", "from 0 to 1000000"]),
            (&["--cpu-period=-1"], &["-1", "from 0 to 1000000"]),
            (&["--cpu-period=1000001"], &["1000001", "from 0 to 1000000"]),
        ]),
    ),
    (
        LIMITS,
        "--cpu-quota",
        Refused("from -1"),
        Wrong(&[(&["--cpu-quota=1.5"], &["1.5", "whole number"]), (&["--cpu-quota=-2"], &["-2", "from -1"])]),
    ),
    (
        LIMITS,
        "--cpu-shares",
        Refused("from 0 to 262144"),
        Wrong(&[
            (&["-c", "x"], &["'x'", "from 0 to 262144"]),
            (&["--cpu-shares=262145"], &["262145", "from 0 to 262144"]),
        ]),
    ),
    (LIMITS, "--cpuset-cpus", Refused("0-3,5"), Wrong(&[(&["--cpuset-cpus=a-b"], &["a-b", "0-3,5"])])),
    (LIMITS, "--cpuset-mems", Refused("0-3,5"), Wrong(&[(&["--cpuset-mems=3-1"], &["3-1", "0-3,5"])])),
    (
        LIMITS,
        "--dns",
        Refused("IP address, or none"),
        Wrong(&[
            (&["--dns=nosuch"], &["nosuch", "IP address, or none"]),
            (&["--dns=none,1.1.1.1"], &["--dns=none", "another --dns"]),
            (&["--dns=none", "--dns-search=x"], &["--dns=none", "--dns-search"]),
            (&["--dns=none", "--dns-option=x"], &["--dns=none", "--dns-option"]),
        ]),
    ),
    (LIMITS, "--dns-option", Refused("one word"), Wrong(&[(&["--dns-option=a b"], &["a b", "one word"])])),
    (LIMITS, "--dns-search", Refused("one word"), Wrong(&[(&["--dns-search=a b"], &["a b", "one word"])])),
    (
        LIMITS,
        "--group-add",
        Refused("number"),
        Wrong(&[
            (&["--group-add=wheel"], &["wheel", "number"]),
            (&["--group-add=keep-groups"], &["keep-groups", "name the groups"]),
        ]),
    ),
    (
        LIMITS,
        "--memory",
        Refused("b, k, m or g"),
        Wrong(&[
            (&["--memory=x"], &["'x'", "b, k, m or g"]),
            (&["-m", "-1"], &["-1"]),
            (&["--memory=99999999999g"], &["99999999999g", "b, k, m or g"]),
        ]),
    ),
    (LIMITS, "--memory-swap", Refused("or -1"), Wrong(&[(&["--memory-swap=-2"], &["-2", "or -1"])])),
    (
        LIMITS,
        "--security-opt",
        Refused("seccomp="),
        Wrong(&[
            (&["--security-opt=x"], &["'x'", "seccomp=", "apparmor=", "no-new-privileges"]),
            (&["--security-opt=seccomp=/nosuch"], &["seccomp=/nosuch", "seccomp=unconfined"]),
            (&["--security-opt=label=type:x"], &["label=type:x", "label=disable"]),
            (&["--security-opt=mask=x"], &["mask=x", "mask=/PATH"]),
        ]),
    ),
    (LIMITS, "--shm-size", Refused("k, m or g"), Wrong(&[(&["--shm-size=-1"], &["-1", "k, m or g"])])),
    (
        LIMITS,
        "--ulimit",
        Refused("NAME=SOFT[:HARD]"),
        Wrong(&[
            (&["--ulimit=x"], &["'x'", "NAME=SOFT[:HARD]"]),
            (&["--ulimit=files=1"], &["files=1", "getrlimit(2)"]),
            (&["--ulimit=nofile=2:1"], &["nofile=2:1", "soft limit"]),
        ]),
    ),
    (
        "build,from",
        "--pull",
        Refused("always, missing, never or newer"),
        Wrong(&[
            (&["--pull=nosuch"], &["nosuch", "always, missing, never or newer"]),
            (&["--pull=always", "--pull-never"], &["--pull-never"]),
        ]),
    ),
    // add, copy
    (
        "add,copy",
        "--checksum",
        Refused("64 hexadecimal digits"),
        Wrong(&[(&["--checksum=sha256:x"], &["sha256:x", "64 hexadecimal digits"])]),
    ),
    (
        "add,copy",
        "--chmod",
        Refused("octal"),
        Wrong(&[(&["--chmod=9"], &["'9'", "octal"]), (&["--chmod=u+q"], &["u+q", "octal"])]),
    ),
    (
        "add,copy",
        "--chown",
        Refused("USER[:GROUP]"),
        Wrong(&[
            (&["--chown=nosuch"], &["nosuch", "/etc/passwd"]),
            (&["--chown=a:b:c"], &["a:b:c", "uid:gid"]),
            (&["--chown=0:nosuch"], &["nosuch", "/etc/group"]),
        ]),
    ),
    (
        "add,copy",
        "--contextdir",
        Refused("<DIR>"),
        Wrong(&[
            (&["--contextdir=/nosuch"], &["/nosuch", "expected a directory"]),
            (&["--contextdir=.", "--from=base"], &["--from"]),
        ]),
    ),
    ("add,copy", "--exclude", Refused("pattern"), Wrong(&[(&["--exclude=[a"], &["[a", "pattern"])])),
    (
        "add,copy",
        "--from",
        Refused("<NAME>"),
        Wrong(&[(&["--from=Not Valid"], &["Not Valid"]), (&["--from=oci:/nosuch"], &["oci:/nosuch"])]),
    ),
    (
        "add,copy",
        "--ignorefile",
        Refused("<FILE>"),
        Wrong(&[
            (&["--ignorefile=/nosuch", "--contextdir=."], &["/nosuch", "expected a file"]),
            (&["--ignorefile=file"], &["--contextdir"]),
        ]),
    ),
    (
        "add,copy",
        "--timestamp",
        Refused("seconds since 1970"),
        Wrong(&[
            (&["--timestamp=x"], &["'x'", "seconds since 1970"]),
            (&["--timestamp=99999999999999"], &["99999999999999", "possible date"]),
        ]),
    ),
    // build
    ("build", "--add-host", Refused("HOST:IP"), Wrong(&[(&["--add-host=a:1.1.1.1", "--no-hosts"], &["--no-hosts"])])),
    (
        "build",
        "--allow",
        Refused("network.host"),
        Wrong(&[
            (&["--allow=nosuch"], &["nosuch", "network.host, security.insecure, device"]),
            (&["--allow=device="], &["device=", "device=NAME"]),
        ]),
    ),
    ("build", "--annotation", Refused("NAME=VALUE"), Wrong(&[(&["--annotation==x"], &["=x", "NAME=VALUE"])])),
    ("build", "--build-arg", Refused("NAME[=VALUE]"), Wrong(&[(&["--build-arg==x"], &["=x", "NAME[=VALUE]"])])),
    (
        "build",
        "--build-arg-file",
        Refused("<FILE>"),
        Wrong(&[
            (&["--build-arg-file=/nosuch"], &["/nosuch", "expected a file"]),
            (&["--build-arg-file=."], &["'.'", "directory"]),
        ]),
    ),
    (
        "build",
        "--build-context",
        Refused("NAME=WHERE"),
        Wrong(&[
            (&["--build-context=x"], &["'x'", "NAME=WHERE"]),
            (&["--build-context=x=/nosuch"], &["/nosuch", "no such file"]),
            (&["--build-context=x=oci-layout:///x@sha256:0"], &["x@sha256:0", "digest"]),
            (&["--build-context=x=.", "--build-context=x=."], &["x", "given twice"]),
        ]),
    ),
    (
        "build",
        "--cache-budget",
        Refused("k, m, g or t"),
        Wrong(&[(&["--cache-budget=x"], &["'x'", "k, m, g or t"]), (&["--cache-budget=-1"], &["-1", "k, m, g or t"])]),
    ),
    (
        "build",
        "--cache-from",
        Refused("empty"),
        Wrong(&[
            (&["--cache-from=type=nosuch"], &["nosuch", "registry or local"]),
            (&["--cache-from=type=local"], &["type=local", "src="]),
            (&["--cache-from=Not Valid"], &["Not Valid"]),
        ]),
    ),
    (
        "build",
        "--cache-to",
        Refused("empty"),
        Wrong(&[
            (&["--cache-to=type=nosuch"], &["nosuch", "registry"]),
            (&["--cache-to=type=local"], &["type=local", "dest="]),
            (&["--cache-to=type=local,dest=x,mode=nosuch"], &["mode", "min", "max"]),
        ]),
    ),
    ("build", "--cache-ttl", Refused("30s"), Wrong(&[(&["--cache-ttl=x"], &["'x'", "30s"])])),
    (
        "build",
        "--call",
        Refused("check, outline or targets"),
        Wrong(&[
            (&["--call=nosuch"], &["nosuch", "check, outline or targets"]),
            (&["--call=check,format=nosuch"], &["format=nosuch", "text or json"]),
            (&["--call=check", "--check"], &["--check"]),
            (&["--call=targets", "--report=page"], &["--report"]),
        ]),
    ),
    (
        "build",
        "--check-format",
        Refused("text, json, sarif"),
        Wrong(&[(&["--check-format=nosuch", "--check"], &["nosuch", "text, json, sarif"])]),
    ),
    ("build", "--cpp-flag", Refused("<OPTION>"), Free("cpp knows what it takes")),
    ("build", "--env", Refused("NAME[=VALUE]"), Wrong(&[(&["--env==x"], &["=x", "NAME[=VALUE]"])])),
    ("build", "--file", Refused("<FILE>"), Wrong(&[(&["--file=/nosuch"], &["/nosuch", "no such file or directory"])])),
    (
        "build,from",
        "--format",
        Refused("oci or docker"),
        Wrong(&[(&["--format=nosuch"], &["nosuch", "oci or docker"])]),
    ),
    ("build", "--from", Refused("image"), Wrong(&[(&["--from=Not Valid"], &["Not Valid", "image"])])),
    (
        "build",
        "--hooks-dir",
        Refused("<DIR>"),
        Wrong(&[(&["--hooks-dir=/nosuch"], &["/nosuch", "expected a directory"])]),
    ),
    (
        "build",
        "--ignorefile",
        Refused("<FILE>"),
        Wrong(&[(&["--ignorefile=/nosuch"], &["/nosuch", "expected a file"])]),
    ),
    (
        "build,commit",
        "--iidfile",
        Refused("<FILE>"),
        Wrong(&[
            (&["--iidfile=/nosuch/x"], &["/nosuch/x", "a directory that is there"]),
            (&["--iidfile=."], &["'.'", "directory"]),
        ]),
    ),
    (
        "build",
        "--iidfile-raw",
        Refused("<FILE>"),
        Wrong(&[(&["--iidfile-raw=/nosuch/x"], &["/nosuch/x", "a directory that is there"])]),
    ),
    (
        "build",
        "--jobs",
        Refused("from 0 to 65535"),
        Wrong(&[
            (&["--jobs=x"], &["'x'", "from 0 to 65535"]),
            (&["--jobs=-1"], &["-1", "from 0 to 65535"]),
            (&["--jobs=65536"], &["65536", "from 0 to 65535"]),
            (&["--jobs=2", "--debug"], &["--debug"]),
        ]),
    ),
    ("build", "--label", Refused("NAME=VALUE"), Wrong(&[(&["--label==x"], &["=x", "NAME=VALUE"])])),
    ("build", "--layer-label", Refused("NAME=VALUE"), Wrong(&[(&["--layer-label==x"], &["=x", "NAME=VALUE"])])),
    (
        "build",
        "--logfile",
        Refused("<FILE>"),
        Wrong(&[(&["--logfile=/nosuch/log"], &["/nosuch/log", "a directory that is there"])]),
    ),
    (
        "build,commit",
        "--metadata-file",
        Refused("<FILE>"),
        Wrong(&[(&["--metadata-file=/nosuch/x"], &["/nosuch/x", "a directory that is there"])]),
    ),
    (
        "build,run",
        "--mount",
        Refused("empty"),
        Wrong(&[
            (&["--mount=type=nosuch,target=/x"], &["nosuch", "expected"]),
            (&["--mount=type=bind"], &["type=bind", "target"]),
            (&["--mount=type=tmpfs,target=/x,nosuch=1"], &["nosuch"]),
        ]),
    ),
    (
        "build",
        "--on-failure",
        Refused("stop, shell"),
        Wrong(&[
            (&["--on-failure=nosuch"], &["nosuch", "stop, shell"]),
            (&["--on-failure=shell"], &["terminal"]),
            (&["--on-failure=stop", "--debug"], &["--debug"]),
        ]),
    ),
    ("build", "--os", Refused("letters"), Wrong(&[(&["--os=windows"], &["windows", "linux"])])),
    ("build", "--os-feature", Refused("expected a name"), Free("any name")),
    ("build", "--os-version", Refused("<VERSION>"), Free("versions have no form")),
    (
        "build",
        "--output",
        Refused("type=TYPE"),
        Wrong(&[
            (&["--output=type=nosuch"], &["nosuch", "local, tar, oci, docker, image or registry"]),
            (&["--output=type=local"], &["type=local", "dest="]),
            (&["--output=type=tar,dest=/nosuch/x"], &["/nosuch", "a directory that is there"]),
            (&["--output=type=image,push=x"], &["push=x", "true or false"]),
        ]),
    ),
    ("build", "--platform", Refused("os/arch"), Wrong(&[(&["--platform=windows/amd64"], &["windows/amd64", "linux"])])),
    (
        "build",
        "--report",
        Refused("<FILE>"),
        Wrong(&[
            (&["--report=/nosuch/x"], &["/nosuch/x", "a directory that is there"]),
            (&["--report=."], &["'.'", "directory"]),
            (&["--report=page", "--check"], &["--check"]),
        ]),
    ),
    (
        "commit",
        "--add-file",
        Refused("FILE[:PATH]"),
        Wrong(&[
            (&["--add-file=/nosuch:/x"], &["/nosuch:/x", "expected a file"]),
            (&["--add-file=file:/"], &["file:/", "FILE[:PATH]"]),
            (&["--add-file=.:/x"], &[".:/x", "expected a regular file"]),
        ]),
    ),
    (
        "build,commit",
        "--sbom",
        Refused("--sbom-output"),
        Wrong(&[(&["--sbom=nosuch"], &["nosuch", "syft-spdx, trivy"]), (&["--sbom=syft"], &["--sbom-output"])]),
    ),
    (
        "build,commit",
        "--sbom-image-output",
        Refused("the path of a file"),
        Wrong(&[
            (&["--sbom-image-output=x/"], &["x/", "the path of a file"]),
            (&["--sbom-image-output=/x/../y"], &["/x/../y", "the path of a file"]),
            (&["--sbom-image-output=x", "--sbom-image-purl-output=/x"], &["a place each"]),
        ]),
    ),
    (
        "build,commit",
        "--sbom-image-purl-output",
        Refused("the path of a file"),
        Wrong(&[(&["--sbom-image-purl-output=x/"], &["x/", "the path of a file"])]),
    ),
    (
        "build,commit",
        "--sbom-merge-strategy",
        Refused("merge-cyclonedx-by-component-name-and-version"),
        Wrong(&[
            (&["--sbom-merge-strategy=nosuch"], &["nosuch", "cat, merge-cyclonedx"]),
            (&["--sbom-merge-strategy=cat", "--sbom-output=sbom"], &["--sbom-scanner-image"]),
        ]),
    ),
    (
        "build,commit",
        "--sbom-output",
        Refused("<FILE>"),
        Wrong(&[
            (&["--sbom-output=/nosuch/x"], &["/nosuch/x", "a directory that is there"]),
            (&["--sbom-output=."], &["'.'", "directory"]),
            (&["--sbom-output=x", "--sbom-purl-output=x"], &["a place each"]),
        ]),
    ),
    (
        "build,commit",
        "--sbom-purl-output",
        Refused("<FILE>"),
        Wrong(&[(&["--sbom-purl-output=/nosuch/x"], &["/nosuch/x", "a directory that is there"])]),
    ),
    (
        "build,commit",
        "--sbom-scanner-command",
        Refused("{OUTPUT}"),
        Wrong(&[
            (&["--sbom-scanner-command=scan {OUTPUT}"], &["scan {OUTPUT}", "{ROOTFS} or {CONTEXT}"]),
            (&["--sbom-scanner-command={ROOTFS} {OUTPUT}", "--sbom-output=sbom"], &["--sbom-scanner-image"]),
        ]),
    ),
    (
        "build,commit",
        "--sbom-scanner-image",
        Refused("<IMAGE>"),
        Wrong(&[(&["--sbom-scanner-image=base", "--sbom-output=sbom"], &["--sbom-scanner-command"])]),
    ),
    (
        "commit",
        "--pull",
        Refused("always, missing, never or newer"),
        Wrong(&[
            (&["--pull=nosuch"], &["nosuch", "always, missing, never or newer"]),
            (&["--pull=always"], &["--sbom"]),
        ]),
    ),
    (
        "build",
        "--rusage-logfile",
        Refused("<FILE>"),
        Wrong(&[(&["--rusage-logfile=/nosuch/x", "--log-rusage"], &["/nosuch/x", "a directory that is there"])]),
    ),
    (
        "build",
        "--source-policy-file",
        Refused("<FILE>"),
        Wrong(&[
            (&["--source-policy-file=/nosuch"], &["/nosuch", "loading source policy"]),
            (&["--source-policy-file=file"], &["file", "expected value"]),
        ]),
    ),
    (
        "build",
        "--secret",
        Refused("id"),
        Wrong(&[
            (&["--secret=id="], &["id=", "a value"]),
            (&["--secret=src=/x"], &["src=/x", "id=name"]),
            (&["--secret=id=a,src=/nosuch"], &["/nosuch", "No such file"]),
            (&["--secret=id=a,src=/x,env=y"], &["src or env"]),
        ]),
    ),
    (
        "build,commit",
        "--source-date-epoch",
        Refused("seconds since 1970"),
        Wrong(&[
            (&["--source-date-epoch=x"], &["'x'", "seconds since 1970"]),
            (&["--source-date-epoch=1", "--timestamp=1"], &["--timestamp"]),
        ]),
    ),
    (
        "build",
        "--ssh",
        Refused("default or ID"),
        Wrong(&[(&["--ssh=default=/nosuch"], &["default=/nosuch", "No such file"])]),
    ),
    (
        "build",
        "--tag",
        Refused("a-z and 0-9"),
        Wrong(&[(&["--tag=Not Valid"], &["Not Valid", "must be lowercase"]), (&["--tag=a:b c"], &["a:b c", "tag"])]),
    ),
    (
        "build",
        "--no-cache-filter",
        Refused("no stage"),
        Wrong(&[(&["--no-cache-filter=nosuch"], &["nosuch", "no stage"])]),
    ),
    ("build", "--target", Refused("no stage"), Wrong(&[(&["--target=nosuch"], &["nosuch", "no stage"])])),
    (
        "build,commit",
        "--timestamp",
        Refused("seconds since 1970"),
        Wrong(&[
            (&["--timestamp=x"], &["'x'", "seconds since 1970"]),
            (&["--timestamp=99999999999999"], &["99999999999999", "possible date"]),
            (&["--timestamp=1", "--source-date-epoch=2"], &["--source-date-epoch"]),
        ]),
    ),
    (
        "build,commit",
        "--unsetannotation",
        Refused("a NAME"),
        Wrong(&[(&["--unsetannotation=a=b"], &["a=b", "a NAME"])]),
    ),
    ("build,commit", "--unsetenv", Refused("a NAME"), Wrong(&[(&["--unsetenv=a=b"], &["a=b", "a NAME"])])),
    ("build", "--unsetlabel", Refused("a NAME"), Wrong(&[(&["--unsetlabel=a=b"], &["a=b", "a NAME"])])),
    // commit
    (
        "commit",
        "--annotation",
        Refused("NAME=VALUE"),
        Wrong(&[(&["--annotation=x"], &["'x'", "NAME=VALUE"]), (&["--annotation==x"], &["=x", "NAME=VALUE"])]),
    ),
    (
        "commit",
        "--change",
        Refused("expected an instruction"),
        Wrong(&[
            (&["--change=RUN x"], &["RUN x", "more than to change the config"]),
            (&["--change=nosuch"], &["nosuch", "unknown instruction"]),
            (&["--change=STOPSIGNAL NOSUCH"], &["NOSUCH", "SIGTERM"]),
        ]),
    ),
    (
        "commit",
        "--config",
        Refused("<FILE>"),
        Wrong(&[
            (&["--config=/nosuch"], &["/nosuch", "expected a file"]),
            (&["--config=file"], &["file", "expected value"]),
        ]),
    ),
    ("commit", "--format", Refused("oci or docker"), Wrong(&[(&["--format=nosuch"], &["nosuch", "oci or docker"])])),
    (
        "commit",
        "--reference-time",
        Refused("<FILE>"),
        Wrong(&[
            (&["--reference-time=/nosuch"], &["/nosuch", "expected a file"]),
            (&["--reference-time=file", "--timestamp=1"], &["--timestamp"]),
            (&["--reference-time=file", "--omit-timestamp"], &["--omit-timestamp"]),
        ]),
    ),
    // config
    ("config", "--annotation", Refused("a NAME"), Wrong(&[(&["--annotation==x"], &["=x", "a NAME"])])),
    ("config", "--arch", Refused("letters"), Wrong(&[(&["--arch=a/b"], &["a/b", "letters"])])),
    ("config", "--author", Taken("nobody"), Free("a text")),
    ("config", "--cmd", Taken("no command"), Wrong(&[(&["--cmd='open"], &["'open", "a quote is not closed"])])),
    ("config", "--comment", Taken("no comment"), Free("a text")),
    ("config", "--created-by", Taken("what it is without"), Free("a text")),
    ("config", "--domainname", Taken("no name"), Wrong(&[(&["--domainname=a b"], &["a b", "host name"])])),
    ("config", "--entrypoint", Taken("no entrypoint"), Free("what is no JSON is for the shell")),
    (
        "config",
        "--env",
        Refused("a NAME"),
        Wrong(&[(&["--env==x"], &["=x", "a NAME"]), (&["--env=NOSUCHVARIABLE"], &["NOSUCHVARIABLE", "no value"])]),
    ),
    (
        "config",
        "--healthcheck",
        Taken("no health check"),
        Wrong(&[(&["--healthcheck='open"], &["'open", "a quote is not closed"])]),
    ),
    (
        "config",
        "--healthcheck-interval",
        Refused("30s"),
        Wrong(&[
            (&["--healthcheck-interval=x"], &["'x'", "30s"]),
            (&["--healthcheck-interval=9999999h"], &["9999999h"]),
        ]),
    ),
    (
        "config",
        "--healthcheck-retries",
        Refused("from 0"),
        Wrong(&[
            (&["--healthcheck-retries=1.5"], &["1.5", "whole number"]),
            (&["--healthcheck-retries=-1"], &["-1", "from 0"]),
        ]),
    ),
    (
        "config",
        "--healthcheck-start-interval",
        Refused("30s"),
        Wrong(&[(&["--healthcheck-start-interval=x"], &["'x'", "30s"])]),
    ),
    (
        "config",
        "--healthcheck-start-period",
        Refused("30s"),
        Wrong(&[(&["--healthcheck-start-period=x"], &["'x'", "30s"])]),
    ),
    ("config", "--healthcheck-timeout", Refused("30s"), Wrong(&[(&["--healthcheck-timeout=-1s"], &["-1s", "30s"])])),
    ("config", "--history-comment", Taken("no comment"), Free("a text")),
    (
        "config",
        "--hostname",
        Taken("no name"),
        Wrong(&[(&["--hostname=a b"], &["a b", "host name"]), (&["--hostname=a/b"], &["a/b", "host name"])]),
    ),
    ("config", "--label", Refused("a NAME"), Wrong(&[(&["--label==x"], &["=x", "a NAME"])])),
    (
        "config",
        "--onbuild",
        Refused("an instruction"),
        Wrong(&[
            (&["--onbuild=nosuch x"], &["nosuch x", "an instruction"]),
            (&["--onbuild=FROM x"], &["FROM x", "an instruction"]),
        ]),
    ),
    ("config", "--os", Refused("letters"), Wrong(&[(&["--os=a b"], &["a b", "letters"])])),
    ("config", "--os-feature", Refused("a NAME"), Free("any name")),
    ("config", "--os-version", Taken("no version"), Free("versions have no form")),
    (
        "config",
        "--port",
        Refused("expected"),
        Wrong(&[
            (&["--port=x"], &["\"x\"", "80 or 53/udp"]),
            (&["--port=70000"], &["70000", "80 or 53/udp"]),
            (&["--port=1/nosuch"], &["1/nosuch", "80 or 53/udp"]),
        ]),
    ),
    ("config", "--shell", Taken("no shell"), Wrong(&[(&["--shell=\"open"], &["open", "a quote is not closed"])])),
    (
        "config",
        "--stop-signal",
        Taken("no signal"),
        Wrong(&[(&["--stop-signal=SIGTREM"], &["SIGTREM", "SIGTERM"]), (&["--stop-signal=99"], &["99", "up to 64"])]),
    ),
    ("config", "--unsetannotation", Refused("a NAME"), Wrong(&[(&["--unsetannotation=a=b"], &["a=b", "a NAME"])])),
    ("config", "--unsetlabel", Refused("a NAME"), Wrong(&[(&["--unsetlabel=a=b"], &["a=b", "a NAME"])])),
    (
        "config",
        "--user",
        Taken("nobody named"),
        Wrong(&[(&["--user=a:b:c"], &["a:b:c", "uid:gid"]), (&["--user=a:"], &["a:", "uid:gid"])]),
    ),
    ("config", "--variant", Taken("no variant"), Wrong(&[(&["--variant=a/b"], &["a/b", "letters"])])),
    ("config", "--volume", Refused("expected"), Free("paths have no form")),
    ("config", "--workingdir", Taken("no directory"), Wrong(&[(&["--workingdir=rel"], &["rel", "absolute path"])])),
    // containers, images, info, inspect and others that tell
    (
        "containers",
        "--filter",
        Refused("id=, name= or ancestor="),
        Wrong(&[
            (&["--filter=x"], &["\"x\"", "id=, name= or ancestor="]),
            (&["--filter=nosuch=x"], &["nosuch=x", "id=, name= or ancestor="]),
            (&["--filter=id="], &["id=", "with a value"]),
        ]),
    ),
    (
        "containers,du,history,images",
        "--format",
        Refused("Go template"),
        Wrong(&[
            (&["--format={{.ID"], &["{{.ID", "Go template"]),
            (&["--format={{nosuch .ID}}"], &["nosuch"]),
            (&["--format={{.Nope}}"], &["Nope"]),
        ]),
    ),
    ("containers,images", "--format", Refused("Go template"), Wrong(&[(&["--format=x", "--quiet"], &["--quiet"])])),
    ("containers,du", "--format", Refused("Go template"), Wrong(&[(&["--format=x", "--json"], &["--json"])])),
    (
        "images",
        "--filter",
        Refused("key=value"),
        Wrong(&[
            (&["--filter=x"], &["\"x\"", "key=value"]),
            (&["--filter=label="], &["label=", "key=value"]),
            (&["--filter=nosuch=x"], &["nosuch=x", "reference="]),
            (&["--filter=dangling=perhaps"], &["perhaps", "true or false"]),
            (&["--filter=until=x"], &["until=x", "2h"]),
            (&["--filter=after=nosuch"], &["after=nosuch", "not known"]),
        ]),
    ),
    (
        "info,inspect",
        "--format",
        Refused("Go template"),
        Wrong(&[(&["--format=word"], &["word", "Go template"]), (&["--format={{.Nope}}"], &["Nope"])]),
    ),
    ("inspect", "--type", Refused("container, image"), Wrong(&[(&["--type=nosuch"], &["nosuch", "container, image"])])),
    (
        "prune",
        "--filter",
        Refused("until="),
        Wrong(&[(&["--filter=x"], &["\"x\"", "until="]), (&["--filter=until=x"], &["until=x", "2h"])]),
    ),
    (
        "prune",
        "--keep-storage",
        Refused("k, m, g or t"),
        Wrong(&[(&["--keep-storage=x"], &["'x'", "k, m, g or t"]), (&["--keep-storage=-1"], &["-1", "k, m, g or t"])]),
    ),
    // from, pull, push, run
    (
        "from",
        "--cidfile",
        Refused("<FILE>"),
        Wrong(&[
            (&["--cidfile=/nosuch/x"], &["/nosuch/x", "a directory that is there"]),
            (&["--cidfile=."], &["'.'", "directory"]),
        ]),
    ),
    ("from", "--name", Refused("<NAME>"), Free("a name in use is told as one")),
    ("from", "--suffix", Refused("<TEXT>"), Free("a text")),
    // Manifest lists.
    (
        "build,commit",
        "--manifest",
        Refused("expected a name"),
        Wrong(&[(&["--manifest=Bad:Name"], &["Bad:Name", "expected a name"])]),
    ),
    (
        "manifest add,manifest annotate,manifest create",
        "--annotation",
        Refused("NAME=VALUE"),
        Wrong(&[(&["--annotation=x"], &["'x'", "NAME=VALUE"]), (&["--annotation=a=b,=x"], &["=x", "NAME=VALUE"])]),
    ),
    (ENTRY, "--arch", Refused("letters"), Wrong(&[(&["--arch=a/b"], &["a/b", "letters"])])),
    (ENTRY, "--features", Refused("<FEATURE>"), Free("a text")),
    (ENTRY, "--os", Refused("letters"), Wrong(&[(&["--os=a b"], &["a b", "letters"])])),
    (ENTRY, "--os-features", Refused("<FEATURE>"), Free("a text")),
    (ENTRY, "--os-version", Refused("<VERSION>"), Free("a text")),
    (ENTRY, "--variant", Refused("letters"), Wrong(&[(&["--variant=a/b"], &["a/b", "letters"])])),
    (
        "manifest add",
        "--artifact-annotation",
        Refused("NAME=VALUE"),
        Wrong(&[(&["--artifact-annotation=x"], &["'x'", "NAME=VALUE"])]),
    ),
    (
        "manifest add",
        "--artifact-config",
        Refused("<FILE>"),
        Wrong(&[(&["--artifact-config=/nosuch"], &["/nosuch", "expected a file"])]),
    ),
    ("manifest add", "--artifact-config-type", Refused("<TYPE>"), Free("a text")),
    ("manifest add", "--artifact-layer-type", Refused("<TYPE>"), Free("a text")),
    ("manifest add", "--artifact-subject", Refused("<IMAGE>"), Free("an image is looked for")),
    ("manifest add", "--artifact-type", Refused("<TYPE>"), Free("a text")),
    ("manifest annotate", "--subject", Refused("<IMAGE>"), Free("an image is looked for")),
    (
        "manifest push",
        "--add-compression",
        Refused("gzip, zstd or zstd:chunked"),
        Wrong(&[(&["--add-compression=lzma"], &["lzma", "gzip, zstd or zstd:chunked"])]),
    ),
    (
        "pull",
        "--policy",
        Refused("always, missing, never or newer"),
        Wrong(&[(&["--policy=nosuch"], &["nosuch", "always, missing, never or newer"])]),
    ),
    (
        "push,manifest push",
        "--digestfile",
        Refused("<FILE>"),
        Wrong(&[(&["--digestfile=/nosuch/x"], &["/nosuch/x", "a directory that is there"])]),
    ),
    (
        "push,manifest push",
        "--format",
        Refused("oci or v2s2"),
        Wrong(&[(&["--format=nosuch"], &["nosuch", "oci or v2s2"]), (&["--format=v2s1"], &["v2s1", "oci or v2s2"])]),
    ),
    (
        "run",
        "--contextdir",
        Refused("<DIR>"),
        Wrong(&[(&["--contextdir=/nosuch"], &["/nosuch", "expected a directory"])]),
    ),
    (
        "run",
        "--device",
        Refused("/dev/name"),
        Wrong(&[(&["--device=v.org/c=nosuch", "--cdi-config-dir=."], &["v.org/c=nosuch"])]),
    ),
    ("run", "--env", Refused("NAME[=VALUE]"), Wrong(&[(&["--env==x"], &["=x", "NAME[=VALUE]"])])),
    ("run", "--hostname", Refused("host name"), Wrong(&[(&["--hostname=a b"], &["a b", "host name"])])),
    (
        "run",
        "--signature-policy",
        Refused("<FILE>"),
        Wrong(&[(&["--signature-policy=/nosuch"], &["/nosuch", "expected a file"])]),
    ),
    (
        "run",
        "--user",
        Taken("the container's"),
        Wrong(&[(&["--user=nosuch"], &["nosuch", "/etc/passwd"]), (&["--user=a:b:c"], &["a:b:c", "uid:gid"])]),
    ),
    (
        "run",
        "--valid-exit-codes",
        Refused("from 0 to 255"),
        Wrong(&[
            (&["--valid-exit-codes=x"], &["'x'", "from 0 to 255"]),
            (&["--valid-exit-codes=256"], &["256", "from 0 to 255"]),
        ]),
    ),
    ("run", "--workingdir", Taken("the container's"), Wrong(&[(&["--workingdir=rel"], &["rel", "absolute path"])])),
    // What may stand before the command.
    (
        "",
        "--cgroup-manager",
        Refused("cgroupfs"),
        Wrong(&[
            (&["--cgroup-manager=systemd"], &["systemd", "cgroupfs"]),
            (&["--cgroup-manager=x"], &["'x'", "cgroupfs"]),
        ]),
    ),
    (
        "",
        "--default-mounts-file",
        Refused("<FILE>"),
        Wrong(&[(&["--default-mounts-file=/nosuch"], &["/nosuch", "expected a file"])]),
    ),
    (
        "",
        "--log-level",
        Refused("error, warn, info, debug"),
        Wrong(&[(&["--log-level=nosuch"], &["nosuch", "error, warn, info, debug"])]),
    ),
    (
        "",
        "--registries-conf",
        Refused("<FILE>"),
        Wrong(&[(&["--registries-conf=/nosuch"], &["/nosuch", "expected a file"])]),
    ),
    (
        "",
        "--registries-conf-dir",
        Refused("<DIR>"),
        Wrong(&[(&["--registries-conf-dir=/nosuch"], &["/nosuch", "expected a directory"])]),
    ),
    ("", "--root", Refused("<DIR>"), Wrong(&[(&["--root=file"], &["file", "expected a directory"])])),
    ("", "--runroot", Refused("<DIR>"), Wrong(&[(&["--runroot=file"], &["file", "expected a directory"])])),
    ("", "--short-name-alias-conf", Refused("<FILE>"), Free("it may be made later")),
    (
        "",
        "--storage-driver",
        Taken("as the store was made"),
        Wrong(&[(&["--storage-driver=nosuch"], &["nosuch", "overlay or vfs"])]),
    ),
    (
        "",
        "--storage-opt",
        Refused("overlay.mountopt="),
        Wrong(&[
            (&["--storage-opt=nosuch"], &["nosuch", "overlay.mountopt="]),
            (&["--storage-opt=overlay.nosuch=x"], &["overlay.nosuch=x", "overlay.mountopt="]),
        ]),
    ),
];

/// Switches that contradict each other, or that need something else.
pub const SWITCHES: &[(&str, &[&str], &[&str])] = &[
    ("add,copy", &["--link", "--cached"], &["--link and --cached"]),
    ("build", &["--check", "--call=targets"], &["--check", "--call"]),
    ("build", &["--check-format=json"], &["--check"]),
    ("build", &["--debug"], &["--debug", "terminal"]),
    ("build", &["--logsplit"], &["--logfile"]),
    ("build", &["--all-platforms", "--platform=linux/amd64"], &["--all-platforms", "--platform"]),
    ("build", &["--manifest=x", "--tag=x"], &["--manifest", "--tag", "localhost/x:latest"]),
    ("build", &["--platform=linux/amd64,linux/arm64", "--iidfile=id"], &["--iidfile", "several platforms"]),
    ("build", &["--platform=linux/amd64,linux/arm64", "--iidfile-raw=id"], &["--iidfile-raw", "several platforms"]),
    ("build", &["--platform=linux/amd64,linux/arm64", "--metadata-file=x"], &["--metadata-file", "several platforms"]),
    ("build", &["--platform=linux/amd64,linux/arm64", "--report=x"], &["--report", "several platforms"]),
    ("build", &["--platform=linux/amd64,linux/arm64", "--sbom-output=x"], &["--sbom-output", "several platforms"]),
    ("build", &["--platform=linux/amd64,linux/arm64", "-otype=docker,dest=x"], &["x", "several platforms"]),
    ("build,commit", &["--manifest=base"], &["base", "not a manifest list"]),
    ("build", &["--push"], &["--tag"]),
    ("build", &["--rusage-logfile=usage"], &["--log-rusage"]),
    ("build", &["--stage-labels"], &["--stage-labels", "--save-stages"]),
    ("build", &["--stdin", "--file=-"], &["--stdin", "Dockerfile"]),
    ("build", &["--squash", "--squash-all"], &["--squash", "--squash-all"]),
    ("build,commit,from", &["--pull-always", "--pull-never"], &["--pull-always", "--pull-never"]),
    ("commit", &["--omit-timestamp", "--timestamp=1"], &["--omit-timestamp", "--timestamp"]),
    ("containers", &["--json", "--format=x"], &["--json", "--format"]),
    ("images", &["--all", "base"], &["--all", "IMAGE"]),
    ("manifest add", &["--all", "--artifact"], &["--all", "--artifact"]),
    ("manifest add", &["--artifact-exclude-titles"], &["--artifact"]),
    ("manifest annotate", &["--index"], &["\"base\"", "--index"]),
    ("manifest create", &["--amend", "--replace"], &["--amend", "--replace"]),
    ("manifest create,manifest inspect", &["--insecure", "--tls-verify"], &["--insecure", "--tls-verify"]),
    ("push", &["--rm"], &["not a manifest list"]),
    ("rm,umount", &["--all"], &["--all", "container"]),
    ("rmi", &["--all", "--prune"], &["--all", "--prune"]),
    ("rmi", &["--prune"], &["--prune", "images"]),
    ("version", &["--nosuch"], &["--nosuch"]),
];
