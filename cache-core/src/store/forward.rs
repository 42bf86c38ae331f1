/// Forwards the methods of [`Backend`](crate::store::Backend) or
/// [`SyncBackend`](crate::store::SyncBackend) to the store in a field, except those that the
/// wrapper writes itself.
///
/// The first argument is the trait, the second the field: a store, or an [`Arc`](std::sync::Arc) of
/// one. `views` is never forwarded, because the views of the inner store would bypass the wrapper.
///
/// Neither trait has a method with a default, so the compiler reports a method that is neither
/// forwarded nor written.
///
/// ```
/// use async_trait::async_trait;
/// use cache_core::{Error, ErrorKind, Result, store::{Backend, IntoBackend, Views, forward}};
/// use cache_memory::Memory;
/// use std::sync::Arc;
///
/// /// A store that other programs use, too, and that is therefore never emptied.
/// #[derive(Debug)]
/// struct Guarded(Arc<dyn Backend>);
///
/// #[async_trait]
/// impl Backend for Guarded {
///     forward!(Backend, self.0, except clear_store);
///
///     fn views(self: Arc<Self>) -> Views {
///         Views::none()
///     }
///     async fn clear_store(&self) -> Result<()> {
///         Err(Error::new(ErrorKind::Unsupported, "other programs use this store"))
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let store = Guarded(Memory::new().into_backend());
/// assert_eq!(store.incr("k", 1, None).await.unwrap(), None);
/// assert_eq!(store.clear_store().await.unwrap_err().kind(), ErrorKind::Unsupported);
/// # }
/// ```
#[doc(hidden)]
#[macro_export]
macro_rules! __forward {
    (Backend, $me:ident.$field:tt $(, except $($own:ident),+ $(,)?)?) => {
        $crate::__forward! { @all async $me $field [$($($own)+)?] }
    };
    (SyncBackend, $me:ident.$field:tt $(, except $($own:ident),+ $(,)?)?) => {
        $crate::__forward! { @all sync $me $field [$($($own)+)?] }
    };
    // A `Backend` over a `SyncBackend` that never waits.
    (@inline $me:ident.$field:tt) => { $crate::__forward! { @all inline $me $field [] } };

    (@all $how:ident $me:ident $field:tt $own:tt) => {
        $crate::__forward! { @each sync $me $field $own
            name[]() -> &'static str;
            id[]() -> $crate::store::StoreId;
            capabilities[]() -> $crate::store::Capabilities;
        }
        $crate::__forward! { @each $how $me $field $own
            get['a](key: &'a str) -> $crate::Result<Option<$crate::__private::Bytes>>;
            get_entry['a](key: &'a str) -> $crate::Result<Option<$crate::store::Entry>>;
            get_many['a 'b](keys: &'a [&'b str])
                -> Vec<$crate::Result<Option<$crate::__private::Bytes>>>;
            get_entries['a 'b](keys: &'a [&'b str])
                -> Vec<$crate::Result<Option<$crate::store::Entry>>>;
            set['a](
                key: &'a str,
                value: $crate::__private::Bytes,
                expiry: $crate::store::Expiry,
                mode: $crate::store::SetMode
            ) -> $crate::Result<bool>;
            set_many['a 'b](
                items: &'a [(&'b str, $crate::__private::Bytes)],
                expiry: $crate::store::Expiry
            ) -> Vec<$crate::Result<()>>;
            has['a](key: &'a str) -> $crate::Result<bool>;
            ttl['a](key: &'a str) -> $crate::Result<Option<$crate::Ttl>>;
            touch['a](key: &'a str, expiry: $crate::store::Expiry) -> $crate::Result<bool>;
            delete['a](key: &'a str) -> $crate::Result<bool>;
            delete_many['a 'b](keys: &'a [&'b str]) -> Vec<$crate::Result<bool>>;
            take['a](key: &'a str) -> $crate::Result<Option<$crate::__private::Bytes>>;
            incr['a](key: &'a str, delta: i64, create: Option<$crate::store::CounterInit>)
                -> $crate::Result<Option<i64>>;
            compare_and_delete['a 'b](key: &'a str, seen: $crate::store::Expected<'b>)
                -> $crate::Result<bool>;
            compare_and_set['a 'b](
                key: &'a str,
                seen: $crate::store::Expected<'b>,
                value: $crate::__private::Bytes,
                lifetime: $crate::store::TtlUpdate
            ) -> $crate::Result<bool>;
            rename['a 'b](from: &'a str, to: &'b str) -> $crate::Result<bool>;
            clear['a](namespace: &'a $crate::store::Namespace) -> $crate::Result<()>;
            clear_store[]() -> $crate::Result<()>;
            check[]() -> $crate::Result<()>;
            close[]() -> $crate::Result<()>;
        }
    };
    (@each $how:ident $me:ident $field:tt $own:tt $(
        $name:ident[$($life:lifetime)*]($($arg:ident: $type:ty),*) -> $res:ty;
    )*) => { $(
        $crate::__forward! { @unless $name $own {
            @$how $me $field $name [$($life)*] ($($arg: $type),*) -> $res
        } }
    )* };

    // A method that the wrapper writes itself.
    (@unless name [name $($_own:ident)*] $_method:tt) => {};
    (@unless id [id $($_own:ident)*] $_method:tt) => {};
    (@unless capabilities [capabilities $($_own:ident)*] $_method:tt) => {};
    (@unless get [get $($_own:ident)*] $_method:tt) => {};
    (@unless get_entry [get_entry $($_own:ident)*] $_method:tt) => {};
    (@unless get_many [get_many $($_own:ident)*] $_method:tt) => {};
    (@unless get_entries [get_entries $($_own:ident)*] $_method:tt) => {};
    (@unless set [set $($_own:ident)*] $_method:tt) => {};
    (@unless set_many [set_many $($_own:ident)*] $_method:tt) => {};
    (@unless has [has $($_own:ident)*] $_method:tt) => {};
    (@unless ttl [ttl $($_own:ident)*] $_method:tt) => {};
    (@unless touch [touch $($_own:ident)*] $_method:tt) => {};
    (@unless delete [delete $($_own:ident)*] $_method:tt) => {};
    (@unless delete_many [delete_many $($_own:ident)*] $_method:tt) => {};
    (@unless take [take $($_own:ident)*] $_method:tt) => {};
    (@unless incr [incr $($_own:ident)*] $_method:tt) => {};
    (@unless compare_and_delete [compare_and_delete $($_own:ident)*] $_method:tt) => {};
    (@unless compare_and_set [compare_and_set $($_own:ident)*] $_method:tt) => {};
    (@unless rename [rename $($_own:ident)*] $_method:tt) => {};
    (@unless clear [clear $($_own:ident)*] $_method:tt) => {};
    (@unless clear_store [clear_store $($_own:ident)*] $_method:tt) => {};
    (@unless check [check $($_own:ident)*] $_method:tt) => {};
    (@unless close [close $($_own:ident)*] $_method:tt) => {};
    (@unless $_name:ident [] {$($method:tt)*}) => { $crate::__forward! { $($method)* } };
    (@unless $name:ident [$_other:ident $($own:ident)*] $method:tt) => {
        $crate::__forward! { @unless $name [$($own)*] $method }
    };

    (@sync $me:ident $field:tt $name:ident [$($life:lifetime)*]
        ($($arg:ident: $type:ty),*) -> $res:ty) => {
        fn $name<$($life),*>(&$me $(, $arg: $type)*) -> $res {
            $me.$field.$name($($arg),*)
        }
    };
    // As `async_trait` writes it, but without another boxed future around the inner store's.
    (@async $me:ident $field:tt $name:ident [$($life:lifetime)*]
        ($($arg:ident: $type:ty),*) -> $res:ty) => {
        fn $name<'this, $($life,)* 'call>(
            &'this $me $(, $arg: $type)*
        ) -> $crate::__private::BoxFuture<'call, $res>
        where
            Self: 'call, 'this: 'call, $($life: 'call),*
        {
            $me.$field.$name($($arg),*)
        }
    };
    (@inline $me:ident $field:tt $name:ident [$($life:lifetime)*]
        ($($arg:ident: $type:ty),*) -> $res:ty) => {
        fn $name<'this, $($life,)* 'call>(
            &'this $me $(, $arg: $type)*
        ) -> $crate::__private::BoxFuture<'call, $res>
        where
            Self: 'call, 'this: 'call, $($life: 'call),*
        {
            Box::pin(async move { $me.$field.$name($($arg),*) })
        }
    };
}
