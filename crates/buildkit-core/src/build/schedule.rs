//! When stages are built: each on a thread of its own, so many at once as there are jobs, the first
//! of the file first. A stage that waits for another one gives its place away meanwhile. A spare stage
//! is built if one under way waits for it.

use std::collections::BTreeSet;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::stage::StageResult;
use crate::event::{Events, WaitingStage, WaitsFor};

/// The stages of a build, by their position in the plan.
pub(super) struct Schedule<'e> {
    events: Events<'e>,
    stages: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    free: usize,
    /// Stages that wait for a place.
    waiting: BTreeSet<usize>,
    results: Vec<Progress>,
    unfinished: usize,
    has_failed: bool,
}

#[derive(Clone, Debug)]
enum Progress {
    /// Nobody needs it.
    Spare,
    UnderWay,
    Done(Arc<StageResult>),
    Failed,
}

/// A place among those that are built at once.
pub(super) struct Place<'a> {
    schedule: &'a Schedule<'a>,
    position: usize,
}

/// Another stage has failed: there is nothing to go on for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stopped;

impl<'e> Schedule<'e> {
    /// `stages` stages and behind them `spare` ones, `jobs` of them at once; who waits is told to `events`.
    pub fn new(stages: usize, spare: usize, jobs: usize, events: Events<'e>) -> Schedule<'e> {
        let mut results = vec![Progress::UnderWay; stages];
        results.resize(stages + spare, Progress::Spare);
        let state =
            State { free: jobs.max(1), waiting: (0..stages).collect(), results, unfinished: stages, has_failed: false };
        Schedule { events, stages, state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Waits for a place for the stage.
    pub fn place(&self, position: usize) -> Place<'_> {
        let mut state = self.lock();
        state.waiting.insert(position);
        let is_next = |state: &State| state.free > 0 && state.waiting.first() == Some(&position);
        let mut told = None;
        while !is_next(&state) {
            state = match told {
                Some(_) => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                None => {
                    drop(state);
                    told = Some(self.waiting(position, WaitsFor::Place));
                    self.lock()
                }
            };
        }
        state.waiting.remove(&position);
        state.free -= 1;
        drop(state);
        // Another place may be free for the next one.
        self.changed.notify_all();
        Place { schedule: self, position }
    }

    /// Waits until somebody needs a spare stage; says no once nobody will.
    pub fn is_needed(&self, position: usize) -> bool {
        let mut state = self.lock();
        while matches!(state.results.get(position), Some(Progress::Spare)) && state.unfinished > 0 {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        !matches!(state.results.get(position), None | Some(Progress::Spare))
    }

    /// Whether a stage has failed.
    pub fn has_failed(&self) -> bool {
        self.lock().has_failed
    }

    /// The stage is done, or has failed.
    pub fn finish(&self, position: usize, result: Option<Arc<StageResult>>) {
        let mut state = self.lock();
        state.has_failed |= result.is_none();
        if let Some(progress) = state.results.get_mut(position) {
            *progress = result.map_or(Progress::Failed, Progress::Done);
        }
        state.unfinished = state.unfinished.saturating_sub(1);
        drop(state);
        self.changed.notify_all();
    }

    /// Waits until all stages have ended, or a while; says whether they have.
    pub fn wait_for_all(&self, longest: Duration) -> bool {
        let state = self.lock();
        let (state, _) = self
            .changed
            .wait_timeout_while(state, longest, |state| state.unfinished > 0)
            .unwrap_or_else(PoisonError::into_inner);
        state.unfinished == 0
    }

    /// The result of a stage that is done.
    pub fn result(&self, position: usize) -> Option<Arc<StageResult>> {
        match self.lock().results.get(position) {
            Some(Progress::Done(result)) => Some(result.clone()),
            _ => None,
        }
    }

    /// Tells that the stage waits, until the result is dropped. A spare one is one more than was known of.
    fn waiting(&self, position: usize, waits_for: WaitsFor) -> WaitingStage<'_> {
        WaitingStage::begin(self.events, (position + 1, self.stages.max(position + 1)), waits_for)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// A spare stage is to be built.
    fn need(&mut self, position: usize, changed: &Condvar) {
        if let Some(progress) = self.results.get_mut(position) {
            *progress = Progress::UnderWay;
            self.unfinished += 1;
            changed.notify_all();
        }
    }
}

impl<'a> Place<'a> {
    /// Does something that waits, while the place is another stage's; then waits for one again.
    pub fn while_away<T>(&mut self, waits_for: WaitsFor, wait: impl FnOnce() -> T) -> T {
        let waiting = self.schedule.waiting(self.position, waits_for);
        self.leave();
        let result = wait();
        drop(waiting);
        let again = self.schedule.place(self.position);
        // The place is this one's now.
        std::mem::forget(again);
        result
    }

    /// The result of another stage, which is waited for.
    pub fn wait_for(&mut self, position: usize) -> Result<Arc<StageResult>, Stopped> {
        if let Some(result) = self.schedule.result(position) {
            return Ok(result);
        }
        let schedule = self.schedule;
        self.while_away(WaitsFor::Stage(position + 1), || {
            let mut state = schedule.lock();
            loop {
                match state.results.get(position) {
                    Some(Progress::Done(result)) => return Ok(result.clone()),
                    Some(Progress::Failed) | None => return Err(Stopped),
                    Some(Progress::UnderWay | Progress::Spare) if state.has_failed => return Err(Stopped),
                    Some(Progress::UnderWay) => {}
                    Some(Progress::Spare) => state.need(position, &schedule.changed),
                }
                state = schedule.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
        })
    }

    fn leave(&self) {
        self.schedule.lock().free += 1;
        self.schedule.changed.notify_all();
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.leave();
    }
}
