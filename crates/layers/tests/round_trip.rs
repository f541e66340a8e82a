//! `apply(diff(x)) == x` over generated trees, and the sealed dirs equal both.
#![allow(clippy::expect_used, reason = "tests")]

mod tree;

use std::ffi::OsString;
use std::io::Write as _;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use layers::{DiffOptions, Mtimes};
use proptest::prelude::*;
use rootfs::{Device, FileType, Owner, Root, Time};
use tree::{apply, assert_same, diff, reassemble, snapshot};

/// An entry to be made; parents are made on the way.
#[derive(Clone, Debug)]
struct Node {
    path: Vec<Vec<u8>>,
    kind: Kind,
    mode: u32,
    owner: Owner,
    mtime: Time,
    xattrs: Vec<(String, Vec<u8>)>,
}

#[derive(Clone, Debug)]
enum Kind {
    File(Vec<u8>),
    Sparse(u64),
    Dir,
    Symlink(Vec<u8>),
    Device(bool, u32, u32),
    Fifo,
    Whiteout,
    /// To the file made `n` nodes before, if there is one.
    Link(usize),
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => "[abc]{1,2}".prop_map(String::into_bytes),
        1 => "[a-z ./]{1,3}é".prop_map(|s| s.replace('/', "_").into_bytes()),
        1 => proptest::collection::vec(1u8..=255, 1..12),
        1 => (90usize..=255).prop_map(|n| vec![b'n'; n]),
        1 => (90usize..=255).prop_map(|n| vec![0xfe; n]),
    ]
    .prop_map(|name| name.into_iter().map(|b| if b == b'/' { b'_' } else { b }).collect::<Vec<u8>>())
    .prop_filter("a name", |name| name != b"." && name != b".." && !name.starts_with(b".wh."))
}

fn node() -> impl Strategy<Value = Node> {
    let kind = prop_oneof![
        4 => proptest::collection::vec(any::<u8>(), 0..2000).prop_map(Kind::File),
        1 => (1u64..600).prop_map(|n| Kind::Sparse(n * 1000)),
        3 => Just(Kind::Dir),
        2 => proptest::collection::vec(1u8..=255, 1..200).prop_map(Kind::Symlink),
        1 => (any::<bool>(), 1u32..4096, 0u32..1_000_000).prop_map(|(c, a, b)| Kind::Device(c, a, b)),
        1 => Just(Kind::Fifo),
        1 => Just(Kind::Whiteout),
        2 => (1usize..5).prop_map(Kind::Link),
    ];
    let owner = prop_oneof![Just(0u32), 1u32..70000, Just(3_000_000u32), Just(u32::MAX - 1)];
    let seconds = prop_oneof![4 => 0i64..2_000_000_000, 1 => -2_000_000_000i64..0, 1 => Just(12_000_000_000i64)];
    let nanos = prop_oneof![Just(0u32), 0u32..1_000_000_000];
    let xattr = ("[a-z]{1,8}", proptest::collection::vec(any::<u8>(), 0..40));
    (
        proptest::collection::vec(name(), 1..4),
        kind,
        0u32..0o10000,
        (owner.clone(), owner),
        (seconds, nanos),
        proptest::collection::vec(xattr, 0..2),
    )
        .prop_map(|(path, kind, mode, (uid, gid), (seconds, nanoseconds), xattrs)| Node {
            path,
            kind,
            mode,
            owner: Owner { uid, gid },
            mtime: Time { seconds, nanoseconds },
            xattrs,
        })
}

/// Makes the nodes that can be made; a path in use or under a non-directory is left out.
fn build(nodes: &[Node], dir: &Path) {
    let root = Root::open(dir).expect("open");
    let mut files: Vec<PathBuf> = Vec::new();
    let mut made: Vec<(PathBuf, Time)> = Vec::new();
    for node in nodes {
        let mut path = PathBuf::new();
        let mut usable = true;
        for (index, part) in node.path.iter().enumerate() {
            path.push(OsString::from_vec(part.clone()));
            let found = root.metadata_if_exists(&path).expect("stat");
            if index + 1 < node.path.len() {
                match found {
                    None => root.create_dir(&path, 0o755, Owner::ROOT).expect("mkdir"),
                    Some(m) => usable &= m.is_dir(),
                }
                if usable {
                    made.push((path.clone(), Time::from_seconds(7)));
                }
            } else {
                usable &= found.is_none();
            }
            if !usable {
                break;
            }
        }
        if !usable {
            continue;
        }
        let mut plain = true;
        match &node.kind {
            Kind::File(bytes) => {
                root.create_file(&path, 0o600, node.owner).expect("create").write_all(bytes).expect("write");
                files.push(path.clone());
            }
            Kind::Sparse(size) => {
                let mut file = root.create_file(&path, 0o600, node.owner).expect("create");
                file.write_all(b"head").expect("write");
                file.set_len(*size).expect("truncate");
                files.push(path.clone());
            }
            Kind::Dir => root.create_dir(&path, 0o700, node.owner).expect("mkdir"),
            Kind::Symlink(text) => {
                root.symlink(OsString::from_vec(text.clone()), &path).expect("symlink");
                root.set_owner(&path, node.owner).expect("chown");
                plain = false;
            }
            Kind::Device(character, major, minor) => {
                let kind = if *character { FileType::CharDevice } else { FileType::BlockDevice };
                root.mknod(&path, kind, 0o600, Device { major: *major, minor: *minor }).expect("mknod");
            }
            Kind::Fifo => root.mknod(&path, FileType::Fifo, 0o600, Device::default()).expect("mkfifo"),
            Kind::Whiteout => {
                root.mknod(&path, FileType::CharDevice, 0, Device::default()).expect("mknod");
                continue;
            }
            Kind::Link(back) => {
                let Some(target) = files.len().checked_sub(*back).and_then(|at| files.get(at)) else { continue };
                root.hardlink(target, &path).expect("link");
                continue;
            }
        }
        if plain {
            root.set_owner(&path, node.owner).expect("chown");
            root.set_mode(&path, node.mode).expect("chmod");
            if matches!(node.kind, Kind::File(_) | Kind::Dir) {
                for (key, value) in &node.xattrs {
                    root.set_xattr(&path, format!("user.{key}"), value).expect("setxattr");
                }
            }
        }
        made.push((path, node.mtime));
    }
    for (path, mtime) in made.iter().rev() {
        root.set_times(path, *mtime, *mtime).expect("utimens");
    }
}

fn lists_with_gnu_tar(tar: &[u8]) {
    let mut child = Command::new("tar")
        .args(["-tvf", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("GNU tar");
    let mut stdin = child.stdin.take().expect("stdin");
    std::thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(tar));
        let output = child.wait_with_output().expect("wait");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    });
}

fn check(nodes: &[Node]) {
    let original = tempfile::tempdir().expect("temp dir");
    build(nodes, original.path());
    let before = snapshot(original.path());
    let (tar, split, summary) = diff(original.path(), &DiffOptions::default());
    lists_with_gnu_tar(&tar);
    assert!(reassemble_whiteouts_aside(&split, original.path()) == tar, "tar-split of diff");

    let applied = tempfile::tempdir().expect("temp dir");
    let (applied_split, applied_summary) = apply(&tar, applied.path()).expect("apply");
    assert_same(&before, &snapshot(applied.path()));
    assert_eq!(applied_summary.uid_set, summary.uid_set);
    assert_eq!(applied_summary.gid_set, summary.gid_set);
    assert!(reassemble(&applied_split, applied.path()).expect("reassemble") == tar);
    assert_eq!(diff(applied.path(), &DiffOptions::default()).2, summary, "the same tree, the same tar");

    let copy = tempfile::tempdir().expect("temp dir");
    let (upper, into) = (Root::open(original.path()).expect("open"), Root::open(copy.path()).expect("open"));
    let mut copy_split = Vec::new();
    let copied = layers::seal_copy(&upper, &[], &into, std::io::sink(), &mut copy_split, &DiffOptions::default());
    assert_eq!(copied.expect("seal"), summary);
    assert_same(&before, &snapshot(copy.path()));
    assert!(reassemble_whiteouts_aside(&copy_split, copy.path()) == tar);

    let options = DiffOptions { mtimes: Mtimes::Clamp(Time::from_seconds(1000)), ..DiffOptions::default() };
    let (clamped_tar, _, clamped) = diff(original.path(), &options);
    let in_place = layers::seal_in_place(&upper, &[], std::io::sink(), std::io::sink(), &options).expect("seal");
    assert_eq!(in_place, clamped);
    let clamped_dir = tempfile::tempdir().expect("temp dir");
    apply(&clamped_tar, clamped_dir.path()).expect("apply");
    assert_same(&snapshot(original.path()), &snapshot(clamped_dir.path()));
}

/// Whiteouts have no content, so nothing but files is ever opened.
fn reassemble_whiteouts_aside(split: &[u8], dir: &Path) -> Vec<u8> {
    reassemble(split, dir).expect("reassemble")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn root_apply_undoes_diff(nodes in proptest::collection::vec(node(), 0..25)) {
        check(&nodes);
    }
}

/// A tree's lines without what a layer does not tell: which unchanged files share an inode.
fn unlinked(dir: &Path) -> std::collections::BTreeMap<String, String> {
    let cut = |line: String| line.split(" same as ").next().unwrap_or_default().to_owned();
    snapshot(dir).into_iter().map(|(path, line)| (path, cut(line))).collect()
}

/// `below` and the changes up to `tree` give `tree`, by way of a tar.
fn check_compare(below: &[Node], tree: &[Node]) {
    let dirs = [0; 5].map(|_| tempfile::tempdir().expect("temp dir"));
    let roots = dirs.each_ref().map(|dir| Root::open(dir.path()).expect("open"));
    let [lower, upper, changes, unpacked, result] = &roots;
    build(below, dirs[0].path());
    build(tree, dirs[1].path());
    layers::compare(upper, lower, changes).expect("compare");
    let (tar, _, _) = diff(dirs[2].path(), &DiffOptions::default());
    apply(&tar, dirs[3].path()).expect("apply");
    layers::copy(lower, result).expect("copy");
    layers::lay_over(unpacked, result).expect("lay over");
    assert_same(&unlinked(dirs[1].path()), &unlinked(dirs[4].path()));

    let same = tempfile::tempdir().expect("temp dir");
    layers::compare(result, upper, &Root::open(same.path()).expect("open")).expect("compare");
    assert_same(&snapshot(same.path()), &std::collections::BTreeMap::new());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn root_the_changes_between_two_trees_make_one_of_the_other(
        mut nodes in proptest::collection::vec(node(), 0..30),
        (start, end) in (0usize..10, 0usize..10),
    ) {
        nodes.retain(|node| !matches!(node.kind, Kind::Whiteout));
        let end = nodes.len().saturating_sub(end);
        check_compare(&nodes[..end], &nodes[start.min(nodes.len())..]);
    }
}

#[test]
fn root_what_was_replaced_by_a_socket_is_deleted_and_little_differences_count() {
    let dirs = [0; 4].map(|_| tempfile::tempdir().expect("temp dir"));
    let roots = dirs.each_ref().map(|dir| Root::open(dir.path()).expect("open"));
    let [below, tree, changes, xattrs] = &roots;
    for root in [below, tree] {
        root.create_dir("d", 0o755, Owner::ROOT).expect("mkdir");
        for name in ["d/same", "d/mode", "d/attribute"] {
            root.create_file(name, 0o644, Owner::ROOT).expect("create");
            root.set_times(name, Time::from_seconds(1), Time::from_seconds(1)).expect("utimens");
        }
        root.symlink("one", "link").expect("symlink");
        root.set_times("link", Time::from_seconds(1), Time::from_seconds(1)).expect("utimens");
        root.set_times("d", Time::from_seconds(1), Time::from_seconds(1)).expect("utimens");
    }
    below.create_file("socket", 0o644, Owner::ROOT).expect("create");
    tree.mknod("socket", FileType::Socket, 0o644, Device::default()).expect("mknod");
    tree.set_mode("d/mode", 0o600).expect("chmod");
    tree.set_xattr("d/attribute", "user.a", b"1").expect("setxattr");
    layers::compare(tree, below, changes).expect("compare");
    let names = |dir: &Path| snapshot(dir).into_keys().collect::<Vec<_>>();
    assert_eq!(names(dirs[2].path()), ["d", "d/attribute", "d/mode", "socket"]);
    assert!(changes.metadata("socket").expect("stat").is_whiteout());
    layers::compare(below, tree, xattrs).expect("compare");
    assert!(xattrs.xattrs("d/attribute").expect("read").is_empty());
}

#[test]
fn root_deep_trees_and_long_paths_survive() {
    let dir = tempfile::tempdir().expect("temp dir");
    let root = Root::open(dir.path()).expect("open");
    let mut here = root.top().try_clone().expect("dup");
    // 300 levels, paths of 15 kB: beyond PATH_MAX and the number of descriptors kept open.
    let name = "d".repeat(50);
    for _ in 0..300 {
        here.create_dir(&name, 0o755).expect("mkdir");
        here = here.open_dir(&name).expect("open");
    }
    here.create_file("leaf", 0o644).expect("create").write_all(b"deep").expect("write");
    drop(here);
    let (tar, _, summary) = diff(dir.path(), &DiffOptions::default());
    let applied = tempfile::tempdir().expect("temp dir");
    apply(&tar, applied.path()).expect("apply");
    assert_eq!(diff(applied.path(), &DiffOptions::default()).2.size, summary.size);
    assert_same(&snapshot(dir.path()), &snapshot(applied.path()));
    // Both can be removed without help, by us.
    for dir in [&dir, &applied] {
        Root::open(dir.path()).expect("open").remove_all(&name).expect("remove");
    }
}

#[test]
fn root_holes_stay_holes() {
    let dir = tempfile::tempdir().expect("temp dir");
    let root = Root::open(dir.path()).expect("open");
    let file = root.create_file("sparse", 0o644, Owner::ROOT).expect("create");
    use std::os::unix::fs::FileExt;
    file.write_all_at(b"x", 0).expect("write");
    file.write_all_at(b"y", 40 << 20).expect("write");
    file.set_len(64 << 20).expect("truncate");
    let (tar, split, summary) = diff(dir.path(), &DiffOptions::default());
    let applied = tempfile::tempdir().expect("temp dir");
    apply(&tar, applied.path()).expect("apply");
    let copy = tempfile::tempdir().expect("temp dir");
    let into = Root::open(copy.path()).expect("open");
    let sealed = layers::seal_copy(&root, &[], &into, std::io::sink(), std::io::sink(), &DiffOptions::default());
    assert_eq!(sealed.expect("seal"), summary);
    for dir in [applied.path(), copy.path()] {
        let metadata = Root::open(dir).expect("open").metadata("sparse").expect("stat");
        assert_eq!(metadata.size, 64 << 20);
        assert!(metadata.blocks * 512 < 1 << 20, "{} blocks", metadata.blocks);
        assert!(reassemble(&split, dir).expect("reassemble") == tar);
    }
}
