//! Default names of working containers, which scripts made for Buildah know.

/// The name of the `attempt`th (from 0) working container on the image called `base`: the last
/// component of what precedes the first colon, or the beginning of an ID. On `scratch` there is
/// nothing to begin with. It ends in `suffix`, if there is one.
pub fn default_name(base: &str, suffix: Option<&str>, attempt: usize) -> String {
    let digits = base.strip_prefix("sha256:").unwrap_or(base);
    let is_id = digits.len() == 64 && digits.bytes().all(|b| b.is_ascii_hexdigit());
    let base = digits.get(..12).filter(|_| is_id).unwrap_or(base);
    let before_colon = base.split(':').next().unwrap_or(base);
    let last = before_colon.rsplit('/').next().unwrap_or(before_colon);
    let stem = last.split('@').next().unwrap_or(last);
    let suffix = suffix.unwrap_or("working-container");
    let name = match stem {
        "scratch" | "" => suffix.to_owned(),
        stem => format!("{stem}-{suffix}"),
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
            ("quay.io/a/b@sha256:00", 2, "b-working-container-2"),
            ("quay.io:443/a/b", 0, "quay.io-working-container"),
            ("dir:/tmp/app", 0, "dir-working-container"),
            (&format!("sha256:{}", "0123456789abcdef".repeat(4)), 0, "0123456789ab-working-container"),
            (&"0123456789abcdef".repeat(4), 0, "0123456789ab-working-container"),
            ("docker.io/library/alpine:3", 0, "alpine-working-container"),
        ] {
            assert_eq!(default_name(base, None, attempt), expected);
        }
        assert_eq!(default_name("localhost/base:1", Some("x"), 1), "base-x-1");
    }
}
