//! The function with the attribute, checked, and with what all of the generated code needs.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{format_ident, quote};
use syn::{Error, FnArg, Item, ItemFn, Macro, Result, spanned::Spanned, visit::Visit};

use crate::{
    attributes::Attributes, kind::Kind, options::Options, signature::Signature, template::Template,
    tokens,
};

/// A function with the attribute, and the parts of the code that is made of it.
pub(crate) struct Expansion<'a> {
    pub(crate) function: &'a ItemFn,
    pub(crate) signature: Signature,
    pub(crate) attributes: Attributes,
    /// The hidden module of `cache-core`.
    pub(crate) cached_fn: TokenStream,
    pub(crate) krate: TokenStream,
    pub(crate) kind: Kind,
    pub(crate) options: &'a Options,
    pub(crate) key: Option<Template>,
    pub(crate) tags: Vec<Template>,
    /// Which arguments are not part of the key.
    pub(crate) skipped: Vec<bool>,
    pub(crate) in_impl: bool,
    pub(crate) has_companions: bool,
}

impl<'a> Expansion<'a> {
    /// Reads the function, and checks that it can be cached.
    pub(crate) fn new(options: &'a Options, function: &'a ItemFn) -> Result<Self> {
        let signature = Signature::read(function)?;
        let krate =
            if let Some(path) = &options.krate { quote!(#path) } else { quote!(::cache_core) };
        let cached_fn = quote!(#krate::__private::cached_fn);
        let kind = Kind::of(&signature.result, options, &cached_fn)?;
        let in_impl = options.in_impl.unwrap_or_else(|| names_self(function));
        let in_impl = in_impl || signature.receiver.is_some();
        let key = match &options.key {
            Some(text) => {
                let template = Template::parse(text, &signature)?;
                template.check_key()?;
                Some(template)
            }
            None => None,
        };
        if let (Some(receiver), None) = (&signature.receiver, &key) {
            let what = "a method needs a `key`, such as `key = \"user:{id}\"`: `self` is not part \
                        of the key, so name in it what the result depends on, such as `{self.tenant}`";
            return Err(Error::new(receiver.span(), what));
        }
        let tags = options.tags.iter().map(|it| Template::parse(it, &signature));
        let tags = tags.collect::<Result<Vec<_>>>()?;
        let skipped = skipped(options, &signature, key.as_ref())?;
        if let Some(attribute) = options.owned_by() {
            refuse_borrows(attribute, &signature)?;
        }
        let has_companions = !options.no_companions && !signature.is_boxed;
        let attributes = Attributes::of(&function.attrs);
        Ok(Self {
            function,
            signature,
            attributes,
            cached_fn,
            krate,
            kind,
            options,
            key,
            tags,
            skipped,
            in_impl,
            has_companions,
        })
    }

    /// Returns the path of a companion.
    pub(crate) fn companion(&self, name: &str) -> TokenStream {
        let ident = &self.function.sig.ident;
        let name = self.companion_name(name);
        if self.in_impl { quote!(Self::#name) } else { quote!(#ident::#name) }
    }

    pub(crate) fn companion_name(&self, name: &str) -> Ident {
        let ident = &self.function.sig.ident;
        if self.in_impl {
            format_ident!("{ident}_{name}", span = ident.span())
        } else {
            Ident::new(name, ident.span())
        }
    }

    /// Returns the arguments of a function that is made of this one: the receiver, and those that
    /// the filter accepts.
    pub(crate) fn inputs(&self, filter: impl Fn(usize) -> bool) -> impl Iterator<Item = FnArg> {
        let receiver = self.signature.receiver.clone().map(|mut it| {
            // `mut self` is for the body.
            if it.reference.is_none() {
                it.mutability = None;
            }
            FnArg::Receiver(it)
        });
        let arguments = self.signature.arguments.iter().enumerate();
        let arguments = arguments.filter(move |(at, _)| filter(*at));
        receiver.into_iter().chain(arguments.map(|(_, it)| FnArg::Typed(it.outer.clone())))
    }

    /// Returns the arguments that are part of the key.
    pub(crate) fn key_inputs(&self) -> impl Iterator<Item = FnArg> {
        self.inputs(|at| self.is_in_key(at))
    }

    /// Returns the arguments that are part of the key, or that the tags or the rules name.
    pub(crate) fn prime_inputs(&self) -> impl Iterator<Item = FnArg> {
        let rules = self.options.rules();
        self.inputs(move |at| {
            let argument = self.signature.arguments.get(at).map(|it| &it.ident);
            let is_named = argument.is_some_and(|argument| {
                self.tags.iter().flat_map(Template::roots).any(|root| root == argument)
                    || tokens::find(rules.clone(), &[&argument.to_string()]).is_some()
            });
            is_named || self.is_in_key(at)
        })
    }

    fn is_in_key(&self, at: usize) -> bool {
        self.skipped.get(at) != Some(&true)
    }
}

/// Returns a variable that no name of the caller can mean.
pub(crate) fn local(name: &str) -> Ident {
    Ident::new(name, Span::mixed_site())
}

/// Returns whether the function is in an `impl` block, as far as its code shows.
fn names_self(function: &ItemFn) -> bool {
    let mut res = NamesSelf(false);
    res.visit_item_fn(function);
    res.0
}

/// Whether code names `Self`, apart from the items in it, which have their own.
struct NamesSelf(bool);

impl Visit<'_> for NamesSelf {
    fn visit_item(&mut self, _: &Item) {}

    fn visit_ident(&mut self, ident: &Ident) {
        self.0 |= ident == "Self";
    }

    fn visit_macro(&mut self, call: &Macro) {
        self.0 |= tokens::find(call.tokens.clone(), &["Self"]).is_some();
    }
}

fn skipped(options: &Options, signature: &Signature, key: Option<&Template>) -> Result<Vec<bool>> {
    let mut skipped = vec![false; signature.arguments.len()];
    for name in &options.skip {
        let Some(at) = signature.position(name) else {
            let what = format!(
                "`{name}` is not an argument of the function; its arguments are {}",
                signature.names()
            );
            return Err(Error::new(name.span(), what));
        };
        if key.is_some_and(|it| it.roots().any(|root| root == name)) {
            let what = format!("`{name}` is named in `key` and skipped: remove one of the two");
            return Err(Error::new(name.span(), what));
        }
        if let Some(skipped) = skipped.get_mut(at) {
            *skipped = true;
        }
    }
    Ok(skipped)
}

fn refuse_borrows(attribute: &str, signature: &Signature) -> Result<()> {
    let borrow = signature.arguments.iter().find_map(super::signature::Argument::borrow);
    let receiver = signature.receiver.as_ref();
    let receiver = receiver.filter(|it| it.reference.is_some()).map(Spanned::span);
    match borrow.or(receiver) {
        None => Ok(()),
        Some(span) => {
            let what = format!(
                "with `{attribute}` the function may go on after its caller has left, so it owns \
                 its arguments: take `String` instead of `&str`, an `Arc` or a clone of a handle \
                 instead of a reference, `self: Arc<Self>` instead of `&self`"
            );
            Err(Error::new(span, what))
        }
    }
}
