//! What the result is made of, and the layer that tells of it.

use std::path::Path;
use std::sync::Arc;

use dockerfile::ignore::Ignore;
use layers::DiffOptions;
use oci::Platform;
use rootfs::{Root, Time};

use super::Build;
use super::draft::Draft;
use super::error::{BuildError, StepError};
use super::layers::{Files, MadeLayer, new_layer};
use super::stage::StageResult;
use crate::commit::{CommitOptions, added_files};
use crate::context::NamedContext;
use crate::sbom::{Results, SbomError, Scan};
use crate::transfer::pull::{PullOptions, resolve_or_pull};

impl Build<'_> {
    /// Scans what the target shows and the contexts, if that is wanted.
    pub(super) fn scan(&self, target: &StageResult) -> Result<Option<Results>, BuildError> {
        let Some(options) = &self.options.scan else { return Ok(None) };
        let platform = Platform::host();
        let name = self.options.source_policy.image(&options.scanner.image).map_err(SbomError::from)?;
        let pull = PullOptions { policy: options.pull, platform: platform.clone() };
        let image = self
            .image_once(&name, &platform, || resolve_or_pull(self.store, self.remotes, &name, &pull, self.events))
            .map_err(|source| SbomError::Image { image: options.scanner.image.clone(), source: Box::new(source) })?;
        let tree = {
            let _still = self.hold_still();
            let directories = target.files.directories(self.store);
            let at = self.plan.stages.last().map(|stage| stage.from.span).unwrap_or_default();
            let directories = directories.map_err(|error| BuildError::step(self.source, at, error))?;
            self.store.open_tree(&directories)?
        };
        let named = self.options.contexts.values().filter_map(|context| match context {
            NamedContext::Directory { dir, ignore } => Some((dir.as_path(), ignore)),
            NamedContext::Image(_) => None,
        });
        let main = (self.options.context_dir.as_path(), &self.options.ignore);
        let contexts: Vec<(&Path, &Ignore)> = std::iter::once(main).chain(named).collect();
        let scan = Scan {
            store: self.store,
            image: &image,
            options,
            run: &self.options.run,
            stop: Some(self.stop.clone()),
            events: self.events,
        };
        match scan.scan(&tree.path(), &contexts) {
            Err(SbomError::Interrupted) => Err(BuildError::Interrupted),
            scanned => Ok(Some(scanned?)),
        }
    }

    /// The target's files with a layer for those that it is to get, and what the image then says of itself.
    pub(super) fn with_parts(
        &self,
        target: &StageResult,
        parts: &Results,
    ) -> Result<Option<(Files, Draft)>, StepError> {
        let times = self.options.times;
        let options = CommitOptions { add_files: parts.image_files(), times, ..CommitOptions::default() };
        if options.add_files.is_empty() {
            return Ok(None);
        }
        let _still = self.hold_still();
        let below = target.files.directories(self.store)?;
        let staged = added_files::stage(self.store, &below, &options, times.created())?;
        let lowers = below.iter().map(Root::open).collect::<Result<Vec<_>, _>>()?;
        let diff = DiffOptions { mtimes: times.of_files(), began: Some(Time::default()), ..DiffOptions::default() };
        let upper = Root::open(staged.diff_dir())?;
        let summary = layers::seal_in_place(&upper, &lowers, std::io::sink(), staged.tar_split_file()?, &diff)
            .map_err(|error| StepError::Digest(error.into()))?;
        let content = summary.content.clone();
        let content = content.ok_or_else(|| StepError::Value("the layer's content has no digest".to_owned()))?;
        let mut files = target.files.clone();
        files.made.push(Arc::new(MadeLayer::known(staged, new_layer(summary), content)));
        let mut draft = target.draft.clone();
        draft.history.push(added_files::history(&options, times.created(), &target.state.config.author));
        Ok(Some((files, draft)))
    }
}
