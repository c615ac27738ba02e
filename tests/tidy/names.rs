//! What a reader looks up: an example for each public item, and one meaning for each name of a type.

use std::collections::BTreeMap;
use std::fs;

use crate::assert_clean;
use crate::source::{Finding, Source, Token, crate_files, root};

/// Public functions, methods, types, traits and macros without an example, by module: what the macro `select!` alone calls. The numbers
/// only fall: an example that is added lowers its number.
const WITHOUT_EXAMPLE: &[(&str, usize)] = &[("channel", 6), ("dump", 8)];

/// Names that stand in several files because std has them so, or for one thing, which each target has in a file of its own.
const RIGHTLY_SHARED: &[&str] = &[
    "Builder",
    "Cache",
    "Child",
    "Fiber",
    "Incoming",
    "IntoIter",
    "Iter",
    "PerThread",
    "Receiver",
    "Sender",
    "TryIter",
    "Unused",
];

/// Names of types that stand in several files for several things. The list only gets shorter.
const SHARED_NAMES: &[&str] = &[];

/// What is written above a line for the item in it: its documentation and attributes.
fn above(source: &Source, line: usize) -> Vec<&str> {
    let lines: Vec<&str> = source.text.lines().take(line - 1).map(str::trim).collect();
    let starts = ["///", "#[", "$(#[", "\""];
    let is_for_item = |line: &&str| starts.iter().any(|start| line.starts_with(start)) || line.ends_with(")]");
    lines.into_iter().rev().take_while(is_for_item).collect()
}

/// Is it the beginning of a public item that can have an example? Nothing `pub` is out of reach, as rustc sees to.
fn is_public_item(source: &Source, tokens: &[Token<'_>]) -> bool {
    let word = |at: usize| tokens.get(at).map_or("", |token| token.text);
    match word(0) {
        "pub" => {
            let function = (1..4).find(|at| !matches!(word(*at), "const" | "unsafe" | "async"));
            function.is_some_and(|at| word(at) == "fn")
                || matches!(word(1), "struct" | "enum" | "union" | "trait" | "type")
                || word(1) == "unsafe" && word(2) == "trait"
        }
        "macro_rules" => above(source, tokens[0].line).contains(&"#[macro_export]"),
        _ => false,
    }
}

/// Does a line of an item's documentation begin an example, or include a page that has one? What a macro puts there stands where the
/// macro is used.
fn has_example(source: &Source, line: &str) -> bool {
    let page = line.strip_prefix("#[doc = include_str!(\"").and_then(|rest| rest.strip_suffix("\")]"));
    let text = page.map(|page| fs::read_to_string(root().join(&source.path).with_file_name("").join(page)));
    line.contains("```")
        || line.starts_with("$(#[")
        || text.is_some_and(|text| text.unwrap_or_default().contains("```"))
}

/// For each module the public items without an example.
fn without_example(sources: &[Source]) -> BTreeMap<String, Vec<Finding>> {
    let mut found: BTreeMap<String, Vec<Finding>> = BTreeMap::new();
    for source in sources.iter().filter(|source| !source.is_test()) {
        let tests = source.test_lines();
        let tokens = source.tokens();
        for (at, token) in tokens.iter().enumerate().filter(|(_, token)| !tests[token.line]) {
            if !is_public_item(source, &tokens[at..]) {
                continue;
            }
            let above = above(source, token.line);
            if above.iter().any(|line| line.contains("doc(hidden)") || has_example(source, line)) {
                continue;
            }
            let module = source.path.trim_start_matches("src/").trim_end_matches(".rs");
            let module = module.split('/').next().unwrap_or_default().to_owned();
            let text = source.text.lines().nth(token.line - 1).unwrap_or_default().trim();
            found.entry(module).or_default().push(source.finding(token.line, format!("no example: {text}")));
        }
    }
    found
}

/// Where the numbers of a table are not those of the source.
fn wrong_numbers(sources: &[Source], table: &[(&str, usize)]) -> Vec<Finding> {
    let mut found = without_example(sources);
    let mut findings = Vec::new();
    let right: Vec<(String, usize)> = found.iter().map(|(module, items)| (module.clone(), items.len())).collect();
    for (module, limit) in table {
        let items = found.remove(*module).unwrap_or_default();
        if items.len() > *limit {
            findings.extend(items);
        } else if items.len() < *limit {
            let what = format!("{limit} is too high a number of items without an example: it has fallen");
            findings.push(Finding { path: format!("src/{module}"), line: 0, what });
        }
    }
    findings.extend(found.into_values().flatten());
    if !findings.is_empty() {
        let what = format!("the numbers of the source, for WITHOUT_EXAMPLE: {right:?}");
        findings.push(Finding { path: "tests/tidy/names.rs".to_owned(), line: 0, what });
    }
    findings
}

/// The files in which each name of a type is defined: associated types and those of tests are left out.
fn names_of_types(sources: &[Source]) -> BTreeMap<String, Vec<Finding>> {
    let mut found: BTreeMap<String, Vec<Finding>> = BTreeMap::new();
    for source in sources.iter().filter(|source| !source.is_test()) {
        let tests = source.test_lines();
        let (tokens, mut depth) = (source.tokens(), 0);
        for (at, pair) in tokens.windows(2).enumerate() {
            let [keyword, name] = pair else { continue };
            match keyword.text {
                "{" => depth += 1,
                "}" => depth -= 1,
                _ => {}
            }
            let is_name = name.text.starts_with(char::is_uppercase) && !tests[keyword.line];
            let is_type = matches!(keyword.text, "struct" | "enum" | "union" | "trait");
            // `type Slot = other::Slot<u8>` is another's, not another thing.
            let mut rest = tokens[at + 2..].iter().take_while(|token| token.text != ";");
            let is_alias = keyword.text == "type" && depth == 0 && !rest.any(|token| token.text == name.text);
            let is_first = |items: &Vec<Finding>| items.iter().all(|item| item.path != source.path);
            if is_name && (is_type || is_alias) {
                let items = found.entry(name.text.to_owned()).or_default();
                if is_first(items) {
                    items.push(source.finding(keyword.line, format!("one of several things named {}", name.text)));
                }
            }
        }
    }
    found
}

fn wrong_names(sources: &[Source], rightly: &[&str], list: &[&str]) -> Vec<Finding> {
    let is_shared = |name: &str, items: &[Finding]| items.len() > 1 && !rightly.contains(&name);
    let shared: BTreeMap<_, _> =
        names_of_types(sources).into_iter().filter(|(name, items)| is_shared(name, items)).collect();
    let gone = list.iter().filter(|name| !shared.contains_key(**name)).map(|name| Finding {
        path: (*name).to_owned(),
        line: 0,
        what: "means one thing: strike it from the list in tests/tidy/names.rs".to_owned(),
    });
    let gone: Vec<Finding> = gone.collect();
    let new = shared.into_iter().filter(|(name, _)| !list.contains(&name.as_str())).flat_map(|(_, items)| items);
    new.chain(gone).collect()
}

#[test]
fn public_items_have_examples_but_for_so_many() {
    assert_clean(&wrong_numbers(&crate_files(), WITHOUT_EXAMPLE));
}

#[test]
fn the_name_of_a_type_means_one_thing_but_for_those_listed() {
    assert_clean(&wrong_names(&crate_files(), RIGHTLY_SHARED, SHARED_NAMES));
}

#[test]
fn a_public_item_without_an_example_is_found_and_so_is_a_number_that_is_too_high() {
    let text = "/// Does.\n///\n/// ```\n/// f();\n/// ```\n#[must_use]\npub fn f() {}\n\n\
                /// Does not.\npub const fn g() {}\npub(crate) fn h() {}\npub struct S { pub field: u8 }\n\
                #[macro_export]\nmacro_rules! m { () => {} }\nmacro_rules! n { () => {} }\n\
                #[cfg(test)]\nmod tests { pub fn t() {} }\n#[doc(hidden)]\npub enum E {}\npub use x::Y;\n";
    let sources = [Source::new("src/x/y.rs", text), Source::new("src/z.rs", "pub unsafe trait T {}")];
    let found = wrong_numbers(&sources, &[("x", 2)]);
    let places: Vec<_> = found.iter().map(|finding| (finding.path.as_str(), finding.line)).collect();
    let page = ("tests/tidy/names.rs", 0);
    assert_eq!(places, [("src/x/y.rs", 10), ("src/x/y.rs", 12), ("src/x/y.rs", 14), ("src/z.rs", 1), page]);
    assert!(found[4].what.contains("[(\"x\", 3), (\"z\", 1)]"), "{}", found[4].what);
    assert_clean(&wrong_numbers(&sources, &[("x", 3), ("z", 1)]));
    assert_eq!(wrong_numbers(&sources, &[("x", 4), ("z", 1)])[0].path, "src/x");
}

#[test]
fn a_name_with_two_meanings_is_found_and_so_is_one_that_has_no_more_than_one() {
    let sources = [
        Source::new("src/x.rs", "\nstruct Slot;\nimpl I for Slot { type Item = u8; }\ntype Other = u8;\n"),
        Source::new("src/y.rs", "\nmod m {\npub(crate) enum Slot<T> {}\n}\ntype Item = u8;\nfn f() { struct Own; }"),
        Source::new("src/z.rs", "\n#[cfg(test)]\nmod tests { struct Own; }\nunion Other {}\ntype Slot = y::Slot<u8>;"),
    ];
    let found = wrong_names(&sources, &[], &[]);
    let places: Vec<_> = found.iter().map(|finding| (finding.path.as_str(), finding.line)).collect();
    assert_eq!(places, [("src/x.rs", 4), ("src/z.rs", 4), ("src/x.rs", 2), ("src/y.rs", 3)]);
    assert_clean(&wrong_names(&sources, &["Other"], &["Slot"]));
    assert_eq!(wrong_names(&sources, &[], &["Other", "Slot", "Own"])[0].path, "Own");
}
