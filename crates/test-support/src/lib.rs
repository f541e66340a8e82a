//! Fixtures for gabion's tests.
