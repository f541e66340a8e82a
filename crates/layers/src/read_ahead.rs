//! A reader that is read, counted and hashed on a thread of its own, a few buffers ahead.

use std::io::{self, Read};

use crossbeam_channel::{Receiver, Sender, bounded};
use oci::Digest;
use oci::digest::{Algorithm, Hasher};

const BUFFER: usize = 256 * 1024;
const BUFFERS: usize = 8;

/// The consumer's side.
pub(crate) struct ReadAhead {
    full: Receiver<io::Result<Vec<u8>>>,
    empty: Sender<Vec<u8>>,
    current: Vec<u8>,
    at: usize,
    failed: bool,
}

impl Read for ReadAhead {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.failed {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        while self.at == self.current.len() {
            let Ok(next) = self.full.recv() else { return Ok(0) };
            let used = match next {
                Ok(next) => std::mem::replace(&mut self.current, next),
                Err(error) => {
                    self.failed = true;
                    return Err(error);
                }
            };
            self.at = 0;
            if used.capacity() > 0 {
                // The other side may have ended.
                let _ = self.empty.send(used);
            }
        }
        let left = self.current.get(self.at..).unwrap_or_default();
        let n = left.len().min(buf.len());
        if let (Some(to), Some(from)) = (buf.get_mut(..n), left.get(..n)) {
            to.copy_from_slice(from);
        }
        self.at += n;
        Ok(n)
    }
}

/// Runs `consume` over `input`, and gives its result with the digest and length of what was read:
/// of all of `input` if `consume` read to the end.
pub(crate) fn with_read_ahead<T>(
    mut input: impl Read + Send,
    max_size: Option<u64>,
    consume: impl FnOnce(ReadAhead) -> T,
) -> (T, Digest, u64) {
    let (full_sender, full) = bounded(BUFFERS);
    let (empty_sender, empty) = bounded(BUFFERS + 1);
    for _ in 0..BUFFERS {
        // Never full: there is room for all buffers.
        let _ = empty_sender.send(Vec::with_capacity(BUFFER));
    }
    std::thread::scope(|scope| {
        let reader = scope.spawn(move || {
            let mut hasher = Hasher::new(Algorithm::Sha256);
            let mut size = 0;
            while let Ok(mut buffer) = empty.recv() {
                buffer.clear();
                let result = (&mut input).take(BUFFER as u64).read_to_end(&mut buffer);
                hasher.update(&buffer);
                size += buffer.len() as u64;
                let too_long = max_size.is_some_and(|max| size > max);
                let message = match result {
                    Ok(0) => break,
                    Ok(_) if too_long => Err(too_long_error(max_size)),
                    Ok(_) => Ok(buffer),
                    Err(error) => Err(error),
                };
                let failed = message.is_err();
                if full_sender.send(message).is_err() || failed {
                    break;
                }
            }
            (hasher.finish(), size)
        });
        let result = consume(ReadAhead { full, empty: empty_sender, current: Vec::new(), at: 0, failed: false });
        match reader.join() {
            Ok((digest, size)) => (result, digest, size),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

fn too_long_error(max_size: Option<u64>) -> io::Error {
    let text = format!("it is longer than the {} bytes allowed", max_size.unwrap_or_default());
    io::Error::new(io::ErrorKind::FileTooLarge, text)
}
