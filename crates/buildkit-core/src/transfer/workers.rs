//! A few threads for the layers of an image; the first failure ends them all.

use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::TransferError;

/// Layers that are in work at once.
const WORKERS: usize = 4;

/// Says to all workers that one has failed, or that nobody waits for them any more.
#[derive(Debug, Default)]
pub(crate) struct Cancel(AtomicBool);

impl Cancel {
    /// From now on, guarded reads fail.
    pub(crate) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// `reader`, whose reads fail once this is set.
    pub(super) fn guard<'c, R: Read>(&'c self, reader: R) -> Guarded<'c, R> {
        Guarded { reader, cancel: self }
    }
}

/// A reader that fails when its work is of no use any more.
pub(super) struct Guarded<'c, R> {
    reader: R,
    cancel: &'c Cancel,
}

impl<R: Read> Read for Guarded<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.cancel.0.load(Ordering::Relaxed) {
            return Err(io::Error::other("given up, as something else has failed"));
        }
        self.reader.read(buf)
    }
}

/// Runs `work` for each of `items`; the results are in their order. Of several failures the first
/// one in time is returned, since the later ones follow from it.
pub(super) fn for_each<I: Sync, T: Send>(
    items: &[I],
    work: impl Fn(usize, &I, &Cancel) -> Result<T, TransferError> + Sync,
) -> Result<Vec<T>, TransferError> {
    let cancel = Cancel::default();
    let next = AtomicUsize::new(0);
    let failure = Mutex::new(None);
    let results: Vec<Mutex<Option<T>>> = items.iter().map(|_| Mutex::new(None)).collect();
    std::thread::scope(|scope| {
        for _ in 0..WORKERS.min(items.len()) {
            scope.spawn(|| {
                loop {
                    let i = next.fetch_add(1, Ordering::Relaxed);
                    let (Some(item), Some(result)) = (items.get(i), results.get(i)) else { return };
                    if cancel.0.load(Ordering::Relaxed) {
                        return;
                    }
                    match work(i, item, &cancel) {
                        Ok(value) => *result.lock().unwrap_or_else(PoisonError::into_inner) = Some(value),
                        Err(error) => {
                            failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                            cancel.set();
                            return;
                        }
                    }
                }
            });
        }
    });
    if let Some(error) = failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(error);
    }
    Ok(results.into_iter().filter_map(|result| result.into_inner().unwrap_or_else(PoisonError::into_inner)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pure_results_keep_their_order_and_the_first_failure_wins() {
        let items: Vec<usize> = (0..50).collect();
        let doubled = for_each(&items, |_, n, _| Ok(n * 2)).expect("no failure");
        assert_eq!(doubled, items.iter().map(|n| n * 2).collect::<Vec<_>>());
        let failed = for_each(&items, |_, n, cancel| {
            if *n == 3 {
                return Err(TransferError::Unsupported("three".into()));
            }
            let mut bytes = Vec::new();
            cancel.guard(&b"x"[..]).read_to_end(&mut bytes).map_err(|e| TransferError::Unsupported(e.to_string()))?;
            Ok(())
        });
        assert_eq!(failed.expect_err("three fails").to_string(), "three");
        assert_eq!(for_each(&[] as &[u8], |_, _, _| Ok(())).expect("nothing"), []);
    }
}
