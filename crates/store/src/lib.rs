//! The store that CRI-O, Podman, Buildah and Skopeo share.
