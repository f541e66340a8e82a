//! Layers, wherever they are, and what is below them.

use std::collections::HashSet;
use std::path::PathBuf;

use oci::LayerId;

use crate::driver::Driver;
use crate::layer_dir;
use crate::layout::Layout;
use crate::store::Store;
use crate::table::{Reading, Table, Writing};
use crate::{Error, Layer, Result};

/// A layer and the store that it is in.
#[derive(Clone, Debug)]
pub(crate) struct Located {
    pub layer: Layer,
    pub layout: Layout,
}

impl Located {
    pub fn dir(&self) -> PathBuf {
        self.layout.layer_dir(&self.layer.id)
    }
}

/// The kernel stacks no more lower dirs.
pub(crate) const MAX_LOWERS: usize = 500;

impl Store {
    /// Reads the layers' table; incomplete layers are removed first.
    pub(crate) fn read_layers(&self) -> Result<Reading<Layer>> {
        let reading = self.inner.layers.read()?;
        if !reading.table.with_words("incomplete").any(Layer::is_incomplete) {
            return Ok(reading);
        }
        drop(reading);
        drop(self.write_layers()?);
        self.inner.layers.read()
    }

    /// Takes the layers' table for changes; incomplete layers are removed first.
    pub(crate) fn write_layers(&self) -> Result<Writing<'_, Layer>> {
        let mut layers = self.inner.layers.write()?;
        let incomplete: Vec<LayerId> =
            layers.with_words("incomplete").filter(|l| l.is_incomplete()).map(|l| l.id.clone()).collect();
        if !incomplete.is_empty() {
            for id in &incomplete {
                self.remove_layer_files(id, None)?;
                layers.remove(id.as_str());
            }
            layers.use_reserve();
            layers.save()?;
        }
        Ok(layers)
    }

    /// The layer `id` in `table`, or in a read-only store.
    pub(crate) fn locate(&self, table: &Table<Layer>, id: &LayerId) -> Result<Option<Located>> {
        if let Some(layer) = table.get(id.as_str()) {
            return Ok(Some(Located { layer: layer.clone(), layout: self.layout().clone() }));
        }
        for store in &self.inner.read_only {
            if let Some(layer) = store.layers.read()?.table.get(id.as_str()) {
                return Ok(Some(Located { layer: layer.clone(), layout: store.layout.clone() }));
            }
        }
        Ok(None)
    }

    /// The layer and all below it, top first.
    pub(crate) fn stack(&self, table: &Table<Layer>, top: &LayerId) -> Result<Vec<Located>> {
        let mut stack: Vec<Located> = Vec::new();
        let mut seen = HashSet::new();
        let mut next = Some(top.clone());
        while let Some(id) = next {
            let Some(located) = self.locate(table, &id)? else { return Err(Error::UnknownLayer { id }) };
            if !seen.insert(id) {
                return Err(Error::Damaged {
                    path: self.layout().layers_dir().join("layers.json"),
                    reason: format!("layer {top} is below itself"),
                });
            }
            next = located.layer.parent.clone();
            stack.push(located);
        }
        Ok(stack)
    }
}

/// The directories to stack for `stack`, top first.
pub(crate) fn directories(stack: &[Located]) -> Result<Vec<PathBuf>> {
    let mut directories = Vec::with_capacity(stack.len());
    for located in stack {
        if located.layer.toc_digest.is_some() && located.dir().join("composefs-data").exists() {
            return Err(Error::Damaged {
                path: located.dir(),
                reason: "layers stored with composefs are not supported".into(),
            });
        }
        if located.layout.driver == Driver::Vfs {
            // It has all that is below it.
            return Ok(vec![located.dir()]);
        }
        directories.extend(layer_dir::diffs(&located.dir()));
    }
    match stack.first() {
        Some(top) if directories.len() > MAX_LOWERS => {
            Err(Error::TooDeep { id: top.layer.id.clone(), count: directories.len() })
        }
        _ => Ok(directories),
    }
}
