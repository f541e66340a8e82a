//! Tars that other programs made: unpacked, and put together again byte for byte.
#![allow(clippy::expect_used, reason = "tests")]

mod tree;

use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use rootfs::{Owner, Root};
use tree::{assert_reproduced, snapshot_with};

/// A tree with what tar formats differ in.
fn sample() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("temp dir");
    let root = Root::open(dir.path()).expect("open");
    root.create_dir_all("usr/lib", 0o755, Owner::ROOT).expect("mkdir");
    root.create_file("usr/lib/a", 0o4755, Owner { uid: 7, gid: 8 })
        .expect("create")
        .write_all(b"hello\n")
        .expect("write");
    root.create_file("empty", 0o600, Owner::ROOT).expect("create");
    root.create_file("big", 0o644, Owner::ROOT).expect("create").write_all(&[7; 300_001]).expect("write");
    root.hardlink("big", "usr/big too").expect("link");
    root.symlink("/usr/lib", "lib").expect("symlink");
    let long = format!("usr/{}", "long/".repeat(40) + &"n".repeat(200));
    root.create_dir_all(Path::new(&long).parent().expect("parent"), 0o755, Owner::ROOT).expect("mkdir");
    root.create_file(&long, 0o644, Owner::ROOT).expect("create").write_all(b"long").expect("write");
    root.symlink("t".repeat(300), "usr/long target").expect("symlink");
    dir
}

fn gnu_tar(dir: &Path, args: &[&str]) -> Vec<u8> {
    let output = Command::new("tar").args(args).arg("-C").arg(dir).args(["-cf", "-", "."]).output().expect("GNU tar");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

#[test]
fn root_formats_of_gnu_tar_are_reproduced() {
    let dir = sample();
    let original = snapshot_with(dir.path(), true);
    for args in [&["--format=gnu"][..], &["--format=posix"], &["--format=oldgnu"], &["--format=posix", "--xattrs"]] {
        let tar = gnu_tar(dir.path(), args);
        let applied = assert_reproduced(&tar);
        let applied = snapshot_with(applied.path(), true);
        assert_eq!(applied.keys().collect::<Vec<_>>(), original.keys().collect::<Vec<_>>(), "{args:?}");
        if args.contains(&"--format=posix") {
            tree::assert_same(&original, &applied); // nanoseconds and all
        }
    }
}

#[test]
fn root_sparse_formats_keep_their_holes_and_are_reproduced() {
    let dir = tempfile::tempdir().expect("temp dir");
    let root = Root::open(dir.path()).expect("open");
    use std::os::unix::fs::FileExt;
    let file = root.create_file("sparse", 0o644, Owner::ROOT).expect("create");
    for at in 0..60_u64 {
        file.write_all_at(b"data", at * 300_000).expect("write");
    }
    file.set_len(30_000_000).expect("truncate");
    let hole = root.create_file("only a hole", 0o644, Owner::ROOT).expect("create");
    hole.set_len(1 << 33).expect("truncate");
    let sums = |dir: &Path| {
        let root = Root::open(dir).expect("open");
        let mut reader = oci::DigestReader::new(root.open_file("sparse").expect("open"));
        std::io::copy(&mut reader, &mut std::io::sink()).expect("read");
        let metadata = root.metadata("only a hole").expect("stat");
        (reader.finish().0, metadata.size)
    };
    let formats =
        [&["--format=gnu"][..], &["--sparse-version=0.0"], &["--sparse-version=0.1"], &["--sparse-version=1.0"]];
    for args in formats {
        let mut all = vec!["--sparse"];
        if !args.contains(&"--format=gnu") {
            all.push("--format=posix");
        }
        all.extend(args);
        let tar = gnu_tar(dir.path(), &all);
        assert!(tar.len() < 2_000_000, "the tar is sparse");
        let applied = assert_reproduced(&tar);
        assert_eq!(sums(applied.path()), sums(dir.path()), "{args:?}");
        let blocks = Root::open(applied.path()).expect("open").metadata("only a hole").expect("stat").blocks;
        assert_eq!(blocks, 0, "{args:?}");
    }
}

#[test]
fn root_trailing_bytes_and_missing_ends_are_reproduced() {
    let dir = sample();
    let tar = gnu_tar(dir.path(), &["--format=posix"]);
    let end = tar.len() - tar.iter().rev().take_while(|b| **b == 0).count();
    let end = end.next_multiple_of(512);
    assert_reproduced(&[&tar[..], b"trailing junk \0\x01"].concat());
    assert_reproduced(&[&tar[..], &vec![9; 300_000], &tar].concat());
    assert_reproduced(&tar[..end]);
    assert_reproduced(&[&tar[..end], &[0; 512]].concat());
    assert_reproduced(b"");
    assert_reproduced(&[0; 1024]);
    assert_reproduced(&[0; 10240]);
}

#[test]
fn root_names_that_are_not_utf8_are_reproduced() {
    let dir = tempfile::tempdir().expect("temp dir");
    let root = Root::open(dir.path()).expect("open");
    use std::os::unix::ffi::OsStrExt;
    for name in [&b"\xff\xfe"[..], "gr\u{fc}n".as_bytes(), &[0xe9; 150], b"new\nline", b"tab\t"] {
        let path = Path::new(std::ffi::OsStr::from_bytes(name));
        root.create_file(path, 0o644, Owner::ROOT).expect("create").write_all(name).expect("write");
    }
    for format in ["--format=gnu", "--format=posix"] {
        let applied = assert_reproduced(&gnu_tar(dir.path(), &[format]));
        let keys = |dir: &Path| snapshot_with(dir, true).into_keys().collect::<Vec<_>>();
        assert_eq!(keys(applied.path()), keys(dir.path()));
    }
}

#[test]
fn root_our_tars_unpack_with_gnu_tar() {
    let dir = sample();
    let (tar, ..) = tree::diff(dir.path(), &layers::DiffOptions::default());
    let other = tempfile::tempdir().expect("temp dir");
    let mut child = Command::new("tar")
        .args(["--numeric-owner", "-xpf", "-", "-C"])
        .arg(other.path())
        .stdin(std::process::Stdio::piped())
        .spawn()
        .expect("GNU tar");
    child.stdin.take().expect("stdin").write_all(&tar).expect("write");
    assert!(child.wait().expect("wait").success());
    // GNU tar gives symlinks their time too.
    tree::assert_same(&snapshot_with(dir.path(), true), &snapshot_with(other.path(), true));
}

#[test]
fn root_a_changed_file_is_noticed() {
    let dir = sample();
    let (tar, split, _) = tree::diff(dir.path(), &layers::DiffOptions::default());
    assert!(tree::reassemble(&split, dir.path()).expect("reassemble") == tar);
    std::fs::write(dir.path().join("usr/lib/a"), b"hellO\n").expect("write");
    let error = tree::reassemble(&split, dir.path()).expect_err("must fail").to_string();
    assert!(error.contains("usr/lib/a") && error.contains("checksum"), "{error}");
    std::fs::write(dir.path().join("usr/lib/a"), b"hell").expect("write");
    assert!(tree::reassemble(&split, dir.path()).is_err());
    std::fs::remove_file(dir.path().join("usr/lib/a")).expect("remove");
    assert!(tree::reassemble(&split, dir.path()).is_err());
}

#[test]
fn pure_crc_is_that_of_go() {
    let mut crc = layers::tar_split::ContentCrc::default();
    crc.update(b"y\n");
    assert_eq!(crc.finish(), 0x6152_a000_0000_0000);
}

#[test]
fn pure_compression_round_trips_and_members_are_joined() {
    use layers::{Compression, Compressor, Decompressor};
    use std::io::Read as _;
    let data: Vec<u8> = (0..300_000_u32).flat_map(|n| (n / 7).to_le_bytes()).collect();
    for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
        let mut twice = Vec::new();
        for half in data.chunks(data.len() / 2) {
            let mut compressor = Compressor::new(&mut twice, compression, None).expect("new");
            compressor.write_all(half).expect("write");
            compressor.finish().expect("finish");
        }
        let mut decompressor = Decompressor::new(&twice[..]).expect("new");
        assert_eq!(decompressor.compression(), compression);
        let mut again = Vec::new();
        decompressor.read_to_end(&mut again).expect("read");
        assert!(again == data, "{compression:?}");
        let cut = &twice[..twice.len() - 5];
        if compression != Compression::None {
            let mut decompressor = Decompressor::new(cut).expect("new");
            assert!(decompressor.read_to_end(&mut Vec::new()).is_err(), "{compression:?} cut off");
        }
    }
    for (tool, compression) in [("bzip2", Compression::Bzip2), ("xz", Compression::Xz)] {
        let Ok(mut child) = Command::new(tool)
            .arg("-c")
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
        else {
            continue;
        };
        let mut stdin = child.stdin.take().expect("stdin");
        let input = data.clone();
        let writer = std::thread::spawn(move || stdin.write_all(&input));
        let output = child.wait_with_output().expect("wait").stdout;
        writer.join().expect("join").expect("write");
        let mut decompressor = Decompressor::new(&output[..]).expect("new");
        assert_eq!(decompressor.compression(), compression);
        let mut again = Vec::new();
        decompressor.read_to_end(&mut again).expect("read");
        assert!(again == data, "{tool}");
    }
}
