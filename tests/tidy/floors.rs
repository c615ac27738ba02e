//! The floors: which module may import from which.

use crate::source::{Finding, Source, Token, crate_files};
use crate::{assert_clean, lines};

/// From the ground up. A module imports from lower floors only, not from its neighbours.
const FLOORS: &[&[&str]] = &[
    &["base"],
    &["sys", "arch"],
    &["stack"],
    &["fiber"],
    &["task"],
    &["driver"],
    &["park"],
    &["blocking"],
    &["sched", "channel", "time", "io", "signal"],
    &["rt", "sync"],
    // Name resolution and files need `blocking`, which is in `rt`.
    &["future", "actor", "net", "fs", "process", "variance"],
];

fn floor_of(module: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&module))
}

/// A path in the code, or one leaf of a `use`, seen from the crate's root.
#[derive(Debug, PartialEq)]
struct Mention {
    line: usize,
    path: Vec<String>,
    /// It stands behind `pub … use`.
    reexport: bool,
    /// It begins with `$crate`, so it is resolved where a macro is used.
    from_macro: bool,
}

/// The path of the module that a file holds: `src/a/mod.rs` is `a`, `src/a/b.rs` is `a::b`.
fn module_of(path: &str) -> Vec<String> {
    let inner = path.strip_prefix("src/").unwrap_or(path).trim_end_matches(".rs");
    let mut module: Vec<String> = inner.split('/').map(str::to_owned).collect();
    if matches!(module.last().map(String::as_str), Some("mod" | "lib")) {
        module.pop();
    }
    module
}

/// What a file mentions of this crate, by `crate::` and `super::`, and by `self::` in a `use`.
fn mentions(source: &Source) -> Vec<Mention> {
    let tokens = source.tokens();
    let text = |at: usize| tokens.get(at).map_or("", |token| token.text);
    let mut module = module_of(&source.path);
    let mut inline_modules = Vec::new(); // the brace depth at which each one opened
    let (mut depth, mut at, mut found) = (0, 0, Vec::new());
    while at < tokens.len() {
        let keyword = text(at);
        let is_path = matches!(keyword, "crate" | "super") && text(at + 1) == "::";
        if keyword == "use" || is_path {
            let before = at.wrapping_sub(1);
            let reexport = keyword == "use" && matches!(text(before), "pub" | ")");
            let from_macro = is_path && text(before) == "$";
            let line = tokens[at].line;
            let mut parser =
                Parser { tokens: &tokens, at: at + usize::from(keyword == "use"), module: &module, leaves: vec![] };
            parser.tree(None);
            at = parser.at;
            let paths = parser.leaves.into_iter().filter(|path| path.first().is_none_or(|first| first != OUTSIDE));
            found.extend(paths.map(|path| Mention { line, path, reexport, from_macro }));
            continue;
        }
        match keyword {
            "mod" if text(at + 2) == "{" => {
                inline_modules.push(depth);
                module.push(text(at + 1).to_owned());
            }
            "{" => depth += 1,
            "}" => {
                depth -= 1;
                if inline_modules.last() == Some(&depth) {
                    inline_modules.pop();
                    module.pop();
                }
            }
            _ => {}
        }
        at += 1;
    }
    found
}

/// Stands for the first part of a path that `crate`, `self` or `super` does not begin. No module has a keyword's name.
const OUTSIDE: &str = "extern";

/// Reads a path or the tree of a `use`.
struct Parser<'a> {
    tokens: &'a [Token<'a>],
    at: usize,
    module: &'a [String],
    leaves: Vec<Vec<String>>,
}

impl Parser<'_> {
    fn text(&self) -> &str {
        self.tokens.get(self.at).map_or("", |token| token.text)
    }

    fn skip(&mut self, text: &str) -> bool {
        let found = self.text() == text;
        self.at += usize::from(found);
        found
    }

    /// One path with what branches off its end. `prefix` is the part before it, none at the start.
    fn tree(&mut self, prefix: Option<Vec<String>>) {
        self.skip("::");
        if self.skip("{") {
            while !self.skip("}") && self.at < self.tokens.len() {
                self.tree(prefix.clone());
                self.skip(",");
            }
            return;
        }
        let segment = self.text().to_owned();
        let is_segment = segment == "*" || segment.starts_with(|c: char| c.is_alphanumeric() || c == '_');
        self.at += 1;
        let path = match (segment.as_str(), prefix) {
            ("crate", _) => vec![],
            ("self", None) => self.module.to_vec(),
            ("super", None) => self.module[..self.module.len().saturating_sub(1)].to_vec(),
            ("super", Some(path)) => path[..path.len().saturating_sub(1)].to_vec(),
            ("self", Some(path)) => path,
            (_, Some(path)) if !is_segment => path,
            (name, Some(path)) => [path, vec![name.to_owned()]].concat(),
            (_, None) => vec![OUTSIDE.to_owned()],
        };
        if is_segment && self.text() == "::" {
            return self.tree(Some(path));
        }
        if self.skip("as") {
            self.at += 1;
        }
        self.leaves.push(path);
    }
}

fn wrong_imports(sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in sources.iter().filter(|source| source.path != "src/lib.rs") {
        let own = module_of(&source.path).swap_remove(0);
        let Some(floor) = floor_of(&own) else {
            findings.push(source.finding(1, format!("the module {own} has no floor")));
            continue;
        };
        for mention in mentions(source) {
            let wrong = match mention.path.first() {
                None => Some("imports the crate's root".to_owned()),
                Some(other) if *other == own => None,
                Some(other) => match floor_of(other) {
                    Some(below) if below < floor => None,
                    Some(above) => Some(format!("{own} (floor {floor}) imports {other} (floor {above})")),
                    None if mention.from_macro => None,
                    None => Some(format!("imports {other}, which has no floor")),
                },
            };
            findings.extend(wrong.map(|what| source.finding(mention.line, what)));
        }
    }
    findings
}

fn wrong_reexports(sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in sources.iter().filter(|source| source.path != "src/lib.rs") {
        let own = module_of(&source.path);
        for mention in mentions(source).iter().filter(|mention| mention.reexport) {
            if !mention.path.starts_with(&own) {
                let what = format!("re-exports {}, which is not its own child", mention.path.join("::"));
                findings.push(source.finding(mention.line, what));
            }
        }
    }
    findings
}

#[test]
fn modules_import_from_lower_floors_only() {
    assert_clean(&wrong_imports(&crate_files()));
}

#[test]
fn only_the_root_reexports_other_modules() {
    assert_clean(&wrong_reexports(&crate_files()));
}

#[test]
fn a_wrong_import_is_found_however_it_is_written() {
    let good = "use crate::base::list::List;\nuse std::sync::Arc;\nuse super::word;\nuse {crate::sys, std::fmt};\n\
                fn f(x: crate::task::T) { crate::park::g() }\nmod m { use super::super::word; use super::super::super::task; }\n\
                // use crate::sched;\npub(crate) fn h() { \"crate::sched\"; $crate::local!() }\n";
    assert_clean(&wrong_imports(&[Source::new("src/park/waiter.rs", good)]));

    let bad = [
        "use crate::sched::Worker;",
        "use crate::{base::list, rt};",
        "use crate::{base::{abort, list}, sync::{Mutex as M, Condvar}};",
        "use super::super::sched;",
        "use super::{word, super::channel::Sender};",
        "use {std::fmt, crate::actor};",
        "fn f() { crate::time::sleep(1) }",
        "fn f(x: super::super::net::Stream) {}",
        "mod tests { use super::super::super::rt; }",
        "use crate::spawn;",
        "use crate::*;",
        "use crate as green;",
        "macro_rules! m { () => { $crate::sched::now() } }",
    ];
    for (index, text) in bad.iter().enumerate() {
        let source = Source::new("src/park/waiter.rs", &format!("\n{text}\n"));
        let findings = wrong_imports(&[source]);
        assert!(
            !findings.is_empty() && lines(&findings).iter().all(|line| *line == 2),
            "{index}: {text}: {findings:?}"
        );
    }
}

#[test]
fn neighbours_on_a_floor_may_not_import_each_other_and_a_new_module_needs_a_floor() {
    let neighbour = Source::new("src/channel/zero.rs", "use crate::channel::raw;\nuse crate::sched::Worker;");
    assert_eq!(lines(&wrong_imports(&[neighbour])), [2]);
    assert_eq!(wrong_imports(&[Source::new("src/util.rs", "")])[0].what, "the module util has no floor");
    assert_eq!(wrong_imports(&[Source::new("src/util/mod.rs", "")]).len(), 1);
}

#[test]
fn a_wrong_reexport_is_found() {
    let good =
        "pub(crate) use self::waiter::Waiter;\npub use word::{A, B};\npub(crate) use std::fmt;\nuse crate::sys;\n";
    assert_clean(&wrong_reexports(&[Source::new("src/park/mod.rs", good)]));
    assert_clean(&wrong_reexports(&[Source::new("src/lib.rs", "pub use crate::rt::spawn;")]));
    let bad = "pub use crate::task::Task;\npub(crate) use super::sys;\npub(in crate::park) use crate::{base::list};\n";
    assert_eq!(lines(&wrong_reexports(&[Source::new("src/park/mod.rs", bad)])), [1, 2, 3]);
    let sibling = Source::new("src/park/waiter.rs", "pub(crate) use super::word::Word;");
    assert_eq!(lines(&wrong_reexports(&[sibling])), [1]);
}
