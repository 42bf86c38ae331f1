//! Compiler messages for wrong uses of `#[cached]`.

use crate::refused;

#[test]
fn method_without_a_key_is_refused() {
    refused(
        "struct S; impl S { #[cached] fn f(&self, id: u32) -> u32 { id } }",
        &["a method needs a `key`", "`self` is not part of the key"],
    );
}

#[test]
fn unknown_attribute_is_refused_with_ours() {
    refused(
        "#[cached(time = 60)] fn f() -> u32 { 1 }",
        &["unknown attribute `time`", "ttl = \"5m\""],
    );
    refused("#[cached(size = 9)] fn f() -> u32 { 1 }", &["max_entries"]);
    refused("#[cached(sync_writes)] fn f() -> u32 { 1 }", &["the others wait for it"]);
    refused("#[cached(odd)] fn f() -> u32 { 1 }", &["unknown attribute `odd`", "cache_none"]);
    refused("#[cached(ttl = \"1m\", ttl = \"2m\")] fn f() -> u32 { 1 }", &["`ttl` is given twice"]);
    refused("#[cached(fenced, fenced)] fn f() -> u32 { 1 }", &["`fenced` is given twice"]);
}

#[test]
fn attribute_of_another_cache_is_refused_with_ours() {
    for (other, ours) in [
        ("timeout", "write `ttl = \"5m\"`"),
        ("expire", "write `ttl = \"5m\"`"),
        ("time_to_live", "write `ttl = \"5m\"`"),
        ("maxsize", "the size is a setting of the cache"),
        ("max_size", "the size is a setting of the cache"),
        ("convert", "write `key = \"user:{id}\"`"),
        ("result", "only `Ok` is kept, unless there is `cache_err`"),
        ("option", "only `Some` is kept, unless there is `cache_none`"),
        ("key_prefix", "write `namespace = \"users\"`"),
        ("unless", "write `if = |value| …`"),
        ("condition", "write `if = |value| …`"),
        ("result_fallback", "write `grace = \"1h\"`"),
    ] {
        let unknown = format!("unknown attribute `{other}`");
        refused(&format!("#[cached({other} = 1)] fn f() -> u32 {{ 1 }}"), &[&unknown, ours]);
    }
}

#[test]
fn value_of_another_kind_is_refused_with_the_right_one() {
    for (options, text) in [
        ("skip", "expected the names of arguments: `skip(password, db)`"),
        ("skip = id", "expected the names of arguments: `skip(password, db)`"),
        ("skip(\"id\")", "expected identifier"),
        ("key = 1", "expected a text: `key = \"…\"`"),
        ("cache = default", "expected a text: `cache = \"…\"`"),
        ("name = 1", "expected a text: `name = \"…\"`"),
        ("namespace = 1", "expected a text: `namespace = \"…\"`"),
        ("cache = \"\"", "`cache` is empty"),
        ("name = \"\"", "`name` is empty"),
        ("namespace = \"\"", "`namespace` is empty"),
        ("key", "expected a value: `key = …`"),
        ("if", "expected a value: `if = …`"),
        ("jitter", "expected a value: `jitter = …`"),
        ("version", "expected a value: `version = …`"),
        ("crate", "expected a value: `crate = …`"),
        ("version = \"2\"", "expected integer literal"),
        ("version = 9223372036854775808", "number too large"),
        ("tags", "expected a value: `tags = …`"),
        ("tags = \"a\"", "expected square brackets"),
        ("tags = [1]", "expected string literal"),
        ("tags = [\"\"]", "a tag is empty"),
        ("fenced = 1", "expected boolean literal"),
        ("cache_err = \"yes\"", "expected boolean literal"),
        ("crate = 1", "expected identifier"),
        ("crate = \"not a path\"", "unexpected token"),
        ("ttl = \"1m\" fenced", "expected `,`"),
        ("\"ttl\"", "expected ident"),
    ] {
        refused(&format!("#[cached({options})] fn f(id: u32) -> u32 {{ id }}"), &[text]);
    }
}

#[test]
fn time_without_a_unit_is_refused() {
    refused("#[cached(ttl = 60)] fn f() -> u32 { 1 }", &["ttl = \"60s\""]);
    refused("#[cached(ttl = \"60\")] fn f() -> u32 { 1 }", &["a duration with a unit"]);
    refused("#[cached(ttl = \"0s\")] fn f() -> u32 { 1 }", &["nothing is kept"]);
    refused("#[cached(ttl)] fn f() -> u32 { 1 }", &["expected a value: `ttl = "]);
    refused("#[cached(ttl = true)] fn f() -> u32 { 1 }", &["a number has no unit", "ttl"]);
    refused("#[cached(grace = 60)] fn f() -> u32 { 1 }", &["grace = \"60s\""]);
    refused("#[cached(grace = \"never\")] fn f() -> u32 { 1 }", &["a duration with a unit"]);
    refused("#[cached(ttl = \"99999999999999999w\")] fn f() -> u32 { 1 }", &["with a unit"]);
}

#[test]
fn name_that_is_not_an_argument_is_refused_with_the_arguments() {
    let texts = ["`ip` is not an argument", "`id`, `name`"];
    refused("#[cached(key = \"{ip}\")] fn f(id: u32, name: &str) -> u32 { id }", &texts);
    refused("#[cached(tags = [\"{ip}\"])] fn f(id: u32, name: &str) -> u32 { id }", &texts);
    refused("#[cached(skip(ip))] fn f(id: u32, name: &str) -> u32 { id }", &texts);
    refused(
        "#[cached(key = \"{self.id}\")] fn f(id: u32, name: &str) -> u32 { id }",
        &["`self` is not"],
    );
    refused("#[cached(key = \"{id + 1}\")] fn f(id: u32) -> u32 { id }", &["is not an argument"]);
    refused("#[cached(key = \"{a::b}\")] fn f(id: u32) -> u32 { id }", &["is not an argument"]);
    refused(
        "#[cached(key = \"{id.get(1)}\")] fn f(id: u32) -> u32 { id }",
        &["`{id.get(1)}` is not an argument", "a method without arguments"],
    );
    for text in ["{}", "{1 +}"] {
        refused(
            &format!("#[cached(key = \"a:{text}\")] fn f(id: u32) -> u32 {{ id }}"),
            &[&format!("expected the name of an argument or a field in `{text}`")],
        );
    }
    for text in ["{id", "id}", "{{id}"] {
        refused(
            &format!("#[cached(key = \"{text}\")] fn f(id: u32) -> u32 {{ id }}"),
            &["a brace is not closed; a brace in the text is `{{`"],
        );
    }
    refused("#[cached(skip(a))] fn f() -> u32 { 1 }", &["its arguments are none with a name"]);
    refused(
        "#[cached(key = \"{id}\", skip(id))] fn f(id: u32) -> u32 { id }",
        &["named in `key` and skipped"],
    );
}

#[test]
fn key_that_two_calls_could_share_is_refused() {
    let function = "fn f(a: u32, b: u32) -> u32 { a + b }";
    let texts = ["different arguments could have the same key", "`:`"];
    refused(&format!("#[cached(key = \"{{a}}{{b}}\")] {function}"), &texts);
    refused(&format!("#[cached(key = \"{{a}}-{{b}}\")] {function}"), &texts);
    refused(&format!("#[cached(key = \"a b\")] {function}"), &["a key has no spaces"]);
    refused(&format!("#[cached(key = \"a#{{a}}\")] {function}"), &["before the digest"]);
    refused(&format!("#[cached(key = \"a\\n\")] {function}"), &["control characters"]);
    refused(&format!("#[cached(key = \"\")] {function}"), &["`key` is empty"]);
}

#[test]
fn argument_that_a_key_cannot_contain_is_refused_with_the_ways_out() {
    refused("struct Db; #[cached] fn f(db: &Db) -> u32 { 1 }", &["Db", "Serialize", "skip("]);
    refused("#[cached] fn f(it: impl ToString) -> u32 { 1 }", &["write a type parameter"]);
}

#[test]
fn result_that_a_cache_cannot_keep_is_refused() {
    refused("#[cached] fn f(a: &str) -> &str { a }", &["a cached result owns its data"]);
    refused(
        "#[cached] fn f<'a>(a: &'a str) -> std::borrow::Cow<'a, str> { a.into() }",
        &["owns its data"],
    );
    refused("#[cached] fn f() -> impl ToString { 1 }", &["a type with a name"]);
    refused("#[cached] fn f() {}", &["nothing to cache"]);
    refused("#[cached] async fn f() -> () {}", &["nothing to cache"]);
    refused("struct S; #[cached] fn f() -> S { S }", &["S", "Serialize"]);
}

#[test]
fn alias_that_hides_a_result_or_an_option_is_refused() {
    let texts = ["does not see that this type is"];
    refused("type Answer = Option<u32>; #[cached] fn f() -> Answer { None }", &texts);
    refused("type Answer = Result<u32>; #[cached] fn f() -> Answer { Ok(1) }", &texts);
    refused(
        "type FoundResult = Result<Option<u32>>; #[cached] fn f() -> FoundResult { Ok(None) }",
        &["does not see the `Option`"],
    );
}

#[test]
fn flag_without_a_matching_result_is_refused() {
    refused(
        "#[cached(cache_err)] fn f() -> Option<u32> { None }",
        &["functions that return `Result`"],
    );
    refused("#[cached(cache_none)] fn f() -> Result<u32> { Ok(1) }", &["return `Option` or"]);
    refused(
        "#[cached(cache_err)] fn f() -> Result<u32, std::io::Error> { Ok(1) }",
        &["Error", "Serialize"],
    );
}

#[test]
fn borrowed_argument_of_a_function_with_a_grace_is_refused() {
    let texts = ["owns its arguments", "`String` instead of `&str`"];
    refused("#[cached(grace = \"1h\")] async fn f(a: &str) -> u32 { 1 }", &texts);
    refused("#[cached(jitter = 0.2)] async fn f(a: &str) -> u32 { 1 }", &texts);
    refused("#[cached(fenced)] async fn f(a: &'a str) -> u32 { 1 }", &texts);
    refused(
        "struct S; impl S { #[cached(grace = \"1h\", key = \"a\")] async fn f(&self) -> u32 { 1 } }",
        &["self: Arc<Self>"],
    );
}

#[test]
fn function_of_another_kind_is_refused() {
    refused("#[cached] const fn f() -> u32 { 1 }", &["remove `const`"]);
    refused("#[cached] unsafe fn f() -> u32 { 1 }", &["write a safe function"]);
    refused("#[cached] extern \"C\" fn f() -> u32 { 1 }", &["`extern fn`"]);
    refused("#[cached] struct S;", &["expected `fn`"]);
}

#[test]
fn name_of_the_function_and_of_a_type_or_module_beside_it_are_refused() {
    refused("#[cached] fn f() -> u32 { 1 } struct f;", &["the name `f` is defined multiple times"]);
}

#[test]
fn function_in_an_impl_block_that_nothing_shows_is_refused() {
    // Types cannot be declared there, and `in_impl` is the way out.
    refused(
        "struct S; impl S { #[cached] fn f(id: u32) -> u32 { id } }",
        &["enum is not supported in `trait`s or `impl`s"],
    );
}
