//! A failing store, and arguments without a key.

use cache_core::{
    CACHES, Cache, Caches, Clock, ErrorKind, cached,
    testing::{Faulty, Model},
};
use serde::{Serialize, Serializer, ser::Error as _};

use crate::{MEMORY, Runs, with};

fn over(store: &Faulty, settings: &str) -> &'static Caches {
    let builder = Caches::builder().toml(settings).unwrap();
    builder.backend("default", store.clone()).stderr_notice(false).build().unwrap().leak()
}

#[tokio::test]
async fn function_runs_while_the_store_is_down() {
    static RUNS: Runs = Runs::new();
    #[cached]
    async fn user(id: u32) -> Result<u32, String> {
        Ok(RUNS.next() * 10 + id)
    }
    for settings in ["", "caches.default.fail_open = false"] {
        let store = Faulty::new(Model::new(Clock::system()));
        let settings = format!("caches.default.backend = 'dummy'\n{settings}");
        CACHES
            .scope(over(&store, &settings), async {
                let before = RUNS.count();
                store.fail_keys(|_| true, ErrorKind::Unavailable);
                assert_eq!(user(1).await, Ok((before + 1) * 10 + 1));
                assert_eq!(user(1).await, Ok((before + 2) * 10 + 1));
                store.heal();
                let kept = user(2).await;
                assert_eq!(user(2).await, kept);
            })
            .await;
    }
}

#[tokio::test]
async fn function_with_a_grace_runs_while_the_store_is_down() {
    static RUNS: Runs = Runs::new();
    #[cached(ttl = "1m", grace = "1h")]
    async fn user(id: u32) -> Result<u32, String> {
        Ok(RUNS.next() * 10 + id)
    }
    let store = Faulty::new(Model::new(Clock::system()));
    let settings = "
        caches.default.backend = 'dummy'
        caches.default.fail_open = false
        caches.default.fetch.grace = 0";
    CACHES
        .scope(over(&store, settings), async {
            store.fail_keys(|_| true, ErrorKind::Unavailable);
            assert_eq!((user(1).await, user(1).await), (Ok(11), Ok(21)));
        })
        .await;
}

#[tokio::test]
async fn function_runs_if_an_argument_cannot_be_serialized() {
    static RUNS: Runs = Runs::new();
    struct Odd;
    impl Serialize for Odd {
        fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(S::Error::custom("a secret"))
        }
    }
    #[cached]
    async fn odd(it: Odd) -> u32 {
        let Odd = it;
        RUNS.next()
    }
    with(MEMORY, async {
        assert_eq!((odd(Odd).await, odd(Odd).await), (1, 2));
        let error = odd::key(Odd).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Codec);
        assert!(!error.to_string().contains("secret"), "{error}");
    })
    .await;
}

#[tokio::test]
async fn panic_of_the_function_reaches_its_caller_and_the_next_call_runs() {
    static RUNS: Runs = Runs::new();
    #[cached]
    async fn fragile(id: u32) -> u32 {
        assert!(RUNS.next() > 1, "the first run panics");
        id
    }
    let caches = Caches::from_toml(MEMORY).unwrap().leak();
    let first = tokio::spawn(CACHES.scope(caches, fragile(1)));
    assert!(first.await.unwrap_err().is_panic());
    assert_eq!(CACHES.scope(caches, fragile(1)).await, 1);
    let _: &Cache = caches.get("default").unwrap();
}
