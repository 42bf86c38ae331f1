//! The attributes of the function, for the functions that are made of it.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Attribute, Meta};

/// Attributes, by where they go.
#[derive(Default)]
pub(crate) struct Attributes {
    /// Those of the function that callers call: all.
    pub(crate) outer: TokenStream,
    /// Those of the function with the body: lints and conditions.
    pub(crate) body: TokenStream,
    /// Those of the companions: conditions.
    pub(crate) companions: TokenStream,
}

impl Attributes {
    pub(crate) fn of(attributes: &[Attribute]) -> Self {
        let mut res = Self::default();
        for attribute in attributes {
            let path = attribute.path();
            let is = |names: &[&str]| names.iter().any(|it| path.is_ident(it));
            if is(&["expect"]) {
                // The body has the expected fault, and the outer function does not.
                res.body.extend(quote!(#attribute));
                if let Meta::List(list) = &attribute.meta {
                    let lints = &list.tokens;
                    res.outer.extend(quote!(#[allow(#lints)]));
                }
                continue;
            }
            res.outer.extend(quote!(#attribute));
            if is(&["allow", "warn", "deny", "forbid", "cfg"]) {
                res.body.extend(quote!(#attribute));
            }
            if is(&["cfg", "deprecated"]) {
                res.companions.extend(quote!(#attribute));
            }
        }
        res
    }
}
