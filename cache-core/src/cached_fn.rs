//! The code behind `#[cached]`, for the code that the attribute generates and for nothing else.

mod arguments;
mod blocking;
mod function;
mod handle;
mod kept;
mod key;
mod kind;
mod load;
mod not_kept;
mod owned;
mod path;
mod refuse;
mod run;

pub use self::{
    blocking::{blocking, blocking_owned},
    function::Function,
    handle::{Call, Handle, Rules},
    key::Key,
    kind::{IfOk, IfOkSome, IfSome, IfSomeOrErr, Kind, Whole},
    load::{borrowed, typed},
    not_kept::{NotShared, Share, Sharing},
    owned::owned,
    path::{path_around, path_beside, path_of},
    refuse::{Argument, Other, Shape, argument},
};
pub(crate) use self::{function::registered, not_kept::hides_stale};
