//! Safe access to a directory tree that is not trusted.
