//! What the words of EXPOSE mean.

/// The ports that `word` names (variables expanded): `80`, `80/udp`, `8000-8003/tcp`. They come
/// out as `port/protocol`, a range as its single ports.
pub fn parse_ports(word: &str) -> Result<Vec<String>, String> {
    let (ports, protocol) = match word.split_once('/') {
        Some((ports, protocol)) => (ports, protocol.to_ascii_lowercase()),
        None => (word, "tcp".to_owned()),
    };
    if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return Err(format!("invalid port {word:?}: the protocol is tcp, udp or sctp"));
    }
    let number = |text: &str| match text.parse::<u16>() {
        Ok(port) if text.bytes().all(|byte| byte.is_ascii_digit()) => Ok(port),
        _ => Err(format!(
            "invalid port {word:?}: expected a number up to 65535, a range of them, and perhaps /tcp or /udp"
        )),
    };
    let (first, last) = match ports.split_once('-') {
        Some((first, last)) => (number(first)?, number(last)?),
        None => (number(ports)?, number(ports)?),
    };
    if last < first {
        return Err(format!("invalid port range {word:?}: it runs backwards"));
    }
    Ok((first..=last).map(|port| format!("{port}/{protocol}")).collect())
}

#[cfg(test)]
mod tests {
    #[test]
    fn pure_ports() {
        let ports = |word| super::parse_ports(word).ok();
        assert_eq!(ports("80"), Some(vec!["80/tcp".into()]));
        assert_eq!(ports("53/UDP"), Some(vec!["53/udp".into()]));
        assert_eq!(ports("1-3/sctp"), Some(vec!["1/sctp".into(), "2/sctp".into(), "3/sctp".into()]));
        for bad in ["", "x", "80/", "80/ip", "65536", "-1", "3-1", "+5", "1-", "80:80"] {
            assert_eq!(ports(bad), None, "{bad}");
        }
    }
}
