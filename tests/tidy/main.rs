//! Holds the source against the rules of the project.
//!
//! | file          | rules                                                                                     |
//! | ------------- | ----------------------------------------------------------------------------------------- |
//! | `floors.rs`   | a module imports only from lower floors, and re-exports only its own and lower floors'    |
//! | `circles.rs`  | files import each other in a circle only where a list says so, with a reason              |
//! | `names.rs`    | public items have examples, the name of a type means one thing: exceptions get only fewer  |
//! | `unsafety.rs` | where `unsafe`, `libc`, assembly may be; what stands above a memory ordering              |
//! | `pages.rs`    | the files and functions that the pages for readers name are there                         |
//! | `counts.rs`   | the numbers that the page on migration has are those of its programs                      |
//! | `shape.rs`    | lengths, leftovers, the top level, a reason for each dependency, no path of one machine   |
//!
//! What clippy finds is left to clippy (`[workspace.lints]` in `Cargo.toml`). `paths.rs` and `source.rs` read the source, of
//! the files that git has.
//!
//! Each rule is a function from sources to findings. It has two tests: one shows that it finds what is wrong in a bad
//! fixture, the other that it finds nothing in this repository.

#![cfg(not(miri))]

mod circles;
mod counts;
mod floors;
mod names;
mod pages;
mod paths;
mod shape;
mod source;
mod unsafety;

use source::Finding;

/// Fails with one line for each finding.
#[track_caller]
fn assert_clean(findings: &[Finding]) {
    let lines: Vec<String> = findings.iter().map(ToString::to_string).collect();
    assert!(findings.is_empty(), "{} findings:\n{}", lines.len(), lines.join("\n"));
}

/// The lines of the findings, for a comparison with those that are wrong in a fixture.
fn lines(findings: &[Finding]) -> Vec<usize> {
    findings.iter().map(|finding| finding.line).collect()
}
