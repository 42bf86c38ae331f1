//! The function under the attribute: its arguments and its result.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, format_ident, quote};
use syn::{
    Error, FnArg, GenericArgument, GenericParam, ItemFn, Pat, PatType, PathArguments, Receiver,
    Result, ReturnType, Type, TypeParamBound, spanned::Spanned,
};

use crate::tokens;

/// A function, as far as its head shows it.
pub(crate) struct Signature {
    pub(crate) receiver: Option<Receiver>,
    pub(crate) arguments: Vec<Argument>,
    /// The type of the results.
    pub(crate) result: Type,
    pub(crate) is_async: bool,
    /// Whether the function returns a boxed future, as `#[async_trait]` makes it.
    pub(crate) is_boxed: bool,
}

/// An argument of the function.
pub(crate) struct Argument {
    /// Its name, or a made one if it has a pattern.
    pub(crate) ident: Ident,
    /// The argument of the attribute's function.
    pub(crate) outer: PatType,
    /// The names that its pattern binds.
    bound: Vec<Ident>,
    has_name: bool,
}

impl Signature {
    /// Reads the signature of a function.
    pub(crate) fn read(function: &ItemFn) -> Result<Self> {
        let sig = &function.sig;
        refuse_kind(function)?;
        let mut receiver = None;
        let mut arguments = Vec::new();
        for (at, input) in sig.inputs.iter().enumerate() {
            match input {
                FnArg::Receiver(it) => receiver = Some(it.clone()),
                FnArg::Typed(it) => arguments.push(Argument::read(at, it)?),
            }
        }
        let no_result = "a function without a result has nothing to cache";
        let ReturnType::Type(_, result) = &sig.output else {
            return Err(Error::new(sig.ident.span(), no_result));
        };
        let boxed = if sig.asyncness.is_none() { boxed_future(result) } else { None };
        let is_boxed = boxed.is_some();
        let result = boxed.unwrap_or_else(|| (**result).clone());
        if matches!(&result, Type::Tuple(it) if it.elems.is_empty()) {
            return Err(Error::new(result.span(), no_result));
        }
        if let Some(span) = tokens::find(result.to_token_stream(), &["impl"]) {
            let what = "the result must have a type with a name: the cache reads and writes it";
            return Err(Error::new(span, what));
        }
        if let Some(span) = tokens::find_borrow(result.to_token_stream()) {
            let what = "a cached result owns its data: return `String` instead of `&str`, `Vec<T>` \
                        instead of `&[T]`, or the type itself instead of a reference";
            return Err(Error::new(span, what));
        }
        let is_async = sig.asyncness.is_some() || is_boxed;
        Ok(Self { receiver, arguments, result, is_async, is_boxed })
    }

    /// Returns the token of the argument with a name.
    pub(crate) fn named(&self, name: &Ident) -> Option<Ident> {
        if name == "self" {
            return self.receiver.as_ref().map(|it| Ident::new("self", it.self_token.span));
        }
        let named = |it: &&Argument| it.has_name && it.ident == *name;
        self.arguments.iter().find(named).map(|it| it.ident.clone())
    }

    /// Returns the argument that `skip` names.
    pub(crate) fn position(&self, name: &Ident) -> Option<usize> {
        self.arguments.iter().position(|it| it.ident == *name || it.bound.contains(name))
    }

    /// Lists the names of the arguments.
    pub(crate) fn names(&self) -> String {
        let names = self.arguments.iter().filter(|it| it.has_name);
        let names: Vec<_> = names.map(|it| format!("`{}`", it.ident)).collect();
        if names.is_empty() { "none with a name".to_owned() } else { names.join(", ") }
    }
}

impl Argument {
    fn read(at: usize, argument: &PatType) -> Result<Self> {
        if let Some(span) = tokens::find(argument.ty.to_token_stream(), &["impl"]) {
            let what = "an argument of an `impl Trait` type has no type that a key could contain: \
                        write a type parameter, `fn f<T: Trait>(argument: T)`, or a type";
            return Err(Error::new(span, what));
        }
        let mut outer = argument.clone();
        let (ident, has_name) = match &*argument.pat {
            Pat::Ident(it) if it.subpat.is_none() && it.by_ref.is_none() => {
                (it.ident.clone(), true)
            }
            pattern => {
                let span = Span::mixed_site().located_at(pattern.span());
                (format_ident!("__argument_{at}", span = span), false)
            }
        };
        outer.pat = Box::new(syn::parse_quote!(#ident));
        let mut bound = Vec::new();
        if !has_name {
            bindings(argument.pat.to_token_stream(), &mut bound);
        }
        Ok(Self { ident, outer, bound, has_name })
    }

    /// Returns whether the argument is borrowed.
    pub(crate) fn borrow(&self) -> Option<Span> {
        tokens::find_borrow(self.outer.ty.to_token_stream())
    }
}

/// Lists the identifiers of a pattern.
fn bindings(pattern: TokenStream, into: &mut Vec<Ident>) {
    for token in pattern {
        match token {
            proc_macro2::TokenTree::Ident(it) => into.push(it),
            proc_macro2::TokenTree::Group(it) => bindings(it.stream(), into),
            _ => {}
        }
    }
}

fn refuse_kind(function: &ItemFn) -> Result<()> {
    let sig = &function.sig;
    let refuse = |span, what: &str| Err(Error::new(span, what));
    if let Some(it) = &sig.constness {
        return refuse(it.span, "a `const fn` cannot call a cache: remove `const`");
    }
    if let Some(it) = &sig.unsafety {
        return refuse(it.span, "the cache would call an `unsafe fn`: write a safe function");
    }
    if let Some(it) = &sig.abi {
        return refuse(it.extern_token.span, "an `extern fn` cannot be cached");
    }
    Ok(())
}

/// Returns the result of the future in `Pin<Box<dyn Future<Output = …>>>`.
fn boxed_future(result: &Type) -> Option<Type> {
    let Type::TraitObject(object) = argument(&argument(result, "Pin")?, "Box")? else {
        return None;
    };
    object.bounds.iter().find_map(|bound| match bound {
        TypeParamBound::Trait(it) => {
            let last = it.path.segments.last().filter(|it| it.ident == "Future")?;
            let PathArguments::AngleBracketed(list) = &last.arguments else { return None };
            list.args.iter().find_map(|it| match it {
                GenericArgument::AssocType(it) if it.ident == "Output" => Some(it.ty.clone()),
                _ => None,
            })
        }
        _ => None,
    })
}

/// Returns the first type argument of a type with this name.
pub(crate) fn argument(of: &Type, name: &str) -> Option<Type> {
    let Type::Path(path) = of else { return None };
    let last = path.path.segments.last().filter(|it| it.ident == name)?;
    let PathArguments::AngleBracketed(list) = &last.arguments else { return None };
    list.args.iter().find_map(|it| match it {
        GenericArgument::Type(it) => Some(it.clone()),
        _ => None,
    })
}

/// Returns the type and const parameters as arguments: `::<T, N>`.
pub(crate) fn turbofish(function: &ItemFn) -> TokenStream {
    let names: Vec<_> = function.sig.generics.params.iter().filter_map(name_of).collect();
    if names.is_empty() { TokenStream::new() } else { quote!(::<#(#names),*>) }
}

fn name_of(param: &GenericParam) -> Option<&Ident> {
    match param {
        GenericParam::Type(it) => Some(&it.ident),
        GenericParam::Const(it) => Some(&it.ident),
        GenericParam::Lifetime(_) => None,
    }
}
