//! Files that import each other, in a circle: only those that are named here, with a reason.

use std::collections::BTreeMap;

use crate::assert_clean;
use crate::paths::{Mention, mentions, mentions_by_name, module_of};
use crate::source::{Finding, Source, crate_files};

/// A circle that is there: its folder in `src`, what ties it, its files.
type Circle = (&'static str, &'static str, &'static [&'static str]);

/// By folder. A file that is in no circle any more is struck: the list only gets shorter.
const CIRCLES: &[Circle] = &[
    (
        "actor",
        "an address is of an actor, a handler gets a context, a context gives out addresses; glue and handling call handlers",
        &["addr.rs", "context.rs", "glue.rs", "handling.rs", "traits.rs"],
    ),
    ("arch", "a file for each processor, in the terms of the front page", &["aarch64.rs", "mod.rs", "x86_64.rs"]),
    ("channel", "a receiver is iterated, as in std", &["iter.rs", "receiver.rs"]),
    (
        "channel",
        "what is selected may be a claimed waiter, a waiter is told what is selected",
        &["selected.rs", "waiter.rs"],
    ),
    ("fs", "a file is opened by options, as in std, and options open files", &["file.rs", "options.rs"]),
    ("stack", "the front page has the words `Slot` and `Stack`; a stack knows its guard", &["guard.rs", "mod.rs"]),
];

/// The files of the crate as a graph.
struct Graph<'a> {
    sources: Vec<&'a Source>,
    /// By the path of a module: its file.
    files: BTreeMap<Vec<String>, usize>,
    mentions: Vec<Vec<Mention>>,
    /// By a file: those that it imports, and the line of the first import.
    imports: Vec<BTreeMap<usize, usize>>,
}

impl<'a> Graph<'a> {
    fn new(sources: &'a [Source]) -> Self {
        let sources: Vec<&Source> =
            sources.iter().filter(|source| !source.is_test() && source.path != "src/lib.rs").collect();
        let files = sources.iter().enumerate().map(|(index, source)| (module_of(&source.path), index)).collect();
        let of_code = |source: &&Source| {
            let tests = source.test_lines();
            let found = mentions(source).into_iter();
            found.filter(|mention| !tests[mention.line] && !mention.from_macro).collect()
        };
        let mentions = sources.iter().map(of_code).collect();
        let mut graph = Graph { sources, files, mentions, imports: vec![] };
        graph.imports = (0..graph.sources.len()).map(|file| graph.imports_of(file)).collect();
        graph
    }

    /// What the code of a file needs. A `pub use` is a signpost and needs nothing; a file that follows it needs what it
    /// points to.
    fn imports_of(&self, file: usize) -> BTreeMap<usize, usize> {
        let (source, by_use) = (self.sources[file], &self.mentions[file]);
        let tests = source.test_lines();
        let by_name = mentions_by_name(source, by_use);
        let by_name = by_name.iter().filter(|mention| !tests[mention.line]);
        let mut imports = BTreeMap::new();
        for mention in by_use.iter().filter(|mention| !mention.reexport).chain(by_name) {
            if let Some(target) = self.resolve(&mention.path, 0)
                && target != file
            {
                imports.entry(target).or_insert(mention.line);
            }
        }
        imports
    }

    /// The file in which the thing stands that a path names.
    fn resolve(&self, path: &[String], depth: usize) -> Option<usize> {
        let known = |len: usize| self.files.get(&path[..len]).map(|file| (*file, &path[len..]));
        let (file, rest) = (1..=path.len()).rev().find_map(known)?;
        let Some(name) = rest.first() else { return Some(file) };
        let mut reexports = self.mentions[file].iter().filter(|mention| mention.reexport);
        match reexports.find(|mention| mention.name.as_ref() == Some(name)) {
            Some(mention) if depth < 8 => {
                let path = [&mention.path[..], &rest[1..]].concat();
                self.resolve(&path, depth + 1).or(Some(file))
            }
            _ => Some(file),
        }
    }

    /// The files that one file needs, by way of any others.
    fn reach(&self, file: usize) -> Vec<bool> {
        let (mut reached, mut open) = (vec![false; self.sources.len()], vec![file]);
        while let Some(file) = open.pop() {
            for target in self.imports[file].keys() {
                if !std::mem::replace(&mut reached[*target], true) {
                    open.push(*target);
                }
            }
        }
        reached
    }

    /// Sets of files, each of which needs all the others of its set.
    fn circles(&self) -> Vec<Vec<usize>> {
        let reach: Vec<Vec<bool>> = (0..self.sources.len()).map(|file| self.reach(file)).collect();
        let mut circles: Vec<Vec<usize>> = Vec::new();
        for file in 0..self.sources.len() {
            if reach[file][file] && !circles.iter().any(|circle| circle.contains(&file)) {
                circles.push((file..reach.len()).filter(|other| reach[file][*other] && reach[*other][file]).collect());
            }
        }
        circles
    }
}

fn wrong_circles(sources: &[Source], listed: &[Circle]) -> Vec<Finding> {
    let graph = Graph::new(sources);
    let path = |folder: &str, file: &str| format!("src/{folder}/{file}");
    let (mut findings, mut found) = (Vec::new(), Vec::new());
    for circle in graph.circles() {
        let names: Vec<&str> = circle.iter().map(|file| graph.sources[*file].path.as_str()).collect();
        let is_listed = listed
            .iter()
            .any(|(folder, _, files)| names.iter().all(|name| files.iter().any(|file| path(folder, file) == *name)));
        if !is_listed {
            let what = format!("begins a circle: {}", names.join(", "));
            findings.push(graph.sources[circle[0]].finding(0, what));
        }
        for file in circle.iter().filter(|_| !is_listed) {
            let others = graph.imports[*file].iter().filter(|(target, _)| circle.contains(target));
            findings.extend(others.map(|(target, line)| {
                let what = format!("imports {}, and a circle closes", graph.sources[*target].path);
                graph.sources[*file].finding(*line, what)
            }));
        }
        found.extend(names.into_iter().map(str::to_owned));
    }
    for (folder, _, files) in listed {
        let gone = files.iter().map(|file| path(folder, file)).filter(|path| !found.contains(path));
        let what = "is in no circle: strike it from the list in tests/tidy/circles.rs";
        findings.extend(gone.map(|path| Finding { path, line: 0, what: what.to_owned() }));
    }
    findings
}

#[test]
fn files_do_not_import_each_other_in_a_circle() {
    assert_clean(&wrong_circles(&crate_files(), CIRCLES));
}

#[test]
fn a_circle_is_found_however_it_is_closed() {
    let file = Source::new;
    let a = || file("src/x/a.rs", "\nuse crate::x::b::B;\n");
    let front = |text: &str| file("src/x/mod.rs", text);
    let closed = [
        vec![file("src/x/b.rs", "use super::a::A;")],
        vec![file("src/x/b.rs", "fn f() { crate::x::a::f() }")],
        vec![file("src/x/b.rs", "use crate::x;\nfn f() { x::a::f() }")],
        vec![file("src/x/b.rs", "use super::c::C;"), file("src/x/c.rs", "use super::a::A;")],
        // By way of a signpost, and by one that gives another name.
        vec![file("src/x/b.rs", "use super::A;"), front("mod a;\nmod b;\npub use a::A;")],
        vec![file("src/x/b.rs", "use super::Other;"), front("mod a;\nmod b;\npub(crate) use a::{A as Other};")],
        vec![file("src/x/b.rs", "use super::f;"), front("mod a;\nmod b;\nfn f() { a::g() }")],
    ];
    for (index, others) in closed.into_iter().enumerate() {
        let sources: Vec<Source> = others.into_iter().chain([a()]).collect();
        let found = wrong_circles(&sources, &[]);
        assert!(found.iter().any(|finding| finding.path == "src/x/a.rs" && finding.line == 2), "{index}: {found:?}");
    }
    let open = [
        a(),
        file("src/x/b.rs", "// use super::a::A;\n#[cfg(test)]\nmod tests { use crate::x::a::A; use super::*; }"),
        front("mod a;\nmod b;\npub use a::A;\npub use b::B;"),
        file("src/x/c.rs", "use super::{A, B};"),
        file("src/x/tests.rs", "use super::a;"),
    ];
    assert_clean(&wrong_circles(&open, &[]));
}

#[test]
fn a_circle_that_is_listed_is_allowed_until_it_is_gone() {
    let circle = [Source::new("src/x/a.rs", "use super::b::B;"), Source::new("src/x/b.rs", "use super::a::A;")];
    assert_clean(&wrong_circles(&circle, &[("x", "", &["a.rs", "b.rs"])]));
    assert_eq!(wrong_circles(&circle, &[("x", "", &["a.rs", "b.rs", "c.rs"])])[0].path, "src/x/c.rs");
    assert_eq!(wrong_circles(&circle, &[("x", "", &["a.rs"])]).len(), 3, "a list that has not all of it");
    assert_eq!(wrong_circles(&circle[..1], &[("x", "", &["a.rs", "b.rs"])]).len(), 2);
}
