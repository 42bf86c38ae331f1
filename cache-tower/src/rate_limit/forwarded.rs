//! Reads the headers in which proxies write the address of their peer.

use std::net::{IpAddr, SocketAddr};

/// Returns the addresses of a value of `X-Forwarded-For`.
pub(super) fn x_forwarded_for(value: &str) -> Vec<Option<IpAddr>> {
    value.split(',').map(|it| address(trimmed(it))).collect()
}

/// Returns the addresses of the parameters `for` of a value of `Forwarded` (RFC 7239, 4). A value
/// with a misplaced quote is one hop without an address.
pub(super) fn forwarded(value: &str) -> Vec<Option<IpAddr>> {
    // A proxy may add its entry to the value of its peer. After a quote that the peer left open,
    // that entry would be text of the peer.
    if !is_quoted_well(value) {
        return vec![None];
    }
    split(value, ',').into_iter().map(for_of).collect()
}

/// Returns whether each quoted string is a whole value of a parameter, and has an end.
fn is_quoted_well(text: &str) -> bool {
    let mut rest = text;
    while let Some((before, inside)) = rest.split_once('"') {
        if !before.ends_with('=') {
            return false;
        }
        let mut is_escaped = false;
        let end = inside.find(|it| {
            let is_end = it == '"' && !is_escaped;
            is_escaped = it == '\\' && !is_escaped;
            is_end
        });
        let Some(after) = end.and_then(|end| inside.get(end + 1..)) else { return false };
        let next = after.trim_start_matches(OWS);
        if !(next.is_empty() || next.starts_with([',', ';'])) {
            return false;
        }
        rest = after;
    }
    true
}

/// The white space of HTTP (RFC 9110, 5.6.3).
const OWS: [char; 2] = [' ', '\t'];

fn trimmed(text: &str) -> &str {
    text.trim_matches(OWS)
}

fn for_of(element: &str) -> Option<IpAddr> {
    let pairs = split(element, ';');
    let mut values = pairs.into_iter().filter_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        trimmed(name).eq_ignore_ascii_case("for").then(|| trimmed(value))
    });
    let value = values.next()?;
    if values.next().is_some() {
        return None; // The RFC allows one in each element.
    }
    match value.strip_prefix('"') {
        // An address has no escaped characters.
        Some(quoted) => address(quoted.strip_suffix('"')?),
        None => address(value),
    }
}

/// Splits at `separator` outside of quoted strings.
fn split(text: &str, separator: char) -> Vec<&str> {
    let (mut in_quotes, mut is_escaped) = (false, false);
    let parts = text.split(move |it| {
        let is_end = it == separator && !in_quotes;
        if is_escaped {
            is_escaped = false;
        } else if it == '"' {
            in_quotes = !in_quotes;
        } else if it == '\\' && in_quotes {
            is_escaped = true;
        }
        is_end
    });
    parts.map(trimmed).collect()
}

/// Reads an address, alone or with a port, an IPv6 address also in brackets.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|it| it.strip_suffix(']')).unwrap_or(text);
    bare.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|it| it.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(texts: &[&str]) -> Vec<Option<IpAddr>> {
        texts.iter().map(|it| it.parse().ok()).collect()
    }

    #[test]
    fn examples_of_rfc_7239_are_read() {
        // Sections 4, 6.3, 7.1 and 7.4.
        assert_eq!(forwarded("for=\"_gazonk\""), [None]);
        assert_eq!(
            forwarded("For=\"[2001:db8:cafe::17]:4711\""),
            addresses(&["2001:db8:cafe::17"])
        );
        assert_eq!(
            forwarded("for=192.0.2.60;proto=http;by=203.0.113.43"),
            addresses(&["192.0.2.60"])
        );
        let both = addresses(&["192.0.2.43", "198.51.100.17"]);
        assert_eq!(forwarded("for=192.0.2.43, for=198.51.100.17"), both);
        assert_eq!(
            forwarded("for=192.0.2.43, for=\"[2001:db8:cafe::17]\", for=unknown"),
            addresses(&["192.0.2.43", "2001:db8:cafe::17", "unknown"])
        );
        assert_eq!(
            forwarded("for=192.0.2.43,for=\"[2001:db8:cafe::17]\",for=unknown"),
            addresses(&["192.0.2.43", "2001:db8:cafe::17", "unknown"])
        );
        assert_eq!(forwarded("for=_hidden, for=_SEVKISEK"), [None, None]);
    }

    #[test]
    fn separators_in_quotes_do_not_split() {
        assert_eq!(forwarded(r#"by="a,;\",for=1.1.1.1";for=192.0.2.1"#), addresses(&["192.0.2.1"]));
        assert_eq!(forwarded("for=192.0.2.1;for=1.1.1.1"), [None]);
        assert_eq!(forwarded("for=\"192.0.2.1"), [None]);
        assert_eq!(forwarded("proto=http"), [None]);
    }

    #[test]
    fn quote_that_the_client_leaves_open_does_not_hide_the_entry_of_the_proxy() {
        for value in [
            "for=1.1.1.1;x=\", for=192.0.2.43",
            "for=1.1.1.1;x=\", for=\"[2001:db8::1]\"",
            "for=1.1.1.1;x=\", for=\"192.0.2.43:80\";by=_p",
            "for=1.1.1.1;x=a\", for=192.0.2.43",
            "for=1.1.1.1\", for=192.0.2.43",
            "for=1.1.1.1;x=\"\\, for=\"[2001:db8::1]\"",
            // The proxy repeats a `Host` that the client has chosen, too.
            "for=1.1.1.1;x=\", for=192.0.2.43;host=\";for=2.2.2.2\"",
            "for=1.1.1.1;x=\", for=192.0.2.43;host=\";a=\"",
            "for=1.1.1.1;x=\", for=192.0.2.43;host=\";a=\\\"\"",
        ] {
            assert_eq!(forwarded(value), [None], "{value}");
        }
        let both = addresses(&["1.1.1.1", "192.0.2.43"]);
        assert_eq!(forwarded("for=1.1.1.1;x=\"\" , for=192.0.2.43;y=\"a b\\\"\" ; z=1"), both);
    }

    #[test]
    fn addresses_with_ports_and_garbage_are_told_apart() {
        assert_eq!(
            x_forwarded_for("192.0.2.1:80,[2001:db8::1]:80 , 2001:db8::2,[2001:db8::3], x,"),
            addresses(&["192.0.2.1", "2001:db8::1", "2001:db8::2", "2001:db8::3", "x", ""])
        );
    }
}
