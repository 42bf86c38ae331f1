//! Rules of RFC 9111 for which `http-cache-semantics` follows RFC 7234, or reads another form.

use std::time::Duration;

use crate::site::{Site, page};

/// Returns how many of two requests reach a handler that responds with this `Cache-Control`.
async fn calls(control: &'static str) -> usize {
    let site = Site::new(move |_| page(&[("cache-control", control)])).await;
    for _ in 0..2 {
        site.get("/").await;
    }
    site.calls()
}

// Section 5.2: the names of directives are compared without regard to case.
#[tokio::test]
async fn directives_are_read_without_regard_to_case() {
    for control in ["Max-Age=60", "PUBLIC, MAX-AGE=60", "S-MaxAge=60, max-age=0"] {
        assert_eq!(calls(control).await, 1, "{control}");
    }
    for control in ["No-Store, max-age=60", "max-age=60, PRIVATE", "NO-CACHE, max-age=60"] {
        assert_eq!(calls(control).await, 2, "{control}");
    }
}

// Section 5.2.2.8: `proxy-revalidate` speaks of stale responses only.
#[tokio::test]
async fn response_with_proxy_revalidate_is_fresh_within_its_lifetime() {
    for control in ["max-age=60, proxy-revalidate", "max-age=60, must-revalidate"] {
        assert_eq!(calls(control).await, 1, "{control}");
    }
}

// RFC 9110, section 5.6.7: a recipient accepts three forms of dates.
#[tokio::test]
async fn expiry_is_read_in_each_form_of_dates() {
    let site = Site::new(|request| {
        let expires = request.headers()["x-expires"].to_str().unwrap();
        page(&[("expires", expires)])
    })
    .await;
    let minute = Duration::from_secs(60);
    let end = httpdate::fmt_http_date(site.cache.clock().wall() + minute);
    // Sun, 06 Nov 1994 08:49:37 GMT
    let parts: Vec<&str> = end.split([' ', ',']).filter(|it| !it.is_empty()).collect();
    let [name, day, month, year, time, _] = parts[..] else { panic!("{end}") };
    let long_name = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
    let long_name = long_name.into_iter().find(|it| it.starts_with(name)).unwrap();
    let forms = [
        end.clone(),
        format!("{long_name}, {day}-{month}-{} {time} GMT", &year[2..]),
        format!("{name} {month} {:>2} {time} {year}", day.trim_start_matches('0')),
    ];
    for (place, expires) in forms.iter().enumerate() {
        let path = format!("/{place}");
        let get = async || site.get_with(&path, &[("x-expires", expires)]).await;
        let (first, second) = (get().await, get().await);
        assert_eq!(first.text(), second.text(), "{expires}");
    }
    // Section 5.3: an invalid date is in the past.
    let get = async || site.get_with("/invalid", &[("x-expires", "0")]).await;
    assert_ne!(get().await.text(), get().await.text());
}

// Section 4.2.3: the age is the larger one of `Age` and of the time since `Date`.
#[tokio::test]
async fn age_counts_from_the_date_of_the_response() {
    let site = Site::new(|request| {
        let mut fields = vec![("cache-control", "max-age=60")];
        for name in ["date", "age"] {
            if let Some(value) = request.headers().get(format!("x-{name}")) {
                fields.push((name, value.to_str().unwrap()));
            }
        }
        page(&fields)
    })
    .await;
    let now = site.cache.clock().wall();
    let date = |seconds| httpdate::fmt_http_date(now - Duration::from_secs(seconds));
    let future = httpdate::fmt_http_date(now + Duration::from_secs(600));
    for (place, (date, age, expected)) in [
        (date(600), "", None),
        (date(600), "1", None),
        (date(20), "", Some("20")),
        (date(20), "1", Some("20")),
        (date(20), "30", Some("30")),
        (future, "", Some("0")),
        ("no date".to_owned(), "30", Some("30")),
    ]
    .into_iter()
    .enumerate()
    {
        let mut fields = vec![("x-date", &date[..])];
        if !age.is_empty() {
            fields.push(("x-age", age));
        }
        let path = format!("/{place}");
        let (first, second) =
            (site.get_with(&path, &fields).await, site.get_with(&path, &fields).await);
        match expected {
            None => assert_ne!(first.text(), second.text(), "{fields:?}"),
            Some(expected) => {
                assert_eq!(first.text(), second.text(), "{fields:?}");
                assert_eq!(second.field("age"), expected, "{fields:?}");
            }
        }
    }
}
