//! gzip on several cores, as one member: the input is cut into blocks that are compressed side by
//! side, each with the end of the one before as its dictionary, and joined at byte boundaries.
//!
//! The bytes depend on input and level alone: blocks have a fixed size, and each gets a compressor
//! of its own (one that is reset and used again gives other bytes, depending on which thread
//! got which block).

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use flate2::{Compress, Compression, Crc, FlushCompress, Status};

/// Input bytes compressed at once.
const BLOCK: usize = 256 * 1024;
/// How far back deflate refers.
const WINDOW: usize = 32 * 1024;
/// Fixed header: deflate, no name, no time, unknown operating system.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
/// Still smaller than what Buildah makes, and over a quarter quicker than level 6.
const LEVEL: u32 = 4;
/// More threads than this are not fed fast enough.
const MAX_THREADS: usize = 8;

/// Compresses what is written to it. [`ParallelGzip::finish`] must be called.
pub(super) struct ParallelGzip<W: Write> {
    out: W,
    level: Compression,
    crc: Crc,
    block: Vec<u8>,
    dictionary: Vec<u8>,
    jobs: SyncSender<Job>,
    /// Results that are not written yet, in the order of their blocks.
    results: VecDeque<Receiver<io::Result<Vec<u8>>>>,
    threads: usize,
}

struct Job {
    data: Vec<u8>,
    dictionary: Vec<u8>,
    level: Compression,
    flush: FlushCompress,
    result: Sender<io::Result<Vec<u8>>>,
}

impl<W: Write> ParallelGzip<W> {
    /// Compresses into `out` with `level`, 1 to 9.
    pub(super) fn new(out: W, level: Option<u32>) -> io::Result<ParallelGzip<W>> {
        let threads = thread::available_parallelism().map_or(1, |n| n.get()).min(MAX_THREADS);
        ParallelGzip::with_threads(out, level, threads)
    }

    fn with_threads(mut out: W, level: Option<u32>, threads: usize) -> io::Result<ParallelGzip<W>> {
        let (jobs, queue) = sync_channel::<Job>(threads);
        let queue = Arc::new(Mutex::new(queue));
        for _ in 0..threads {
            let queue = queue.clone();
            thread::Builder::new().name("gzip".into()).stack_size(256 * 1024).spawn(move || work(&queue))?;
        }
        out.write_all(&HEADER)?;
        Ok(ParallelGzip {
            out,
            level: Compression::new(level.unwrap_or(LEVEL).clamp(1, 9)),
            crc: Crc::new(),
            block: Vec::with_capacity(BLOCK),
            dictionary: Vec::new(),
            jobs,
            results: VecDeque::new(),
            threads,
        })
    }

    fn send_block(&mut self, flush: FlushCompress) -> io::Result<()> {
        let data = std::mem::replace(&mut self.block, Vec::with_capacity(BLOCK));
        let window = data.get(data.len().saturating_sub(WINDOW)..).unwrap_or_default().to_vec();
        let dictionary = std::mem::replace(&mut self.dictionary, window);
        let (result, receiver) = channel();
        let job = Job { data, dictionary, level: self.level, flush, result };
        self.jobs.send(job).map_err(|_| io::Error::other("the compressor's threads ended"))?;
        self.results.push_back(receiver);
        while self.results.len() > 2 * self.threads {
            self.write_result()?;
        }
        Ok(())
    }

    fn write_result(&mut self) -> io::Result<()> {
        let Some(receiver) = self.results.pop_front() else { return Ok(()) };
        let bytes = receiver.recv().map_err(|_| io::Error::other("the compressor's threads ended"))??;
        self.out.write_all(&bytes)
    }

    /// Writes what is left and the trailer, and gives the writer back (not flushed).
    pub(super) fn finish(mut self) -> io::Result<W> {
        self.send_block(FlushCompress::Finish)?;
        while !self.results.is_empty() {
            self.write_result()?;
        }
        self.out.write_all(&self.crc.sum().to_le_bytes())?;
        self.out.write_all(&self.crc.amount().to_le_bytes())?;
        Ok(self.out)
    }
}

impl<W: Write> Write for ParallelGzip<W> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let room = BLOCK - self.block.len().min(BLOCK);
        let taken = buf.get(..room.min(buf.len())).unwrap_or_default();
        self.crc.update(taken);
        self.block.extend_from_slice(taken);
        if self.block.len() >= BLOCK {
            self.send_block(FlushCompress::Sync)?;
        }
        Ok(taken.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn work(queue: &Mutex<Receiver<Job>>) {
    loop {
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { return };
        // Whoever gave the job up does not wait for its result.
        let _ = job.result.send(compress(&job));
    }
}

fn compress(job: &Job) -> io::Result<Vec<u8>> {
    let mut compress = Compress::new(job.level, false);
    if !job.dictionary.is_empty() {
        compress.set_dictionary(&job.dictionary).map_err(io::Error::other)?;
    }
    let mut out = Vec::with_capacity(job.data.len() / 2 + 64);
    loop {
        let consumed = usize::try_from(compress.total_in()).unwrap_or(usize::MAX);
        let rest = job.data.get(consumed..).unwrap_or_default();
        let status = compress.compress_vec(rest, &mut out, job.flush).map_err(io::Error::other)?;
        let all = compress.total_in() == job.data.len() as u64;
        // A flush is complete when room is left behind it.
        if status == Status::StreamEnd || all && job.flush == FlushCompress::Sync && out.len() < out.capacity() {
            return Ok(out);
        }
        out.reserve(64 * 1024);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn zip(data: &[u8], level: Option<u32>, threads: usize, step: usize) -> Vec<u8> {
        let mut gzip = ParallelGzip::with_threads(Vec::new(), level, threads).expect("threads");
        for piece in data.chunks(step) {
            gzip.write_all(piece).expect("memory");
        }
        gzip.finish().expect("memory")
    }

    /// Compressible and incompressible stretches.
    fn data(size: usize) -> Vec<u8> {
        let mut state = 1u32;
        let mut next = |i: usize| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            if (i / 50_000).is_multiple_of(2) { (state >> 24) as u8 } else { (i % 97) as u8 }
        };
        (0..size).map(&mut next).collect()
    }

    #[test]
    fn pure_one_gzip_member_comes_back_whole() {
        for size in [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 5 * BLOCK + 12345] {
            let data = data(size);
            for level in [None, Some(1), Some(9)] {
                let zipped = zip(&data, level, 2, 70_000);
                let mut back = Vec::new();
                // Of one member only: what follows would be left over.
                let mut decoder = flate2::bufread::GzDecoder::new(zipped.as_slice());
                decoder.read_to_end(&mut back).expect("valid gzip");
                assert!(back == data, "{size} bytes at {level:?}");
                assert!(decoder.into_inner().is_empty(), "{size} bytes at {level:?}");
            }
        }
    }

    #[test]
    fn pure_bytes_do_not_depend_on_threads_or_writes() {
        let data = data(7 * BLOCK + 99);
        let expected = zip(&data, None, 1, data.len());
        for (threads, step) in [(2, 1000), (3, BLOCK), (8, 12_345), (2, data.len())] {
            assert!(zip(&data, None, threads, step) == expected, "{threads} threads, {step} bytes a time");
        }
    }
}
