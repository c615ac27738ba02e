//! Lengths, leftovers, the top level and the manifest.

use std::fs;
use std::path::Path;

use crate::source::{Finding, Source, crate_files, root, text_files};
use crate::{assert_clean, lines};

const FILE_LIMIT: usize = 600;

const TOP_LEVEL: &[&str] = &[
    "Cargo.toml",
    "build.rs",
    "LICENSE",
    "LICENSE-APACHE",
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "clippy.toml",
    "deny.toml",
    "asm",
    "src",
    "tests",
    "benches",
    "examples",
    ".ci/run",
    ".ci/deny",
];

/// What must not be left behind, cut in two so that this file does not find itself.
const LEFTOVERS: &[(&str, &str)] = &[("TO", "DO"), ("FIX", "ME"), ("XX", "X")];

/// The beginnings of paths that exist on one machine only, cut in two likewise.
const MACHINE_PATHS: &[(&str, &str)] = &[("/ro", "ot/"), ("/ho", "me/"), ("/Us", "ers/")];

fn long_files(sources: &[Source]) -> Vec<Finding> {
    let code = sources.iter().filter(|source| source.path.ends_with(".rs") || source.path.ends_with(".s"));
    let lengths = code.map(|source| (source, source.text.lines().count()));
    let long = lengths.filter(|(_, len)| *len > FILE_LIMIT);
    long.map(|(source, len)| source.finding(len, format!("{len} lines, the limit is {FILE_LIMIT}"))).collect()
}

/// Lines that contain one of `needles` as a word of its own.
fn lines_with(sources: &[Source], needles: &[(&str, &str)]) -> Vec<Finding> {
    let needles: Vec<String> = needles.iter().map(|(head, tail)| format!("{head}{tail}")).collect();
    let mut findings = Vec::new();
    for source in sources {
        for (index, line) in source.text.lines().enumerate() {
            for needle in needles.iter().filter(|needle| has_word(line, needle)) {
                findings.push(source.finding(index + 1, format!("{needle:?} has no place here")));
            }
        }
    }
    findings
}

/// Is `needle` in `line`, with no letter or digit running into either end of it?
fn has_word(line: &str, needle: &str) -> bool {
    let joins = |inside: Option<char>, outside: Option<char>| {
        inside.is_some_and(char::is_alphanumeric) && outside.is_some_and(char::is_alphanumeric)
    };
    line.match_indices(needle).any(|(at, _)| {
        let (before, after) = (&line[..at], &line[at + needle.len()..]);
        !joins(needle.chars().next(), before.chars().next_back())
            && !joins(needle.chars().next_back(), after.chars().next())
    })
}

/// Dependencies in a manifest without a comment directly above that says what they are for.
///
/// A table of its own for one target, with one dependency, may carry the comment above its head.
fn dependencies_without_reason(manifest: &Source) -> Vec<Finding> {
    let lines: Vec<&str> = manifest.text.lines().map(str::trim).collect();
    let is_comment = |at: Option<usize>| at.is_some_and(|at| lines[at].starts_with('#'));
    let mut findings = Vec::new();
    let mut table = None;
    for (index, line) in lines.iter().enumerate() {
        let above = index.checked_sub(1);
        if let Some(head) = line.strip_prefix('[') {
            let head = head.trim_end_matches(']');
            table = head.ends_with("dependencies").then_some(index);
            if head.contains("dependencies.") && !is_comment(above) {
                findings.push(manifest.finding(index + 1, format!("no reason above [{head}]")));
            }
        } else if let (Some(table), Some((name, _))) = (table, line.split_once('=')) {
            let is_first = above == Some(table);
            let has_reason = is_comment(above) || (is_first && is_comment(table.checked_sub(1)));
            if !has_reason && !line.starts_with('#') {
                findings.push(manifest.finding(index + 1, format!("no reason above {}", name.trim())));
            }
        }
    }
    findings
}

/// Public types with parameters that have fewer rows in `src/variance.rs` than there are types of that name.
fn types_without_variance(sources: &[Source]) -> Vec<Finding> {
    let rows = sources.iter().find(|source| source.path == "src/variance.rs").map_or("", |source| &source.text);
    let mut findings = Vec::new();
    let mut seen: Vec<&str> = Vec::new();
    for source in sources {
        let tokens = source.tokens();
        for window in tokens.windows(4) {
            let [first, kind, name, open] = window else { continue };
            if first.text != "pub" || !matches!(kind.text, "struct" | "enum" | "union") || open.text != "<" {
                continue;
            }
            seen.push(name.text);
            let so_far = seen.iter().filter(|other| **other == name.text).count();
            if rows.matches(&format!("::{}<", name.text)).count() < so_far {
                findings.push(source.finding(name.line, format!("{} has no row in src/variance.rs", name.text)));
            }
        }
    }
    findings
}

fn missing_from(dir: &Path) -> Vec<&'static str> {
    TOP_LEVEL.iter().copied().filter(|name| !dir.join(name).exists()).collect()
}

#[test]
fn files_are_short() {
    assert_clean(&long_files(&text_files()));
}

#[test]
fn nothing_is_left_to_do_in_the_source() {
    assert_clean(&lines_with(&text_files(), LEFTOVERS));
}

#[test]
fn no_file_knows_the_machine_that_it_was_written_on() {
    assert_clean(&lines_with(&text_files(), MACHINE_PATHS));
}

#[test]
fn the_variance_of_every_public_type_is_decided() {
    assert_clean(&types_without_variance(&crate_files()));
}

#[test]
fn a_public_type_without_its_variance_is_found() {
    let rows = Source::new("src/variance.rs", "a: \"green::x::Has<F>\"");
    let types = Source::new(
        "src/x.rs",
        "pub struct Has<T>(T);\npub(crate) struct Own<T>(T);\npub enum Not<'a> {}\npub struct Has<T>;\n",
    );
    assert_eq!(lines(&types_without_variance(&[rows, types])), [3, 4]);
}

#[test]
fn the_top_level_is_complete() {
    let missing = missing_from(&root());
    assert!(missing.is_empty(), "missing: {missing:?}");
}

#[test]
fn every_dependency_has_its_reason() {
    for path in
        ["Cargo.toml", "benches/Cargo.toml", "benches/peers/Cargo.toml", "examples/Cargo.toml", "green-std/Cargo.toml"]
    {
        let manifest = Source::new(path, &fs::read_to_string(root().join(path)).unwrap());
        assert_clean(&dependencies_without_reason(&manifest));
    }
}

#[test]
fn a_long_file_is_found() {
    assert_clean(&long_files(&[Source::new("src/x.rs", &"\n".repeat(600))]));
    assert_eq!(long_files(&[Source::new("src/x.rs", &"\n".repeat(601))]).len(), 1);
}

#[test]
fn a_leftover_and_a_machine_path_are_found() {
    let good = "let x = \"/home\"; // what is done is done\n";
    assert_clean(&lines_with(&[Source::new("src/x.rs", good)], LEFTOVERS));
    assert_clean(&lines_with(&[Source::new("src/x.rs", good)], MACHINE_PATHS));
    for (head, tail) in LEFTOVERS {
        let inside = Source::new("src/x.rs", &format!("let hex{head}{tail}s = 1;\n"));
        assert_clean(&lines_with(&[inside], LEFTOVERS));
        let source = Source::new("src/x.rs", &format!("\n    // {head}{tail}: later\n"));
        assert_eq!(lines(&lines_with(&[source], LEFTOVERS)), [2], "{head}{tail}");
    }
    for (head, tail) in MACHINE_PATHS {
        let source = Source::new("README.md", &format!("cd {head}{tail}someone\n"));
        assert_eq!(lines(&lines_with(&[source], MACHINE_PATHS)), [1], "{head}{tail}");
    }
}

#[test]
fn a_missing_file_is_found() {
    assert_eq!(missing_from(&root().join("tests")), TOP_LEVEL);
}

#[test]
fn a_dependency_without_a_reason_is_found() {
    let manifest = "[package]\nname = \"x\"\n\n[dependencies]\n# why\na = \"1\"\nb = \"1\"\n\n# why\n\
                    [target.'cfg(unix)'.dependencies]\nc = \"1\"\nd = \"1\"\n\n[dependencies.e]\nversion = \"1\"\n\n\
                    [dev-dependencies]\nf = \"1\"\n";
    assert_eq!(lines(&dependencies_without_reason(&Source::new("Cargo.toml", manifest))), [7, 12, 14, 18]);
}
