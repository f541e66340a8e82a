//! What of a context's directory stays out, for mounts: they show a directory as it is but for that.

use std::path::{Path, PathBuf};

use dockerfile::ignore::Ignore;
use rootfs::{Event, Next, Root};

/// The paths below `path` that `ignore` leaves out, relative to it, nothing below another; symlinks on
/// the way to it are followed. `None` if all of it stays out.
pub(crate) fn left_out(root: &Root, path: &str, ignore: &Ignore) -> rootfs::Result<Option<Vec<PathBuf>>> {
    let real = root.resolve(path)?;
    if ignore.is_empty() {
        return Ok(Some(Vec::new()));
    }
    let is_out = |path: &Path| ignore.matches(&path.to_string_lossy());
    let may_be_in = |path: &Path| ignore.may_include_below(&path.to_string_lossy());
    let is_top = real.as_os_str().is_empty();
    let is_dir = is_top || root.metadata(&real)?.is_dir();
    let is_wanted = is_top || !is_out(&real);
    if !is_dir || !is_wanted && !may_be_in(&real) {
        return Ok(is_wanted.then(Vec::new));
    }
    let mut out: Vec<PathBuf> = Vec::new();
    // Directories that stay out but for what is taken back in: how much was out before, and whether
    // something below is in.
    let mut doubtful: Vec<(usize, bool)> = Vec::new();
    let mut has_any = is_wanted;
    rootfs::walk_below::<rootfs::Error>(&root.open_dir_following(&real)?, |event| {
        match event {
            Event::Entry(entry) => {
                let whole = real.join(entry.path);
                if !is_out(&whole) {
                    has_any = true;
                    doubtful.iter_mut().for_each(|(_, is_in)| *is_in = true);
                } else if entry.metadata.is_dir() && may_be_in(&whole) {
                    doubtful.push((out.len(), false));
                } else {
                    out.push(entry.path.to_owned());
                    return Ok(Next::Skip);
                }
            }
            Event::Leave(entry) => {
                if is_out(&real.join(entry.path))
                    && let Some((before, false)) = doubtful.pop()
                {
                    out.truncate(before);
                    out.push(entry.path.to_owned());
                }
            }
        }
        Ok(Next::Descend)
    })?;
    Ok(has_any.then_some(out))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn tree_what_stays_out_is_found() {
        let dir = tempfile::tempdir().expect("temp dir");
        for path in ["a/keep", "a/b/keep", "a/b/c/o", "n/m/x", "n/keep", "top.o", "top"] {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().expect("a parent")).expect("mkdir");
            fs::write(path, "").expect("write");
        }
        std::os::unix::fs::symlink("a/b", dir.path().join("link")).expect("symlink");
        let root = Root::open(dir.path()).expect("root");
        let out = |path: &str, patterns: &[&str]| {
            let ignore = Ignore::from_patterns(patterns.iter().copied()).expect("patterns");
            let out = left_out(&root, path, &ignore).expect(path);
            out.map(|out| out.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" "))
        };
        for (path, patterns, expected) in [
            ("", &[][..], Some("")),
            ("", &["nothing"], Some("")),
            ("", &["a", "*.o"], Some("a top.o")),
            (".", &["n/m"], Some("n/m")),
            // Taken back in: the directories on the way are there.
            ("", &["*", "!a/b/keep"], Some("a/b/c a/keep link n top top.o")),
            ("", &["a", "!a/b/none"], Some("a")),
            ("a", &["**/keep"], Some("b/keep keep")),
            ("link", &["a/b/c"], Some("c")),
            ("a/b", &["*", "!a/b/keep"], Some("c")),
            ("a/b/keep", &["*", "!a/b/keep"], Some("")),
            ("a/b", &["a"], None),
            ("n", &["*", "!n/none"], None),
            ("top", &["t*"], None),
        ] {
            assert_eq!(out(path, patterns).as_deref(), expected, "{path} {patterns:?}");
        }
        assert!(left_out(&root, "none", &Ignore::from_patterns(["x"]).expect("a pattern")).is_err());
    }
}
