//! `copy` and `add`: what goes where, as whose, and that nothing leaves context or container.
#![allow(clippy::expect_used, reason = "tests")]

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use test_support::{Sandbox, Tree};

/// A working container from nothing, mounted, beside a context.
struct Place {
    sandbox: Sandbox,
    root: PathBuf,
}

impl Place {
    fn new() -> Place {
        let sandbox = Sandbox::new(env!("CARGO_BIN_EXE_gabion"));
        sandbox.gabion(["from", "--name", "c", "scratch"]).ok();
        let root = PathBuf::from(sandbox.gabion(["mount", "c"]).ok());
        let tree = Tree::new()
            .file_with_mode("f", "hi\n", 0o4755)
            .dir("d", 0o700)
            .file("d/a", "a\n")
            .dir("d/sub", 0o750)
            .file("d/sub/b", "b\n")
            .symlink("d/l", "a")
            .hardlink("d/hard", "d/a")
            .symlink("to-f", "f")
            .symlink("to-d", "d");
        tree.write_to(sandbox.path("ctx"));
        let odd = std::time::UNIX_EPOCH + std::time::Duration::new(1_577_836_800, 123_456_789);
        for name in ["f", "d/a", "d/sub"] {
            let file = fs::File::open(sandbox.path("ctx").join(name)).expect("open");
            file.set_times(fs::FileTimes::new().set_modified(odd)).expect("set times");
        }
        Place { sandbox, root }
    }

    fn run(&self, args: &[&str]) -> test_support::Tool {
        let args: Vec<&str> = [&args[..1], &["c"], &args[1..]].concat();
        // Flags come before the container.
        let flags = args.iter().skip(2).take_while(|arg| arg.starts_with("--")).count();
        let mut ordered = vec![args[0]];
        ordered.extend(&args[2..2 + flags]);
        ordered.push("c");
        ordered.extend(&args[2 + flags..]);
        self.sandbox.gabion(ordered).in_dir(self.sandbox.path("ctx"))
    }

    fn copy(&self, args: &[&str]) -> String {
        self.run(&[&["copy"], args].concat()).ok()
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// Mode, owner and type.
    fn stat(&self, path: &str) -> (u32, u32, u32) {
        let metadata = fs::symlink_metadata(self.root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
        (metadata.permissions().mode() & 0o7777, metadata.uid(), metadata.gid())
    }

    fn names(&self, path: &str) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.root.join(path))
            .unwrap_or_else(|error| panic!("{path}: {error}"))
            .map(|entry| entry.expect("entry").file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }
}

#[test]
fn root_copy_puts_things_where_buildah_does() {
    let place = Place::new();
    fs::create_dir_all(place.root.join("real")).expect("mkdir");
    symlink("real", place.root.join("lnk")).expect("symlink");
    symlink("/dangling", place.root.join("dang")).expect("symlink");

    let digest = place.copy(&["f", "/one"]);
    assert_eq!((digest.len(), digest.chars().all(|c| c.is_ascii_hexdigit())), (64, true));
    assert_eq!(place.stat("one"), (0o4755, 0, 0));
    assert_eq!(fs::metadata(place.root.join("one")).expect("stat").mtime_nsec(), 123_456_789);

    place.copy(&["d", "/new"]);
    assert_eq!(place.names("new"), ["a", "hard", "l", "sub"]);
    assert_eq!((place.stat("new").0, place.stat("new/sub").0), (0o755, 0o750));
    assert_eq!(fs::read_link(place.root.join("new/l")).expect("symlink"), Path::new("a"));
    let inode = |path: &str| fs::symlink_metadata(place.root.join(path)).expect("stat").ino();
    assert_eq!(inode("new/a"), inode("new/hard"));
    let sub = fs::metadata(place.root.join("new/sub")).expect("stat");
    assert_eq!((sub.mtime(), sub.mtime_nsec()), (1_577_836_800, 123_456_789));

    place.copy(&["f", "d", "/several"]);
    assert_eq!(place.names("several"), ["a", "f", "hard", "l", "sub"]);
    place.copy(&["d/*", "/glob"]);
    assert_eq!(place.names("glob"), ["a", "b", "hard", "l"], "directories give their content, symlinks are followed");
    assert!(fs::symlink_metadata(place.root.join("glob/l")).expect("stat").is_file());
    place.copy(&["to-d", "/via"]);
    assert_eq!(place.names("via"), ["a", "hard", "l", "sub"]);
    place.copy(&["to-f", "/file"]);
    assert_eq!(place.read("file"), "hi\n");
    place.copy(&["f"]);
    assert_eq!(place.read("f"), "hi\n");
    place.copy(&["f", "/lnk"]);
    place.copy(&["d", "/lnk"]);
    assert_eq!(place.names("real"), ["a", "f", "hard", "l", "sub"]);
    place.copy(&["f", "/dang"]);
    assert_eq!(place.read("dangling/f"), "hi\n");
    place.copy(&["f", "/deep/er/"]);
    assert_eq!(place.read("deep/er/f"), "hi\n");
    place.sandbox.gabion(["config", "--workingdir", "/work", "c"]).ok();
    place.copy(&["f", "below/"]);
    assert_eq!(place.read("work/below/f"), "hi\n");
    place.copy(&["f", "renamed"]);
    assert_eq!(place.read("work/renamed"), "hi\n");
    place.run(&["copy", "d", "/one"]).fails().says(125, &["/one", "not a directory"]);
    place.run(&["copy", "f", "d", "/one"]).fails().says(125, &["/one", "not a directory"]);
    // Directories merge, the rest is replaced.
    fs::write(place.root.join("new/sub/old"), "old").expect("write");
    fs::remove_file(place.root.join("new/a")).expect("remove");
    fs::create_dir(place.root.join("new/a")).expect("mkdir");
    place.copy(&["d", "/new"]);
    assert_eq!((place.read("new/sub/old"), place.read("new/a")), ("old".into(), "a\n".into()));
}

#[test]
fn root_copy_sets_owner_and_mode() {
    let place = Place::new();
    fs::create_dir(place.root.join("etc")).expect("mkdir");
    fs::write(place.root.join("etc/passwd"), "bob:x:33:44::/:/bin/sh\n").expect("write");
    fs::write(place.root.join("etc/group"), "staff:x:55:\n").expect("write");
    place.copy(&["--chown=bob:staff", "d", "/names"]);
    assert_eq!((place.stat("names").1, place.stat("names/sub/b")), (33, (0o644, 33, 55)));
    assert_eq!(place.stat("names/l").2, 55);
    place.copy(&["--chown=bob", "f", "/bob"]);
    assert_eq!(place.stat("bob"), (0o4755, 33, 44));
    place.copy(&["--chown=9", "f", "/nine"]);
    assert_eq!(place.stat("nine"), (0o4755, 9, 9));
    place.copy(&["--chown=:7", "f", "/group"]);
    assert_eq!(place.stat("group").2, 7);
    place.copy(&["--chmod=640", "d", "/octal"]);
    assert_eq!((place.stat("octal").0, place.stat("octal/sub").0, place.stat("octal/a").0), (0o755, 0o640, 0o640));
    place.copy(&["--chmod=go=rX,u-s", "d", "f", "/symbolic"]);
    assert_eq!((place.stat("symbolic/sub").0, place.stat("symbolic/f").0), (0o755, 0o755));
    place.run(&["copy", "--chown=nobody-here", "f", "/x"]).fails().says(125, &["nobody-here"]);
    place.run(&["copy", "--chmod=zzz", "f", "/x"]).fails().says(125, &["zzz", "octal"]);
}

#[test]
fn root_copy_says_what_is_missing() {
    let place = Place::new();
    place.run(&["copy", "nosuch", "/x"]).fails().says(125, &["nosuch", "no such file"]);
    place.run(&["copy", "no*", "/x"]).fails().says(125, &["no*", "matched nothing"]);
    place.run(&["copy", "[", "/x"]).fails().says(125, &["malformed"]);
    place.run(&["copy", "--ignorefile=f", "f", "/x"]).fails().says(125, &["--contextdir"]);
    place.run(&["copy", "--checksum=sha256:12", "f", "/x"]).fails().says(125, &["sha256:12"]);
    place.sandbox.gabion(["copy", "unknown", "f", "/x"]).fails().says(125, &["unknown"]);
    assert!(!place.root.join("x").exists());
}

#[test]
fn root_context_and_ignore_file_bound_what_is_copied() {
    let place = Place::new();
    let context = place.sandbox.path("ctx");
    let flag = format!("--contextdir={}", context.display());
    fs::write(context.join(".dockerignore"), "d\n!d/sub\n*.log\n").expect("write");
    fs::write(context.join("x.log"), "log").expect("write");
    place.copy(&[&flag, "/", "/all"]);
    assert_eq!(place.names("all"), [".dockerignore", "d", "f", "to-d", "to-f"]);
    assert_eq!(place.names("all/d"), ["sub"]);
    place.run(&["copy", &flag, "x.log", "/log"]).fails().says(125, &["x.log", "leaves out"]);
    fs::write(context.join(".containerignore"), "f\n").expect("write");
    place.copy(&[&flag, ".", "/first"]);
    assert!(place.root.join("first/x.log").exists() && !place.root.join("first/f").exists());
    let other = place.sandbox.write("other", "**/a\n");
    place.copy(&[&flag, &format!("--ignorefile={}", other.display()), "d", "/other"]);
    assert_eq!(place.names("other"), ["hard", "l", "sub"]);
    place.copy(&["--exclude=sub", "--exclude=h*", "d", "/excluded"]);
    assert_eq!(place.names("excluded"), ["a", "l"]);
}

#[test]
fn root_add_unpacks_archives_and_copy_does_not() {
    let place = Place::new();
    let tar = |args: &[&str]| place.sandbox.any("tar").args(args).in_dir(place.sandbox.path("ctx")).ok();
    tar(&["--format=posix", "--owner=5", "--group=6", "-cf", "x.tar", "d", "f"]);
    tar(&["-czf", "x.tgz", "d", "f"]);
    tar(&["-cJf", "x.tar.xz", "d", "f"]);
    tar(&["-cjf", "x.tar.bz2", "d", "f"]);
    for name in ["x.tar", "x.tgz", "x.tar.xz", "x.tar.bz2"] {
        let target = format!("/{name}.d");
        place.run(&["add", name, &target]).ok();
        assert_eq!(place.names(&target[1..]), ["d", "f"], "{name}");
        assert_eq!(place.read(&format!("{name}.d/d/sub/b")), "b\n");
    }
    assert_eq!(place.stat("x.tar.d/f"), (0o4755, 5, 6));
    assert_eq!(place.stat("x.tar.d/d").0, 0o700);
    let copied = place.copy(&["x.tar", "/copied"]);
    assert!(fs::symlink_metadata(place.root.join("copied")).expect("stat").is_file());
    assert_ne!(copied, place.run(&["add", "f", "/plain"]).ok());
    assert_eq!(place.read("plain"), "hi\n");
    fs::write(
        place.sandbox.path("ctx").join("broken.tar"),
        &fs::read(place.sandbox.path("ctx/x.tar")).expect("read")[..900],
    )
    .expect("write");
    place.run(&["add", "broken.tar", "/broken"]).fails().says(125, &["broken.tar", "cut off"]);
}

#[test]
fn root_hostile_contexts_and_containers_are_kept_in() {
    let place = Place::new();
    let context = place.sandbox.path("ctx");
    let flag = format!("--contextdir={}", context.display());
    let canary = place.sandbox.path("canary");
    Tree::new().file("secret", "secret").dir("dir", 0o755).write_to(&canary);
    let before = fs::metadata(canary.join("secret")).expect("stat").mtime_nsec();
    // Sources that point out of the context.
    symlink(&canary, context.join("out")).expect("symlink");
    symlink("../canary/secret", context.join("up")).expect("symlink");
    for source in ["out/secret", "up", "../canary/secret", "out", "o*/secret"] {
        place.run(&["copy", &flag, source, "/stolen"]).fails();
        assert!(fs::symlink_metadata(place.root.join("stolen")).is_err(), "{source}");
    }
    place.copy(&[&flag, ".", "/whole"]);
    assert!(fs::symlink_metadata(place.root.join("whole/out")).expect("stat").is_symlink(), "text, not content");
    fs::remove_file(context.join("out")).expect("remove");
    fs::remove_file(context.join("up")).expect("remove");
    // An ignore file that points out is not read.
    symlink(canary.join("secret"), context.join(".dockerignore")).expect("symlink");
    place.copy(&[&flag, "f", "/with-link"]);
    // Destinations and files of the container that point out.
    symlink(&canary, place.root.join("trap")).expect("symlink");
    symlink("../../../../../../../../../../..", place.root.join("rel")).expect("symlink");
    symlink(canary.join("secret"), place.root.join("file-trap")).expect("symlink");
    let below = canary.strip_prefix("/").expect("absolute");
    place.copy(&["f", "/trap/f"]);
    place.copy(&["d", "/trap"]);
    place.copy(&["f", "/file-trap"]);
    place.copy(&["f", &format!("/rel/{}/f", below.display())]);
    assert_eq!(fs::read_dir(&canary).expect("list").count(), 2);
    assert!(place.root.join(below).join("a").exists(), "it went inside");
    fs::create_dir_all(place.root.join("etc")).expect("mkdir");
    symlink("/etc/passwd", place.root.join("etc/group")).expect("symlink");
    symlink(canary.join("secret"), place.root.join("etc/passwd")).expect("symlink");
    place.run(&["copy", "--chown=root:daemon", "f", "/x"]).fails();
    // An archive that climbs out.
    let evil = |name: &str, entry: &str, link: Option<&str>| {
        let mut builder = tar_of(entry, link);
        builder.extend_from_slice(&[0; 1024]);
        fs::write(context.join(name), builder).expect("write");
    };
    evil("dots.tar", "../../canary/dir/new", None);
    place.run(&["add", "dots.tar", "/e"]).fails().says(125, &["leaves the root"]);
    evil("link.tar", "l", Some(canary.to_str().expect("text")));
    place.run(&["add", "link.tar", "/e"]).ok();
    evil("through.tar", "l/dir/new", None);
    let _ = place.run(&["add", "through.tar", "/e"]).run();
    assert_eq!(fs::read_dir(canary.join("dir")).expect("list").count(), 0);
    assert_eq!(fs::read_to_string(canary.join("secret")).expect("read"), "secret");
    assert_eq!(fs::metadata(canary.join("secret")).expect("stat").mtime_nsec(), before);
}

/// One entry: an empty file, or a symlink.
fn tar_of(name: &str, link: Option<&str>) -> Vec<u8> {
    let mut block = [0_u8; 512];
    let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, name.as_bytes());
    put(100, b"0000644\0");
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    put(124, b"00000000000\0");
    put(136, b"00000000000\0");
    put(148, b"        ");
    put(156, if link.is_some() { b"2" } else { b"0" });
    put(157, link.unwrap_or_default().as_bytes());
    put(257, b"ustar\x0000");
    let sum: u32 = block.iter().map(|b| u32::from(*b)).sum();
    block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    block.to_vec()
}

#[test]
fn root_copy_from_images_and_containers() {
    let place = Place::new();
    place.copy(&["--chown=3:4", "d", "/shared"]);
    place.sandbox.gabion(["from", "--name", "other", "scratch"]).ok();
    let other = PathBuf::from(place.sandbox.gabion(["mount", "other"]).ok());
    place.sandbox.gabion(["copy", "--from=c", "other", "/shared/sub", "/there"]).ok();
    assert_eq!(fs::read_to_string(other.join("there/b")).expect("read"), "b\n");
    // As with the newest Buildah; 1.28 gives root's.
    assert_eq!(fs::metadata(other.join("there/b")).expect("stat").uid(), 3);
    place.sandbox.gabion(["commit", "c", "localhost/source"]).ok();
    place.sandbox.gabion(["copy", "--from=localhost/source", "--chown=8", "other", "/shared/*", "/image/"]).ok();
    assert_eq!(fs::read_to_string(other.join("image/a")).expect("read"), "a\n");
    assert_eq!(fs::metadata(other.join("image/a")).expect("stat").uid(), 8);
    place.sandbox.gabion(["copy", "--from=c", "--contextdir=/", "other", "/x", "/y"]).fails().says(125, &["--from"]);
    place.sandbox.gabion(["copy", "--from=c", "other", "/none", "/y"]).fails().says(125, &["/none"]);
}

#[test]
fn root_history_tells_of_copies() {
    let place = Place::new();
    let digest = place.copy(&["--add-history", "f", "/f"]);
    assert_eq!(place.copy(&["f", "/f"]), digest, "the same content, the same digest");
    assert_eq!(place.copy(&["--quiet", "f", "/g"]), "");
    let dir = place.run(&["add", "--add-history", "d", "/d"]).ok();
    let several = place.copy(&["--add-history", "f", "d", "/m"]);
    let image = place.sandbox.gabion(["commit", "c"]).ok();
    let text = place.sandbox.gabion(["inspect", "--type", "image", &image]).json().to_string();
    for expected in [format!("COPY file:{digest}"), format!("ADD dir:{dir}"), format!("COPY multi:{several}")] {
        assert!(text.contains(&format!("/bin/sh -c #(nop) {expected}")), "{expected} in {text}");
    }
}

/// Answers each connection with the next of `replies`.
fn serve(replies: Vec<String>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = listener.local_addr().expect("address");
    std::thread::spawn(move || {
        for reply in replies {
            let Ok((mut stream, _)) = listener.accept() else { return };
            let mut request = [0; 4096];
            let _ = stream.read(&mut request);
            let _ = stream.write_all(reply.as_bytes());
        }
    });
    format!("http://{address}")
}

fn reply(head: &str, body: &str) -> String {
    format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
}

#[test]
fn root_urls_are_fetched_and_checked() {
    let place = Place::new();
    let dated = "200 OK\r\nLast-Modified: Sun, 06 Nov 1994 08:49:37 GMT";
    let url = serve(vec![reply(dated, "from afar\n"), reply("200 OK", "x"), reply("404 Not Found", "no")]);
    place.run(&["add", &format!("{url}/path/name.txt?secret=1"), "/dl/"]).ok();
    assert_eq!(place.read("dl/name.txt"), "from afar\n");
    assert_eq!(place.stat("dl/name.txt"), (0o600, 0, 0));
    assert_eq!(fs::metadata(place.root.join("dl/name.txt")).expect("stat").mtime(), 784_111_777);
    place.copy(&["--chmod=644", "--chown=4:5", &format!("{url}/a"), "/renamed"]);
    assert_eq!(place.stat("renamed"), (0o644, 4, 5));
    let outcome = place.run(&["add", &format!("{url}/none?token=hidden"), "/none"]).fails();
    outcome.says(125, &["404", "/none"]);
    assert!(!place.root.join("none").exists());

    let right = "sha256:2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"; // of "x"
    let wrong = right.replace("2d71", "3d71");
    let url = serve(vec![
        reply("200 OK", "x"),
        reply("200 OK", "x"),
        reply("302 Found\r\nLocation: /there", ""),
        reply("200 OK", "x"),
    ]);
    place.run(&["add", &format!("--checksum={right}"), &format!("{url}/a"), "/ok"]).ok();
    let outcome = place.run(&["add", &format!("--checksum={wrong}"), &format!("{url}/a"), "/bad"]).fails();
    outcome.says(125, &[right, &wrong]);
    assert!(!place.root.join("bad").exists(), "nothing is left of it");
    place.run(&["add", &format!("{url}/moved"), "/moved"]).ok();
    assert_eq!(place.read("moved"), "x");
    let nothing = "http://127.0.0.1:1/";
    place.run(&["add", nothing, "/n/"]).fails().says(125, &["give a destination"]);
    place.run(&["add", "http://127.0.0.1:1/file", "/n"]).fails().says(125, &["cannot download"]);
    place.run(&["add", &format!("--checksum={right}"), "f", "/n"]).fails().says(125, &["checksum"]);
}

#[test]
fn root_copy_keeps_parents_of_the_sources() {
    let place = Place::new();
    let flag = format!("--contextdir={}", place.sandbox.path("ctx").display());
    place.copy(&["--parents", &flag, "d/sub/b", "f", "/kept"]);
    assert_eq!((place.names("kept"), place.names("kept/d/sub")), (vec!["d".into(), "f".into()], vec!["b".into()]));
    assert_eq!((place.stat("kept/d").0, place.stat("kept/d/sub").0), (0o700, 0o750));
    place.copy(&["--parents", &flag, "d/./**/b", "/pivot"]);
    assert_eq!((place.names("pivot"), place.read("pivot/sub/b")), (vec!["sub".into()], "b\n".into()));
    place.run(&["copy", "--parents", &flag, "d/nosuch", "/x"]).fails().says(125, &["d/nosuch", "no such file"]);
}

#[test]
fn root_copy_takes_odd_files_as_they_are() {
    use std::os::unix::ffi::OsStrExt;
    let place = Place::new();
    let odd = place.sandbox.path("odd");
    fs::create_dir(&odd).expect("mkdir");
    let raw = std::ffi::OsStr::from_bytes(b"raw-\xff\n");
    let long = "n".repeat(255);
    fs::write(odd.join(raw), "raw").expect("write");
    fs::write(odd.join(&long), "long").expect("write");
    fs::write(odd.join("secret"), "secret").expect("write");
    fs::set_permissions(odd.join("secret"), fs::Permissions::from_mode(0o000)).expect("chmod");
    let sparse = fs::File::create(odd.join("sparse")).expect("create");
    sparse.set_len(64 << 20).expect("grow");
    std::os::unix::fs::FileExt::write_all_at(&sparse, b"end", (64 << 20) - 3).expect("write");
    fs::write(odd.join("able"), "x").expect("write");
    place.sandbox.any("setcap").arg("cap_net_raw+ep").arg(odd.join("able")).ok();
    place.sandbox.any("setfattr").args(["-n", "user.note", "-v", "kept"]).arg(odd.join("able")).ok();
    place.sandbox.any("mkfifo").arg(odd.join("fifo")).ok();
    place.sandbox.any("mknod").arg(odd.join("null")).args(["c", "1", "3"]).ok();
    let _socket = std::os::unix::net::UnixListener::bind(odd.join("socket")).expect("bind");
    let flag = format!("--contextdir={}", odd.display());
    place.copy(&[&flag, "/", "/odd"]);
    assert_eq!(fs::read(place.root.join("odd").join(raw)).expect("raw name"), b"raw");
    assert_eq!((place.read(&format!("odd/{long}")), place.read("odd/secret")), ("long".into(), "secret".into()));
    assert_eq!(place.stat("odd/secret").0, 0);
    let copied = fs::metadata(place.root.join("odd/sparse")).expect("stat");
    assert!(copied.len() == 64 << 20 && copied.blocks() < 1024, "holes stay holes: {}", copied.blocks());
    let able = place.root.join("odd/able");
    assert!(place.sandbox.any("getcap").arg(&able).ok().contains("cap_net_raw"));
    assert!(place.sandbox.any("getfattr").args(["-n", "user.note"]).arg(&able).ok().contains("kept"));
    let kind = |path: &str| fs::symlink_metadata(place.root.join(path)).expect("stat");
    assert!(std::os::unix::fs::FileTypeExt::is_fifo(&kind("odd/fifo").file_type()));
    assert_eq!(kind("odd/null").rdev(), fs::metadata("/dev/null").expect("stat").rdev());
    assert!(!place.root.join("odd/socket").exists(), "a layer holds no sockets");
}

#[test]
fn root_patterns_symlinks_and_times_are_as_the_flags_say() {
    let place = Place::new();
    // A symlink as a source is what it points to, or itself.
    place.copy(&["to-f", "/followed"]);
    place.copy(&["--no-follow-symlinks", "to-f", "/kept"]);
    place.copy(&["--no-follow-symlinks", "to-*", "/both/"]);
    assert_eq!(place.read("followed"), "hi\n");
    for (name, target) in [("kept", "f"), ("both/to-f", "f"), ("both/to-d", "d")] {
        assert_eq!(fs::read_link(place.root.join(name)).expect("a symlink"), Path::new(target), "{name}");
    }
    // A time for all that is copied, in archives too.
    place.copy(&["--timestamp=60", "d", "/old"]);
    let tar = place.sandbox.any("tar").args(["-C", "ctx", "-cf", "ctx/a.tar", "d", "f"]).in_dir(place.sandbox.dir());
    tar.ok();
    place.run(&["add", "--timestamp=60", "a.tar", "/unpacked"]).ok();
    for name in ["old/a", "old/sub", "old/sub/b", "old/l", "unpacked/d", "unpacked/d/a", "unpacked/d/l", "unpacked/f"] {
        assert_eq!(fs::symlink_metadata(place.root.join(name)).expect(name).mtime(), 60, "{name}");
    }
    // Patterns can be forbidden, and may match nothing where that is allowed.
    let outcome = place.run(&["copy", "--allow-wildcard=false", "to-*", "/none/"]).fails();
    assert!(outcome.stderr.contains("to-*") && outcome.stderr.contains("--allow-wildcard=false"), "{outcome}");
    place.copy(&["--allow-wildcard=false", "f", "/one"]);
    assert!(place.run(&["copy", "nosuch-*", "/none/"]).fails().stderr.contains("matched nothing"));
    assert_eq!(place.copy(&["--allow-empty-wildcard", "nosuch-*", "/none/"]), "");
    assert!(!place.root.join("none").exists());
    place.copy(&["--allow-empty-wildcard", "nosuch-*", "f", "/some/"]);
    assert_eq!(place.names("some"), ["f"]);
}

#[test]
fn root_files_of_containers_and_images_keep_their_owners() {
    let place = Place::new();
    place.sandbox.gabion(["from", "--name", "other", "scratch"]).ok();
    let file = place.sandbox.path("ctx/f");
    place.sandbox.gabion(["copy", "--chown", "7:8", "other"]).arg(&file).arg("/owned").ok();
    place.sandbox.gabion(["commit", "-q", "other", "image"]).ok();
    place.copy(&["--from=other", "/owned", "/of-container"]);
    place.copy(&["--from=image", "/owned", "/of-image"]);
    place.copy(&["--from=image", "--chown=9", "/owned", "/given"]);
    assert_eq!(["of-container", "of-image", "given"].map(|name| place.stat(name).1), [7, 7, 9]);
}

#[test]
fn root_a_source_may_be_the_whole_path_into_the_context() {
    let place = Place::new();
    fs::write(place.sandbox.path("ctx/.dockerignore"), "d/sub\n").expect("write");
    let context = place.sandbox.path("ctx");
    let (all, d) = (context.display().to_string(), context.join("d").display().to_string());
    place.copy(&[&format!("--contextdir={all}"), &d, "/whole"]);
    assert_eq!(place.names("whole"), ["a", "hard", "l"]);
}
