//! The paths of functions, as the compiler writes them in the names of types.

use std::any::{type_name, type_name_of_val};

/// Returns the path of the companions' type, which is that of the function.
pub fn path_of<T>() -> &'static str {
    type_name::<T>()
}

/// Returns the path of the function in which the closure is, with the values of all generic
/// parameters.
pub fn path_around<F: Fn()>(closure: &F) -> &'static str {
    let mut path = type_name_of_val(closure);
    // An async function is a closure of its own.
    while let Some(outer) = path.strip_suffix("::{{closure}}") {
        path = outer;
    }
    path
}

/// Returns the path of the `impl` block or trait with the function in which the closure is.
pub fn path_beside<F: Fn()>(closure: &F) -> &'static str {
    let path = path_around(closure);
    path.rsplit_once("::").map_or(path, |(block, _)| block)
}
