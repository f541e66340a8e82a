//! Paths that the process sees as empty.

/// Changes to the paths of `/proc` and `/sys` that a process sees as empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Masks {
    /// Absolute paths hidden beside the usual ones.
    pub add: Vec<String>,
    /// Paths that are not hidden after all; `*` and `?` stand for characters of one component, and
    /// `all` for everything.
    pub remove: Vec<String>,
}

impl Masks {
    /// Changes `usual`.
    pub(crate) fn apply(&self, usual: Vec<String>) -> Vec<String> {
        if self.remove.iter().any(|pattern| pattern == "all") {
            return Vec::new();
        }
        let is_removed = |path: &String| self.remove.iter().any(|pattern| matches(pattern, path));
        usual.into_iter().chain(self.add.iter().cloned()).filter(|path| !is_removed(path)).collect()
    }
}

/// Whether `path` fits `pattern`, component by component.
fn matches(pattern: &str, path: &str) -> bool {
    let (mut patterns, mut names) = (pattern.split('/'), path.split('/'));
    loop {
        match (patterns.next(), names.next()) {
            (None, None) => return true,
            (Some(pattern), Some(name)) if component_matches(pattern.as_bytes(), name.as_bytes()) => {}
            _ => return false,
        }
    }
}

/// The same for one component; time is at most the product of their lengths.
fn component_matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut next) = (0, 0);
    // Where to go on if what follows the last star does not match.
    let mut star: Option<(usize, usize)> = None;
    loop {
        match (pattern.get(at), name.get(next)) {
            (None, None) => return true,
            (Some(b'*'), _) => {
                star = Some((at + 1, next));
                at += 1;
            }
            (Some(byte), Some(other)) if *byte == b'?' || byte == other => {
                at += 1;
                next += 1;
            }
            _ => match star.as_mut().filter(|(_, begin)| *begin < name.len()) {
                Some((after, begin)) => {
                    *begin += 1;
                    (at, next) = (*after, *begin);
                }
                None => return false,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pure_masks_are_added_and_removed() {
        let list = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let usual = list(&["/proc/kcore", "/proc/keys", "/sys/firmware"]);
        let masks = |add: &[&str], remove: &[&str]| {
            Masks { add: list(add), remove: list(remove) }.apply(usual.clone()).join(" ")
        };
        assert_eq!(masks(&["/a"], &[]), "/proc/kcore /proc/keys /sys/firmware /a");
        assert_eq!(masks(&["/a"], &["/a", "/proc/*"]), "/sys/firmware");
        assert_eq!(masks(&[], &["/proc/k?*s", "/sys"]), "/proc/kcore /sys/firmware");
        assert_eq!(masks(&[], &["*", "/*", "/proc/k"]), "/proc/kcore /proc/keys /sys/firmware");
        assert_eq!(masks(&["/a"], &["all"]), "");
    }
}
