//! Where the result of a build goes besides the store: `--output`.
//!
//! ```text
//! local, tar     the files, all layers flattened
//! oci, docker    the image as an archive or OCI layout
//! image          names in the store, pushed if asked for
//! registry       pushed
//! ```

mod files; // local, tar
mod parse;
pub(crate) mod platforms; // images of several platforms // type=…,dest=…

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use oci::{ImageId, Reference};

use crate::image::{Image, ImageError};
use crate::manifest_list::ListError;
use crate::transfer::place::Places;
use crate::transfer::{CopyOptions, PushOptions, TransferError, push};
use crate::transport::location::ArchiveChoice;
use crate::transport::{Location, TransportError};

/// A place for the result.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// The files, in a directory.
    Local(PathBuf),
    /// The files, in a tar.
    Tar(Destination),
    /// An OCI archive, or an OCI layout in a directory.
    Oci {
        /// Where.
        to: Destination,
        /// Whether it is a layout.
        is_layout: bool,
        /// How.
        image: ImageOutput,
    },
    /// An archive for `docker load`.
    Docker {
        /// Where.
        to: Destination,
        /// How.
        image: ImageOutput,
    },
    /// The store.
    Image(ImageOutput),
    /// Any place that a name with a transport stands for.
    Elsewhere {
        /// Where.
        to: Location,
        /// Compression and format.
        copy: CopyOptions,
    },
}

/// Where one file goes.
#[derive(Clone, Debug, PartialEq)]
pub enum Destination {
    /// There.
    Path(PathBuf),
    /// To standard output.
    Stdout,
}

/// How an image is written.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ImageOutput {
    /// Its names; those of the build if there are none.
    pub names: Vec<Reference>,
    /// Whether it is pushed to them.
    pub push: bool,
    /// Whether the store gives it those names.
    pub store: bool,
    /// Compression and format.
    pub copy: CopyOptions,
}

/// Why a result could not be delivered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OutputError {
    /// The text of `--output` cannot be understood.
    #[error("output {text:?}: {reason}")]
    Text {
        /// As given.
        text: String,
        /// What is wrong.
        reason: String,
    },
    /// Nothing says which name to push to.
    #[error("nothing to push to: name the image with --tag, or with name= in --output")]
    NoName,
    /// The image cannot be read.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The archive cannot be written.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The image cannot be sent.
    #[error(transparent)]
    Transfer(#[from] TransferError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The list of the images cannot be made or sent.
    #[error(transparent)]
    List(Box<ListError>),
    /// A place for one image only.
    #[error("output to {to}: this kind of place cannot hold images of several platforms")]
    OnePlatform {
        /// The destination.
        to: String,
    },
    /// The image's files cannot be read.
    #[error("output to {to}: {source}")]
    Read {
        /// The destination.
        to: String,
        /// What failed.
        source: layers::DiffError,
    },
    /// The files cannot be unpacked.
    #[error("output to {to}: {source}")]
    Unpack {
        /// The destination.
        to: String,
        /// What failed.
        source: layers::ApplyError,
    },
    /// A directory cannot be used.
    #[error("output to {to}: {source}")]
    Tree {
        /// The destination.
        to: String,
        /// What failed.
        source: rootfs::Error,
    },
    /// The destination cannot be written.
    #[error("output to {to}: {source}")]
    Write {
        /// The destination.
        to: String,
        /// What failed.
        source: io::Error,
    },
}

impl From<ListError> for OutputError {
    fn from(error: ListError) -> OutputError {
        OutputError::List(Box::new(error))
    }
}

impl Output {
    /// The names that the image gets in the store.
    pub fn store_names(&self) -> Vec<String> {
        match self {
            Output::Image(image) if image.store => image.names.iter().map(ToString::to_string).collect(),
            _ => Vec::new(),
        }
    }

    /// Whether it goes to standard output.
    pub fn is_stdout(&self) -> bool {
        matches!(
            self,
            Output::Tar(Destination::Stdout)
                | Output::Oci { to: Destination::Stdout, .. }
                | Output::Docker { to: Destination::Stdout, .. }
        )
    }

    /// The file that is written, if it is a single one.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Output::Tar(Destination::Path(path))
            | Output::Oci { to: Destination::Path(path), is_layout: false, .. }
            | Output::Docker { to: Destination::Path(path), .. } => Some(path),
            _ => None,
        }
    }

    /// Whether the image stays in the store even without a name.
    pub fn keeps_image(&self) -> bool {
        matches!(self, Output::Image(image) if image.store)
    }
}

/// Writes the image `id` to `output`: all of it or nothing. `names` are the build's; `stdout` is
/// where an output goes that is for standard output.
pub(crate) fn write(
    places: Places<'_>,
    id: &ImageId,
    output: &Output,
    names: &[Reference],
    stdout: Option<&File>,
) -> Result<(), OutputError> {
    let image = || Image::find(places.store, id.as_str());
    match output {
        Output::Local(dir) => files::to_directory(places.store, &image()?, dir),
        Output::Tar(to) => files::to_tar(places.store, &image()?, to, stdout),
        Output::Oci { to: Destination::Path(path), is_layout, image: how } => {
            let name = chosen(how, names).first().and_then(|name| name.tag().map(str::to_owned));
            let path = path.clone();
            let location = match is_layout {
                true => Location::OciLayout { path, name },
                false => Location::OciArchive { path, name },
            };
            send(places, image()?, &location, how, &[])
        }
        Output::Docker { to: Destination::Path(path), image: how } => {
            let location = Location::DockerArchive { path: path.clone(), choice: ArchiveChoice::Only };
            send(places, image()?, &location, how, chosen(how, names))
        }
        Output::Oci { .. } | Output::Docker { .. } => through_a_file(places, id, output, names, stdout),
        Output::Image(how) => {
            if !how.push {
                return Ok(());
            }
            let names = chosen(how, names);
            if names.is_empty() {
                return Err(OutputError::NoName);
            }
            names.iter().try_for_each(|name| send(places, image()?, &Location::Docker(name.clone()), how, &[]))
        }
        Output::Elsewhere { to, copy } => {
            let how = ImageOutput { copy: copy.clone(), ..ImageOutput::default() };
            send(places, image()?, to, &how, &[])
        }
    }
}

fn chosen<'a>(how: &'a ImageOutput, names: &'a [Reference]) -> &'a [Reference] {
    if how.names.is_empty() { names } else { &how.names }
}

fn send(
    places: Places<'_>,
    image: Image,
    location: &Location,
    how: &ImageOutput,
    names: &[Reference],
) -> Result<(), OutputError> {
    let options = PushOptions { copy: how.copy.clone(), names: names.to_vec() };
    push(places.store, places.remotes, image, location, &options, places.events)?;
    Ok(())
}

/// An archive is written by name; for standard output it is made in a private directory first.
fn through_a_file(
    places: Places<'_>,
    id: &ImageId,
    output: &Output,
    names: &[Reference],
    stdout: Option<&File>,
) -> Result<(), OutputError> {
    let private = places.store.temporary_directory()?;
    let path = private.path().join("archive.tar");
    let mut output = output.clone();
    if let Output::Oci { to, .. } | Output::Docker { to, .. } = &mut output {
        *to = Destination::Path(path.clone());
    }
    write(places, id, &output, names, None)?;
    copy_to_stdout(&path, stdout)
}

fn copy_to_stdout(path: &Path, stdout: Option<&File>) -> Result<(), OutputError> {
    let failed = |source| OutputError::Write { to: "standard output".to_owned(), source };
    let mut to = stdout.ok_or_else(|| failed(io::ErrorKind::NotConnected.into()))?;
    io::copy(&mut File::open(path).map_err(failed)?, &mut to).map_err(failed)?;
    Ok(())
}
