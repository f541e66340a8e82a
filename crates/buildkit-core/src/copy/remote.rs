//! Sources that are brought here first: repositories, and downloads that are unpacked.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dockerfile::instruction::Checksum;
use rootfs::{Owner, Root};
use store::{Store, TemporaryDirectory};

use super::source::{Item, Matching, SourceTree};
use super::{CopyError, CopyOptions, Tree, fetch};
use crate::git::{self, GitSource};

/// What was brought, as long as this lives.
pub(super) struct Fetched<'s> {
    pub tree: SourceTree<'s>,
    pub items: Vec<Item>,
    /// Says what it is: the hash of the commit, or the digest of the download.
    pub identity: String,
    _place: TemporaryDirectory,
}

/// Checks a repository out.
pub(super) fn repository<'s>(
    store: &'s Store,
    address: &str,
    options: &CopyOptions<'_>,
) -> Result<Fetched<'s>, CopyError> {
    let unsupported = || CopyError::Unsupported { source_text: address.to_owned(), reason: "it is no git address" };
    let mut source = GitSource::parse(address).ok_or_else(unsupported)??;
    let contradiction =
        |reason: &str| CopyError::Contradiction { source_text: source.shown(), reason: reason.to_owned() };
    if let (Some(given), Some(own)) = (options.keep_git_dir, source.keep_git_dir)
        && given != own
    {
        return Err(contradiction("the address and --keep-git-dir contradict each other"));
    }
    let keep_git_dir = source.keep_git_dir.or(options.keep_git_dir).unwrap_or(false);
    if let Some(Checksum::Commit(given)) = &options.checksum {
        if source.checksum.as_ref().is_some_and(|own| own != given) {
            return Err(contradiction("the address and --checksum contradict each other"));
        }
        source.checksum = Some(given.clone());
    }
    let mut git = options.git.clone();
    git.authorization = authorization(&source, options);
    let place = store.temporary_directory()?;
    let checkout = git::checkout(&source, place.path(), keep_git_dir, &git)?;
    let tree = SourceTree::open(store, &Tree::Directory(checkout.dir))?;
    let items = tree.find("/", false, Matching::default())?;
    Ok(Fetched { tree, items, identity: checkout.commit, _place: place })
}

/// Downloads a file that is unpacked if it is an archive.
pub(super) fn download<'s>(store: &'s Store, url: &str, options: &CopyOptions<'_>) -> Result<Fetched<'s>, CopyError> {
    let place = store.temporary_directory()?;
    let root = Root::open(place.path())?;
    let name = fetch::file_name(url, options.meaning)?;
    let mut file = root.create_file(&name, fetch::MODE, Owner::ROOT)?;
    let (digest, mtime) = fetch::download(url, options, &mut file, name.as_ref())?;
    root.set_times(&name, mtime, mtime)?;
    let tree = SourceTree::open(store, &Tree::Directory(place.path().to_owned()))?;
    let items = vec![tree.named(&name)?];
    Ok(Fetched { tree, items, identity: digest.to_string(), _place: place })
}

/// What the secrets say for the repository's host: a whole header, or a token.
fn authorization(source: &GitSource, options: &CopyOptions<'_>) -> Option<String> {
    let (_, host) = source.http_origin()?;
    let secret = |name: &str| {
        let content = options.secrets?.get(name)?;
        std::str::from_utf8(content.as_bytes()).ok().map(|text| text.trim().to_owned())
    };
    let of_host = |name: &str| secret(&format!("{name}.{host}")).or_else(|| secret(name));
    let token = || of_host("GIT_AUTH_TOKEN").map(|token| STANDARD.encode(format!("x-access-token:{token}")));
    of_host("GIT_AUTH_HEADER").or_else(|| token().map(|token| format!("Basic {token}")))
}
