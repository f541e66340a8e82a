//! Run one process in a root file system through an OCI runtime.
