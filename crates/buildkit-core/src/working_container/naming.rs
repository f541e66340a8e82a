//! Default names of working containers, which scripts made for Buildah know.

/// The name of the `attempt`th (from 0) working container on the image called `base`: the last
/// component of its name, without tag and digest. On `scratch` there is nothing to begin with.
pub fn default_name(base: &str, attempt: usize) -> String {
    let without_digest = base.split('@').next().unwrap_or(base);
    let last = without_digest.rsplit('/').next().unwrap_or(without_digest);
    let stem = last.split(':').next().unwrap_or(last);
    let name = match stem {
        "scratch" | "" => "working-container".to_owned(),
        stem => format!("{stem}-working-container"),
    };
    match attempt {
        0 => name,
        n => format!("{name}-{n}"),
    }
}

#[cfg(test)]
mod tests {
    use super::default_name;

    #[test]
    fn pure_default_names_are_buildahs() {
        for (base, attempt, expected) in [
            ("scratch", 0, "working-container"),
            ("scratch", 1, "working-container-1"),
            ("localhost/base:1", 0, "base-working-container"),
            ("quay.io:443/a/b@sha256:00", 2, "b-working-container-2"),
            ("docker.io/library/alpine:3", 0, "alpine-working-container"),
        ] {
            assert_eq!(default_name(base, attempt), expected);
        }
    }
}
