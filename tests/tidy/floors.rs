//! The floors: which module may import from which.

use crate::paths::{mentions, module_of};
use crate::source::{Finding, Source, crate_files};
use crate::{assert_clean, lines};

/// From the ground up. A module imports from lower floors only, not from its neighbours.
const FLOORS: &[&[&str]] = &[
    &["base"],
    &["sys", "arch"],
    &["thread_locals", "flight"],
    &["stack"],
    &["fiber"],
    &["task"],
    &["driver"],
    &["park"],
    &["blocking"],
    &["sched", "channel", "time", "io", "signal"],
    &["dump", "recorder"],
    &["stall"],
    &["rt", "sync"],
    // Name resolution and files need `blocking`, which is in `rt`.
    &["future", "actor", "net", "fs", "process", "variance", "guide", "interposed"],
];

fn floor_of(module: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&module))
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
        let is_lower = |other: &str| floor_of(other).is_some_and(|floor| Some(floor) < floor_of(&own[0]));
        for mention in mentions(source).iter().filter(|mention| mention.reexport) {
            if !mention.path.starts_with(&own) && !mention.path.first().is_some_and(|other| is_lower(other)) {
                let what = format!("re-exports {}, neither its own nor a lower floor's", mention.path.join("::"));
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
fn a_module_reexports_what_is_its_own_or_a_lower_floors() {
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
    let good = "pub(crate) use self::waiter::Waiter;\npub use word::{A, B};\npub(crate) use std::fmt;\nuse crate::sys;\n\
                pub use crate::task::Ticket;\npub(in crate::park) use crate::{base::list};\n";
    assert_clean(&wrong_reexports(&[Source::new("src/park/mod.rs", good)]));
    assert_clean(&wrong_reexports(&[Source::new("src/lib.rs", "pub use crate::rt::spawn;")]));
    let bad = "pub use crate::rt::spawn;\npub(crate) use super::sched;\npub use crate::{base::list, io};\n";
    assert_eq!(lines(&wrong_reexports(&[Source::new("src/park/mod.rs", bad)])), [1, 2, 3]);
    let sibling = Source::new("src/park/waiter.rs", "pub(crate) use super::word::Word;");
    assert_eq!(lines(&wrong_reexports(&[sibling])), [1]);
}
