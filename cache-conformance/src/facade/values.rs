use std::collections::BTreeMap;

use bytes::Bytes;
use cache_core::{ErrorKind, Timeout, store::SetMode};
use serde::{Deserialize, Serialize, Serializer, ser::Error as _};

use crate::{
    backend::limits::too_large,
    ctx::{Ctx, LONG},
    stop::TestResult,
    test::{Test, returned, tests},
};

pub(super) const TESTS: &[Test] = tests![
    get_returns_the_value_given_to_set,
    stored_null_is_a_hit,
    integer_is_stored_as_plain_text,
    integer_of_a_foreign_writer_is_read,
    bytes_are_returned_unchanged,
    bytes_are_stored_unchanged,
    size_limit_counts_the_callers_bytes,
    value_that_does_not_serialise_is_not_stored,
    value_of_another_type_is_a_miss,
    damaged_bytes_are_a_miss_and_removed,
    undecodable_entry_in_a_batch_is_a_miss,
    purge_of_damaged_bytes_never_removes_a_new_value,
];

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct User {
    name: String,
    age: Option<u8>,
    tags: Vec<String>,
    scores: BTreeMap<String, f64>,
    kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Kind {
    Guest,
    Member { since: u32 },
}

/// A value whose serialisation fails.
pub(super) struct Unserialisable;

impl Serialize for Unserialisable {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(S::Error::custom("marked-value-4711"))
    }
}

/// `get` returns a value equal to the one that `set` stored.
async fn get_returns_the_value_given_to_set(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    let user = User {
        name: "Ada \u{1f511}\r\n\0".into(),
        age: None,
        tags: vec![String::new(), "b".into()],
        scores: [("x".to_owned(), 0.1), ("y".to_owned(), -1e300)].into(),
        kind: Kind::Member { since: 1843 },
    };
    cache.set("user", &user, Timeout::Default).await?;
    assert_eq!(cache.get("user").await?, Some(user.clone()));
    let users = vec![user.clone(), User { kind: Kind::Guest, ..user.clone() }];
    cache.set("users", &users, Timeout::Default).await?;
    assert_eq!(cache.get::<Vec<User>>("users").await?.map(|it| it.len()), Some(2));
    cache.set("bool", &true, Timeout::Default).await?;
    assert_eq!(cache.get("bool").await?, Some(true));
    cache.set("text", "41", Timeout::Default).await?;
    assert_eq!(cache.get("text").await?, Some("41".to_owned()));
    cache.set("float", &0.1, Timeout::Default).await?;
    assert_eq!(cache.get("float").await?, Some(0.1));
    cache.set("empty", "", Timeout::Default).await?;
    assert_eq!(cache.get("empty").await?, Some(String::new()));
    assert_eq!(cache.get::<User>("absent").await?, None);
    Ok(())
}

/// A stored `None` is a hit, `Some(None)`, for every call that reads.
async fn stored_null_is_a_hit(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    cache.set("k", &None::<u8>, Timeout::Default).await?;
    assert_eq!(cache.get::<Option<u8>>("k").await?, Some(None));
    assert_eq!(cache.get::<Option<u8>>("absent").await?, None);
    let many = cache.get_many::<Option<u8>, _>(["k", "absent"]).await?;
    assert_eq!(many, [("k", None)].into());
    let loaded = cache.get_or_set("k", Timeout::Default, || async { Some(7_u8) }).await?;
    assert_eq!(loaded, None, "get_or_set of a stored null");
    assert_eq!(cache.update::<Option<u8>>("k", Timeout::Default, |it| it).await?, Some(None));
    assert!(!cache.add("k", &Some(1), Timeout::Default).await?);
    assert!(cache.has_key("k").await?);
    assert_eq!(cache.pop::<Option<u8>>("k").await?, Some(None));
    assert_eq!(cache.pop::<Option<u8>>("k").await?, None);
    Ok(())
}

/// Every codec stores a top-level integer as plain decimal text, without a header.
async fn integer_is_stored_as_plain_text(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    for number in [0, 1, -1, 127, 128, 255, 256, 65_536, i64::MAX, i64::MIN] {
        cache.set("k", &number, Timeout::Default).await?;
        ctx.expect(&ctx.key("k"), Some(number.to_string().as_bytes()), "the stored bytes").await?;
        assert_eq!(cache.get::<i64>("k").await?, Some(number));
        assert_eq!(cache.incr("k", 0).await?, number);
    }
    // An integer outside `i64` is stored as any other value.
    cache.set("k", &u64::MAX, Timeout::Default).await?;
    assert_eq!(cache.get::<u64>("k").await?, Some(u64::MAX));
    cache.set("k", &7_u8, Timeout::Default).await?;
    cache.set_many([("many", 8_i8)], Timeout::Default).await?.into_result()?;
    cache.get_or_set("loaded", Timeout::Default, || async { 9_u16 }).await?;
    for (key, text) in [("k", b"7"), ("many", b"8"), ("loaded", b"9")] {
        ctx.expect(&ctx.key(key), Some(text), "the stored bytes").await?;
    }
    Ok(())
}

/// An integer that another program wrote is read and counted.
async fn integer_of_a_foreign_writer_is_read(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    ctx.put(&ctx.key("k"), "41").await?;
    assert_eq!(cache.get::<i64>("k").await?, Some(41));
    assert_eq!(cache.get::<u8>("k").await?, Some(41));
    assert_eq!(cache.incr("k", 1).await?, 42);
    ctx.store.incr(&ctx.key("k"), -2, None).await?;
    assert_eq!(cache.get::<i64>("k").await?, Some(40));
    Ok(())
}

/// Bytes are read as they were written, also bytes that begin like a header.
async fn bytes_are_returned_unchanged(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    let every_byte: Vec<u8> = (0..=255).collect();
    // Bytes that begin like a header: any value may begin with these two bytes by chance.
    let headers = [&[0xc1][..], &[0xc1, 0xca], &[0xc1, 0xca, 1, 0], &[0xc1; 40], &[0xca, 0xc1]];
    for bytes in [&b""[..], b"text", b"42", b"null", &every_byte].into_iter().chain(headers) {
        cache.bytes().set("k", bytes, Timeout::Default).await?;
        let found = cache.bytes().get("k").await?;
        assert_eq!(found.as_deref(), Some(bytes), "{}", bytes.escape_ascii());
    }
    for first in 0..=255_u8 {
        for bytes in [vec![first, 0xca, 1, 0, 0], [&[first][..], &every_byte].concat()] {
            cache.bytes().set("k", &bytes, Timeout::Default).await?;
            assert_eq!(cache.bytes().get("k").await?, Some(Bytes::from(bytes)));
        }
    }
    Ok(())
}

/// Bytes are stored as they are, for readers in other languages.
async fn bytes_are_stored_unchanged(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    for bytes in [&b"text"[..], b"\x00\xff", b"", b"{\"a\":1}", b"007"] {
        cache.bytes().set("k", bytes, Timeout::Default).await?;
        ctx.expect(&ctx.key("k"), Some(bytes), "the stored bytes").await?;
        ctx.put(&ctx.key("foreign"), bytes.to_vec()).await?;
        assert_eq!(cache.bytes().get("foreign").await?.as_deref(), Some(bytes));
    }
    Ok(())
}

/// A value that does not serialise reaches no store, and the error does not quote it.
async fn value_that_does_not_serialise_is_not_stored(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    cache.set("k", "old", Timeout::Default).await?;
    let bad = &Unserialisable;
    let errors = [
        cache.set("k", bad, Timeout::Default).await.expect_err("set"),
        cache
            .set("k", bad, Timeout::After(std::time::Duration::ZERO))
            .await
            .expect_err("set to zero"),
        cache.add("new", bad, Timeout::Default).await.expect_err("add"),
        cache.replace("k", bad, Timeout::Default).await.expect_err("replace"),
        cache
            .set_many(
                [("new", Ok(1)), ("k", Err(bad))].map(|(key, it)| (key, OrBad(it))),
                Timeout::Default,
            )
            .await
            .expect_err("set_many"),
    ];
    for error in errors {
        assert_eq!(error.kind(), ErrorKind::Codec, "{error}");
        assert!(
            !format!("{error} {error:?}").contains("4711"),
            "the error quotes the value: {error:?}"
        );
    }
    assert_eq!(cache.get::<String>("k").await?.as_deref(), Some("old"));
    returned!(cache.has_key("new").await?, false, "has_key of another item of the batch");
    Ok(())
}

#[derive(Serialize)]
#[serde(untagged)]
enum Either<'a> {
    Good(i32),
    Bad(&'a Unserialisable),
}

#[expect(non_snake_case, reason = "reads like the variants that it makes")]
fn OrBad(it: Result<i32, &Unserialisable>) -> Either<'_> {
    it.map_or_else(Either::Bad, Either::Good)
}

/// A value of another type is a miss that is counted, and `Codec` in strict mode; `get_or_set`
/// loads and overwrites it.
async fn value_of_another_type_is_a_miss(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    cache.set("k", "text", Timeout::Default).await?;
    let before = cache.stats().undecodable;
    assert_eq!(cache.get::<Vec<bool>>("k").await?, None);
    assert_eq!(cache.stats().undecodable, before + 1);
    assert_eq!(cache.get::<User>("k").await?, None, "a second get as another type");
    let error = cache.strict().get::<User>("k").await.expect_err("a read in strict mode");
    assert_eq!(error.kind(), ErrorKind::Codec, "{error}");
    assert_eq!(cache.get::<String>("k").await?.as_deref(), Some("text"), "get as the stored type");
    assert_eq!(cache.update::<User>("k", Timeout::Default, |it| it).await?, None);
    assert_eq!(cache.get_or_set("k", Timeout::Default, || async { 7_u8 }).await?, 7);
    assert_eq!(cache.get::<u8>("k").await?, Some(7), "get of the loaded value");
    // Strict mode loads as well, because the load repairs the entry.
    cache.set("k", "text", Timeout::Default).await?;
    assert_eq!(cache.strict().get_or_set("k", Timeout::Default, || async { 8_u8 }).await?, 8);
    assert_eq!(cache.get::<u8>("k").await?, Some(8));
    Ok(())
}

/// Bytes that begin like a header and are damaged.
const DAMAGED: &[u8] = &[0xc1, 0xca, 1, 1, 9, 9, 9];

/// Damaged bytes are a miss, and are removed, since no program can read them.
async fn damaged_bytes_are_a_miss_and_removed(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    ctx.put(&ctx.key("k"), DAMAGED).await?;
    let error = cache.strict().get::<u8>("k").await.expect_err("a read in strict mode");
    assert_eq!(error.kind(), ErrorKind::Codec, "{error}");
    ctx.put(&ctx.key("k"), DAMAGED).await?;
    assert_eq!(cache.get::<u8>("k").await?, None);
    ctx.expect(&ctx.key("k"), None, "after a read of damaged bytes").await?;
    ctx.put(&ctx.key("k"), DAMAGED).await?;
    assert_eq!(cache.bytes().get("k").await?, None);
    ctx.put(&ctx.key("k"), DAMAGED).await?;
    assert_eq!(cache.get_or_set("k", Timeout::Default, || async { 7_u8 }).await?, 7);
    assert_eq!(cache.get::<u8>("k").await?, Some(7));
    Ok(())
}

/// An entry that does not decode is a miss of its own: the other entries of a batch are returned.
async fn undecodable_entry_in_a_batch_is_a_miss(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    cache.set_many([("a", 1), ("b", 2)], Timeout::Default).await?.into_result()?;
    cache.set("text", "not a number", Timeout::Default).await?;
    ctx.put(&ctx.key("damaged"), DAMAGED).await?;
    let found = cache.get_many::<i32, _>(["a", "text", "damaged", "b"]).await?;
    assert_eq!(found, [("a", 1), ("b", 2)].into());
    let error =
        cache.strict().get_many::<i32, _>(["a", "text"]).await.expect_err("a read in strict mode");
    assert_eq!(error.kind(), ErrorKind::Codec, "{error}");
    Ok(())
}

/// A read that removes damaged bytes never removes the value that a writer stores at the same time.
async fn purge_of_damaged_bytes_never_removes_a_new_value(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    for round in 0..30 {
        let key = format!("k{round}");
        ctx.put(&ctx.key(&key), DAMAGED).await?;
        let answers = ctx
            .race(8, |n, store| {
                let (cache, key, full) = (cache.clone(), key.clone(), ctx.key(&key));
                async move {
                    if n == 4 {
                        // The other tasks read, read again and purge. The number of reads here
                        // varies before which step it writes.
                        for _ in 0..round % 6 {
                            store.get(&full).await?;
                        }
                        return store.set(&full, "7".into(), LONG, SetMode::Always).await.map(drop);
                    }
                    cache.get::<u8>(&key).await.map(drop)
                }
            })
            .await;
        answers.into_iter().collect::<cache_core::Result<()>>()?;
        assert_eq!(cache.get::<u8>(&key).await?, Some(7), "get of {key} after the write");
    }
    Ok(())
}

/// The limit counts the caller's bytes, also if they begin like a header.
async fn size_limit_counts_the_callers_bytes(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    let over = too_large(ctx)?;
    for beginning in [&b"x"[..], b"\xc1\xca\x01\x00"] {
        let mut bytes = over.to_vec();
        let len = beginning.len().min(bytes.len());
        bytes[..len].copy_from_slice(&beginning[..len]);
        let over = Bytes::from(bytes);
        let largest = over.slice(1..).len();
        let fits = over.slice(..largest);
        cache.bytes().set("k", &fits, Timeout::Default).await?;
        assert!(cache.bytes().get("k").await? == Some(fits), "bytes().get of the largest value");
        let error = cache
            .bytes()
            .set("k", &over, Timeout::Default)
            .await
            .expect_err("a value one byte over the limit");
        assert_eq!(error.kind(), ErrorKind::TooLarge, "{error}");
        returned!(cache.has_key("k").await?, false, "has_key after a value over the limit");
    }
    Ok(())
}
