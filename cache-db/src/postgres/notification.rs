//! Notifications of changed keys: the channel, the payloads, and the SQL that sends them.
//!
//! A payload holds keys in PostgreSQL's format `escape`, which is ASCII and so can be sent in a
//! database of any encoding, with [`SEPARATOR`] between them. An empty payload stands for all keys.

use crate::table::{Table, literal};

/// The begin of a channel's name, with the version of the payloads. The OID of the table follows,
/// which is unique in the database.
const CHANNEL: &str = "cache_db_1_";
/// Never part of an escaped key.
const SEPARATOR: &str = "\\,";
/// The longest key that is named, in bytes. A longer one, which no cache writes, changes all keys.
/// Escaped, a byte takes up to four.
const LONGEST_KEY: usize = 950;
/// The length after which a payload takes no further key: the server accepts less than 8,000 bytes.
const PART: usize = 4000;

/// Returns the SQL of the channel's name for the OID of a table.
pub(crate) fn channel(oid: &str) -> String {
    format!("('{CHANNEL}' || ({oid})::text)")
}

fn channel_of(table: &Table) -> String {
    channel(&format!("{}::regclass::oid", literal(&table.quoted())))
}

/// Returns the SQL of a column that notifies of this key.
pub(crate) fn notify(table: &Table, key: &str) -> String {
    let channel = channel_of(table);
    format!(
        "pg_notify({channel}, \
         CASE WHEN octet_length({key}) <= {LONGEST_KEY} THEN encode({key}, 'escape') ELSE '' END)"
    )
}

/// Returns the SQL of a column that notifies of all keys.
pub(crate) fn notify_all(table: &Table) -> String {
    format!("pg_notify({}, '')", channel_of(table))
}

/// Returns the SQL of a column that notifies of the keys in these rows, once for all rows.
pub(crate) fn notify_each(table: &Table, rows: &str) -> String {
    format!("(SELECT count({}::text) FROM {})", notify_part(&channel_of(table)), parts(rows))
}

/// Returns the SQL that notifies of one of [`parts`].
pub(crate) fn notify_part(channel: &str) -> String {
    format!("pg_notify({channel}, part.keys)")
}

/// Returns the SQL of the payloads with the keys of these rows.
pub(crate) fn parts(rows: &str) -> String {
    format!(
        "(SELECT CASE WHEN bool_or(k.key IS NULL) THEN '' ELSE string_agg(k.key, {}) END AS keys FROM (\
         SELECT e.key, sum(coalesce(length(e.key), 0) + {}) OVER (ROWS UNBOUNDED PRECEDING) / {PART} AS number FROM (\
         SELECT CASE WHEN octet_length(r.key) <= {LONGEST_KEY} THEN encode(r.key, 'escape') END AS key FROM {rows} r\
         ) e) k GROUP BY k.number) part",
        literal(SEPARATOR),
        SEPARATOR.len()
    )
}

/// Returns the keys of a payload; `None` if it stands for all keys, or cannot be read.
pub(crate) fn keys(payload: &str) -> Option<Vec<Vec<u8>>> {
    if payload.is_empty() { None } else { unescape(payload) }
}

/// Reads texts in the format `escape`, with separators between them.
pub(crate) fn unescape(text: &str) -> Option<Vec<Vec<u8>>> {
    let (mut all, mut one) = (Vec::new(), Vec::new());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = match (first, after) {
            (b'\\', [b',', after @ ..]) => {
                all.push(std::mem::take(&mut one));
                after
            }
            (b'\\', _) => {
                let (byte, after) = escaped(after)?;
                one.push(byte);
                after
            }
            (byte, after) => {
                one.push(*byte);
                after
            }
        };
    }
    all.push(one);
    Some(all)
}

/// Reads the byte that follows a backslash.
fn escaped(text: &[u8]) -> Option<(u8, &[u8])> {
    match text {
        [b'\\', rest @ ..] => Some((b'\\', rest)),
        [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', rest @ ..] => {
            Some((((a - b'0') << 6) | ((b - b'0') << 3) | (c - b'0'), rest))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payload_is_read_or_stands_for_all_keys() {
        let read = |payload: &str| {
            keys(payload).map(|it| {
                it.into_iter().map(|it| String::from_utf8(it).unwrap()).collect::<Vec<_>>()
            })
        };
        let some = |keys: &[&str]| Some(keys.iter().map(|it| (*it).to_owned()).collect());
        assert_eq!(read("a:1:k"), some(&["a:1:k"]));
        assert_eq!(read("a:1:k\\,a:1:l,m"), some(&["a:1:k", "a:1:l,m"]));
        assert_eq!(read("a\\\\b\\,\\303\\274\\,c\\000"), some(&["a\\b", "ü", "c\0"]));
        for payload in ["", "a\\", "a\\x", "a\\30", "a\\400", "a\\08", "\\,b\\3", "a\\n"] {
            assert_eq!(read(payload), None, "{payload}");
        }
    }
}
