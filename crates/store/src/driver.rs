//! Storage drivers: how layers are kept. What differs from one to the other is here, in
//! [`crate::layout`] and in [`crate::whole_trees`].

use crate::{Error, Result};

/// How a store keeps its layers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Driver {
    /// Each layer has its changes, which the kernel stacks.
    #[default]
    Overlay,
    /// Each layer has all files, copied from the layer below: slow, large, and possible anywhere.
    Vfs,
}

impl Driver {
    /// What storage.conf and the store's directories call it.
    pub fn name(self) -> &'static str {
        match self {
            Driver::Overlay => "overlay",
            Driver::Vfs => "vfs",
        }
    }

    /// The driver called `name`.
    ///
    /// # Errors
    /// [`Error::Driver`].
    pub fn parse(name: &str) -> Result<Driver> {
        match name {
            "overlay" | "overlay2" => Ok(Driver::Overlay),
            "vfs" => Ok(Driver::Vfs),
            _ => Err(Error::Driver { driver: name.to_owned() }),
        }
    }
}
