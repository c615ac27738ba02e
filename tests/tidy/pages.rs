//! What the pages for readers say of the source: a file that they name is there, and what they say stands in it does.

use std::fs;
use std::path::Path;

use crate::source::{Finding, Source, root};
use crate::{assert_clean, lines};

const PAGES: &[&str] = &["ARCHITECTURE.md", "CONTRIBUTING.md", "README.md"];
/// Words in backticks that begin so are paths.
const TREES: &[&str] = &["src/", "asm/", "tests/", "benches/", "examples/", ".ci/"];

/// The words in backticks of a line, in order, each with the text before it.
fn quoted(line: &str) -> impl Iterator<Item = (&str, &str)> {
    let before = line.split('`').step_by(2);
    before.zip(line.split('`').skip(1).step_by(2))
}

/// The file or folder that a word names. `engine/x.rs` is short for one of the actors', and capitals stand for any name.
fn path_of(word: &str) -> Option<String> {
    let word = word.split_whitespace().next()?;
    let known = TREES.iter().any(|tree| word.starts_with(tree));
    let path = if word.starts_with("engine/") { format!("src/actor/{word}") } else { word.to_owned() };
    let is_pattern = path.contains(['*', '<']) || path.contains("ARCH");
    ((known || word.starts_with("engine/")) && !is_pattern).then_some(path)
}

/// Words that name no file, and functions that are not in the file named before them in the same line.
fn wrong_names(page: &Source, dir: &Path) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, line) in page.text.lines().enumerate() {
        let mut file = None;
        for (before, word) in quoted(line) {
            if let Some(path) = path_of(word) {
                if !dir.join(&path).exists() {
                    findings.push(page.finding(index + 1, format!("there is no {path}")));
                }
                file = Some(path).filter(|path| path.ends_with(".rs"));
                continue;
            }
            // Of words that do not follow at once, only those that cannot be prose.
            let is_next = matches!(before.trim(), "" | ",");
            let is_function =
                word.chars().all(|c| c.is_ascii_lowercase() || c == '_') && (is_next || word.contains('_'));
            if let (Some(path), true) = (&file, is_function) {
                let text = fs::read_to_string(dir.join(path)).unwrap_or_default();
                if !text.contains(&format!("fn {word}")) {
                    findings.push(page.finding(index + 1, format!("no function {word} in {path}")));
                }
            }
        }
    }
    findings
}

#[test]
fn the_files_and_functions_that_the_pages_name_are_there() {
    for page in PAGES {
        let text = fs::read_to_string(root().join(page)).unwrap();
        assert_clean(&wrong_names(&Source::new(page, &text), &root()));
    }
}

#[test]
fn a_file_and_a_function_that_are_gone_are_found() {
    let page = "`src/lib.rs` is there, `src/gone.rs` is not\n`src/rt/thread.rs` `spawn_local`, then `no_such_call`\n`asm/ARCH/x.s`\n\
                `src/rt/thread.rs` `fork` and `x`\n";
    assert_eq!(lines(&wrong_names(&Source::new("x.md", page), &root())), [1, 2, 4]);
}

/// The examples' main files that wait for no signal, of those in that folder.
fn without_a_good_end(dir: &Path) -> Vec<String> {
    let manifest = fs::read_to_string(dir.join("Cargo.toml")).unwrap();
    let programs = manifest.split("[[bin]]").skip(1).map(|program| {
        let value = |key: &str| {
            let line = program.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = "));
            line.expect("a program has a name and a path").trim_matches('"').to_owned()
        };
        (value("name"), value("path"))
    });
    let ends_well = |text: &str| text.contains("terminate()") || text.contains("mod serve;");
    let others = programs.filter(|(_, path)| !ends_well(&fs::read_to_string(dir.join(path)).unwrap()));
    others.map(|(name, _)| name).collect()
}

#[test]
fn every_example_stops_in_good_order_or_readme_says_that_it_does_not() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let line = readme.lines().find(|line| line.starts_with("Ctrl-c and SIGTERM stop them in good order. Only "));
    let mut named: Vec<_> = quoted(line.expect("README says it")).map(|(_, name)| name.to_owned()).collect();
    let mut others = without_a_good_end(&root().join("examples"));
    named.sort();
    others.sort();
    assert_eq!(named, others);
}
