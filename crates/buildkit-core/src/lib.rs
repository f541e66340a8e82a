//! gabion's build engine (no client of Moby BuildKit): everything that the `gabion` command does,
//! as a library that never prints and never reads the environment.
//!
//! The primitives are those of [`working_container`]: make one from an image, run steps in it,
//! copy files in, change its config, commit it. A Dockerfile build is a script over them.
#![forbid(unsafe_code)]

mod attributes; // flags that are lists
pub mod build; // Dockerfile → image
pub mod cache; // what earlier builds did
pub mod change; // edits of a config, written as Dockerfile instructions
pub mod check; // what a Dockerfile says of itself, without building
pub mod commit; // working container → image
pub mod configure; // edits of the config to be
pub mod containers_conf; // the host's defaults
pub mod context; // where COPY finds its files
pub mod copy; // files into a working container
pub mod destination; // where a new image goes
pub mod event; // what the engine tells while it works
pub mod git; // repositories, checked out
pub mod image; // an image of the store, read as a whole
pub mod image_list; // all images: sizes, which was made from which
pub mod image_removal; // names go, then images
pub mod inspect; // working containers and images as Buildah shows them
pub mod layer_contents; // what each layer of an image holds, and what later ones hide
mod lock_file; // what is in use, and by nobody else
pub mod manifest_list; // lists of images: their entries, and where those are
pub mod output; // where a build's result goes besides the store
pub mod plan; // the stages of a Dockerfile, those that are needed
pub mod prune; // what takes room, and what of it may go
pub mod run; // a command in a working container
pub mod sbom; // what an image is made of, as a scanner tells it
pub mod secret; // secrets of the command line
pub mod source_policy; // which images and URLs a build may use
pub mod ssh; // SSH agents of the command line
pub mod stage_state; // config and arguments while a stage is built
pub mod step; // an instruction, ready to be done
pub mod transfer; // pull and push
pub mod transport; // registries, layouts, archives, directories, stores
pub mod working_container; // the record, the state beside it, mounting
