//! The functions beside the function: `key`, `invalidate`, `prime`, `refresh` and `uncached`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{FnArg, Ident};

use crate::expansion::{Expansion, local};

/// Returns all companions: in an `impl` block as functions of its type, elsewhere as functions of
/// an empty type with the name of the function.
pub(crate) fn all(of: &Expansion<'_>) -> TokenStream {
    if !of.has_companions {
        return TokenStream::new();
    }
    let functions = [key(of), invalidate(of), prime(of), refresh(of), uncached(of), path(of)];
    if of.in_impl {
        return functions.into_iter().collect();
    }
    let (vis, ident) = (&of.function.vis, &of.function.sig.ident);
    let attributes = &of.attributes.companions;
    let docs = format!("The companions of the function `{ident}`, which is cached.");
    quote! {
        #[doc = #docs]
        #attributes
        #[allow(non_camel_case_types, dead_code, unreachable_pub)]
        #[derive(Debug)]
        #vis enum #ident {}

        #attributes
        #[allow(dead_code, unreachable_pub)]
        impl #ident { #(#functions)* }
    }
}

/// A companion, while it is made.
struct Companion<'a> {
    name: &'static str,
    docs: String,
    inputs: Vec<FnArg>,
    value: Option<TokenStream>,
    output: TokenStream,
    is_async: bool,
    body: TokenStream,
    of: &'a Expansion<'a>,
}

impl Companion<'_> {
    fn finish(self) -> TokenStream {
        let Self { name, docs, inputs, value, output, is_async, body, of } = self;
        let (vis, generics) = (&of.function.vis, &of.function.sig.generics);
        let (where_clause, name) = (&generics.where_clause, of.companion_name(name));
        let attributes = &of.attributes.companions;
        let asyncness = is_async.then(|| quote!(async));
        quote! {
            #[doc = #docs]
            #attributes
            #[allow(dead_code, unreachable_pub, unused_variables, clippy::all, clippy::pedantic)]
            #vis #asyncness fn #name #generics (#(#inputs,)* #value) -> #output #where_clause {
                #body
            }
        }
    }
}

fn ident<'a>(of: &'a Expansion<'_>) -> &'a Ident {
    &of.function.sig.ident
}

fn key(of: &Expansion<'_>) -> TokenStream {
    let krate = &of.krate;
    Companion {
        name: "key",
        docs: format!(
            "Returns the key of a call of [`{}`]({}).\n\n# Errors\n`Codec` if an argument cannot \
             be serialized.",
            ident(of),
            link(of)
        ),
        inputs: of.key_inputs().collect(),
        value: None,
        output: quote!(#krate::Result<::std::string::String>),
        is_async: false,
        body: of.key(),
        of,
    }
    .finish()
}

fn invalidate(of: &Expansion<'_>) -> TokenStream {
    let (krate, is_async) = (&of.krate, of.signature.is_async);
    let (handle, key, local_key) = (of.handle(), of.key(), local("key"));
    let delete = if is_async {
        quote!(#handle.delete(&#local_key).await)
    } else {
        quote!(#handle.blocking().delete(&#local_key))
    };
    Companion {
        name: "invalidate",
        docs: format!(
            "Removes the kept result of a call of [`{}`]({}), also one that is loading now. \
             Returns whether there was one.\n\n# Errors\nAs `cache_core::Cache::delete`.",
            ident(of),
            link(of)
        ),
        inputs: of.key_inputs().collect(),
        value: None,
        output: quote!(#krate::Result<bool>),
        is_async,
        body: quote!(let #local_key = #key?; #delete),
        of,
    }
    .finish()
}

fn prime(of: &Expansion<'_>) -> TokenStream {
    let (krate, is_async, stored) = (&of.krate, of.signature.is_async, of.stored());
    let (handle, key, rules) = (of.tagged_handle(), of.key(), of.rules(false));
    // The attribute's expressions see the arguments, and none of these.
    let (local_handle, local_key, local_rules) = (local("handle"), local("key"), local("rules"));
    let (fetch, value) = (local("fetch"), local("value"));
    let prime = if is_async {
        quote!(#local_rules.of(#local_handle.fetch(&#local_key)).prime(#value).await)
    } else {
        quote! {
            #local_handle.blocking().prime(&#local_key, |#fetch| #local_rules.of(#fetch), #value)
        }
    };
    Companion {
        name: "prime",
        docs: format!(
            "Stores the result of a call of [`{}`]({}) that is known from elsewhere.\n\n# Errors\n\
             As `cache_core::Fetch::prime`.",
            ident(of),
            link(of)
        ),
        inputs: of.prime_inputs().collect(),
        value: Some(quote!(#value: &#stored)),
        output: quote!(#krate::Result<()>),
        is_async,
        body: quote! {
            let #local_key = #key?;
            let (#local_handle, #local_rules) = (#handle, #rules);
            #prime
        },
        of,
    }
    .finish()
}

fn refresh(of: &Expansion<'_>) -> TokenStream {
    let result = &of.signature.result;
    Companion {
        name: "refresh",
        docs: format!(
            "Calls [`{}`]({}) although there is a kept result, and keeps the new one.",
            ident(of),
            link(of)
        ),
        inputs: of.inputs(|_| true).collect(),
        value: None,
        output: quote!(#result),
        is_async: of.signature.is_async,
        body: of.call(true),
        of,
    }
    .finish()
}

/// Returns the function with the body.
fn uncached(of: &Expansion<'_>) -> TokenStream {
    let (vis, attributes) = (&of.function.vis, &of.attributes.body);
    let mut sig = of.function.sig.clone();
    sig.ident = of.companion_name("uncached");
    let block = &of.function.block;
    let docs = format!("Calls [`{}`]({}) without the cache.", ident(of), link(of));
    quote! {
        #[doc = #docs]
        #attributes
        #[allow(dead_code, unreachable_pub)]
        #vis #sig #block
    }
}

/// Returns the function that returns the path of the block around it, for all other ones.
fn path(of: &Expansion<'_>) -> TokenStream {
    if !of.needs_path() {
        return TokenStream::new();
    }
    let (name, cached_fn, attributes) =
        (of.path_companion(), &of.cached_fn, &of.attributes.companions);
    quote! {
        #[doc(hidden)]
        #attributes
        #[allow(dead_code, non_snake_case)]
        fn #name() -> &'static str {
            #cached_fn::path_beside(&|| ())
        }
    }
}

fn link(of: &Expansion<'_>) -> String {
    let ident = ident(of);
    if of.in_impl { format!("Self::{ident}") } else { format!("fn@{ident}") }
}
