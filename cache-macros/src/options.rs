//! The options in the parentheses of `#[cached(…)]`.

use proc_macro2::{Ident, TokenStream};
use quote::{ToTokens, quote};
use syn::{
    Error, Expr, Lit, LitBool, LitInt, LitStr, Path, Result, Token, bracketed,
    ext::IdentExt,
    parenthesized,
    parse::{Parse, ParseStream},
    punctuated::Punctuated,
};

use crate::duration;

/// The options of an attribute.
#[derive(Default)]
pub(crate) struct Options {
    pub(crate) ttl: Option<Time>,
    pub(crate) grace: Option<Time>,
    pub(crate) jitter: Option<Expr>,
    pub(crate) fenced: bool,
    pub(crate) key: Option<LitStr>,
    pub(crate) cache: Option<LitStr>,
    pub(crate) tags: Vec<LitStr>,
    pub(crate) skip: Vec<Ident>,
    pub(crate) predicate: Option<Expr>,
    pub(crate) cache_err: Option<Ident>,
    pub(crate) cache_none: Option<Ident>,
    pub(crate) name: Option<LitStr>,
    pub(crate) namespace: Option<LitStr>,
    pub(crate) version: Option<TokenStream>,
    pub(crate) in_impl: Option<bool>,
    pub(crate) no_companions: bool,
    pub(crate) krate: Option<Path>,
}

/// A lifetime or a duration.
pub(crate) enum Time {
    Never,
    Millis(u64),
    Expr(Expr),
}

/// The names of other caches' attributes, with ours.
const OTHERS: &[(&str, &str)] = &[
    ("time", "write `ttl = \"5m\"`"),
    ("timeout", "write `ttl = \"5m\"`"),
    ("expire", "write `ttl = \"5m\"`"),
    ("time_to_live", "write `ttl = \"5m\"`"),
    ("size", "the size is a setting of the cache, such as `max_entries` of a memory store"),
    ("maxsize", "the size is a setting of the cache, such as `max_entries` of a memory store"),
    ("max_size", "the size is a setting of the cache, such as `max_entries` of a memory store"),
    ("convert", "write `key = \"user:{id}\"`"),
    ("result", "remove it: only `Ok` is kept, unless there is `cache_err`"),
    ("option", "remove it: only `Some` is kept, unless there is `cache_none`"),
    ("sync_writes", "remove it: one caller runs the function, and the others wait for it"),
    ("key_prefix", "write `namespace = \"users\"`"),
    ("unless", "write `if = |value| …`, which says which values are kept"),
    ("condition", "write `if = |value| …`, which says which values are kept"),
    ("result_fallback", "write `grace = \"1h\"`"),
];

const KNOWN: &str = "ttl, grace, jitter, fenced, key, cache, namespace, tags, skip, if, cache_err, \
                     cache_none, name, version, in_impl, no_companions, crate";

impl Parse for Options {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let mut res = Self::default();
        let mut seen = Vec::new();
        while !input.is_empty() {
            let name = input.call(Ident::parse_any)?;
            let text = name.to_string();
            if seen.contains(&text) {
                return Err(Error::new(name.span(), format!("`{text}` is given twice")));
            }
            res.read(&name, &text, input)?;
            seen.push(text);
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        Ok(res)
    }
}

impl Options {
    fn read(&mut self, name: &Ident, text: &str, input: ParseStream<'_>) -> Result<()> {
        match text {
            "ttl" => self.ttl = Some(Time::parse(name, input, true)?),
            "grace" => self.grace = Some(Time::parse(name, input, false)?),
            "jitter" => self.jitter = Some(value(name, input)?),
            "key" => self.key = Some(text_value(name, input)?),
            "cache" => self.cache = Some(text_value(name, input)?),
            "name" => self.name = Some(text_value(name, input)?),
            "namespace" => self.namespace = Some(text_value(name, input)?),
            "if" => self.predicate = Some(value(name, input)?),
            "version" => {
                equals(name, input)?;
                let minus = input.parse::<Option<Token![-]>>()?;
                let number: LitInt = input.parse()?;
                number.base10_parse::<i64>()?;
                self.version = Some(quote!(#minus #number));
            }
            "tags" => {
                equals(name, input)?;
                let list;
                bracketed!(list in input);
                let tags = Punctuated::<LitStr, Token![,]>::parse_terminated(&list)?;
                if let Some(tag) = tags.iter().find(|it| it.value().is_empty()) {
                    return Err(Error::new(tag.span(), "a tag is empty"));
                }
                self.tags = tags.into_iter().collect();
            }
            "skip" => {
                if !input.peek(syn::token::Paren) {
                    let what = "expected the names of arguments: `skip(password, db)`";
                    return Err(Error::new(name.span(), what));
                }
                let list;
                parenthesized!(list in input);
                let names = Punctuated::<Ident, Token![,]>::parse_terminated(&list)?;
                self.skip = names.into_iter().collect();
            }
            "fenced" => self.fenced = flag(input)?,
            "cache_err" => self.cache_err = flag(input)?.then(|| name.clone()),
            "cache_none" => self.cache_none = flag(input)?.then(|| name.clone()),
            "in_impl" => self.in_impl = Some(flag(input)?),
            "no_companions" => self.no_companions = flag(input)?,
            "crate" => {
                equals(name, input)?;
                let path = if input.peek(syn::LitStr) {
                    input.parse::<LitStr>()?.parse()?
                } else {
                    input.parse()?
                };
                self.krate = Some(path);
            }
            _ => {
                let hint = OTHERS.iter().find(|(other, _)| *other == text).map(|(_, hint)| *hint);
                let what = match hint {
                    Some(hint) => format!("unknown attribute `{text}`: {hint}"),
                    None => format!("unknown attribute `{text}`; the attributes are {KNOWN}"),
                };
                return Err(Error::new(name.span(), what));
            }
        }
        Ok(())
    }

    /// Returns the expressions of the rules of a value.
    pub(crate) fn rules(&self) -> TokenStream {
        let times = [&self.ttl, &self.grace].into_iter().filter_map(|it| match it {
            Some(Time::Expr(expr)) => Some(expr),
            _ => None,
        });
        let jitter = &self.jitter;
        quote!(#(#times)* #jitter)
    }

    /// Returns whether the function may go on in the background, so that it owns its arguments.
    pub(crate) fn owned_by(&self) -> Option<&'static str> {
        if self.grace.is_some() {
            Some("grace")
        } else if self.jitter.is_some() {
            Some("jitter")
        } else {
            self.fenced.then_some("fenced")
        }
    }
}

impl Time {
    fn parse(name: &Ident, input: ParseStream<'_>, is_lifetime: bool) -> Result<Self> {
        match value(name, input)? {
            Expr::Lit(lit) => match &lit.lit {
                Lit::Str(text) if is_lifetime && text.value() == "never" => Ok(Self::Never),
                Lit::Str(text) => match duration::parse(text)? {
                    0 if is_lifetime => {
                        Err(Error::new(text.span(), "nothing is kept for a lifetime of zero"))
                    }
                    millis => Ok(Self::Millis(millis)),
                },
                other => {
                    let number = other.to_token_stream();
                    let what =
                        format!("a number has no unit: for seconds write `{name} = \"{number}s\"`");
                    Err(Error::new(other.span(), what))
                }
            },
            expr => Ok(Self::Expr(expr)),
        }
    }
}

fn equals(name: &Ident, input: ParseStream<'_>) -> Result<()> {
    if input.peek(Token![=]) {
        input.parse::<Token![=]>().map(drop)
    } else {
        Err(Error::new(name.span(), format!("expected a value: `{name} = …`")))
    }
}

fn value(name: &Ident, input: ParseStream<'_>) -> Result<Expr> {
    equals(name, input)?;
    input.parse()
}

fn text_value(name: &Ident, input: ParseStream<'_>) -> Result<LitStr> {
    equals(name, input)?;
    let text: LitStr = input
        .parse()
        .map_err(|error| Error::new(error.span(), format!("expected a text: `{name} = \"…\"`")))?;
    if text.value().is_empty() {
        return Err(Error::new(text.span(), format!("`{name}` is empty")));
    }
    Ok(text)
}

/// Reads a flag: `fenced`, or `fenced = false`.
fn flag(input: ParseStream<'_>) -> Result<bool> {
    if !input.peek(Token![=]) {
        return Ok(true);
    }
    input.parse::<Token![=]>()?;
    Ok(input.parse::<LitBool>()?.value)
}
