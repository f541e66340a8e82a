//! A blob's stream that tells how far it is.

use std::io::{self, Read};
use std::time::{Duration, Instant};

use oci::Digest;

use crate::event::{Event, Events};

/// The least time between two reports of one blob.
const INTERVAL: Duration = Duration::from_millis(100);

/// A stream that tells now and then how much of it was read, and when all was.
pub(super) struct Metered<'e, R> {
    inner: R,
    digest: Digest,
    total: Option<u64>,
    events: Events<'e>,
    done: u64,
    told: Instant,
    has_ended: bool,
}

impl<'e, R: Read> Metered<'e, R> {
    pub fn new(inner: R, digest: &Digest, total: Option<u64>, events: Events<'e>) -> Metered<'e, R> {
        Metered { inner, digest: digest.clone(), total, events, done: 0, told: Instant::now(), has_ended: false }
    }
}

impl<R: Read> Read for Metered<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buf)?;
        self.done += length as u64;
        if length == 0 && !buf.is_empty() {
            if !std::mem::replace(&mut self.has_ended, true) {
                (self.events)(Event::BlobCopied { digest: self.digest.clone(), size: self.done });
            }
        } else if self.told.elapsed() >= INTERVAL {
            self.told = Instant::now();
            (self.events)(Event::BlobProgress { digest: self.digest.clone(), done: self.done, total: self.total });
        }
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[test]
    fn pure_the_end_is_told_once_and_progress_seldom() {
        let told = Mutex::new(Vec::new());
        let events = |event| told.lock().expect("not poisoned").push(event);
        let digest = Digest::of(b"");
        let content = vec![7; 100_000];
        let mut stream = Metered::new(content.as_slice(), &digest, Some(100_000), &events);
        let mut byte = [0];
        // As fast as can be: far more reads than reports.
        while stream.read(&mut byte).expect("reads") == 1 {}
        assert_eq!(stream.read(&mut byte).expect("reads"), 0);
        drop(stream);
        let mut told = told.into_inner().expect("not poisoned");
        assert_eq!(told.pop(), Some(Event::BlobCopied { digest, size: 100_000 }));
        assert!(told.len() < 1000, "{}", told.len());
        assert!(told.iter().all(|event| matches!(event, Event::BlobProgress { total: Some(100_000), .. })));
    }
}
