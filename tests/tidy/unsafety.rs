//! Where dangerous code may be, and the comment that a memory ordering owes. That each `unsafe` has its `SAFETY` is for clippy.

use crate::source::{Finding, Source, crate_files, text_files};
use crate::{assert_clean, lines};

/// What holds a lock or a once of std's across a fork all the same: std has one lock for the panic hook itself.
const MAY_BREAK_AT_A_FORK: &[&str] = &["src/rt/hook.rs"];

/// Where `unsafe` may be written in `src`: whole modules end in `/`. Tests are free.
const MAY_BE_UNSAFE: &[&str] = &[
    "src/base/latest.rs",
    "src/base/list.rs",
    "src/base/spin.rs",
    "src/sys/",
    "src/arch/",
    "src/thread_locals/",
    "src/stack/",
    "src/fiber/",
    "src/flight/ring.rs",
    "src/flight/ticks.rs",
    "src/task/",
    "src/driver/slot.rs",
    "src/park/",
    "src/blocking/call.rs",
    "src/rt/",
    "src/sched/",
    "src/channel/buffer.rs",
    "src/channel/ops.rs",
    "src/channel/queue.rs",
    "src/channel/selector.rs",
    "src/channel/selected.rs",
    "src/channel/waiter.rs",
    "src/channel/word.rs",
    "src/channel/zero.rs",
    "src/sync/",
    "src/interposed/futex.rs",
    "src/net/convert.rs",
    "src/actor/engine/alone.rs",
    "src/actor/engine/ask.rs",
    "src/actor/engine/cell.rs",
    "src/actor/engine/envelope.rs",
    "src/actor/engine/call.rs",
    "src/actor/engine/weak.rs",
    "src/actor/glue.rs",
    "src/actor/handling.rs",
    "src/actor/returned.rs",
];

/// `// ORDERING:` stands at most this many lines above the ordering that it is for.
const ORDERING_REACH: usize = 12;

fn is_allowed(path: &str, list: &[&str]) -> bool {
    list.iter().any(|entry| path == *entry || (entry.ends_with('/') && path.starts_with(entry)))
}

/// The tokens outside tests, as texts with their lines.
fn words(source: &Source) -> Vec<(usize, &str)> {
    let tests = source.test_lines();
    source.tokens().iter().filter(|token| !tests[token.line]).map(|token| (token.line, token.text)).collect()
}

fn unsafe_outside(sources: &[Source], list: &[&str]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut used = vec![false; list.len()];
    for source in sources {
        let Some((line, _)) = words(source).into_iter().find(|(_, word)| *word == "unsafe") else { continue };
        if !is_allowed(&source.path, list) {
            findings.push(source.finding(line, "unsafe is not allowed in this file"));
        }
        list.iter().zip(&mut used).for_each(|(entry, used)| *used |= is_allowed(&source.path, &[entry]));
    }
    for (entry, _) in list.iter().zip(used).filter(|(_, used)| !used) {
        let what = "may be unsafe and is not: strike it from the list".to_owned();
        findings.push(Finding { path: (*entry).to_owned(), line: 0, what });
    }
    findings
}

/// Is `ORDERING` in a comment on line `line` or a little above?
fn is_marked(source: &Source, line: usize) -> bool {
    let above = source.text.lines().zip(source.code.lines()).take(line).skip(line.saturating_sub(ORDERING_REACH + 1));
    above.into_iter().any(|(text, code)| text.contains("ORDERING") && !code.contains("ORDERING"))
}

fn ordering_without_reason(sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in sources {
        let words = words(source);
        for triple in words.windows(3).filter(|triple| triple[0].1 == "Ordering" && triple[1].1 == "::") {
            let (line, ordering) = triple[2];
            match ordering {
                "Acquire" | "Release" | "AcqRel" | "SeqCst" if is_marked(source, line) => {}
                "Acquire" | "Release" | "AcqRel" | "SeqCst" => {
                    findings.push(source.finding(line, format!("no ORDERING comment above {ordering}")));
                }
                "{" | "*" => findings.push(source.finding(line, "orderings are written with their type")),
                _ => {}
            }
        }
    }
    findings
}

/// The crate `libc` outside `sys`.
fn libc_outside(sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in sources.iter().filter(|source| !source.path.starts_with("src/sys/")) {
        let lines = words(source).into_iter().filter(|(_, word)| *word == "libc");
        findings.extend(lines.map(|(line, _)| source.finding(line, "libc is for src/sys")));
    }
    findings
}

/// Inline assembly outside `arch`.
fn assembly_outside(sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in sources.iter().filter(|source| !source.path.starts_with("src/arch/")) {
        for pair in words(source).windows(2) {
            if matches!(pair[0].1, "asm" | "global_asm" | "naked_asm") && pair[1].1 == "!" {
                findings.push(source.finding(pair[0].0, "assembly is for src/arch"));
            }
        }
    }
    findings
}

/// Statics that a fork may find half made or locked, for ever: a child has them for itself, or makes them anew (`sys::fork`).
fn statics_that_a_fork_breaks(sources: &[Source]) -> Vec<Finding> {
    const BREAK: &[&str] = &["OnceLock", "LazyLock", "Once", "Mutex", "RwLock", "Lock"];
    let mut findings = Vec::new();
    for source in sources.iter().filter(|source| !MAY_BREAK_AT_A_FORK.contains(&&*source.path)) {
        let words = words(source);
        let begins =
            |index: &usize| words[*index].1 == "static" && words.get(index + 2).is_some_and(|word| word.1 == ":");
        for start in (0..words.len()).filter(begins) {
            let kind = words[start + 3..].iter();
            let path = kind.take_while(|(_, word)| *word != "<" && *word != "=").find(|(_, word)| BREAK.contains(word));
            findings
                .extend(path.map(|(line, word)| source.finding(*line, format!("a fork may break a static {word}"))));
        }
    }
    findings
}

/// Locks that are made where they are used: who finds one taken waits for what may be in a parent of this process, or blocks. `base::spin` has the one that is thought through.
fn spins_of_their_own(sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in sources.iter().filter(|source| source.path != "src/base/spin.rs") {
        let words = words(source);
        for (start, _) in words.iter().enumerate().filter(|(_, (_, word))| *word == "while") {
            let head = words[start..].iter().take_while(|(_, word)| *word != "{").map(|(_, word)| *word);
            let head: Vec<_> = head.collect();
            if head.windows(3).any(|call| matches!(call, ["swap", "(", "1" | "true"])) {
                findings.push(source.finding(words[start].0, "a loop that takes a lock: base::spin has one"));
            }
        }
    }
    findings
}

/// Those of the crate, and of green-std.
fn all_crate_files() -> Vec<Source> {
    let of_green_std = |file: &Source| file.path.starts_with("green-std/src/") && file.path.ends_with(".rs");
    let mut sources = crate_files();
    sources.extend(text_files().into_iter().filter(of_green_std));
    assert!(sources.iter().any(of_green_std), "looked in the wrong place");
    sources
}

#[test]
fn no_static_is_left_half_made_in_a_child_of_fork() {
    assert_clean(&statics_that_a_fork_breaks(&all_crate_files()));
}

#[test]
fn nobody_spins_for_a_lock_but_base_spin() {
    assert_clean(&spins_of_their_own(&all_crate_files()));
}

#[test]
fn a_spin_of_its_own_is_found() {
    let bad = "fn f() {\n while taken.swap(1, Ordering::Acquire) != 0 {\n g();\n }\n\n while self.taken.swap(true, Ordering::Acquire) {}\n}";
    assert_eq!(lines(&spins_of_their_own(&[Source::new("green-std/src/x.rs", bad)])), [2, 6]);
    assert_clean(&spins_of_their_own(&[Source::new("src/base/spin.rs", bad)]));
    let good = "fn f() {\n while x.load(Ordering::Relaxed) == 1 { y.swap(1, Ordering::Relaxed); }\n}";
    assert_clean(&spins_of_their_own(&[Source::new("src/rt/x.rs", good)]));
}

#[test]
fn a_static_that_a_fork_breaks_is_found() {
    let bad = "static A: OnceLock<u8> = OnceLock::new();\nfn f() {\n static B: [std::sync::Mutex<u8>; 2] = x;\n}\npub(crate) static C: Once = y;";
    assert_eq!(lines(&statics_that_a_fork_breaks(&[Source::new("src/rt/x.rs", bad)])), [1, 3, 5]);
    let good = "static A: PerProcess<Lock<u8>> = PerProcess::new(|| Lock::new(0));\nstatic B: ForkSafeOnce<u8> = x;\nfn f(lock: Lock<u8>) -> &'static Lock<u8> {}";
    assert_clean(&statics_that_a_fork_breaks(&[Source::new("src/rt/x.rs", good)]));
}

#[test]
fn unsafe_is_only_where_it_must_be() {
    assert_clean(&unsafe_outside(&crate_files(), MAY_BE_UNSAFE));
}

#[test]
fn every_ordering_has_its_reason() {
    assert_clean(&ordering_without_reason(&crate_files()));
}

#[test]
fn libc_is_only_in_sys() {
    assert_clean(&libc_outside(&crate_files()));
}

#[test]
fn assembly_is_only_in_arch() {
    assert_clean(&assembly_outside(&crate_files()));
}

#[test]
fn unsafe_in_a_wrong_place_is_found() {
    let list = &["src/sys/", "src/base/list.rs"];
    let good = [
        Source::new("src/sys/mem.rs", "unsafe { f() }"),
        Source::new("src/base/list.rs", "unsafe { f() }"),
        Source::new(
            "src/rt/mod.rs",
            "#![forbid(unsafe_code)] // no unsafe here\n#[cfg(test)]\nmod tests { unsafe fn g() {} }",
        ),
        Source::new("src/rt/tests.rs", "unsafe { f() }"),
    ];
    assert_clean(&unsafe_outside(&good, list));
    let bad =
        [Source::new("src/base/abort.rs", "\nunsafe impl Send for X {}"), Source::new("src/sys/x.rs", "unsafe {}")];
    let found = unsafe_outside(&bad, list);
    assert_eq!(lines(&found), [2, 0]);
    assert_eq!((found[0].path.as_str(), found[1].path.as_str()), ("src/base/abort.rs", "src/base/list.rs"));
}

#[test]
fn an_ordering_without_a_reason_is_found() {
    let good = "x.load(Ordering::Relaxed);\n// ORDERING: pairs with y\nx.load(Ordering::Acquire);\na.cmp(b) == Ordering::Less\n";
    assert_clean(&ordering_without_reason(&[Source::new("src/park/x.rs", good)]));
    for bad in [
        "x.store(1, Ordering::Release)",
        "fence(atomic::Ordering::SeqCst)",
        "use Ordering::*;",
        "use Ordering::{AcqRel};",
    ] {
        assert_eq!(lines(&ordering_without_reason(&[Source::new("src/park/x.rs", bad)])), [1], "{bad}");
    }
    assert_clean(&ordering_without_reason(&[Source::new("src/park/tests.rs", "x.store(1, Ordering::Release)")]));
}

#[test]
fn libc_and_assembly_in_a_wrong_place_are_found() {
    let text = "use libc::c_int;\n// libc::mmap\nlet x = libc::getpid();\n#[cfg(test)]\nmod tests { use libc::x; }\n";
    assert_eq!(lines(&libc_outside(&[Source::new("src/stack/x.rs", text)])), [1, 3]);
    assert_clean(&libc_outside(&[Source::new("src/sys/x.rs", text)]));
    let text = "core::arch::asm!(\"nop\");\n\nglobal_asm!(\"nop\");\nfn asm() {}\n";
    assert_eq!(lines(&assembly_outside(&[Source::new("src/fiber/x.rs", text)])), [1, 3]);
    assert_clean(&assembly_outside(&[Source::new("src/arch/x.rs", text)]));
}
