//! Dockerfile text to syntax tree to typed instructions. No I/O.
