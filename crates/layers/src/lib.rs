//! Directory to layer blob and back.
