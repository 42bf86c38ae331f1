//! The keys of responses: one for each URL, and one for each variant of a URL that varies.

use std::fmt::Write;

use axum::extract::OriginalUri;
use http::{
    HeaderMap, HeaderName, Request, Uri,
    header::{FORWARDED, HOST},
    uri::Scheme,
};
use sha2::{Digest, Sha256};

use super::reference::{Resolved, resolve};

/// Request fields by which frameworks change the host, the path or the method of a request. They
/// are part of the key, because a handler may use them although no `Vary` names them.
const ROUTING: [&str; 15] = [
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-prefix",
    "x-forwarded-proto",
    "x-forwarded-scheme",
    "x-forwarded-server",
    "x-forwarded-ssl",
    "x-host",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-host",
    "x-original-url",
    "x-rewrite-url",
    "x-url-scheme",
];

/// The URL of a request, as a key.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) key: String,
    authority: String,
    /// As the client has sent it.
    uri: Uri,
    /// The digest of the other fields that select a response: see [`ROUTING`]. `None` without any.
    pub(super) routing: Option<Digest32>,
}

pub(super) type Digest32 = [u8; 32];

impl Target {
    /// Returns the target of a request. `None` if the request names two hosts.
    pub(super) fn of<B>(request: &Request<B>) -> Option<Self> {
        // A nested router strips the prefix of the path, so that two URLs have one `uri`.
        let uri = request.extensions().get::<OriginalUri>().map_or(request.uri(), |it| &it.0);
        let headers = request.headers();
        let mut hosts = headers.get_all(HOST).iter();
        let host = hosts.next();
        if hosts.next().is_some() {
            return None;
        }
        let host = match host {
            Some(host) => Some(normalized(host.to_str().ok()?)),
            None => None,
        };
        let authority = match (uri.authority(), host) {
            (Some(uri), Some(host)) if normalized(uri.as_str()) != host => return None,
            (Some(uri), _) => normalized(uri.as_str()),
            (None, host) => host.unwrap_or_default(),
        };
        let key = key_of(&authority, uri.path(), uri.query());
        let routing = routing(uri.scheme(), headers);
        Some(Self { key, authority, uri: uri.clone(), routing })
    }

    /// Returns the key of a reference in a response of this target. `None` for another origin.
    pub(super) fn reference(&self, reference: &str) -> Option<String> {
        let Resolved { authority, path, query } = resolve(&self.uri, reference)?;
        if let Some((scheme, authority)) = authority {
            // The scheme of the request may not be known, so it is not compared.
            let scheme = scheme.as_deref();
            let of_reference = without_default_port(&authority, scheme);
            if of_reference != without_default_port(&self.authority, scheme) {
                return None;
            }
        }
        Some(key_of(&self.authority, &path, query.as_deref()))
    }
}

/// Returns the key of an absolute URL. `None` if it has no host.
pub(super) fn key_of_url(url: &str) -> Option<String> {
    let uri: Uri = url.split('#').next()?.parse().ok()?;
    let authority = without_default_port(uri.authority()?.as_str(), uri.scheme_str());
    Some(key_of(&authority, uri.path(), uri.query()))
}

/// Returns the key of a variant of the response with this identifier: of the values of the fields
/// that its `Vary` names.
pub(super) fn variant(target: &Target, id: u128, names: &[String], headers: &HeaderMap) -> String {
    let mut hash = Sha256::new();
    add(&mut hash, target.key.as_bytes());
    add(&mut hash, &id.to_be_bytes());
    add(&mut hash, target.routing.as_ref().map_or(&[][..], |it| &it[..]));
    for name in names {
        add(&mut hash, name.as_bytes());
        match selected(headers, name) {
            Some(value) => add(&mut hash, &value),
            None => hash.update([0xff; 8]),
        }
    }
    text_of(hash)
}

/// Returns the value of a request field, with the values of repeated fields in one list.
pub(super) fn selected(headers: &HeaderMap, name: &str) -> Option<Vec<u8>> {
    let name = HeaderName::try_from(name).ok()?;
    let mut res: Option<Vec<u8>> = None;
    for value in headers.get_all(name) {
        let value = value.as_bytes().trim_ascii();
        match &mut res {
            Some(all) => {
                all.extend_from_slice(b", ");
                all.extend_from_slice(value);
            }
            None => res = Some(value.to_vec()),
        }
    }
    res
}

/// The method is not part of the key: only responses to GET are stored.
fn key_of(authority: &str, path: &str, query: Option<&str>) -> String {
    let mut hash = Sha256::new();
    add(&mut hash, authority.as_bytes());
    add(&mut hash, path.as_bytes());
    // An empty query differs from none.
    if let Some(query) = query {
        add(&mut hash, query.as_bytes());
    }
    text_of(hash)
}

fn routing(scheme: Option<&Scheme>, headers: &HeaderMap) -> Option<Digest32> {
    let mut hash = None;
    let mut note = |name: &str, value: &[u8]| {
        let hash = hash.get_or_insert_with(Sha256::new);
        add(hash, name.as_bytes());
        add(hash, value);
    };
    if let Some(scheme) = scheme {
        note("scheme", scheme.as_str().as_bytes());
    }
    for name in ROUTING {
        for value in headers.get_all(name) {
            note(name, value.as_bytes());
        }
    }
    for field in headers.get_all(FORWARDED) {
        // Not the addresses of clients, which would make each client a variant of its own.
        let field = String::from_utf8_lossy(field.as_bytes()).to_ascii_lowercase();
        for pair in field.split([',', ';']) {
            let pair = pair.trim();
            if pair.starts_with("host") || pair.starts_with("proto") {
                note("forwarded", pair.as_bytes());
            }
        }
    }
    hash.map(|it| it.finalize().into())
}

fn normalized(authority: &str) -> String {
    authority.trim().to_ascii_lowercase()
}

fn without_default_port(authority: &str, scheme: Option<&str>) -> String {
    let text = normalized(authority);
    let default = if scheme == Some("https") { ":443" } else { ":80" };
    text.strip_suffix(default).unwrap_or(&text).to_owned()
}

/// Adds a part with its length, so that no two lists of parts are one text.
fn add(hash: &mut Sha256, part: &[u8]) {
    hash.update((part.len() as u64).to_be_bytes());
    hash.update(part);
}

fn text_of(hash: Sha256) -> String {
    let mut res = String::with_capacity(69);
    res.push_str("http:");
    for byte in hash.finalize() {
        // panics: not; writing to a string does not fail.
        let _ = write!(res, "{byte:02x}");
    }
    res
}
