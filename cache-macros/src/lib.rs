//! The attribute `#[cached]`, which `cache-core` exports behind its feature `macros`.

mod attributes;
mod code;
mod companions;
mod duration;
mod expansion;
mod kind;
mod options;
mod outer;
mod signature;
mod template;
mod tokens;

use proc_macro::TokenStream;
use syn::parse_macro_input;

/// Keeps the results of a function in a cache: async functions, blocking ones, and methods.
///
/// ```
/// use cache_core::{CACHES, Caches, cached};
/// use cache_memory as _;
///
/// #[cached(ttl = "5m", key = "user:{id}")]
/// async fn user(id: u32) -> Result<String, std::io::Error> {
///     Ok(format!("user {id}")) // from the database
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let caches = Caches::from_toml("caches.default.backend = 'memory'")?.leak();
/// # CACHES.scope(caches, async {
/// assert_eq!(user(7).await?, "user 7");
/// user::invalidate(7).await?; // after the user has changed
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// # }).await?;
/// # Ok(()) }
/// ```
///
/// The first caller runs the function; callers that come meanwhile wait for its result. If the
/// store fails, the function runs.
///
/// # Attributes
/// | attribute | meaning |
/// |---|---|
/// | `ttl = "5m"` | how long a result is kept: a text with units, `"never"`, or an expression such as `secs(300)`. The default is the alias's own |
/// | `key = "user:{id}"` | the key: a text with arguments, their fields (`{user.id}`) or methods without arguments |
/// | `skip(password, db)` | arguments on which the result does not depend |
/// | `cache = "sessions"` | the alias of the cache, `default` if absent |
/// | `tags = ["org:{org}"]` | tags of the result, for `invalidate_tags`. Needs `tags = true` in the settings |
/// | `grace = "1h"` | for how long a stale result is served while the function runs in the background, and when it fails. Needs `grace` in the settings |
/// | `if = \|value\| value.active` | keeps only the values for which this is true. The value is what is in `Ok` and `Some` |
/// | `cache_none` | keeps `None`, too |
/// | `cache_err` | keeps `Err`, too. The error implements `Serialize` and `Deserialize` |
/// | `namespace = "users"` | the namespace of the key, which `clear` empties at once |
/// | `version = 2` | the version of the key: a change of the type of the result deserves a new one |
/// | `name = "user"` | the start of a key without `key`. The default is the path of the function |
/// | `jitter = 0.2` | the part of `ttl` by which it is prolonged at random |
/// | `fenced` | a result that another process invalidated meanwhile is not kept. Needs `fenced` in the settings |
/// | `in_impl` | says that a function without `self` is in an `impl` block. `in_impl = false`: that it is not |
/// | `no_companions` | makes no companions: for `impl` blocks of traits |
/// | `crate = "renamed"` | the path of `cache-core` |
///
/// # Companions
/// | function | meaning |
/// |---|---|
/// | `user::key(7)` | returns the key |
/// | `user::invalidate(7)` | removes the result, also one that is loading now |
/// | `user::prime(7, &value)` | stores a value that comes from elsewhere |
/// | `user::refresh(7)` | runs the function, and keeps its new result |
/// | `user::uncached(7)` | runs the function |
///
/// The first three take the arguments that are part of the key, and `prime` also those that `tags`,
/// `ttl`, `grace` or `jitter` name; the others take all. In an `impl` block the names are
/// `user_key`, `user_invalidate` and so on. Elsewhere, no other type or module beside the function
/// can have its name.
///
/// # What is kept
/// Of a `Result` the `Ok`, of an `Option` the `Some`, of a `Result<Option<_>, _>` the
/// `Ok(Some(_))`. The type is recognized by its name: `Option`, or a name that ends with `Result`.
/// Another name for one of them is a compiler error.
///
/// A result that is not kept reaches the callers that waited for it if it is `Clone`, or says that
/// there is no value. Otherwise, each of these callers runs the function for itself.
///
/// # The key
/// Arguments that `key` does not name are in a SHA-256 digest, with their types; they implement
/// `Serialize`. Values in the text are escaped. So different arguments never have the same key, and
/// the key says nothing about arguments that only the digest contains.
///
/// Without `key`, the key begins with the path of the function, with the function or `impl` block
/// around it, and the digest has the type of the block. With `key`, it has nothing of the block.
///
/// # Panics
/// The function panics if no caches are installed, if the alias is not defined, or if it lacks a
/// setting that an attribute needs, because it would otherwise never be cached. `Caches::check`
/// reports this for all functions of the program.
#[proc_macro_attribute]
pub fn cached(options: TokenStream, function: TokenStream) -> TokenStream {
    let options = parse_macro_input!(options as options::Options);
    let function = parse_macro_input!(function as syn::ItemFn);
    match expansion::Expansion::new(&options, &function) {
        Ok(expansion) => {
            let (outer, companions) = (outer::outer(&expansion), companions::all(&expansion));
            quote::quote!(#outer #companions).into()
        }
        Err(error) => {
            let error = error.to_compile_error();
            // The function stays, so that its callers compile.
            quote::quote!(#error #function).into()
        }
    }
}
