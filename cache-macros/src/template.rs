//! Texts with arguments in braces, such as `"user:{id}"`.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote};
use syn::{Error, Expr, LitStr, Result};

use crate::signature::Signature;

/// A text with arguments in braces.
pub(crate) struct Template {
    pub(crate) parts: Vec<Part>,
    pub(crate) span: Span,
}

/// A part of a text.
pub(crate) enum Part {
    Text(String),
    Value(Value),
}

/// An argument in braces, or a field of one.
pub(crate) struct Value {
    /// The name of the argument.
    pub(crate) root: Ident,
    pub(crate) expr: TokenStream,
    /// The format after the colon.
    format: String,
}

impl Template {
    /// Reads a text.
    pub(crate) fn parse(text: &LitStr, signature: &Signature) -> Result<Self> {
        let span = text.span();
        let unclosed = || Error::new(span, "a brace is not closed; a brace in the text is `{{`");
        let (mut parts, mut plain) = (Vec::new(), String::new());
        let value = text.value();
        let mut rest = value.as_str();
        while let Some(at) = rest.find(['{', '}']) {
            let (before, after) = rest.split_at(at);
            plain.push_str(before);
            if let Some(after) = after.strip_prefix("{{") {
                plain.push('{');
                rest = after;
            } else if let Some(after) = after.strip_prefix("}}") {
                plain.push('}');
                rest = after;
            } else {
                let inner = after.strip_prefix('{').ok_or_else(unclosed)?;
                let (inner, after) = inner.split_once('}').ok_or_else(unclosed)?;
                if !plain.is_empty() {
                    parts.push(Part::Text(std::mem::take(&mut plain)));
                }
                parts.push(Part::Value(Value::parse(inner, span, signature)?));
                rest = after;
            }
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            parts.push(Part::Text(plain));
        }
        Ok(Self { parts, span })
    }

    /// Checks that different arguments never make the same key, and that it obeys the rules.
    pub(crate) fn check_key(&self) -> Result<()> {
        let refuse = |what: &str| Err(Error::new(self.span, what));
        let mut separated = true;
        for part in &self.parts {
            match part {
                Part::Text(text) => {
                    if text.chars().any(|it| it <= ' ' || it == '\x7f' || it == '#') {
                        return refuse(
                            "a key has no spaces, control characters or `#`, which stands before \
                             the digest of the other arguments",
                        );
                    }
                    separated = text.chars().any(separates);
                }
                Part::Value(_) if !separated => {
                    return refuse(
                        "different arguments could have the same key: between two arguments write \
                         a character that is escaped in them, such as `:` or `/`",
                    );
                }
                Part::Value(_) => separated = false,
            }
        }
        Ok(())
    }

    /// Returns the names of the arguments.
    pub(crate) fn roots(&self) -> impl Iterator<Item = &Ident> {
        self.parts.iter().filter_map(|part| match part {
            Part::Value(value) => Some(&value.root),
            Part::Text(_) => None,
        })
    }

    /// Returns the expression of the text as a `String`.
    pub(crate) fn to_text(&self) -> TokenStream {
        let mut format = String::new();
        let mut values = Vec::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => format += &text.replace('{', "{{").replace('}', "}}"),
                Part::Value(value) => {
                    format += &value.placeholder();
                    values.push(&value.expr);
                }
            }
        }
        quote!(::std::format!(#format #(, #values)*))
    }
}

/// Returns whether a character of the text ends a value, because it is escaped in values.
fn separates(it: char) -> bool {
    !it.is_ascii_alphanumeric() && !"-_.@%".contains(it)
}

impl Value {
    fn parse(inner: &str, span: Span, signature: &Signature) -> Result<Self> {
        let (path, format) = inner.split_once(':').unwrap_or((inner, ""));
        let expr: Expr = syn::parse_str(path).map_err(|_| {
            let what = format!("expected the name of an argument or a field in `{{{inner}}}`");
            Error::new(span, what)
        })?;
        let mut base = &expr;
        let name = loop {
            match base {
                Expr::Field(field) => base = &field.base,
                Expr::MethodCall(call) if call.args.is_empty() => base = &call.receiver,
                Expr::Path(path) => match path.path.get_ident() {
                    Some(name) => break name.clone(),
                    None => return Err(not_an_argument(inner, span)),
                },
                _ => return Err(not_an_argument(inner, span)),
            }
        };
        let root = signature.named(&name).ok_or_else(|| {
            let what = format!(
                "`{name}` is not an argument of the function; its arguments are {}",
                signature.names()
            );
            Error::new(span, what)
        })?;
        // The argument's own token, which names it whatever macro made the function.
        let expr = expr.to_token_stream().into_iter().enumerate().map(|(at, token)| match token {
            proc_macro2::TokenTree::Ident(_) if at == 0 => root.clone().into(),
            mut other => {
                other.set_span(span);
                other
            }
        });
        Ok(Self { expr: expr.collect(), root, format: format.to_owned() })
    }

    /// Returns the placeholder for `format!`.
    pub(crate) fn placeholder(&self) -> String {
        if self.format.is_empty() { "{}".to_owned() } else { format!("{{:{}}}", self.format) }
    }
}

fn not_an_argument(inner: &str, span: Span) -> Error {
    let what = format!(
        "`{{{inner}}}` is not an argument: write its name, a field such as `{{user.id}}`, or a \
         method without arguments such as `{{user.id()}}`"
    );
    Error::new(span, what)
}
