//! The stored form of a request: a line of JSON, and the body of the response.

use bytes::{BufMut as _, Bytes, BytesMut};
use cache_core::{Error, ErrorKind, Result};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Record {
    /// The digest of the request.
    pub(super) fingerprint: String,
    pub(super) state: State,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum State {
    /// The execution with this random number runs, or was killed.
    Running(u64),
    Done(Kept),
    /// The request was executed, and its response is too large.
    NotKept,
}

/// A stored response.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Kept {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

#[derive(Serialize, Deserialize)]
struct Line {
    fingerprint: String,
    #[serde(flatten)]
    state: LineState,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
enum LineState {
    Running {
        execution: u64,
    },
    /// Header values are bytes: each is the character of this number.
    Done {
        status: u16,
        headers: Vec<(String, String)>,
    },
    NotKept,
}

impl Record {
    pub(super) fn write(&self) -> Bytes {
        let (state, body) = match &self.state {
            State::Running(execution) => {
                (LineState::Running { execution: *execution }, Bytes::new())
            }
            State::NotKept => (LineState::NotKept, Bytes::new()),
            State::Done(it) => {
                let text =
                    |it: &HeaderValue| it.as_bytes().iter().map(|it| char::from(*it)).collect();
                let headers = it.headers.iter();
                let headers =
                    headers.map(|(name, value)| (name.to_string(), text(value))).collect();
                (LineState::Done { status: it.status.as_u16(), headers }, it.body.clone())
            }
        };
        let line = Line { fingerprint: self.fingerprint.clone(), state };
        // panics: strings and numbers are always JSON.
        let line = serde_json::to_vec(&line).unwrap_or_default();
        let mut res = BytesMut::with_capacity(line.len() + 1 + body.len());
        res.put_slice(&line);
        res.put_u8(b'\n');
        res.put_slice(&body);
        res.freeze()
    }

    pub(super) fn read(stored: &Bytes) -> Result<Self> {
        Self::try_read(stored).ok_or_else(|| {
            let what = "the stored record of an Idempotency-Key is damaged, or of another release: \
                        delete it, or wait until it expires";
            Error::new(ErrorKind::Codec, what)
        })
    }

    fn try_read(stored: &Bytes) -> Option<Self> {
        let end = stored.iter().position(|it| *it == b'\n')?;
        let line: Line = serde_json::from_slice(stored.get(..end)?).ok()?;
        let state = match line.state {
            LineState::Running { execution } => State::Running(execution),
            LineState::NotKept => State::NotKept,
            LineState::Done { status, headers } => {
                let pairs = headers.iter().map(|(name, value)| {
                    let value: Option<Vec<u8>> =
                        value.chars().map(|it| u8::try_from(it).ok()).collect();
                    let value = HeaderValue::from_bytes(&value?).ok()?;
                    Some((name.parse::<HeaderName>().ok()?, value))
                });
                let mut headers = HeaderMap::new();
                for pair in pairs {
                    let (name, value) = pair?;
                    headers.append(name, value);
                }
                let status = StatusCode::from_u16(status).ok()?;
                State::Done(Kept { status, headers, body: stored.slice(end + 1..) })
            }
        };
        Some(Self { fingerprint: line.fingerprint, state })
    }
}

impl Kept {
    /// Returns the parts of a response that are kept.
    pub(super) fn new<B>(response: &Response<B>, body: Bytes, names: &[HeaderName]) -> Self {
        let mut headers = HeaderMap::new();
        for name in names {
            for value in response.headers().get_all(name) {
                headers.append(name, value.clone());
            }
        }
        Self { status: response.status(), headers, body }
    }

    /// Returns the response of a repetition.
    pub(super) fn replay(self) -> Response<Bytes> {
        let mut response = Response::new(self.body);
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        let replayed = HeaderName::from_static("idempotent-replayed");
        response.headers_mut().insert(replayed, HeaderValue::from_static("true"));
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn record_is_read_as_it_was_written() {
        let mut headers = HeaderMap::new();
        headers.append("link", "</a>".parse().unwrap());
        headers.append("link", HeaderValue::from_bytes(b"\xff\"\xe9").unwrap());
        let body = Bytes::from_static(b"\n\xff\nbody");
        let kept = Kept { status: StatusCode::IM_A_TEAPOT, headers, body };
        for state in [State::Running(u64::MAX), State::NotKept, State::Done(kept)] {
            let record = Record { fingerprint: "f".into(), state };
            assert_eq!(Record::read(&record.write()).unwrap(), record);
        }
        for damaged in ["", "\n", "{}\n", "null", "{\"fingerprint\":\"f\",\"state\":\"done\"}\n"] {
            let error = Record::read(&Bytes::from(damaged)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Codec, "{damaged}");
        }
    }
}
