//! Where a large file is cut: at places that follow from the 64 bytes before them, so that the same
//! bytes give the same chunks wherever they stand in a file.
//!
//! This is the rolling sum of bup, with the window and the places that containers/storage cuts at: a
//! chunk that another tool wrote can be found in the layers of this one, and the reverse. The crate
//! `rollsum` forgets its window at each cut, which gives other places.

const WINDOW: usize = 64;
const OFFSET: u32 = 31;
/// A cut is where these bits of the sum are set: one place in 65,536.
const MASK: u32 = 0xffff;

/// The sum over the last bytes of a file.
pub(super) struct RollingSum {
    sum: u32,
    weighted: u32,
    window: [u8; WINDOW],
    at: usize,
}

impl RollingSum {
    pub fn new() -> RollingSum {
        let window = WINDOW as u32;
        RollingSum { sum: window * OFFSET, weighted: window * (window - 1) * OFFSET, window: [0; WINDOW], at: 0 }
    }

    /// How many of `bytes` come before the next cut; `None` if there is none in them.
    pub fn next_cut(&mut self, bytes: &[u8]) -> Option<usize> {
        for (i, new) in bytes.iter().enumerate() {
            let Some(slot) = self.window.get_mut(self.at) else { continue };
            let old = u32::from(std::mem::replace(slot, *new));
            self.at = (self.at + 1) % WINDOW;
            self.sum = self.sum.wrapping_add(u32::from(*new)).wrapping_sub(old);
            self.weighted = self.weighted.wrapping_add(self.sum).wrapping_sub(WINDOW as u32 * (old + OFFSET));
            if self.weighted & MASK == MASK {
                return Some(i + 1);
            }
        }
        None
    }
}
