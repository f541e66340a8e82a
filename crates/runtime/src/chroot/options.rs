//! Mount options of the runtime specification, as the kernel takes them.

use rustix::mount::MountPropagationFlags;

use crate::sys::attributes as bits;

/// What the options of a mount say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct MountOptions {
    /// Attributes to set (`MOUNT_ATTR_…`).
    pub set: u64,
    /// Attributes to clear.
    pub clear: u64,
    /// How mounts spread, and whether below, too.
    pub propagation: Option<(MountPropagationFlags, bool)>,
    /// Whether a bind mount takes along what is mounted below its source.
    pub recursive: bool,
    /// Whether device nodes are asked for by name.
    pub wants_devices: bool,
    /// Whether a new file system begins as a copy of what it covers.
    pub copy_up: bool,
    /// What is the file system's own: `key=value`, or a key alone.
    pub data: Vec<(String, Option<String>)>,
}

impl MountOptions {
    /// Reads them; of two that contradict each other, the later one counts.
    pub fn parse(words: &[String]) -> MountOptions {
        let mut options = MountOptions::default();
        for word in words {
            options.read(word);
        }
        options
    }

    fn read(&mut self, word: &str) {
        use MountPropagationFlags as Spread;
        match word {
            "ro" => self.turn_on(bits::RDONLY),
            "rw" => self.turn_off(bits::RDONLY),
            "nosuid" => self.turn_on(bits::NOSUID),
            "suid" => self.turn_off(bits::NOSUID),
            "nodev" => {
                self.turn_on(bits::NODEV);
                self.wants_devices = false;
            }
            "dev" => {
                self.turn_off(bits::NODEV);
                self.wants_devices = true;
            }
            "noexec" => self.turn_on(bits::NOEXEC),
            "exec" => self.turn_off(bits::NOEXEC),
            "nodiratime" => self.turn_on(bits::NODIRATIME),
            "diratime" => self.turn_off(bits::NODIRATIME),
            "noatime" => self.access_times(bits::NOATIME),
            "strictatime" => self.access_times(bits::STRICTATIME),
            "atime" | "relatime" | "norelatime" | "nostrictatime" => self.access_times(bits::RELATIME),
            "bind" => {}
            "rbind" => self.recursive = true,
            "private" => self.propagation = Some((Spread::PRIVATE, false)),
            "rprivate" => self.propagation = Some((Spread::PRIVATE, true)),
            "slave" => self.propagation = Some((Spread::DOWNSTREAM, false)),
            "rslave" => self.propagation = Some((Spread::DOWNSTREAM, true)),
            "shared" => self.propagation = Some((Spread::SHARED, false)),
            "rshared" => self.propagation = Some((Spread::SHARED, true)),
            "tmpcopyup" => self.copy_up = true,
            word => {
                let (key, value) = word.split_once('=').map_or((word, None), |(key, value)| (key, Some(value)));
                self.data.push((key.to_owned(), value.map(str::to_owned)));
            }
        }
    }

    fn turn_on(&mut self, bit: u64) {
        self.set |= bit;
        self.clear &= !bit;
    }

    fn turn_off(&mut self, bit: u64) {
        self.set &= !bit;
        self.clear |= bit;
    }

    /// One of several in the same bits.
    fn access_times(&mut self, which: u64) {
        self.set = self.set & !bits::ACCESS_TIMES | which;
        self.clear |= bits::ACCESS_TIMES;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> MountOptions {
        MountOptions::parse(&text.split(',').map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn pure_mount_options_the_later_one_counts() {
        let options = parse("rbind,rslave,nosuid,nodev,dev,ro,noatime,relatime,suid");
        assert_eq!((options.set, options.recursive, options.wants_devices), (bits::RDONLY, true, true));
        assert_eq!(options.clear, bits::NOSUID | bits::NODEV | bits::ACCESS_TIMES);
        assert_eq!(options.propagation, Some((MountPropagationFlags::DOWNSTREAM, true)));
        assert_eq!(parse("dev,nodev").set, bits::NODEV);
        let data = parse("size=5k,mode=755,tmpcopyup,sync");
        assert!(data.copy_up);
        let seen: Vec<_> = data.data.iter().map(|(key, value)| (key.as_str(), value.as_deref())).collect();
        assert_eq!(seen, [("size", Some("5k")), ("mode", Some("755")), ("sync", None)]);
    }
}
