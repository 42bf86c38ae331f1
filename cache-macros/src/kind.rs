//! Which results are kept, by the type of the function's result.

use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote};
use syn::{Error, PathArguments, Result, Type};

use crate::{options::Options, signature::argument};

/// The rule that says which results are kept.
pub(crate) struct Kind {
    /// Its name in `cached_fn`.
    pub(crate) name: Ident,
    /// Checks that the type has the shape that its name shows.
    pub(crate) check: TokenStream,
}

impl Kind {
    pub(crate) fn of(result: &Type, options: &Options, cached_fn: &TokenStream) -> Result<Self> {
        let (none, err) = (options.cache_none.as_ref(), options.cache_err.as_ref());
        let is_result = last_name(result).is_some_and(|it| it.ends_with("Result"));
        let is_option = last_name(result).is_some_and(|it| it == "Option");
        let of_option = is_result && first_argument(result).is_some_and(|it| is_named_option(&it));
        if let Some(err) = err
            && !is_result
        {
            return Err(Error::new(
                err.span(),
                "`cache_err` is for functions that return `Result`",
            ));
        }
        if let Some(none) = none
            && !is_option
            && !of_option
        {
            let what =
                "`cache_none` is for functions that return `Option` or `Result<Option<_>, _>`";
            return Err(Error::new(none.span(), what));
        }
        let name = match (is_result, of_option, is_option) {
            (true, true, _) => match (none.is_some(), err.is_some()) {
                (true, true) => "Whole",
                (true, false) => "IfOk",
                (false, true) => "IfSomeOrErr",
                (false, false) => "IfOkSome",
            },
            (true, false, _) => {
                if err.is_some() {
                    "Whole"
                } else {
                    "IfOk"
                }
            }
            (false, _, true) => {
                if none.is_some() {
                    "Whole"
                } else {
                    "IfSome"
                }
            }
            (false, _, false) => "Whole",
        };
        let shape = quote!(#cached_fn::Shape::<#result>);
        let hidden_option = quote! {
            // panics: in the compiler.
            ::std::assert!(
                !#shape::IS_RESULT_OF_OPTION,
                "`#[cached]` does not see the `Option` in this type: write `Result<Option<T>, E>`"
            );
        };
        let check = match (is_result, of_option, is_option) {
            (true, false, _) => hidden_option,
            (false, _, false) => quote! {
                // panics: in the compiler.
                ::std::assert!(
                    !#shape::IS_RESULT && !#shape::IS_OPTION,
                    "`#[cached]` does not see that this type is a `Result` or an `Option`: write the \
                     type out, or give it a name that ends with `Result`"
                );
            },
            _ => TokenStream::new(),
        };
        Ok(Self { name: format_ident!("{name}"), check })
    }
}

fn last_name(of: &Type) -> Option<String> {
    let Type::Path(path) = of else { return None };
    path.path.segments.last().map(|it| it.ident.to_string())
}

fn is_named_option(of: &Type) -> bool {
    argument(of, "Option").is_some()
}

fn first_argument(of: &Type) -> Option<Type> {
    let Type::Path(path) = of else { return None };
    let last = path.path.segments.last()?;
    let PathArguments::AngleBracketed(_) = &last.arguments else { return None };
    argument(of, &last.ident.to_string())
}
