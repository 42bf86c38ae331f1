//! Keys without `key`: functions of one name in different places never share one.

use std::marker::PhantomData;

use cache_core::{cache, cached};

use crate::{MEMORY, with};

struct A;
struct B;
struct Repo<T>(PhantomData<T>);

impl A {
    #[cached(in_impl)]
    async fn get(id: u32) -> u32 {
        id
    }

    #[cached(in_impl, name = "named")]
    fn named(id: u32) -> u32 {
        id
    }
}

impl B {
    #[cached(in_impl)]
    async fn get(id: u32) -> u32 {
        id + 100
    }

    #[cached(in_impl, name = "named")]
    fn named(id: u32) -> u32 {
        id + 100
    }
}

impl<T> Repo<T> {
    #[cached(in_impl)]
    fn count(id: u32) -> usize {
        size_of::<T>() + id as usize
    }

    #[cached(in_impl, name = "size")]
    fn size() -> usize {
        size_of::<T>()
    }

    #[cached(in_impl, key = "shared:{id}")]
    fn shared(id: u32) -> usize {
        size_of::<T>() + id as usize
    }
}

trait Hundred<T> {
    fn number(id: u32) -> usize;

    #[cached(in_impl)]
    fn given(id: u32) -> usize {
        size_of::<T>() + id as usize + 100
    }
}

trait Thousand {
    fn number(id: u32) -> usize;

    #[cached(in_impl)]
    fn given(id: u32) -> usize {
        id as usize + 1000
    }
}

impl<T> Hundred<T> for A {
    #[cached(no_companions)]
    fn number(id: u32) -> usize {
        size_of::<T>() + id as usize + 100
    }
}

impl Thousand for A {
    #[cached(no_companions)]
    fn number(id: u32) -> usize {
        id as usize + 1000
    }
}

#[tokio::test]
async fn functions_of_two_types_have_different_keys() {
    with(MEMORY, async {
        assert_eq!((A::get(1).await, B::get(1).await), (1, 101));
        assert_eq!((A::get(1).await, B::get(1).await), (1, 101));
        assert_eq!((A::named(1), B::named(1)), (1, 101));
        assert!(A::get_invalidate(1).await.unwrap());
        assert!(!A::get_invalidate(1).await.unwrap());
        B::get_prime(1, &7).await.unwrap();
        assert_eq!((A::get(1).await, B::get(1).await), (1, 7));
        let key = A::get_key(1).unwrap();
        assert!(key.starts_with("cached::paths::A::get#"), "{key}");
    })
    .await;
}

#[tokio::test]
async fn functions_of_a_generic_type_have_different_keys() {
    with(MEMORY, async {
        assert_eq!((Repo::<u8>::count(1), Repo::<u64>::count(1)), (2, 9));
        assert_eq!((Repo::<u8>::size(), Repo::<u64>::size()), (1, 8));
        assert_ne!(Repo::<u8>::count_key(1).unwrap(), Repo::<u64>::count_key(1).unwrap());
        // A `key` is the whole text of the key.
        assert_eq!((Repo::<u8>::shared(1), Repo::<u64>::shared(1)), (2, 2));
        assert_eq!(Repo::<u8>::shared_key(1).unwrap(), "shared:1");
    })
    .await;
}

#[tokio::test]
async fn functions_of_two_traits_have_different_keys() {
    with(MEMORY, async {
        let numbers = || {
            [
                <A as Hundred<u8>>::number(1),
                <A as Hundred<u64>>::number(1),
                <A as Thousand>::number(1),
                <A as Hundred<u8>>::given(1),
                <A as Hundred<u64>>::given(1),
                <A as Thousand>::given(1),
            ]
        };
        let expected = [102, 109, 1001, 102, 109, 1001];
        assert_eq!(numbers(), expected);
        assert_eq!(numbers(), expected);
        let (one, other) = (<A as Hundred<u64>>::given_key(1), <A as Thousand>::given_key(1));
        assert_ne!(one.unwrap(), other.unwrap());
    })
    .await;
}

#[tokio::test]
async fn functions_inside_of_two_functions_have_different_keys() {
    fn a() -> (u32, String) {
        #[cached]
        fn helper(id: u32) -> u32 {
            id
        }
        (helper(1), helper::key(1).unwrap())
    }
    async fn b() -> (u32, String) {
        #[cached]
        async fn helper(id: u32) -> u32 {
            id + 100
        }
        (helper(1).await, helper::key(1).unwrap())
    }
    fn c() -> u32 {
        #[cached(no_companions)]
        fn helper(id: u32) -> u32 {
            id + 200
        }
        helper(1)
    }
    with(MEMORY, async {
        let ((a, of_a), (b, of_b)) = (a(), b().await);
        assert_eq!((a, b, c()), (1, 101, 201));
        assert_ne!(of_a, of_b);
        assert!(of_a.starts_with("cached::paths::functions_inside_of"), "{of_a}");
    })
    .await;
}

/// A type whose path has a space, which no key has.
impl Thousand for (A, [u8; 2]) {
    #[cached(no_companions)]
    fn number(id: u32) -> usize {
        id as usize
    }
}

#[tokio::test]
async fn path_with_a_space_is_a_key() {
    with(MEMORY, async {
        assert_eq!(<(A, [u8; 2]) as Thousand>::number(1), 1);
        assert_eq!(<(A, [u8; 2])>::given(1), 1001);
        assert_eq!(<(A, [u8; 2])>::given(1), 1001);
        let key = <(A, [u8; 2])>::given_key(1).unwrap();
        assert_eq!(cache().get::<usize>(&key).await.unwrap(), Some(1001));
    })
    .await;
}
