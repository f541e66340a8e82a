//! Events as the lines that Buildah prints.

use buildkit_core::event::Event;

use crate::explanation;

/// The line of an event; none of one that only a live view shows. Messages are no progress.
pub fn of_event(event: Event) -> Option<String> {
    Some(match event {
        Event::Step { id, text } => format!("{id}: {text}"),
        Event::StepDone { id, is_cached: true } => format!("--> Using cache {id}"),
        Event::StepDone { id, .. } => format!("--> {}", id.get(..12).unwrap_or(&id)),
        Event::Explanation(explanation) => explanation::lines(&explanation).join("\n"),
        Event::Commit { name } => ["COMMIT", &name.unwrap_or_default()].join(" ").trim_end().to_owned(),
        Event::CopyingImage { digest, position: (n, all) } => format!("Copying image {digest} ({n}/{all})"),
        // The policy on signatures is obeyed before anything else.
        Event::Pulling(name) => format!("Trying to pull {name}...\nGetting image source signatures"),
        Event::CopyingBlob(digest) => format!("Copying blob {digest}"),
        Event::BlobExists(digest) => format!("Copying blob {digest} skipped: already exists"),
        Event::CopyingConfig(digest) => format!("Copying config {digest}"),
        Event::WritingManifest => "Writing manifest to image destination".to_owned(),
        Event::Output { line, .. } => line,
        Event::OfPlatform { platform, event } => {
            let text = of_event(*event)?;
            text.lines().map(|line| format!("[{platform}] {line}")).collect::<Vec<_>>().join("\n")
        }
        Event::StepEnded { .. } | Event::BlobProgress { .. } | Event::BlobCopied { .. } => return None,
        Event::Waiting { .. } | Event::Waited { .. } | Event::Warning(_) | Event::Info(_) | Event::Debug(_) => {
            return None;
        }
    })
}
