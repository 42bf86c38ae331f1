//! Searches in tokens.

use proc_macro2::{Span, TokenStream, TokenTree};

/// Returns the place of the first identifier with one of these names.
pub(crate) fn find(tokens: TokenStream, names: &[&str]) -> Option<Span> {
    tokens.into_iter().find_map(|token| match token {
        TokenTree::Ident(ident) if names.iter().any(|name| ident == name) => Some(ident.span()),
        TokenTree::Group(group) => find(group.stream(), names),
        _ => None,
    })
}

/// Returns the place of the first reference or lifetime that is not `'static`.
pub(crate) fn find_borrow(tokens: TokenStream) -> Option<Span> {
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        match token {
            TokenTree::Punct(punct)
                if punct.as_char() == '&'
                    && tokens.peek().is_none_or(|it| it.to_string() != "'") =>
            {
                return Some(punct.span());
            }
            TokenTree::Punct(punct)
                if punct.as_char() == '\''
                    && tokens.peek().is_none_or(|it| it.to_string() != "static") =>
            {
                return Some(punct.span());
            }
            TokenTree::Group(group) => {
                if let Some(span) = find_borrow(group.stream()) {
                    return Some(span);
                }
            }
            _ => {}
        }
    }
    None
}
