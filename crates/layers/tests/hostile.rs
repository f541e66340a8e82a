//! Tars that mean harm: whatever is in them, nothing outside the tree changes, nothing panics, and
//! what is refused is refused with one line that names the entry.
#![allow(clippy::expect_used, reason = "tests")]

mod tree;

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use proptest::prelude::*;
use rootfs::{FileType, Owner, Root};
use tree::{apply, assert_reproduced, assert_same, snapshot};

/// One entry in the raw: nothing is checked or repaired.
#[derive(Clone, Debug)]
struct Raw {
    name: Vec<u8>,
    kind: u8,
    link: Vec<u8>,
    mode: u32,
    size: u64,
    data: Vec<u8>,
    device: (u32, u32),
}

fn raw(name: &str, kind: u8) -> Raw {
    let name = name.as_bytes().to_vec();
    Raw { name, kind, link: Vec::new(), mode: 0o644, size: 0, data: Vec::new(), device: (0, 0) }
}

fn file(name: &str, data: &[u8]) -> Raw {
    Raw { size: data.len() as u64, data: data.to_vec(), ..raw(name, b'0') }
}

fn dir(name: &str, mode: u32) -> Raw {
    Raw { mode, ..raw(name, b'5') }
}

fn link(name: &str, kind: u8, target: &str) -> Raw {
    Raw { link: target.as_bytes().to_vec(), ..raw(name, kind) }
}

fn pax(records: &[(&str, &str)]) -> Raw {
    let mut data = Vec::new();
    for (key, value) in records {
        let rest = key.len() + value.len() + 3;
        let len = (1..5).map(|digits| rest + digits).find(|len| len.to_string().len() == len - rest).expect("length");
        data.extend_from_slice(format!("{len} {key}={value}\n").as_bytes());
    }
    Raw { kind: b'x', ..file("pax", &data) }
}

fn tar(entries: &[Raw]) -> Vec<u8> {
    let mut out = Vec::new();
    for entry in entries {
        let mut header = tar::Header::new_ustar();
        let old = header.as_old_mut();
        old.name.iter_mut().zip(&entry.name).for_each(|(to, from)| *to = *from);
        old.linkname.iter_mut().zip(&entry.link).for_each(|(to, from)| *to = *from);
        old.linkflag = [entry.kind];
        header.set_mode(entry.mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_000_000);
        header.set_size(entry.size);
        header.set_device_major(entry.device.0).expect("major");
        header.set_device_minor(entry.device.1).expect("minor");
        header.set_cksum();
        out.extend_from_slice(header.as_bytes());
        out.extend_from_slice(&entry.data);
        out.resize(out.len().next_multiple_of(512), 0);
    }
    out.extend_from_slice(&[0; 1024]);
    out
}

/// A directory `tree` to unpack into, beside a `canary` that must not change.
struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Place {
        let dir = tempfile::tempdir().expect("temp dir");
        let root = Root::open(dir.path()).expect("open");
        root.create_dir("tree", 0o755, Owner::ROOT).expect("mkdir");
        root.create_dir_all("canary/dir", 0o750, Owner { uid: 5, gid: 6 }).expect("mkdir");
        let mut file = root.create_file("canary/file", 0o640, Owner { uid: 5, gid: 6 }).expect("create");
        file.write_all(b"secret").expect("write");
        root.create_file("canary/setuid", 0o4755, Owner::ROOT).expect("create");
        root.mknod("canary/fifo", FileType::Fifo, 0o600, rootfs::Device::default()).expect("mkfifo");
        root.symlink("file", "canary/link").expect("symlink");
        Place { dir }
    }

    fn tree(&self) -> PathBuf {
        self.dir.path().join("tree")
    }

    fn canary(&self) -> PathBuf {
        self.dir.path().join("canary")
    }
}

/// Unpacks, and checks the canary, the error's text, and that what was accepted can be reproduced.
fn attack(entries: impl Fn(&Place) -> Vec<Raw>) -> Option<String> {
    let place = Place::new();
    let before = snapshot(&place.canary());
    let bytes = tar(&entries(&place));
    let result = apply(&bytes, &place.tree());
    assert_same(&before, &snapshot(&place.canary()));
    if let Ok((split, _)) = &result {
        assert!(tree::reassemble(split, &place.tree()).expect("reassemble") == bytes, "accepted, so reproducible");
    }
    let error = result.err().map(|error| error.to_string());
    if let Some(text) = &error {
        assert!(!text.contains('\n') && !text.contains('\x1b'), "one clean line: {text}");
    }
    error
}

#[track_caller]
fn refused(what: &str, entries: impl Fn(&Place) -> Vec<Raw>) {
    let error = attack(entries);
    assert!(error.is_some(), "{what} was accepted");
}

#[track_caller]
fn harmless(what: &str, entries: impl Fn(&Place) -> Vec<Raw>) {
    let error = attack(entries);
    assert_eq!(error, None, "{what}");
}

#[test]
fn root_names_cannot_leave_the_tree() {
    for name in ["../canary/file", "a/../../canary/file", "./../canary/new", "/../canary/new", ".."] {
        refused(name, |_| vec![file(name, b"owned")]);
        refused(name, |_| vec![link(name, b'2', "x")]);
    }
    harmless("an absolute name is below the root", |p| {
        vec![file(&format!("{}/file", p.canary().display()), b"inside")]
    });
    for name in [".", "./", "/", "//.", "a/.."] {
        harmless("the top is ignored", |p| {
            vec![link(name, b'2', &p.canary().display().to_string()), file("new", b"x")]
        });
    }
    refused("an unknown type", |_| vec![raw("a", b'Q')]);
    refused("a name with an escape sequence is shown escaped", |_| vec![file("../\x1b[2J\n", b"")]);
}

#[test]
fn root_symlinks_cannot_lead_out() {
    for target in ["absolute", "../canary", "../../../../../../../../canary"] {
        let target = move |p: &Place| match target {
            "absolute" => p.canary().display().to_string(),
            other => other.to_owned(),
        };
        harmless("a symlink is text", |p| vec![link("l", b'2', &target(p))]);
        // Accepted or refused, the canary is what counts; `attack` looks at it.
        for entry in [
            file("l/file", b"owned"),
            file("l/new", b"owned"),
            dir("l/dir", 0o777),
            dir("l", 0o777),
            dir("l/.", 0o777),
            raw("l/.wh.file", b'0'),
            raw("l/.wh..wh..opq", b'0'),
            link("stolen", b'1', "l/file"),
            link("h", b'1', "l"),
        ] {
            let _ = attack(|p| vec![link("l", b'2', &target(p)), entry.clone()]);
        }
        let _ = attack(|p| vec![link("l", b'2', &target(p)), link("h", b'1', "l"), file("h/file", b"owned")]);
        let _ = attack(|p| vec![link("l", b'2', &target(p)), link("h", b'1', "l"), dir("h", 0o777)]);
        let _ = attack(|p| vec![link("l", b'2', &target(p)), link("m", b'2', "l"), file("m/file", b"owned")]);
        let _ = attack(|p| vec![Raw { mode: 0o6777, ..link("l", b'2', &target(p)) }]);
    }
}

#[test]
fn root_hard_links_must_find_a_file_inside() {
    refused("missing", |_| vec![link("h", b'1', "missing")]);
    refused("later", |_| vec![link("h", b'1', "f"), file("f", b"")]);
    refused("itself", |_| vec![link("h", b'1', "h")]);
    refused("a directory", |_| vec![dir("d", 0o755), link("h", b'1', "d")]);
    refused("the top", |_| vec![link("h", b'1', ".")]);
    refused("out", |_| vec![link("h", b'1', "../canary/file")]);
    refused("absolute, out", |p| vec![link("h", b'1', &p.canary().join("file").display().to_string())]);
    harmless("to a symlink", |_| vec![link("s", b'2', "/etc/passwd"), link("h", b'1', "s")]);
    harmless("to a file, with a leading slash", |_| vec![file("f", b"x"), link("h", b'1', "/f")]);
}

#[test]
fn root_whiteouts_name_something_inside() {
    for name in [".wh.", ".wh..", ".wh...", "d/.wh.", "d/.wh.."] {
        refused(name, |_| vec![raw(name, b'0')]);
    }
    harmless("of nothing", |_| vec![raw(".wh.nothing", b'0')]);
    harmless("below what was deleted", |_| vec![raw(".wh.foo", b'0'), raw("foo/.wh.bar", b'0')]);
    harmless("with content", |_| vec![Raw { name: b".wh.foo".to_vec(), ..file("", b"content") }]);
    harmless("not a tar of plnk", |_| vec![raw(".wh..wh.plnk", b'5')]);
    refused("a device 0:0", |_| vec![raw("gone", b'3')]);
    harmless("a device", |_| vec![Raw { device: (1, 3), ..raw("null", b'3') }]);
}

#[test]
fn root_a_whiteout_hides_lower_layers_only() {
    let check = |entries: &[Raw], opaque: bool| {
        let dir = assert_reproduced(&tar(entries));
        let root = Root::open(dir.path()).expect("open");
        assert!(root.metadata("foo").expect("stat").is_dir());
        let mark = root.xattr("foo", "trusted.overlay.opaque").expect("xattr");
        assert_eq!(mark.is_some(), opaque);
    };
    check(&[dir("foo", 0o755), file("foo/a", b"a")], false);
    check(&[raw(".wh.foo", b'0'), dir("foo", 0o755), file("foo/a", b"a")], true);
    check(&[dir("foo", 0o755), file("foo/a", b"a"), raw(".wh.foo", b'0')], true);
    check(&[raw(".wh.foo", b'0'), file("foo/a", b"a")], true);
    check(&[dir("foo", 0o755), raw("foo/.wh..wh..opq", b'0'), file("foo/a", b"a")], true);
}

#[test]
fn root_overlay_attributes_are_never_taken_from_a_tar() {
    let entries = [
        pax(&[
            ("SCHILY.xattr.trusted.overlay.redirect", "/.."),
            ("SCHILY.xattr.trusted.overlay.metacopy", ""),
            ("SCHILY.xattr.user.overlay.opaque", "y"),
            ("SCHILY.xattr.trusted.overlay.opaque", "y"),
            ("SCHILY.xattr.user.kept", "1"),
        ]),
        dir("d", 0o755),
    ];
    let applied = assert_reproduced(&tar(&entries));
    let xattrs = Root::open(applied.path()).expect("open").xattrs("d").expect("xattrs");
    assert_eq!(xattrs, [("user.kept".into(), b"1".to_vec())]);
}

#[test]
fn root_readers_cannot_be_made_to_disagree() {
    let inner = tar(&[file("smuggled", b"x")]);
    let two = |a: Raw, b: Raw| move |_: &Place| vec![a.clone(), b.clone()];
    refused("two PAX headers", |_| vec![pax(&[("path", "a")]), pax(&[("path", "b")]), file("c", b"")]);
    refused("PAX then global", |_| {
        vec![pax(&[("path", "a")]), Raw { kind: b'g', ..pax(&[("comment", "x")]) }, file("c", b"")]
    });
    refused("global size", two(Raw { kind: b'g', ..pax(&[("size", "0")]) }, file("c", b"x")));
    harmless("global comment", two(Raw { kind: b'g', ..pax(&[("comment", "x")]) }, file("c", b"x")));
    refused("PAX path and GNU name", |_| {
        vec![pax(&[("path", "a")]), Raw { kind: b'L', ..file("././@LongLink", b"b\0") }, file("c", b"")]
    });
    refused("a PAX header with nothing after it", |_| vec![pax(&[("path", "a")])]);
    // {ustar size n, PAX 0}: the bytes behind are headers, as all readers with PAX say.
    let smuggle = Raw { data: inner.clone(), size: inner.len() as u64, ..file("f", b"") };
    let with_pax_size = |size: &str| tar(&[pax(&[("size", size)]), smuggle.clone()]);
    let applied = assert_reproduced(&with_pax_size("0"));
    assert!(applied.path().join("smuggled").exists());
    let applied = assert_reproduced(&with_pax_size(&inner.len().to_string()));
    assert!(!applied.path().join("smuggled").exists());
    // {ustar 0, PAX n}
    let zero = Raw { size: 0, ..smuggle.clone() };
    let applied = assert_reproduced(&tar(&[pax(&[("size", &inner.len().to_string())]), zero]));
    assert!(!applied.path().join("smuggled").exists());
    // A PAX size is the file's, not that of a long name between them.
    let long = Raw { kind: b'L', ..file("././@LongLink", b"long\0") };
    let applied = assert_reproduced(&tar(&[pax(&[("size", "3")]), long, Raw { size: 0, ..file("f", b"abc") }]));
    assert_eq!(std::fs::read(applied.path().join("long")).expect("read"), b"abc");
    refused("data behind a directory", |_| vec![Raw { kind: b'5', ..file("d", &[0; 512]) }]);
    refused("data behind a symlink", |_| vec![Raw { kind: b'2', link: b"x".to_vec(), ..file("d", &inner) }]);
    for size in ["-1", "x", "99999999999999999999", "+3", " 3"] {
        refused("a bad PAX size", two(pax(&[("size", size)]), file("c", b"abc")));
    }
    // Nobody reads the content of a deletion: it is skipped.
    refused("a PAX size that overflows with its padding", |_| {
        vec![pax(&[("size", &u64::MAX.to_string())]), file(".wh.a", b""), file("c", b"smuggled")]
    });
    refused("a NUL in a PAX path", two(pax(&[("path", "a\0b")]), file("c", b"")));
    refused("a bad mtime", two(pax(&[("mtime", "NaN")]), file("c", b"")));
    harmless("an mtime before 1970", two(pax(&[("mtime", "-1.5")]), file("c", b"")));
    harmless("an mtime far away", two(pax(&[("mtime", "9223372036854775807")]), file("c", b"")));
    refused("the same name twice", two(file("a", b"1"), file("./a", b"2")));
    refused("the same name twice, a slash", two(file("a", b"1"), dir("a/", 0o755)));
    refused("an owner beyond 32 bits", two(pax(&[("uid", "4294967296")]), file("c", b"")));
    refused("the owner that is none", two(pax(&[("gid", "4294967295")]), file("c", b"")));
    refused("an alias of a file", |_| {
        vec![dir("d", 0o755), file("d/f", b"1"), link("l", b'2', "d"), file("l/f", b"2")]
    });
    refused("a parent replaced", two(file("a/b", b"1"), link("a", b'2', "c")));
    refused("a file below a file", two(file("a", b"1"), file("a/b", b"2")));
    refused(
        "sparse, unordered",
        two(pax(&[("GNU.sparse.map", "5,1,0,1"), ("GNU.sparse.size", "9")]), file("c", b"ab")),
    );
    refused("sparse, beyond", two(pax(&[("GNU.sparse.map", "8,2"), ("GNU.sparse.size", "9")]), file("c", b"ab")));
    refused(
        "sparse, too much data",
        two(pax(&[("GNU.sparse.map", "0,1"), ("GNU.sparse.size", "9")]), file("c", b"ab")),
    );
    refused("sparse, unknown", two(pax(&[("GNU.sparse.major", "2"), ("GNU.sparse.realsize", "9")]), file("c", b"ab")));
}

#[test]
fn root_damaged_streams_are_refused() {
    let whole = tar(&[file("a", &[1; 1500]), file("b", b"2")]);
    for cut in [1, 511, 513, 1000, 2047, 2049, 2560] {
        let place = Place::new();
        assert!(apply(&whole[..cut], &place.tree()).is_err(), "cut at {cut}");
    }
    let place = Place::new();
    let error = apply(b"#!/bin/sh\necho this is no tar at all\n", &place.tree()).expect_err("junk").to_string();
    assert!(error.contains("cut off") || error.contains("not a tar"), "{error}");
    let mut flipped = whole.clone();
    flipped[100] ^= 1;
    assert!(apply(&flipped, &place.tree()).expect_err("checksum").to_string().contains("checksum"));
    let mut claims = raw("huge", b'0');
    claims.size = 0o77777777777;
    assert!(apply(&tar(&[claims]), &place.tree()).is_err());
    let options = layers::ApplyOptions { max_size: Some(1000), ..Default::default() };
    let place = Place::new();
    let root = Root::open(place.tree()).expect("open");
    let error = layers::apply(&whole[..], &root, std::io::sink(), &options).expect_err("cap").to_string();
    assert!(error.contains("1000 bytes"), "{error}");
}

#[test]
fn root_setuid_bits_and_modes_arrive() {
    let applied = assert_reproduced(&tar(&[
        Raw { mode: 0o6755, ..file("su", b"x") },
        dir("sticky", 0o1777),
        Raw { mode: 0o640, ..raw("pipe", b'6') },
    ]));
    let mode = |name: &str| std::fs::symlink_metadata(applied.path().join(name)).expect("stat").permissions().mode();
    assert_eq!((mode("su") & 0o7777, mode("sticky") & 0o7777, mode("pipe") & 0o7777), (0o6755, 0o1777, 0o640));
}

fn any_entry() -> impl Strategy<Value = Raw> {
    let name = prop_oneof!["[ab]{1,2}(/[ab.]{1,2}){0,2}", "\\.wh\\.[ab.]{0,3}", "(\\.\\./)?[a]", "a/\\.wh\\.[ab]"];
    let kind = prop_oneof![4 => Just(b'0'), 1 => Just(b'1'), 1 => Just(b'2'), 1 => Just(b'5'), 1 => Just(b'6'),
        1 => Just(b'x'), 1 => Just(b'g'), 1 => Just(b'L'), 1 => Just(b'K'), 1 => Just(b'S'), 1 => any::<u8>()];
    let link = prop_oneof!["[ab](/[ab])?", "\\.\\./\\.\\./canary", "/[ab]"];
    let data = prop_oneof![
        Just(Vec::new()),
        proptest::collection::vec(any::<u8>(), 0..700),
        "(1[0-9] (path|size|linkpath)=[a-b0-9/]{1,6}\n){1,2}".prop_map(String::into_bytes),
    ];
    (name, kind, link, data, 0u32..0o10000).prop_map(|(name, kind, link, data, mode)| Raw {
        mode,
        link: link.into_bytes(),
        kind,
        ..file(&name, &data)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// Never a panic, never a change outside, and what is accepted is reproducible.
    #[test]
    fn root_mutated_tars_do_no_harm(
        entries in proptest::collection::vec(any_entry(), 0..8),
        flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        fix in any::<bool>(),
    ) {
        let place = Place::new();
        let before = snapshot(&place.canary());
        let mut bytes = tar(&entries);
        for (index, value) in &flips {
            let at = index.index(bytes.len());
            bytes[at] = *value;
        }
        if fix {
            for block in bytes.chunks_exact_mut(512) {
                if &block[257..262] == b"ustar" {
                    let mut header = tar::Header::new_old();
                    header.as_mut_bytes().copy_from_slice(block);
                    header.set_cksum();
                    block.copy_from_slice(header.as_bytes());
                }
            }
        }
        if let Ok((split, _)) = apply(&bytes, &place.tree()) {
            prop_assert!(tree::reassemble(&split, &place.tree()).expect("reassemble") == bytes);
        }
        assert_same(&before, &snapshot(&place.canary()));
    }

    #[test]
    fn pure_any_tar_split_is_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), json in ".*") {
        use std::io::Read as _;
        let read = |split: &[u8]| {
            let open = |_: &std::ffi::OsStr| Ok(&b"content"[..]);
            let _ = layers::TarSplitReader::new(split).reassemble(open).take(1 << 20).read_to_end(&mut Vec::new());
        };
        read(&bytes);
        let mut gzip = layers::Compressor::new(Vec::new(), layers::Compression::Gzip, None).expect("gzip");
        gzip.write_all(json.as_bytes()).expect("write");
        read(&gzip.finish().expect("finish"));
    }
}
