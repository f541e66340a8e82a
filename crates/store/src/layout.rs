//! Every path of a store.
//!
//! ```text
//! <graphroot>/storage.lock                 the driver's lock
//!   overlay/                               "home": a directory per layer
//!     .has-mount-program                   "true": filled by fuse-overlayfs
//!     l/<NAME> -> ../<layer>/diff          short names, for mount options
//!     <layer>/{diff,link,lower,work,merged,empty}
//!     tempdirs/{lock-R,temp-dir-R/}        staging and deferred deletion; gone when lock-R is free
//!   overlay-layers/{layers.lock,layers.json,volatile-layers.json,<layer>.tar-split.gz}
//!   overlay-images/{images.lock,images.json,<image>/}
//!   overlay-containers/{containers.lock,containers.json,volatile-containers.json,<container>/userdata/}
//!   gabion/journal/                        changes of gabion's under way
//!   gabion/tempdirs/{lock-R,temp-dir-R/}   as above, for what is not the store's
//!   gabion/claims/lock-<image>             nameless images that running commands work with
//! <runroot>/overlay-layers/{mountpoints.lock,mountpoints.json}
//!   overlay-locks/sha256:<image>           who changes a manifest list holds it
//!   overlay-containers/<container>/userdata/
//! ```
//! With the driver vfs, `vfs` stands for `overlay` in all names, and of a layer there is only
//! `vfs/dir/<layer>/`, the tree itself. `gabion-vfs` stands for `gabion`.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use oci::{ContainerId, ImageId, LayerId};

use crate::driver::Driver;

/// The paths below one graph root and run root.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    pub driver: Driver,
    pub graph_root: PathBuf,
    pub run_root: PathBuf,
}

impl Layout {
    pub fn storage_lock(&self) -> PathBuf {
        self.graph_root.join("storage.lock")
    }

    pub fn home(&self) -> PathBuf {
        self.graph_root.join(self.driver.name())
    }

    pub fn mount_program_mark(&self) -> PathBuf {
        self.home().join(".has-mount-program")
    }

    pub fn links(&self) -> PathBuf {
        self.home().join("l")
    }

    pub fn temp_dirs(&self) -> PathBuf {
        self.home().join("tempdirs")
    }

    pub fn layer_dir(&self, id: &LayerId) -> PathBuf {
        self.layer_dirs().join(id.as_str())
    }

    /// What has a directory per layer.
    pub fn layer_dirs(&self) -> PathBuf {
        match self.driver {
            Driver::Overlay => self.home(),
            Driver::Vfs => self.home().join("dir"),
        }
    }

    /// Where the layer's files are: its own, or with vfs all that it shows.
    pub fn diff(&self, id: &LayerId) -> PathBuf {
        match self.driver {
            Driver::Overlay => self.layer_dir(id).join("diff"),
            Driver::Vfs => self.layer_dir(id),
        }
    }

    /// Where the layer is mounted; with vfs it is always there.
    pub fn merged(&self, id: &LayerId) -> PathBuf {
        match self.driver {
            Driver::Overlay => self.layer_dir(id).join("merged"),
            Driver::Vfs => self.layer_dir(id),
        }
    }

    pub fn layers_dir(&self) -> PathBuf {
        self.graph_root.join(self.named("layers"))
    }

    pub fn tar_split(&self, id: &LayerId) -> PathBuf {
        self.layers_dir().join(format!("{id}.tar-split.gz"))
    }

    /// Where big data of a layer is, which only chunked pulls have.
    pub fn layer_data_dir(&self, id: &LayerId) -> PathBuf {
        self.layers_dir().join(id.as_str())
    }

    pub fn images_dir(&self) -> PathBuf {
        self.graph_root.join(self.named("images"))
    }

    pub fn image_dir(&self, id: &ImageId) -> PathBuf {
        self.images_dir().join(id.as_str())
    }

    pub fn containers_dir(&self) -> PathBuf {
        self.graph_root.join(self.named("containers"))
    }

    pub fn container_dir(&self, id: &ContainerId) -> PathBuf {
        self.containers_dir().join(id.as_str())
    }

    pub fn container_run_dir(&self, id: &ContainerId) -> PathBuf {
        self.run_containers_dir().join(id.as_str())
    }

    pub fn run_layers_dir(&self) -> PathBuf {
        self.run_root.join(self.named("layers"))
    }

    /// Where the tools lock what they know by a digest.
    pub fn digest_locks(&self) -> PathBuf {
        self.run_root.join(self.named("locks"))
    }

    pub fn digest_lock(&self, digest: &str) -> PathBuf {
        self.digest_locks().join(digest)
    }

    pub fn run_containers_dir(&self) -> PathBuf {
        self.run_root.join(self.named("containers"))
    }

    fn named(&self, records: &str) -> String {
        format!("{}-{records}", self.driver.name())
    }

    pub fn private(&self) -> PathBuf {
        // Two drivers may share a graph root, and none of them knows the other's layers.
        self.graph_root.join(match self.driver {
            Driver::Overlay => "gabion",
            Driver::Vfs => "gabion-vfs",
        })
    }

    pub fn private_temp_dirs(&self) -> PathBuf {
        self.private().join("tempdirs")
    }

    pub fn claims(&self) -> PathBuf {
        self.private().join("claims")
    }

    pub fn claim(&self, id: &ImageId) -> PathBuf {
        self.claims().join(format!("lock-{id}"))
    }

    pub fn journal(&self) -> PathBuf {
        self.private().join("journal")
    }
}

/// The file name of the big data item `key`: the key itself if it is made of `.`, `0-9` and `a-z`,
/// else `=` and its base64. `None` if that would hold a `/` or be no file name.
pub(crate) fn big_data_file_name(key: &str) -> Option<String> {
    if key.is_empty() || key == "." || key == ".." {
        return None;
    }
    if key.bytes().all(|b| matches!(b, b'.' | b'0'..=b'9' | b'a'..=b'z')) {
        return Some(key.to_owned());
    }
    let name = format!("={}", BASE64.encode(key));
    (!name.contains('/') && name.len() <= 255).then_some(name)
}

/// `path` relative to `base`, if it is below.
pub(crate) fn below<'a>(path: &'a Path, base: &Path) -> Option<&'a Path> {
    path.strip_prefix(base).ok().filter(|rest| !rest.as_os_str().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pure_big_data_file_names_are_those_of_the_format() {
        assert_eq!(big_data_file_name("manifest").as_deref(), Some("manifest"));
        assert_eq!(big_data_file_name("manifest-sha256:5d13").as_deref(), Some("=bWFuaWZlc3Qtc2hhMjU2OjVkMTM="));
        for bad in ["", ".", "..", "???>>>~~~", "\u{ff}\u{ff}\u{ff}"] {
            let name = big_data_file_name(bad);
            assert!(name.is_none_or(|name| !name.contains('/')), "{bad:?}");
        }
        assert_eq!(big_data_file_name(".."), None);
    }
}
