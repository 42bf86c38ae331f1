//! Compiler messages for functions that `#[cached]` refuses.

use std::marker::PhantomData;

use serde::Serialize;

/// A type whose values can be part of a key.
#[diagnostic::on_unimplemented(
    message = "an argument of type `{Self}` cannot be part of a cache key",
    label = "this argument does not implement `serde::Serialize`",
    note = "if the result does not depend on it, write `skip(…)` with its name; otherwise name in `key` what it depends on, such as `key = \"user:{{user.id}}\"`, or derive `serde::Serialize`"
)]
pub trait Argument {}

impl<T: Serialize + ?Sized> Argument for T {}

/// Returns an argument that can be part of a key.
pub const fn argument<T: Argument + ?Sized>(argument: &T) -> &T {
    argument
}

/// The shape of a type of results, for types whose names do not show it.
#[derive(Debug)]
pub struct Shape<R>(PhantomData<R>);

impl<T, E> Shape<Result<T, E>> {
    /// Whether the type is a `Result`.
    pub const IS_RESULT: bool = true;
}

impl<T> Shape<Option<T>> {
    /// Whether the type is an `Option`.
    pub const IS_OPTION: bool = true;
}

impl<T, E> Shape<Result<Option<T>, E>> {
    /// Whether the type is a `Result` of an `Option`.
    pub const IS_RESULT_OF_OPTION: bool = true;
}

/// The shape of all other types.
pub trait Other {
    /// Whether the type is a `Result`.
    const IS_RESULT: bool = false;
    /// Whether the type is an `Option`.
    const IS_OPTION: bool = false;
    /// Whether the type is a `Result` of an `Option`.
    const IS_RESULT_OF_OPTION: bool = false;
}

impl<R> Other for Shape<R> {}
