//! `/etc/hosts`, `/etc/resolv.conf` and `/etc/hostname` of a process: text out of text.

use std::net::IpAddr;

/// What a line of `/etc/hosts` leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostAddress {
    /// An address.
    Ip(IpAddr),
    /// The host, as the process reaches it.
    Gateway,
}

impl std::fmt::Display for HostAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            HostAddress::Ip(address) => address.fmt(f),
            HostAddress::Gateway => f.write_str("host-gateway"),
        }
    }
}

/// Who is who, for `/etc/hosts`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names<'a> {
    /// The process's own host name.
    pub hostname: &'a str,
    /// Its own addresses; loopback when there are none.
    pub addresses: &'a [IpAddr],
    /// Where the host is reached.
    pub gateway: Option<IpAddr>,
    /// Lines the user added: name, address.
    pub added: &'a [(String, IpAddr)],
}

/// `/etc/hosts`: what the user added, then `base`, then the host's name for containers and the
/// process's own. A name that is there already is not given a second address.
pub(crate) fn hosts(base: &str, names: &Names<'_>) -> String {
    let mut text = String::new();
    for (name, address) in names.added {
        text.push_str(&format!("{address}\t{name}\n"));
    }
    for line in base.lines() {
        text.push_str(line);
        text.push('\n');
    }
    let mut add = |name: &str, address: IpAddr| {
        let known = text.lines().any(|line| {
            let line = line.split('#').next().unwrap_or_default();
            line.split_whitespace().skip(1).any(|word| word == name)
        });
        if !known && !name.is_empty() {
            text.push_str(&format!("{address}\t{name}\n"));
        }
    };
    add("localhost", IpAddr::from([127, 0, 0, 1]));
    if let Some(gateway) = names.gateway {
        add("host.containers.internal", gateway);
    }
    let own = names.addresses.first().copied().unwrap_or(IpAddr::from([127, 0, 0, 1]));
    add(names.hostname, own);
    text
}

/// What `/etc/resolv.conf` has in place of what the host's has; what is empty stays the host's.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Resolver<'a> {
    pub servers: &'a [IpAddr],
    /// Domains; a single dot stands for none.
    pub search: &'a [String],
    pub options: &'a [String],
}

/// `/etc/resolv.conf`: the host's, with `own` in place of what it names. With `own_network`, servers on the host's loopback are left out, because they cannot be
/// reached; if none is left, public ones are named, as the peers do.
pub(crate) fn resolv_conf(host: &str, own: &Resolver<'_>, own_network: bool) -> String {
    const PUBLIC: [IpAddr; 2] =
        [IpAddr::V4(std::net::Ipv4Addr::new(8, 8, 8, 8)), IpAddr::V4(std::net::Ipv4Addr::new(8, 8, 4, 4))];
    let mut rest = String::new();
    let mut found = Vec::new();
    for line in host.lines() {
        let mut words = line.split_whitespace();
        match words.next() {
            Some("nameserver") => {
                found.extend(words.next().filter(|server| !own_network || !is_loopback(server)).map(String::from))
            }
            Some("search" | "domain") if !own.search.is_empty() => {}
            Some("options") if !own.options.is_empty() => {}
            Some("search" | "domain" | "options" | "sortlist") => {
                rest.push_str(line.trim());
                rest.push('\n');
            }
            _ => {}
        }
    }
    if !own.servers.is_empty() {
        found = own.servers.iter().map(IpAddr::to_string).collect();
    }
    if found.is_empty() && own_network {
        found = PUBLIC.iter().map(IpAddr::to_string).collect();
    }
    if !own.search.is_empty() && own.search != ["."] {
        rest.push_str(&format!("search {}\n", own.search.join(" ")));
    }
    for server in found {
        rest.push_str(&format!("nameserver {server}\n"));
    }
    if !own.options.is_empty() {
        rest.push_str(&format!("options {}\n", own.options.join(" ")));
    }
    rest
}

/// Whether there is a name server that can be reached, see [`resolv_conf`].
pub(crate) fn has_server(host: &str, own_network: bool) -> bool {
    host.lines().any(|line| {
        let mut words = line.split_whitespace();
        words.next() == Some("nameserver") && words.next().is_some_and(|server| !own_network || !is_loopback(server))
    })
}

/// Whether a name server is on the host's loopback; a zone (`%eth0`) may follow the address.
fn is_loopback(server: &str) -> bool {
    server
        .split('%')
        .next()
        .and_then(|address| address.parse::<IpAddr>().ok())
        .is_some_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pure_hosts_keep_the_base_and_name_each_once() {
        let own = [IpAddr::from([10, 88, 0, 5])];
        let added = [("db".to_string(), IpAddr::from([10, 0, 0, 9]))];
        let names =
            Names { hostname: "box", addresses: &own, gateway: Some(IpAddr::from([10, 88, 0, 1])), added: &added };
        assert_eq!(
            hosts("127.0.0.1 localhost # box\n::1 ip6-localhost", &names),
            "10.0.0.9\tdb\n127.0.0.1 localhost # box\n::1 ip6-localhost\n10.88.0.1\thost.containers.internal\n10.88.0.5\tbox\n"
        );
        assert_eq!(hosts("", &Names { hostname: "n", ..Names::default() }), "127.0.0.1\tlocalhost\n127.0.0.1\tn\n");
    }

    #[test]
    fn pure_resolv_conf_leaves_out_what_cannot_be_reached() {
        let host = "# by hand\nnameserver 127.0.0.53\nnameserver 192.0.2.1\nnameserver fe80::1%eth0\nsearch a b\noptions ndots:2\n";
        assert_eq!(
            resolv_conf(host, &Resolver::default(), true),
            "search a b\noptions ndots:2\nnameserver 192.0.2.1\nnameserver fe80::1%eth0\n"
        );
        let none = Resolver::default();
        assert_eq!(resolv_conf("nameserver ::1\n", &none, false), "nameserver ::1\n");
        assert_eq!(resolv_conf("nameserver ::1\n", &none, true), "nameserver 8.8.8.8\nnameserver 8.8.4.4\n");
        let servers = [IpAddr::from([1, 2, 3, 4])];
        assert_eq!(
            resolv_conf(host, &Resolver { servers: &servers, ..none }, true),
            "search a b\noptions ndots:2\nnameserver 1.2.3.4\n"
        );
        let (search, options) = (["c.d".to_owned()], ["trust-ad".to_owned(), "rotate".to_owned()]);
        assert_eq!(
            resolv_conf(host, &Resolver { servers: &servers, search: &search, options: &options }, true),
            "search c.d\nnameserver 1.2.3.4\noptions trust-ad rotate\n"
        );
        let search = [".".to_owned()];
        assert_eq!(
            resolv_conf(host, &Resolver { search: &search, ..none }, false),
            "options ndots:2\nnameserver 127.0.0.53\nnameserver 192.0.2.1\nnameserver fe80::1%eth0\n"
        );
    }
}
