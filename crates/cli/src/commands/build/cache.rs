//! What earlier builds did, and how many stages are built at once.

use buildkit_core::build::CacheUse;
use buildkit_core::cache::place::{CacheFrom, CacheTo};
use clap::Args;
use jiff::SignedDuration;

use crate::args::value::number;
use crate::commands::prune::parse_budget;
use crate::session::Session;

/// Use of earlier builds' results.
#[derive(Args)]
pub(super) struct CacheArgs {
    /// Look steps up that builds elsewhere did: type=registry,ref=NAME; type=local,src=DIR; or a repository that
    /// --cache-to wrote to (may be repeated)
    #[arg(long, value_name = "CACHE", value_parser = CacheFrom::parse)]
    pub cache_from: Vec<CacheFrom>,
    /// Write the build's steps for builds elsewhere: type=registry,ref=NAME; type=local,dest=DIR; type=inline, in the
    /// image itself; or a repository. With mode=max those of all stages, ignore-error=false for failing with it
    /// (may be repeated)
    #[arg(long, value_name = "CACHE", value_parser = CacheTo::parse)]
    pub cache_to: Vec<CacheTo>,
    /// Size, such as 20g, to which nameless images and cache mounts are kept when the build ends: those used longest
    /// ago go, never what it has used [default: the variable GABION_CACHE_BUDGET, or else no limit]
    #[arg(long, value_name = "SIZE", env = "GABION_CACHE_BUDGET", hide_env = true, value_parser = parse_budget)]
    pub cache_budget: Option<u64>,
    /// How old results of earlier builds may be, such as 24h; 0 for none
    #[arg(long, value_name = "DURATION", value_parser = crate::args::parse_duration)]
    cache_ttl: Option<std::time::Duration>,
    /// Tell of each step why it was done again, or was not
    #[arg(long)]
    pub explain: bool,
    /// Stages that are built at once, 0 for all [default: the number of processors, but 1 for buildah]
    #[arg(long, value_name = "NUMBER", value_parser = number(0, u16::MAX))]
    jobs: Option<u16>,
    /// Make a layer of each RUN, COPY and ADD, which later builds use; otherwise one of all of them [default: true, but
    /// false for buildah]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true",
          env = "BUILDAH_LAYERS", hide_env = true)]
    layers: Option<bool>,
    /// Run every step, whatever earlier builds did; later builds may use the results
    #[arg(long)]
    no_cache: bool,
    /// Run every step of these stages, whatever earlier builds did: names or numbers (may be repeated)
    #[arg(long, value_name = "STAGE", value_delimiter = ',')]
    pub no_cache_filter: Vec<String>,
}

impl CacheArgs {
    /// Whether each step makes a layer.
    pub fn has_layers(&self, session: &Session) -> bool {
        self.layers.unwrap_or(!session.called_as_buildah())
    }

    /// What use is made of earlier results.
    pub fn cache_use(&self) -> CacheUse {
        match self.cache_ttl {
            _ if self.no_cache => CacheUse::Refresh,
            Some(age) if age.is_zero() => CacheUse::Refresh,
            age => CacheUse::Use { max_age: age.and_then(|age| SignedDuration::try_from(age).ok()) },
        }
    }

    /// How many stages are built at once.
    pub fn jobs(&self, session: &Session) -> usize {
        match self.jobs {
            Some(0) => usize::MAX,
            Some(jobs) => jobs.into(),
            None if session.called_as_buildah() => 1,
            None => std::thread::available_parallelism().map_or(1, usize::from),
        }
    }
}
