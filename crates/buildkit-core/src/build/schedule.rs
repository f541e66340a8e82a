//! When stages are built: each on a thread of its own, so many at once as there are jobs, the first
//! of the file first. A stage that waits for another one gives its place away meanwhile. A spare stage
//! is built if one under way waits for it.

use std::collections::BTreeSet;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::stage::StageResult;
use crate::event::{Events, WaitingStage, WaitsFor};

/// Places for stages that are built at once, which several builds may share: those of the build that
/// began first go first.
#[derive(Clone, Debug)]
pub struct Jobs(Arc<SharedPlaces>);

#[derive(Debug)]
struct SharedPlaces {
    state: Mutex<Places>,
    changed: Condvar,
}

#[derive(Debug)]
struct Places {
    free: usize,
    builds: usize,
    /// Stages that wait for a place: the build's number and the position in its plan.
    waiting: BTreeSet<(usize, usize)>,
}

impl Jobs {
    /// Places for `count` stages, at least one.
    pub fn new(count: usize) -> Jobs {
        let places = Places { free: count.max(1), builds: 0, waiting: BTreeSet::new() };
        Jobs(Arc::new(SharedPlaces { state: Mutex::new(places), changed: Condvar::new() }))
    }

    fn lock(&self) -> MutexGuard<'_, Places> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The stages of a build, by their position in the plan.
pub(super) struct Schedule<'e> {
    events: Events<'e>,
    stages: usize,
    jobs: Jobs,
    /// The build's number among those that share the jobs.
    build: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
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
    /// `stages` stages and behind them `spare` ones, as many at once as `jobs` has places; who waits is told
    /// to `events`.
    pub fn new(stages: usize, spare: usize, jobs: Jobs, events: Events<'e>) -> Schedule<'e> {
        let mut results = vec![Progress::UnderWay; stages];
        results.resize(stages + spare, Progress::Spare);
        let state = State { results, unfinished: stages, has_failed: false };
        let build = {
            let mut places = jobs.lock();
            places.builds += 1;
            let build = places.builds;
            places.waiting.extend((0..stages).map(|position| (build, position)));
            build
        };
        Schedule { events, stages, jobs, build, state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Waits for a place for the stage.
    pub fn place(&self, position: usize) -> Place<'_> {
        let own = (self.build, position);
        let mut places = self.jobs.lock();
        places.waiting.insert(own);
        let is_next = |places: &Places| places.free > 0 && places.waiting.first() == Some(&own);
        let mut told = None;
        while !is_next(&places) {
            places = match told {
                Some(_) => self.jobs.0.changed.wait(places).unwrap_or_else(PoisonError::into_inner),
                None => {
                    drop(places);
                    told = Some(self.waiting(position, WaitsFor::Place));
                    self.jobs.lock()
                }
            };
        }
        places.waiting.remove(&own);
        places.free -= 1;
        drop(places);
        // Another place may be free for the next one.
        self.jobs.0.changed.notify_all();
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

impl Drop for Schedule<'_> {
    fn drop(&mut self) {
        // Stages that were never begun keep no other build waiting.
        self.jobs.lock().waiting.retain(|(build, _)| *build != self.build);
        self.jobs.0.changed.notify_all();
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
        let jobs = &self.schedule.jobs;
        jobs.lock().free += 1;
        jobs.0.changed.notify_all();
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.leave();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;
    use crate::event::Event;

    #[test]
    fn pure_builds_share_places() {
        let jobs = Jobs::new(1);
        let (sender, seen) = channel();
        let tell = Mutex::new(sender.clone());
        let events = |event| {
            if let Event::Waiting { .. } = event {
                tell.lock().expect("lock").send("waits").expect("somebody listens");
            }
        };
        let (first, second) = (Schedule::new(1, 0, jobs.clone(), &|_| ()), Schedule::new(1, 0, jobs, &events));
        std::thread::scope(|scope| {
            let place = first.place(0);
            scope.spawn(|| {
                let _place = second.place(0);
                sender.send("has it").expect("somebody listens");
            });
            assert_eq!(seen.recv(), Ok("waits"));
            drop(place);
            assert_eq!(seen.recv(), Ok("has it"));
        });
    }

    #[test]
    fn pure_a_build_that_ends_early_keeps_no_other_waiting() {
        let jobs = Jobs::new(1);
        drop(Schedule::new(3, 0, jobs.clone(), &|_| ()));
        let next = Schedule::new(1, 0, jobs, &|_| ());
        drop(next.place(0));
    }
}
