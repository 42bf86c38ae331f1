//! The parts of the generated code: the call through the cache, the key and the rules.

use proc_macro2::{Ident, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::{FnArg, GenericParam, ext::IdentExt, spanned::Spanned};

use crate::{
    expansion::{Expansion, local},
    options::Time,
    signature::turbofish,
    template::{Part, Template},
};

impl Expansion<'_> {
    /// Returns the code that calls the function through its cache.
    pub(crate) fn call(&self, force: bool) -> TokenStream {
        let cached_fn = &self.cached_fn;
        let (kind, result) = (&self.kind.name, &self.signature.result);
        let (cache, call) = (local("cache"), local("call"));
        let (handle, key, rules, body) =
            (self.tagged_handle(), self.key(), self.rules(force), self.body());
        let keep = if let Some(predicate) = &self.options.predicate {
            quote!(#predicate)
        } else {
            quote!(|_| true)
        };
        let path = match (self.signature.is_async, self.options.owned_by().is_some()) {
            (true, false) => quote!(borrowed::<#cached_fn::#kind, #result, _, _>),
            (true, true) => quote!(owned::<#cached_fn::#kind, #result, _, _>),
            (false, false) => quote!(blocking::<#cached_fn::#kind, #result, _>),
            (false, true) => quote!(blocking_owned::<#cached_fn::#kind, #result, _>),
        };
        let wait = self.signature.is_async.then(|| quote!(.await));
        quote! {
            let #cache = #handle;
            let #call = #cached_fn::Call {
                cache: &#cache,
                key: #key,
                rules: #rules,
                share: {
                    #[allow(unused_imports)]
                    use #cached_fn::NotShared as _;
                    #cached_fn::Sharing::<#result>::new().share()
                },
            };
            #cached_fn::#path(#call, move || #body, #keep) #wait
        }
    }

    /// Returns the call of the function's body.
    fn body(&self) -> TokenStream {
        if self.has_companions {
            let arguments = self.signature.arguments.iter().map(|it| &it.ident);
            let receiver = self.signature.receiver.as_ref().map(|it| {
                let token = it.self_token;
                quote!(#token,)
            });
            let path = self.companion("uncached");
            let turbofish = turbofish(self.function);
            return quote!(#path #turbofish (#receiver #(#arguments),*));
        }
        let patterns = self.function.sig.inputs.iter().zip(self.inputs(|_| true));
        let rebind = patterns.filter_map(|(own, outer)| match (own, outer) {
            (FnArg::Typed(own), FnArg::Typed(outer)) => {
                let (to, from) = (own.pat.to_token_stream(), outer.pat.to_token_stream());
                (to.to_string() != from.to_string()).then(|| quote!(let #to = #from;))
            }
            _ => None,
        });
        let (block, result, cached_fn) =
            (&self.function.block, &self.signature.result, &self.cached_fn);
        if self.signature.is_boxed {
            let future = local("future");
            return quote!(#cached_fn::typed::<#result, _>(async move {
                #(#rebind)*
                let #future = #block;
                #future.await
            }));
        }
        if self.signature.is_async {
            return quote!(#cached_fn::typed::<#result, _>(async move { #(#rebind)* #block }));
        }
        quote!({ #(#rebind)* #block })
    }

    /// Returns the expression of the cache.
    pub(crate) fn handle(&self) -> TokenStream {
        let function = self.record();
        quote!(#function.cache())
    }

    /// Returns the expression of the cache, with the tags of the call.
    pub(crate) fn tagged_handle(&self) -> TokenStream {
        let handle = self.handle();
        let tags: Vec<_> = self.tags.iter().map(Template::to_text).collect();
        if tags.is_empty() {
            return handle;
        }
        quote!(#handle.with_tags([#(#tags),*]))
    }

    /// Returns the expression of the key, a `Result<String>`.
    pub(crate) fn key(&self) -> TokenStream {
        let cached_fn = &self.cached_fn;
        let mut key = quote!(#cached_fn::Key::new());
        match &self.key {
            None => key.extend(self.start()),
            Some(template) => {
                for part in &template.parts {
                    match part {
                        Part::Text(text) => key.extend(quote!(.text(#text))),
                        Part::Value(value) => {
                            let (format, expr) = (value.placeholder(), &value.expr);
                            let span = template.span;
                            key.extend(
                                quote_spanned!(span=> .value(::std::format_args!(#format, #expr))),
                            );
                        }
                    }
                }
            }
        }
        let named: Vec<_> = self.key.iter().flat_map(Template::roots).collect();
        for (argument, skipped) in self.signature.arguments.iter().zip(&self.skipped) {
            if !skipped && !named.iter().any(|it| **it == argument.ident) {
                let (ident, span) = (&argument.ident, argument.outer.ty.span());
                let checked = quote_spanned!(span=> #cached_fn::argument(&#ident));
                key.extend(quote!(.argument(#checked)));
            }
        }
        for param in &self.function.sig.generics.params {
            match param {
                GenericParam::Type(it) => {
                    let ident = &it.ident;
                    key.extend(quote!(.type_parameter::<#ident>()));
                }
                GenericParam::Const(it) => {
                    let ident = &it.ident;
                    key.extend(quote!(.argument(&#ident)));
                }
                GenericParam::Lifetime(_) => {}
            }
        }
        quote!(#key.finish())
    }

    /// Returns the expression of the rules of the values.
    pub(crate) fn rules(&self, force: bool) -> TokenStream {
        let (cached_fn, krate) = (&self.cached_fn, &self.krate);
        let (ttl, grace) = (self.options.ttl.as_ref(), self.options.grace.as_ref());
        let ttl = ttl.map_or(quote!(::std::option::Option::None), |it| {
            let ttl = match it {
                Time::Never => quote!(#krate::Timeout::Never),
                Time::Millis(millis) => quote! {
                    #krate::Timeout::After(::std::time::Duration::from_millis(#millis))
                },
                Time::Expr(expr) => quote!(#krate::IntoTimeout::into_timeout(#expr)),
            };
            quote!(::std::option::Option::Some(#ttl))
        });
        let grace = grace.map_or(quote!(::std::option::Option::None), |it| {
            let grace = match it {
                Time::Never => quote!(::std::time::Duration::MAX),
                Time::Millis(millis) => quote!(::std::time::Duration::from_millis(#millis)),
                Time::Expr(expr) => quote!(#expr),
            };
            quote!(::std::option::Option::Some(#grace))
        });
        let jitter = self.options.jitter.as_ref();
        let jitter = jitter.map_or(
            quote!(::std::option::Option::None),
            |it| quote!(::std::option::Option::Some(#it)),
        );
        let fenced = self.options.fenced;
        quote! {
            #cached_fn::Rules {
                ttl: #ttl, grace: #grace, jitter: #jitter, fenced: #fenced, force: #force,
            }
        }
    }

    /// Returns the type of what is stored.
    pub(crate) fn stored(&self) -> TokenStream {
        let (cached_fn, kind, result) = (&self.cached_fn, &self.kind.name, &self.signature.result);
        quote!(<#cached_fn::#kind as #cached_fn::Kind<#result>>::Stored)
    }

    /// Returns the start of a key without `key`, as calls of methods of `Key`. It tells the
    /// function from all others of its name: in the blocks of other types and traits, and inside of
    /// other functions.
    fn start(&self) -> TokenStream {
        let (cached_fn, ident) = (&self.cached_fn, &self.function.sig.ident);
        if let Some(name) = &self.options.name {
            let of_type = self.in_impl.then(|| quote!(.type_parameter::<Self>()));
            return quote!(.text(#name) #of_type);
        }
        if !self.has_companions {
            // A closure has all generic parameters around it in the name of its type.
            return quote!(.path(#cached_fn::path_around(&|| ())));
        }
        if self.in_impl {
            let (path, name) = (self.path_companion(), format!("::{}", ident.unraw()));
            return quote!(.path(Self::#path()).text(#name).type_parameter::<Self>());
        }
        quote!(.path(#cached_fn::path_of::<#ident>()))
    }

    /// Returns the name of the companion that returns the path of the block.
    pub(crate) fn path_companion(&self) -> Ident {
        let ident = &self.function.sig.ident;
        format_ident!("__{ident}_path", span = ident.span())
    }

    /// Returns whether the key begins with the path of the block.
    pub(crate) fn needs_path(&self) -> bool {
        self.in_impl && self.has_companions && self.key.is_none() && self.options.name.is_none()
    }

    fn name(&self) -> TokenStream {
        let ident = self.function.sig.ident.to_string();
        if let Some(name) = &self.options.name {
            quote!(#name)
        } else {
            quote!(::std::concat!(::std::module_path!(), "::", #ident))
        }
    }

    /// Returns what `check` knows of the function.
    fn record(&self) -> TokenStream {
        let (cached_fn, name) = (&self.cached_fn, self.name());
        let alias = if let Some(alias) = &self.options.cache {
            quote!(#alias)
        } else {
            let krate = &self.krate;
            quote!(#krate::DEFAULT_ALIAS)
        };
        let some = |it: Option<TokenStream>| {
            if let Some(it) = it {
                quote!(::std::option::Option::Some(#it))
            } else {
                quote!(::std::option::Option::None)
            }
        };
        let namespace = some(self.options.namespace.as_ref().map(|it| quote!(#it)));
        let version = some(self.options.version.clone());
        let (tags, grace) = (!self.tags.is_empty(), self.options.grace.is_some());
        let fenced = self.options.fenced;
        quote! {
            #cached_fn::Function {
                name: #name, alias: #alias, namespace: #namespace, version: #version,
                tags: #tags, grace: #grace, fenced: #fenced,
            }
        }
    }

    /// Returns the code that registers the function for `check`.
    pub(crate) fn registration(&self) -> TokenStream {
        let (krate, record) = (&self.krate, self.record());
        quote!(#krate::__submit_cached! { #record })
    }
}
