//! Images of several platforms as one output: a list of them, or a directory for each.

use std::fs::File;
use std::path::Path;

use oci::{ImageId, Platform, Reference};

use super::{Destination, ImageOutput, Output, OutputError, chosen, files};
use crate::image::Image;
use crate::manifest_list::{ListPushOptions, ManifestList, push};
use crate::transfer::CopyOptions;
use crate::transfer::place::Places;
use crate::transport::Location;

impl Output {
    /// # Errors
    /// It is a place for one image only.
    pub(crate) fn check_several(&self) -> Result<(), OutputError> {
        let to = match self {
            Output::Docker { to: Destination::Path(path), .. } => path.display().to_string(),
            Output::Docker { .. } => "standard output".to_owned(),
            Output::Elsewhere { to: to @ (Location::DockerArchive { .. } | Location::Storage { .. }), .. } => {
                to.to_string()
            }
            _ => return Ok(()),
        };
        Err(OutputError::OnePlatform { to })
    }
}

/// Writes `images` to `output`: all of it or nothing, but for directories. `names` are the build's; `stdout` is
/// where an output goes that is for standard output.
pub(crate) fn write(
    places: Places<'_>,
    images: &[(Platform, ImageId)],
    output: &Output,
    names: &[Reference],
    stdout: Option<&File>,
) -> Result<(), OutputError> {
    output.check_several()?;
    match output {
        Output::Local(dir) => to_directories(places, images, dir),
        Output::Tar(to) => {
            let private = places.store.temporary_directory()?;
            to_directories(places, images, private.path())?;
            files::directory_to_tar(private.path(), to, stdout)
        }
        Output::Oci { to, is_layout, image: how } => {
            let name = chosen(how, names).first().and_then(|name| name.tag().map(str::to_owned));
            let private;
            let path = match to {
                Destination::Path(path) => path.clone(),
                Destination::Stdout => {
                    private = places.store.temporary_directory()?;
                    private.path().join("archive.tar")
                }
            };
            let location = match is_layout {
                true => Location::OciLayout { path: path.clone(), name },
                false => Location::OciArchive { path: path.clone(), name },
            };
            send(places, images, &location, &how.copy)?;
            if *to == Destination::Stdout { super::copy_to_stdout(&path, stdout) } else { Ok(()) }
        }
        Output::Image(how) => to_registries(places, images, how, names),
        Output::Elsewhere { to, copy } => send(places, images, to, copy),
        // Refused above.
        Output::Docker { .. } => Ok(()),
    }
}

/// A directory for each, called, say, `linux_arm_v7`.
fn to_directories(places: Places<'_>, images: &[(Platform, ImageId)], dir: &Path) -> Result<(), OutputError> {
    for (platform, id) in images {
        let image = Image::find(places.store, id.as_str())?;
        files::to_directory(places.store, &image, &dir.join(platform.to_string().replace('/', "_")))?;
    }
    Ok(())
}

fn to_registries(
    places: Places<'_>,
    images: &[(Platform, ImageId)],
    how: &ImageOutput,
    names: &[Reference],
) -> Result<(), OutputError> {
    if !how.push {
        return Ok(());
    }
    let names = chosen(how, names);
    if names.is_empty() {
        return Err(OutputError::NoName);
    }
    names.iter().try_for_each(|name| send(places, images, &Location::Docker(name.clone()), &how.copy))
}

fn send(
    places: Places<'_>,
    images: &[(Platform, ImageId)],
    location: &Location,
    copy: &CopyOptions,
) -> Result<(), OutputError> {
    let list = ManifestList::of_images(places.store, &location.to_string(), images)?;
    let options = ListPushOptions { copy: copy.clone(), ..ListPushOptions::default() };
    push(&list, &places, location, &options)?;
    Ok(())
}
