//! What the words of EXPOSE mean.

use std::net::IpAddr;

/// The ports that `word` names (variables expanded): `80`, `80/udp`, `8000-8003/tcp`. They come
/// out as `port/protocol`, a range as its single ports. What stands before a colon, as in
/// `127.0.0.1:8080:80`, is for who runs the image and counts for nothing here.
pub fn parse_ports(word: &str) -> Result<Vec<String>, String> {
    let (published, own) = word.rsplit_once(':').map_or((None, word), |(before, own)| (Some(before), own));
    let (ports, protocol) = match own.split_once('/') {
        Some((ports, "")) => (ports, "tcp".to_owned()),
        Some((ports, protocol)) => (ports, protocol.to_ascii_lowercase()),
        None => (own, "tcp".to_owned()),
    };
    if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return Err(format!("invalid port {word:?}: the protocol is tcp, udp or sctp"));
    }
    let (first, last) = range(word, ports)?;
    if let Some(published) = published {
        let (address, ports) = published.rsplit_once(':').map_or((None, published), |(ip, ports)| (Some(ip), ports));
        let bare = |ip: &str| ip.strip_prefix('[').and_then(|ip| ip.strip_suffix(']')).unwrap_or(ip).to_owned();
        if address.is_some_and(|ip| !ip.is_empty() && bare(ip).parse::<IpAddr>().is_err()) {
            return Err(format!("invalid port {word:?}: what stands before the ports is no IP address"));
        }
        if !ports.is_empty() {
            let (from, to) = range(word, ports)?;
            if first != last && to - from != last - first {
                return Err(format!("invalid port {word:?}: its ranges differ in length"));
            }
        }
    }
    Ok((first..=last).map(|port| format!("{port}/{protocol}")).collect())
}

/// First and last port of `80` or `80-90`, a part of `word`.
fn range(word: &str, ports: &str) -> Result<(u16, u16), String> {
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
    Ok((first, last))
}

#[cfg(test)]
mod tests {
    #[test]
    fn pure_ports() {
        let ports = |word| super::parse_ports(word).ok();
        assert_eq!(ports("80"), Some(vec!["80/tcp".into()]));
        assert_eq!(ports("53/UDP"), Some(vec!["53/udp".into()]));
        assert_eq!(ports("1-3/sctp"), Some(vec!["1/sctp".into(), "2/sctp".into(), "3/sctp".into()]));
        assert_eq!(ports("80/"), Some(vec!["80/tcp".into()]));
        for published in ["8080:80", "127.0.0.1:8080:80", "[::1]:8080:80/tcp", "::1:8080:80", "127.0.0.1::80", "1-9:80"]
        {
            assert_eq!(ports(published), Some(vec!["80/tcp".into()]), "{published}");
        }
        assert_eq!(ports("1-2:3-4/udp"), Some(vec!["3/udp".into(), "4/udp".into()]));
        for bad in ["", "x", "80/ip", "65536", "-1", "3-1", "+5", "1-", "80:", "x:80", "host:1:80", "1-2:3-5", "/tcp"] {
            assert_eq!(ports(bad), None, "{bad}");
        }
    }
}
