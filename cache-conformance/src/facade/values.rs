use std::collections::BTreeMap;

use bytes::Bytes;
use cache_core::{ErrorKind, SetMode, Timeout};
use serde::{Deserialize, Serialize, Serializer, ser::Error as _};

use crate::{
    backend::limits::too_large,
    ctx::{Ctx, LONG},
    runner::{Test, TestResult, tests},
};

pub(super) const TESTS: &[Test] = tests![
    get_gives_back_what_set_was_given,
    a_stored_null_is_a_hit,
    an_integer_is_stored_as_plain_text,
    an_integer_of_a_foreign_writer_is_read,
    bytes_come_back_as_they_were,
    bytes_are_stored_as_they_are,
    the_limit_counts_the_callers_bytes,
    the_limit_counts_the_callers_bytes,
    a_value_that_does_not_serialise_reaches_no_store,
    d22_a_value_of_another_type_is_a_miss,
    d22_damaged_bytes_are_a_miss_and_removed,
    d22_one_bad_entry_spoils_no_batch,
    d20_only_what_was_seen_is_purged,
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

/// "`T: Serialize` on the way in, `T: DeserializeOwned` on the way out."
async fn get_gives_back_what_set_was_given(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    let user = User {
        name: "Ada \u{1f511}\r\n\0".into(),
        age: None,
        tags: vec![String::new(), "b".into()],
        scores: [("x".to_owned(), 0.1), ("y".to_owned(), -1e300)].into(),
        kind: Kind::Member { since: 1843 },
    };
    cache.set("user", &user, None).await?;
    assert_eq!(cache.get("user").await?, Some(user.clone()));
    cache.set("users", &[user.clone(), User { kind: Kind::Guest, ..user.clone() }], None).await?;
    assert_eq!(cache.get::<Vec<User>>("users").await?.map(|it| it.len()), Some(2));
    cache.set("bool", &true, None).await?;
    assert_eq!(cache.get("bool").await?, Some(true));
    cache.set("text", "41", None).await?;
    assert_eq!(cache.get("text").await?, Some("41".to_owned()));
    cache.set("float", &0.1, None).await?;
    assert_eq!(cache.get("float").await?, Some(0.1));
    cache.set("empty", "", None).await?;
    assert_eq!(cache.get("empty").await?, Some(String::new()));
    assert_eq!(cache.get::<User>("absent").await?, None);
    Ok(())
}

/// "A stored `None`/null is `Some(None)`, not a miss", for each call that reads.
async fn a_stored_null_is_a_hit(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    cache.set("k", &None::<u8>, None).await?;
    assert_eq!(cache.get::<Option<u8>>("k").await?, Some(None));
    assert_eq!(cache.get::<Option<u8>>("absent").await?, None);
    let many = cache.get_many::<Option<u8>, _>(["k", "absent"]).await?;
    assert_eq!(many, [("k", None)].into());
    let loaded = cache.get_or_set("k", None, || async { Some(7_u8) }).await?;
    assert_eq!(loaded, None, "what is there is not loaded again");
    assert_eq!(cache.update::<Option<u8>>("k", None, |it| it).await?, Some(None));
    assert!(!cache.add("k", &Some(1), None).await?);
    assert!(cache.has_key("k").await?);
    assert_eq!(cache.pop::<Option<u8>>("k").await?, Some(None));
    assert_eq!(cache.pop::<Option<u8>>("k").await?, None);
    Ok(())
}

/// "every codec stores a top-level integer as this plain text, never compressed and without a header".
async fn an_integer_is_stored_as_plain_text(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    for number in [0, 1, -1, 127, 128, 255, 256, 65_536, i64::MAX, i64::MIN] {
        cache.set("k", &number, None).await?;
        ctx.expect(&ctx.key("k"), Some(number.to_string().as_bytes()), "as stored").await?;
        assert_eq!(cache.get::<i64>("k").await?, Some(number));
        assert_eq!(cache.incr("k", 0).await?, number);
    }
    // Outside `i64` it is a number like any other.
    cache.set("k", &u64::MAX, None).await?;
    assert_eq!(cache.get::<u64>("k").await?, Some(u64::MAX));
    cache.set("k", &7_u8, None).await?;
    cache.set_many([("many", 8_i8)], None).await?.into_result()?;
    cache.get_or_set("loaded", None, || async { 9_u16 }).await?;
    for (key, text) in [("k", b"7"), ("many", b"8"), ("loaded", b"9")] {
        ctx.expect(&ctx.key(key), Some(text), "as stored").await?;
    }
    Ok(())
}

/// "so that another language reads it and the store's own INCR works".
async fn an_integer_of_a_foreign_writer_is_read(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    ctx.put(&ctx.key("k"), "41").await?;
    assert_eq!(cache.get::<i64>("k").await?, Some(41));
    assert_eq!(cache.get::<u8>("k").await?, Some(41));
    assert_eq!(cache.incr("k", 1).await?, 42);
    ctx.store.incr(&ctx.key("k"), -2, None).await?;
    assert_eq!(cache.get::<i64>("k").await?, Some(40));
    Ok(())
}

/// `get_bytes`, `set_bytes`: "stored as they are (wrapped only if they begin like a header); given back as they were".
async fn bytes_come_back_as_they_were(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    let every_byte: Vec<u8> = (0..=255).collect();
    // What begins like a header: whatever it is, the first two bytes can be met by chance.
    let headers = [&[0xc1][..], &[0xc1, 0xca], &[0xc1, 0xca, 1, 0], &[0xc1; 40], &[0xca, 0xc1]];
    for bytes in [&b""[..], b"text", b"42", b"null", &every_byte].into_iter().chain(headers) {
        cache.set_bytes("k", bytes.to_vec(), None).await?;
        let found = cache.get_bytes("k").await?;
        assert_eq!(found.as_deref(), Some(bytes), "{}", bytes.escape_ascii());
    }
    for first in 0..=255_u8 {
        for bytes in [vec![first, 0xca, 1, 0, 0], [&[first][..], &every_byte].concat()] {
            cache.set_bytes("k", bytes.clone(), None).await?;
            assert_eq!(cache.get_bytes("k").await?, Some(Bytes::from(bytes)));
        }
    }
    Ok(())
}

/// "plain, so that another language reads it".
async fn bytes_are_stored_as_they_are(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    for bytes in [&b"text"[..], b"\x00\xff", b"", b"{\"a\":1}", b"007"] {
        cache.set_bytes("k", bytes.to_vec(), None).await?;
        ctx.expect(&ctx.key("k"), Some(bytes), "as stored").await?;
        ctx.put(&ctx.key("foreign"), bytes.to_vec()).await?;
        assert_eq!(cache.get_bytes("foreign").await?.as_deref(), Some(bytes));
    }
    Ok(())
}

/// "a value that does not serialise never reaches a store", and the error quotes nothing of it.
async fn a_value_that_does_not_serialise_reaches_no_store(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    cache.set("k", "old", None).await?;
    let bad = &Unserialisable;
    let errors = [
        cache.set("k", bad, None).await.expect_err("set"),
        cache
            .set("k", bad, Timeout::After(std::time::Duration::ZERO))
            .await
            .expect_err("set to zero"),
        cache.add("new", bad, None).await.expect_err("add"),
        cache.replace("k", bad, None).await.expect_err("replace"),
        cache
            .set_many([("new", Ok(1)), ("k", Err(bad))].map(|(key, it)| (key, OrBad(it))), None)
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
    assert!(!cache.has_key("new").await?, "nothing of the batch was written");
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

/// "Bytes that do not decode (another type after a deploy ...) are a miss that is counted and logged, `Codec` in strict mode;
/// `get_or_set` reloads and overwrites. One bad entry never keeps failing (D22)."
async fn d22_a_value_of_another_type_is_a_miss(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    cache.set("k", "text", None).await?;
    let before = cache.stats().undecodable;
    assert_eq!(cache.get::<Vec<u8>>("k").await?, None);
    assert_eq!(cache.stats().undecodable, before + 1);
    assert_eq!(cache.get::<User>("k").await?, None, "and it stays a miss");
    let error = cache.strict().get::<User>("k").await.expect_err("strict mode tells");
    assert_eq!(error.kind(), ErrorKind::Codec, "{error}");
    assert_eq!(cache.get::<String>("k").await?.as_deref(), Some("text"), "the entry is another's");
    assert_eq!(cache.update::<User>("k", None, |it| it).await?, None);
    assert_eq!(cache.get_or_set("k", None, || async { 7_u8 }).await?, 7);
    assert_eq!(cache.get::<u8>("k").await?, Some(7), "it was overwritten");
    // Strict mode loads as well: the load repairs what is there.
    cache.set("k", "text", None).await?;
    assert_eq!(cache.strict().get_or_set("k", None, || async { 8_u8 }).await?, 8);
    assert_eq!(cache.get::<u8>("k").await?, Some(8));
    Ok(())
}

/// What begins like a header of ours and is damaged.
const DAMAGED: &[u8] = &[0xc1, 0xca, 1, 1, 9, 9, 9];

/// "corruption": a miss, and nobody can ever read it, so it goes.
async fn d22_damaged_bytes_are_a_miss_and_removed(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    ctx.put(&ctx.key("k"), DAMAGED).await?;
    let error = cache.strict().get::<u8>("k").await.expect_err("strict mode tells");
    assert_eq!(error.kind(), ErrorKind::Codec, "{error}");
    ctx.put(&ctx.key("k"), DAMAGED).await?;
    assert_eq!(cache.get::<u8>("k").await?, None);
    ctx.expect(&ctx.key("k"), None, "after a read that found damage").await?;
    ctx.put(&ctx.key("k"), DAMAGED).await?;
    assert_eq!(cache.get_bytes("k").await?, None);
    ctx.put(&ctx.key("k"), DAMAGED).await?;
    assert_eq!(cache.get_or_set("k", None, || async { 7_u8 }).await?, 7);
    assert_eq!(cache.get::<u8>("k").await?, Some(7));
    Ok(())
}

/// "One bad entry never keeps failing (D22: in Django it raises on every read)": the others of a batch are read.
async fn d22_one_bad_entry_spoils_no_batch(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    cache.set_many([("a", 1), ("b", 2)], None).await?.into_result()?;
    cache.set("text", "no number", None).await?;
    ctx.put(&ctx.key("damaged"), DAMAGED).await?;
    let found = cache.get_many::<i32, _>(["a", "text", "damaged", "b"]).await?;
    assert_eq!(found, [("a", 1), ("b", 2)].into());
    let error =
        cache.strict().get_many::<i32, _>(["a", "text"]).await.expect_err("strict mode tells");
    assert_eq!(error.kind(), ErrorKind::Codec, "{error}");
    Ok(())
}

/// "A corrupt or expired entry is purged only if bytes and expiry are still those that were seen (D20)": readers who purge
/// never take away what a writer puts in its place.
async fn d20_only_what_was_seen_is_purged(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    for round in 0..30 {
        let key = format!("k{round}");
        ctx.put(&ctx.key(&key), DAMAGED).await?;
        let answers = ctx
            .race(8, |n, store| {
                let (cache, key, full) = (cache.clone(), key.clone(), ctx.key(&key));
                async move {
                    if n == 4 {
                        // The others read, look again and purge: it writes before one of these steps, and before another.
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
        assert_eq!(cache.get::<u8>(&key).await?, Some(7), "what was written is gone");
    }
    Ok(())
}

/// "The limit on size counts the caller's bytes", whatever they begin with.
async fn the_limit_counts_the_callers_bytes(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    let over = too_large(ctx)?;
    for beginning in [&b"x"[..], b"\xc1\xca\x01\x00"] {
        let mut bytes = over.to_vec();
        let len = beginning.len().min(bytes.len());
        bytes[..len].copy_from_slice(&beginning[..len]);
        let over = Bytes::from(bytes);
        let largest = over.slice(1..).len();
        let fits = over.slice(..largest);
        cache.set_bytes("k", fits.clone(), None).await?;
        assert!(cache.get_bytes("k").await? == Some(fits), "the largest value");
        let error = cache.set_bytes("k", over, None).await.expect_err("one byte over the limit");
        assert_eq!(error.kind(), ErrorKind::TooLarge, "{error}");
        assert!(!cache.has_key("k").await?, "the old value is gone");
    }
    Ok(())
}
