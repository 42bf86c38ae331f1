//! The function that callers call.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::{ItemFn, spanned::Spanned};

use crate::{expansion::Expansion, signature::turbofish};

/// Returns the function that callers call.
pub(crate) fn outer(of: &Expansion<'_>) -> TokenStream {
    let ItemFn { vis, sig, .. } = of.function;
    let (attributes, cached_fn) = (&of.attributes.outer, &of.cached_fn);
    let mut sig = sig.clone();
    sig.inputs = of.inputs(|_| true).collect();
    let (call, registration) = (of.call(false), of.registration());
    let (check, result) = (&of.kind.check, &of.signature.result);
    let check = if check.is_empty() {
        TokenStream::new()
    } else {
        // An item is checked also if no code calls the function; it cannot name type parameters.
        let is_item = !of.in_impl && turbofish(of.function).is_empty();
        let head = if is_item { quote!(const _: () =) } else { quote!(const) };
        let end = is_item.then(|| quote!(;));
        let span = result.span();
        quote_spanned!(span=> #head {
            #[allow(unused_imports)]
            use #cached_fn::Other as _;
            #check
        } #end)
    };
    let call = if of.signature.is_boxed {
        quote!(::std::boxed::Box::pin(async move { #call }))
    } else {
        call
    };
    quote! {
        #attributes
        #vis #sig {
            #registration
            #check
            #call
        }
    }
}
