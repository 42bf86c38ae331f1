//! Conditional requests, parts of responses, HEAD, and what clients may demand.

use std::time::Duration;

use cache_tower::http_cache::HttpCache;

use crate::site::{Reply, Site, page};

const FRESH: (&str, &str) = ("cache-control", "max-age=60");
const MODIFIED: (&str, &str) = ("last-modified", "Sat, 28 Nov 2015 10:00:00 GMT");

#[tokio::test]
async fn client_that_has_the_response_gets_304() {
    for tag in ["\"a\"", "W/\"a\""] {
        let site = Site::new(move |_| page(&[FRESH, ("etag", tag), ("x-a", "1")])).await;
        // The first one is answered by the handler, and the others from the cache.
        for asked in ["\"a\"", "W/\"a\"", "\"b\", W/\"a\"", "*"] {
            let reply = site.get_with("/", &[("if-none-match", asked)]).await;
            assert_eq!((reply.status.as_u16(), reply.text()), (304, ""), "{tag} {asked}");
            assert_eq!((reply.field("etag"), reply.field("x-a")), (tag, ""));
            assert_eq!(reply.field("cache-control"), "max-age=60");
        }
        for asked in ["\"b\"", "a", "\"a, b\""] {
            let reply = site.get_with("/", &[("if-none-match", asked)]).await;
            assert_eq!((reply.status.as_u16(), reply.text()), (200, "1"), "{tag} {asked}");
        }
        assert_eq!(site.calls(), 1, "the handler was not asked for the client's version");
    }
}

// RFC 9110, section 8.8.3: a tag has bytes as they are, without escapes.
#[tokio::test]
async fn tag_of_the_client_is_read_byte_for_byte() {
    for (tag, asked, expected) in [
        ("\"b\"", "\"a\\\", \"b\"", 304),
        ("\"a\\\"", "\"b\", \"a\\\"", 304),
        ("\"b\"", "\"a\\\", b\"", 200),
        ("\"a, b\"", "\"a, b\"", 304),
        ("\"ä\"", "\"b\", \"ä\"", 304),
        ("\"ä\"", "\"ö\"", 200),
    ] {
        let site = Site::new(move |_| page(&[FRESH, ("etag", tag)])).await;
        for _ in 0..2 {
            let reply = site.get_with("/", &[("if-none-match", asked)]).await;
            assert_eq!(reply.status, expected, "{tag}: {asked}");
        }
    }
}

#[tokio::test]
async fn date_of_the_client_is_compared_if_there_is_no_tag() {
    let site = Site::new(move |_| page(&[FRESH, MODIFIED])).await;
    let status = async |fields: &[(&str, &str)]| site.get_with("/", fields).await.status.as_u16();
    let since = |date| [("if-modified-since", date)];
    assert_eq!(status(&since("Sat, 28 Nov 2015 10:00:00 GMT")).await, 304);
    assert_eq!(status(&since("Saturday, 28-Nov-15 10:00:01 GMT")).await, 304);
    assert_eq!(status(&since("Sat, 28 Nov 2015 09:59:59 GMT")).await, 200);
    assert_eq!(status(&since("yesterday")).await, 200);
    let tag = ("if-none-match", "\"a\"");
    assert_eq!(status(&[tag, ("if-modified-since", MODIFIED.1)]).await, 200, "the tag counts");
    assert_eq!(site.calls(), 1);
}

#[tokio::test]
async fn date_of_the_response_counts_if_it_does_not_say_when_it_was_modified() {
    let date = ("date", "Sat, 28 Nov 2015 10:00:00 GMT");
    let site = Site::new(move |_| page(&[("cache-control", "max-age=1000000000"), date])).await;
    let status =
        async |since| site.get_with("/", &[("if-modified-since", since)]).await.status.as_u16();
    assert_eq!(status("Sat, 28 Nov 2015 09:59:59 GMT").await, 200);
    assert_eq!(status("Sat, 28 Nov 2015 10:00:00 GMT").await, 304);
    assert_eq!(site.calls(), 1);
}

#[tokio::test]
async fn part_is_cut_from_the_stored_response() {
    let site = Site::with_body("0123456789", |_| page(&[FRESH, ("etag", "\"a\"")])).await;
    site.get("/").await;
    for (range, status, body, content_range) in [
        ("bytes=0-3", 206, "0123", "bytes 0-3/10"),
        ("bytes=7-", 206, "789", "bytes 7-9/10"),
        ("bytes=-2", 206, "89", "bytes 8-9/10"),
        ("bytes=8-99", 206, "89", "bytes 8-9/10"),
        ("bytes=-99", 206, "0123456789", "bytes 0-9/10"),
        ("bytes=10-", 416, "", "bytes */10"),
        ("bytes=-0", 416, "", "bytes */10"),
        ("bytes=3-2", 200, "0123456789", ""),
        ("bytes=0-1,3-4", 200, "0123456789", ""),
        ("lines=0-1", 200, "0123456789", ""),
        ("bytes=+1-2", 200, "0123456789", ""),
    ] {
        let reply = site.get_with("/", &[("range", range)]).await;
        let found = (reply.status.as_u16(), reply.text(), reply.field("content-range"));
        assert_eq!(found, (status, body, content_range), "{range}");
        let len = body.len().to_string();
        assert_eq!(reply.field("content-length"), len, "{range}");
    }
    let part = async |condition| {
        let fields = [("range", "bytes=0-3"), ("if-range", condition)];
        site.get_with("/", &fields).await.status.as_u16()
    };
    assert_eq!(part("\"a\"").await, 206);
    assert_eq!(part("\"b\"").await, 200);
    assert_eq!(part("W/\"a\"").await, 200, "a weak tag is not enough");
    assert_eq!(site.calls(), 1);
}

// RFC 9530: `Content-Digest` is of the content as it is sent, and `Repr-Digest` of the whole.
#[tokio::test]
async fn response_without_the_whole_content_does_not_have_its_digest() {
    let fields = [
        FRESH,
        ("content-digest", "content"),
        ("content-md5", "md5"),
        ("repr-digest", "whole"),
        ("digest", "old"),
    ];
    let site = Site::with_body("0123456789", move |_| page(&fields)).await;
    let digests = |reply: &Reply| {
        ["content-digest", "content-md5", "repr-digest", "digest"]
            .map(|name| reply.field(name).to_owned())
    };
    assert_eq!(digests(&site.get("/").await), ["content", "md5", "whole", "old"]);
    assert_eq!(digests(&site.get("/").await), ["content", "md5", "whole", "old"]);
    let part = site.get_with("/", &[("range", "bytes=0-3")]).await;
    assert_eq!(
        (part.status.as_u16(), digests(&part)),
        (206, ["", "", "whole", "old"].map(Into::into))
    );
    let head = site.send("HEAD", "/", &[]).await;
    // RFC 9530, appendix B.2. `Content-MD5` is that of GET, as all fields of HEAD were before.
    assert_eq!(digests(&head), ["", "md5", "whole", "old"]);
    assert_eq!(site.calls(), 1);
}

// A cache of the client must not keep the error, nor take it for the response.
#[tokio::test]
async fn unsatisfiable_range_does_not_have_the_fields_of_the_content() {
    let fields = [
        FRESH,
        ("expires", "Sat, 28 Nov 2099 10:00:00 GMT"),
        ("cdn-cache-control", "max-age=60"),
        ("surrogate-control", "max-age=60"),
        MODIFIED,
        ("etag", "\"a\""),
        ("content-type", "text/plain"),
        ("content-encoding", "gzip"),
        ("content-language", "de"),
        ("content-location", "/a"),
        ("content-disposition", "attachment"),
        ("content-digest", "content"),
        ("content-md5", "md5"),
        ("repr-digest", "whole"),
        ("digest", "old"),
    ];
    let all: Vec<_> = fields.into_iter().chain([("access-control-allow-origin", "*")]).collect();
    let site = Site::with_body("0123456789", move |_| page(&all)).await;
    site.get("/").await;
    let reply = site.get_with("/", &[("range", "bytes=10-")]).await;
    assert_eq!((reply.status.as_u16(), reply.field("content-range")), (416, "bytes */10"));
    for (name, _) in fields {
        assert_eq!(reply.field(name), "", "{name}");
    }
    assert_eq!(reply.field("access-control-allow-origin"), "*");
    assert_eq!(reply.field("age"), "", "it was made now");
}

#[tokio::test]
async fn part_is_not_stored_and_not_taken_for_the_whole() {
    let site = Site::new(|request| {
        let mut response = page(&[FRESH]);
        if request.headers().contains_key("range") {
            *response.status_mut() = http::StatusCode::PARTIAL_CONTENT;
            response.headers_mut().insert("content-range", "bytes 0-0/2".parse().unwrap());
        }
        response
    })
    .await;
    assert_eq!(site.get_with("/", &[("range", "bytes=0-0")]).await.status, 206);
    assert_eq!(site.get("/").await.status, 200);
}

#[tokio::test]
async fn head_is_answered_from_a_stored_get_and_stores_nothing() {
    let site = Site::with_body("0123456789", |_| page(&[FRESH])).await;
    assert_eq!(site.send("HEAD", "/", &[]).await.field("content-length"), "10");
    assert_eq!(site.calls(), 1);
    assert_eq!(site.get("/").await.text(), "0123456789");
    let head = site.send("HEAD", "/", &[]).await;
    assert_eq!((head.text(), head.field("content-length")), ("", "10"));
    assert!(head.field("cache-status").starts_with("pages; hit"));
    assert_eq!(site.calls(), 2);
}

#[tokio::test]
async fn client_cannot_force_a_load_unless_it_may() {
    let demands = [
        ("cache-control", "no-cache"),
        ("cache-control", "max-age=0"),
        ("cache-control", "max-age=4"),
        ("cache-control", "min-fresh=58"),
        ("pragma", "no-cache"),
    ];
    let site = Site::new(|_| page(&[FRESH])).await;
    site.get("/").await;
    site.clock.advance(Duration::from_secs(5));
    for demand in demands {
        assert_eq!(site.get_with("/", &[demand]).await.text(), "1", "{demand:?}");
    }
    for demand in demands {
        let may = |it: HttpCache| it.client_control(true);
        let site = Site::with(may, |_| page(&[FRESH])).await;
        assert_eq!(site.get("/").await.text(), "1");
        site.clock.advance(Duration::from_secs(5));
        assert_eq!(site.get_with("/", &[demand]).await.text(), "2", "{demand:?}");
        assert_eq!(site.get("/").await.text(), "2", "{demand:?}: the new one is stored");
    }
}

#[tokio::test]
async fn client_can_take_a_stale_response_if_it_may() {
    let may = |it: HttpCache| it.client_control(true);
    let site = Site::with(may, |_| page(&[FRESH])).await;
    site.get("/").await;
    site.clock.advance(Duration::from_secs(65));
    let stale = site.get_with("/", &[("cache-control", "max-stale=10")]).await;
    assert_eq!(stale.text(), "1");
}

#[tokio::test]
async fn only_if_cached_never_calls_the_handler() {
    let site = Site::new(|_| page(&[FRESH])).await;
    let only = [("cache-control", "only-if-cached")];
    assert_eq!(site.get_with("/", &only).await.status, 504);
    assert_eq!(site.get("/").await.text(), "1");
    assert_eq!(site.get_with("/", &only).await.text(), "1");
    assert_eq!(site.calls(), 1);
}

#[tokio::test]
async fn response_to_a_request_with_no_store_is_not_stored() {
    let site = Site::new(|_| page(&[FRESH])).await;
    assert_eq!(site.get_with("/", &[("cache-control", "no-store")]).await.text(), "1");
    assert_eq!(site.get("/").await.text(), "2");
}
