//! Where the result goes, and what is written about it.

use std::fs::File;
use std::io::IsTerminal as _;
use std::os::fd::AsFd as _;
use std::path::PathBuf;

use buildkit_core::commit::Committed;
use buildkit_core::destination::Destination;
use buildkit_core::output::{ImageOutput, Output};
use buildkit_core::transfer::CopyOptions;
use clap::Args;
use oci::Reference;

use crate::args::compression::CompressionArgs;
use crate::args::value::{check_new_file, list_name, new_file};
use crate::command_error::CommandError;
use crate::commands::commit::metadata;
use crate::progress::print_line;
use crate::session::Session;

/// Where the result goes.
#[derive(Args)]
pub(super) struct OutputArgs {
    /// File to write the image's ID to
    #[arg(long, value_name = "FILE", value_parser = new_file())]
    iidfile: Option<PathBuf>,
    /// File to write the image's ID to, without the algorithm before it
    #[arg(long, value_name = "FILE", value_parser = new_file())]
    iidfile_raw: Option<PathBuf>,
    /// Keep the image in the store also where --output asks for something else
    #[arg(long)]
    load: bool,
    /// Manifest list to add the image to; it is made if there is none
    #[arg(long, value_name = "LIST", value_parser = list_name)]
    manifest: Option<Reference>,
    /// File to write the image's names and digests to, as JSON
    #[arg(long, value_name = "FILE", value_parser = new_file())]
    metadata_file: Option<PathBuf>,
    /// Where the result goes: a directory for its files, - for a tar of them on standard output, or type=local,
    /// dest=DIR; type=tar, oci or docker,dest=FILE; type=image,name=NAME,push=true; type=registry,name=NAME (may be repeated).
    /// The store then keeps the image only with --tag or --load
    #[arg(short, long, value_name = "WHERE", value_parser = output)]
    output: Vec<Output>,
    /// Push the image under its names
    #[arg(long, requires = "tag")]
    push: bool,
    /// Name of the image, or a place such as docker://HOST/NAME or oci:DIR:TAG (may be repeated)
    #[arg(short, long, value_name = "NAME", value_parser = Tag::parse)]
    tag: Vec<Tag>,
    #[command(flatten)]
    compression: CompressionArgs,
}

/// A value of `--tag`.
#[derive(Clone, Debug)]
struct Tag {
    typed: String,
    destination: Destination,
}

impl Tag {
    fn parse(text: &str) -> Result<Tag, String> {
        match Destination::parse(text) {
            Ok(destination) => Ok(Tag { typed: text.to_owned(), destination }),
            Err(error) => Err(format!("tag {error}")),
        }
    }
}

/// What the flags stand for.
#[derive(Default)]
pub(super) struct Outputs {
    /// Names in the store.
    pub names: Vec<Reference>,
    /// The manifest list that images are added to.
    pub list: Option<Reference>,
    /// The first of them as it was typed.
    pub typed_name: Option<String>,
    /// Other places.
    pub outputs: Vec<Output>,
    /// Whether the store keeps the image even without a name.
    pub keep_image: bool,
    /// Standard output, if a result goes there.
    pub stdout: Option<File>,
}

impl OutputArgs {
    pub fn resolve(&self, session: &Session) -> Result<Outputs, CommandError> {
        let compression = self.compression.resolve(!session.called_as_buildah(), &session.containers_conf()?)?;
        let copy = CopyOptions { format: None, compression };
        let mut names = Vec::new();
        let mut outputs = self.output.clone();
        for tag in &self.tag {
            match tag.destination.clone() {
                Destination::Store(name) => names.push(name),
                Destination::Elsewhere(to) => outputs.push(Output::Elsewhere { to, copy: copy.clone() }),
            }
        }
        if self.push {
            outputs.push(Output::Image(ImageOutput { push: true, copy, ..ImageOutput::default() }));
        }
        if let Some(list) = self.manifest.as_ref().filter(|list| names.contains(list)) {
            return Err(CommandError::new(format!("--tag and --manifest cannot both give the name {list}")));
        }
        let keep_image = self.load || self.manifest.is_some() || outputs.iter().any(Output::keeps_image);
        let of_store = |tag: &&Tag| matches!(tag.destination, Destination::Store(_));
        let typed_name = self.tag.iter().find(of_store).map(|tag| tag.typed.clone());
        let stdout = match outputs.iter().filter(|output| output.is_stdout()).count() {
            0 => None,
            1 if std::io::stdout().is_terminal() => {
                let error = CommandError::new("an archive is not written to a terminal");
                return Err(error.hint("name a file with dest=, or redirect standard output"));
            }
            1 => Some(File::from(std::io::stdout().as_fd().try_clone_to_owned()?)),
            _ => return Err(CommandError::new("one output only can go to standard output")),
        };
        Ok(Outputs { names, typed_name, list: self.manifest.clone(), outputs, keep_image, stdout })
    }

    /// The first flag that is about one image, if any is given.
    pub fn of_one_image(&self) -> Option<&'static str> {
        let given = [
            ("--iidfile", self.iidfile.is_some()),
            ("--iidfile-raw", self.iidfile_raw.is_some()),
            ("--metadata-file", self.metadata_file.is_some()),
        ];
        given.into_iter().find_map(|(flag, is_given)| is_given.then_some(flag))
    }

    /// Writes the files that tell of the image, and prints its ID unless one of them has it or
    /// `is_silent`.
    pub fn tell(
        &self,
        session: &Session,
        committed: &Committed,
        names: &[String],
        is_silent: bool,
    ) -> Result<(), CommandError> {
        if let Some(file) = &self.metadata_file {
            session.write_file(file, &metadata(committed, names)?)?;
        }
        if let Some(file) = &self.iidfile {
            session.write_file(file, &format!("sha256:{}", committed.image_id))?;
        }
        if let Some(file) = &self.iidfile_raw {
            session.write_file(file, committed.image_id.as_str())?;
        }
        if self.iidfile.is_none() && self.iidfile_raw.is_none() && !is_silent {
            print_line(committed.image_id.as_str());
        }
        Ok(())
    }
}

/// A place for the result, where it can be.
fn output(text: &str) -> Result<Output, String> {
    let output = Output::parse(text).map_err(|error| error.to_string())?;
    output.file().map_or(Ok(()), check_new_file)?;
    Ok(output)
}
