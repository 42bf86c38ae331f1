//! Reads of a source file what its modules declare, import and use.

use std::collections::HashSet;

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// A module as its source describes it. An inline module is one of its own.
#[derive(Debug, Default)]
pub(super) struct Source {
    pub(super) children: Vec<Child>,
    pub(super) uses: Vec<Use>,
    /// The names of its own items.
    pub(super) defines: HashSet<String>,
    /// The paths of more than one name in its code.
    pub(super) paths: Vec<Vec<String>>,
    /// All names in its code.
    pub(super) names: HashSet<String>,
}

#[derive(Debug)]
pub(super) struct Child {
    pub(super) name: String,
    pub(super) body: Body,
}

#[derive(Debug)]
pub(super) enum Body {
    Inline(Source),
    /// In another file, which the attribute `path` may name.
    File(Option<String>),
}

/// One name that a `use` brings into scope.
#[derive(Debug, PartialEq)]
pub(super) struct Use {
    pub(super) path: Vec<String>,
    /// `None` for `*`.
    pub(super) name: Option<String>,
    pub(super) is_reexport: bool,
}

/// Reads a file. Items under `#[cfg(test)]` are left out.
pub(super) fn parse(text: &str) -> Option<Source> {
    let tokens: TokenStream = text.parse().ok()?;
    let mut res = Source::default();
    res.read(&tokens.into_iter().collect::<Vec<_>>(), true);
    Some(res)
}

/// The attributes of an item that matter here.
#[derive(Default)]
struct Attributes {
    is_test: bool,
    path: Option<String>,
}

impl Source {
    /// Reads tokens; `items` tells whether they are a module's own items.
    fn read(&mut self, tokens: &[TokenTree], items: bool) {
        let mut at = 0;
        let mut attributes = Attributes::default();
        while let Some(token) = tokens.get(at) {
            if let Some((content, next)) = attribute(tokens, at) {
                attributes.add(&content);
                at = next;
                if attributes.is_test {
                    at = end_of_item(tokens, at);
                    attributes = Attributes::default();
                }
                continue;
            }
            match token {
                TokenTree::Ident(word) => {
                    at = self.word(tokens, at, &word.to_string(), items, &attributes);
                }
                TokenTree::Group(group) => {
                    self.read(&group.stream().into_iter().collect::<Vec<_>>(), false);
                    at += 1;
                }
                _ => at += 1,
            }
            // Visibility stands between the attributes and the item.
            let is_visibility = matches!(token, TokenTree::Ident(it) if it == "pub")
                || matches!(token, TokenTree::Group(it) if it.delimiter() == Delimiter::Parenthesis);
            if !is_visibility {
                attributes = Attributes::default();
            }
        }
    }

    /// Reads what a word begins, and returns the place after it.
    fn word(
        &mut self,
        tokens: &[TokenTree],
        at: usize,
        word: &str,
        items: bool,
        attributes: &Attributes,
    ) -> usize {
        let next = tokens.get(at + 1);
        match word {
            "mod" if items => return self.module(tokens, at, attributes),
            "use" if !next.is_some_and(|it| is(it, '<')) => {
                let end = (at..tokens.len()).find(|i| is(&tokens[*i], ';')).unwrap_or(tokens.len());
                let is_reexport = is_public(&tokens[..at]);
                self.add_uses(&mut Vec::new(), &tokens[at + 1..end], is_reexport);
                return end + 1;
            }
            "struct" | "enum" | "trait" | "type" | "fn" | "const" | "static" if items => {
                if let Some(TokenTree::Ident(name)) = next {
                    self.defines.insert(name.to_string());
                }
            }
            "macro_rules" if items => {
                if let Some(TokenTree::Ident(name)) = tokens.get(at + 2) {
                    self.defines.insert(name.to_string());
                }
            }
            _ => {}
        }
        let mut path = vec![word.to_owned()];
        let mut end = at + 1;
        while let Some(TokenTree::Ident(name)) = after_colons(tokens, end) {
            path.push(name.to_string());
            end += 3;
        }
        self.names.insert(word.to_owned());
        if path.len() > 1 {
            self.paths.push(path);
        }
        end
    }

    fn module(&mut self, tokens: &[TokenTree], at: usize, attributes: &Attributes) -> usize {
        if let [_, TokenTree::Ident(name), body, ..] = &tokens[at..] {
            let body = if let TokenTree::Group(group) = body {
                let mut inner = Self::default();
                inner.read(&group.stream().into_iter().collect::<Vec<_>>(), true);
                Body::Inline(inner)
            } else {
                Body::File(attributes.path.clone())
            };
            self.children.push(Child { name: name.to_string(), body });
        }
        at + 3
    }

    /// Adds the names of a `use` tree.
    fn add_uses(&mut self, prefix: &mut Vec<String>, tree: &[TokenTree], is_reexport: bool) {
        let before = prefix.len();
        let mut name = None;
        let mut is_leaf = true;
        let mut at = 0;
        while let Some(token) = tree.get(at) {
            match token {
                TokenTree::Ident(word) if word == "as" => {
                    name = tree.get(at + 1).map(ToString::to_string);
                    break;
                }
                TokenTree::Ident(word) => prefix.push(word.to_string()),
                TokenTree::Group(group) => {
                    let inner: Vec<_> = group.stream().into_iter().collect();
                    for part in inner.split(|it| is(it, ',')) {
                        self.add_uses(prefix, part, is_reexport);
                    }
                    is_leaf = false;
                }
                _ if is(token, '*') => {
                    let path = prefix.clone();
                    self.uses.push(Use { path, name: None, is_reexport });
                    is_leaf = false;
                }
                _ => {}
            }
            at += 1;
        }
        if is_leaf && !tree.is_empty() {
            let mut path = prefix.clone();
            // `a::{self}` is `a`.
            if path.len() > 1 && path.last().is_some_and(|it| it == "self") {
                path.pop();
            }
            let name = name.or_else(|| path.last().cloned());
            self.uses.push(Use { path, name, is_reexport });
        }
        prefix.truncate(before);
    }
}

impl Attributes {
    fn add(&mut self, content: &[TokenTree]) {
        match content {
            [TokenTree::Ident(word), TokenTree::Group(group)] if word == "cfg" => {
                let condition = group.stream().to_string();
                self.is_test |=
                    ["test", "all (test", "any (test", "all(test", "any(test"].iter().any(|it| {
                        condition
                            .strip_prefix(it)
                            .is_some_and(|rest| !rest.starts_with(char::is_alphanumeric))
                    });
            }
            [TokenTree::Ident(word), _, TokenTree::Literal(path)] if word == "path" => {
                self.path = Some(path.to_string().trim_matches('"').to_owned());
            }
            _ => {}
        }
    }
}

/// Returns the content of the attribute that begins at a place, and the place after it.
fn attribute(tokens: &[TokenTree], at: usize) -> Option<(Vec<TokenTree>, usize)> {
    tokens.get(at).filter(|it| is(it, '#'))?;
    let inner = tokens.get(at + 1).is_some_and(|it| is(it, '!'));
    let at = at + 1 + usize::from(inner);
    match tokens.get(at) {
        Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Bracket => {
            Some((group.stream().into_iter().collect(), at + 1))
        }
        _ => None,
    }
}

/// Returns the place after the item, field or statement that begins at a place.
fn end_of_item(tokens: &[TokenTree], mut at: usize) -> usize {
    while let Some((_, next)) = attribute(tokens, at) {
        at = next;
    }
    if let Some(TokenTree::Ident(word)) = tokens.get(at)
        && word == "pub"
    {
        at += 1;
        if let Some(TokenTree::Group(group)) = tokens.get(at)
            && group.delimiter() == Delimiter::Parenthesis
        {
            at += 1;
        }
    }
    let first = tokens.get(at).map(ToString::to_string).unwrap_or_default();
    let ends_with_semicolon = ["use", "const", "static", "type", "let"].contains(&first.as_str())
        && !matches!(tokens.get(at + 1), Some(TokenTree::Ident(it)) if it == "fn");
    let is_field = tokens.get(at + 1).is_some_and(|it| is(it, ':'));
    let mut angles = 0_usize;
    for (i, token) in tokens.iter().enumerate().skip(at) {
        let ends = match token {
            TokenTree::Group(group) => {
                group.delimiter() == Delimiter::Brace && !ends_with_semicolon && !is_field
            }
            _ if is(token, '<') => {
                angles += 1;
                false
            }
            _ if is(token, '>') => {
                angles = angles.saturating_sub(1);
                false
            }
            _ => is(token, ';') || is_field && angles == 0 && is(token, ','),
        };
        if ends {
            return i + 1;
        }
    }
    tokens.len()
}

/// Whether a visibility ends there.
fn is_public(before: &[TokenTree]) -> bool {
    let is_pub = |it: &TokenTree| matches!(it, TokenTree::Ident(word) if word == "pub");
    match before {
        [.., word, TokenTree::Group(_)] | [.., word] => is_pub(word),
        [] => false,
    }
}

/// Returns the token after `::`, if that is at the place.
fn after_colons(tokens: &[TokenTree], at: usize) -> Option<&TokenTree> {
    let is_colons = is(tokens.get(at)?, ':') && is(tokens.get(at + 1)?, ':');
    is_colons.then(|| tokens.get(at + 2)).flatten()
}

fn is(token: &TokenTree, sign: char) -> bool {
    matches!(token, TokenTree::Punct(it) if it.as_char() == sign)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uses(text: &str) -> Vec<(String, Option<String>, bool)> {
        let uses = parse(text).unwrap().uses;
        uses.into_iter().map(|it| (it.path.join("::"), it.name, it.is_reexport)).collect()
    }

    #[test]
    fn tree_of_names_is_read() {
        let text = "pub(crate) use self::{a::{self, B as C}, d::*}; use crate::E;";
        let name = |it: &str| Some(it.to_owned());
        assert_eq!(
            uses(text),
            [
                ("self::a".into(), name("a"), true),
                ("self::a::B".into(), name("C"), true),
                ("self::d".into(), None, true),
                ("crate::E".into(), name("E"), false),
            ]
        );
    }

    #[test]
    fn test_items_are_left_out() {
        let text = "\
#[cfg(test)]
use a::B;
#[cfg(all(test, unix))]
/// About it.
pub(crate) fn f<A, B>(x: A) -> c::D { e::F }
#[cfg(test)]
mod tests;
#[cfg(not(test))]
fn g() { h::I }
struct J {
    #[cfg(test)]
    k: Vec<l::M, n::O>,
    p: q::R,
}
";
        let found = parse(text).unwrap();
        assert!(found.uses.is_empty() && found.children.is_empty());
        assert_eq!(found.paths, [["h", "I"], ["q", "R"]]);
        assert!(found.defines.contains("g") && !found.defines.contains("f"));
    }

    #[test]
    fn modules_and_their_files_are_read() {
        let text = "#[path = \"x/a.rs\"]\npub(crate) mod a;\nmod b { use super::C; }\nmod d;";
        let children = parse(text).unwrap().children;
        assert!(matches!(&children[0].body, Body::File(Some(path)) if path == "x/a.rs"));
        assert!(matches!(&children[1].body, Body::Inline(it) if it.uses[0].path == ["super", "C"]));
        assert!(matches!(&children[2].body, Body::File(None)));
    }
}
