//! gabion's build engine: working containers, copy, commit, transfer, Dockerfile builds.
