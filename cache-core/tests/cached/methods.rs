//! Functions in `impl` blocks.

use std::sync::Arc;

use async_trait::async_trait;
use cache_core::{cache, cached};

use crate::{MEMORY, Runs, with};

struct Users {
    tenant: u32,
    runs: Runs,
}

impl Users {
    const fn new(tenant: u32) -> Self {
        Self { tenant, runs: Runs::new() }
    }

    #[cached(key = "{self.tenant}:{id}", ttl = "5m")]
    async fn user(&self, id: u32) -> Result<u32, String> {
        self.runs.next();
        Ok(self.tenant + id)
    }

    #[cached(key = "later:{id}", grace = "1h", ttl = "1m")]
    async fn later(self: Arc<Self>, id: u32) -> u32 {
        self.runs.next() + id
    }

    #[cached(in_impl, key = "double:{number}")]
    fn double(number: u32) -> u32 {
        number * 2
    }
}

#[async_trait]
trait Find {
    async fn find(&self, id: &str) -> Result<Option<String>, String>;
    async fn count(&self) -> u32;
}

#[async_trait]
impl Find for Users {
    #[cached(key = "find:{id}")]
    async fn find(&self, id: &str) -> Result<Option<String>, String> {
        self.runs.next();
        let number: u32 = id.parse().map_err(|_| "not a number".to_owned())?;
        if number == 0 {
            return Ok(None);
        }
        Ok(Some(format!("{id}{}", self.tenant)))
    }

    async fn count(&self) -> u32 {
        self.runs.count()
    }
}

trait Native {
    async fn size(&self, of: Vec<u8>) -> Option<usize>;
    fn blocking_size(&self, of: &str) -> Result<usize, std::num::ParseIntError>;
}

impl Native for Users {
    #[cached(key = "size", no_companions)]
    async fn size(&self, mut of: Vec<u8>) -> Option<usize> {
        self.runs.next();
        of.push(0);
        Some(of.pop()?.into()).map(|it: usize| it + of.len())
    }

    #[cached(key = "blocking_size", no_companions)]
    fn blocking_size(&self, of: &str) -> Result<usize, std::num::ParseIntError> {
        self.runs.next();
        let size = of.parse::<usize>()?;
        Ok(size)
    }
}

#[tokio::test]
async fn method_is_cached_by_its_key_and_has_companions_beside_it() {
    with(MEMORY, async {
        let (one, ten) = (Users::new(1), Users::new(10));
        assert_eq!((one.user(1).await, ten.user(1).await), (Ok(2), Ok(11)));
        assert_eq!((one.user(1).await, ten.user(1).await), (Ok(2), Ok(11)));
        assert_eq!((one.runs.count(), ten.runs.count()), (1, 1));
        assert_eq!(one.user_key(1).unwrap(), "1:1");
        assert!(one.user_invalidate(1).await.unwrap());
        one.user_prime(1, &5).await.unwrap();
        assert_eq!(one.user(1).await, Ok(5));
        assert_eq!(one.user_uncached(1).await, Ok(2));
        assert_eq!(one.user_refresh(1).await, Ok(2));
        assert_eq!(one.user(1).await, Ok(2));
        assert_eq!(Users::double(4), Users::double(4));
        assert_eq!(Users::double_key(4).unwrap(), "double:4");
    })
    .await;
}

#[test]
fn function_with_an_impl_block_in_it_is_no_method() {
    #[cached(name = "inner")]
    fn inner(id: u32) -> u32 {
        struct Of<const N: usize>;
        trait Make {
            fn make(id: u32) -> Self;
        }
        struct Id(u32);
        impl From<Of<{ 1 + 1 }>> for Id {
            fn from(_: Of<{ 1 + 1 }>) -> Self {
                Self(2)
            }
        }
        if true {
            impl Make for Id {
                fn make(id: u32) -> Self {
                    Self(id)
                }
            }
        }
        let union = Id::from(Of).0;
        Id::make(id).0 * union
    }
    // The macro's word looks like the type of a method.
    macro_rules! make {
        ($id:expr; Self) => {{
            struct Id(u32);
            impl Id {
                fn new(id: u32) -> Self {
                    Self(id)
                }
            }
            Id::new($id).0
        }};
    }
    #[cached(name = "said", in_impl = false)]
    fn said(id: u32) -> u32 {
        make!(id; Self)
    }
    assert_eq!((inner::uncached(4), said::uncached(4)), (8, 4));
}

#[tokio::test]
async fn method_that_owns_itself_has_a_grace() {
    let settings = "
        caches.default.backend = 'memory'
        caches.default.fetch.grace = 0";
    with(settings, async {
        let users = Arc::new(Users::new(1));
        assert_eq!(Arc::clone(&users).later(1).await, 2);
        assert_eq!(users.later(1).await, 2);
    })
    .await;
}

#[tokio::test]
async fn method_of_a_trait_is_cached() {
    with(MEMORY, async {
        let users = Users::new(1);
        assert_eq!(users.find("7").await, Ok(Some("71".to_owned())));
        assert_eq!(users.find("7").await, Ok(Some("71".to_owned())));
        assert_eq!(users.count().await, 1);
        assert_eq!(
            (users.find("x").await, users.find("0").await),
            (Err("not a number".to_owned()), Ok(None))
        );
        assert_eq!(cache().get::<String>("find:7").await.unwrap().as_deref(), Some("71"));
        assert_eq!((users.size(vec![1]).await, users.size(vec![1]).await), (Some(1), Some(1)));
        assert_eq!(users.count().await, 4);
        assert_eq!((users.blocking_size("7"), users.blocking_size("7")), (Ok(7), Ok(7)));
        assert!(users.blocking_size("x").is_err());
        assert_eq!(users.count().await, 6);
    })
    .await;
}
