//! What the compiler says of a program that is wrong. Its text is the same on each architecture, and the compiler is here for one: so x86_64 only.
#![cfg(all(target_arch = "x86_64", target_os = "linux"))]
#![allow(missing_docs)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;
use std::{env, fs};

/// The library as it was built for this test, or a later one: any has the same public interface.
fn library(deps: &Path) -> PathBuf {
    let is_library = |path: &PathBuf| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("libgreen-"))
            && path.extension().is_some_and(|extension| extension == "rlib")
    };
    let built_at =
        |path: &PathBuf| fs::metadata(path).and_then(|data| data.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
    let paths = fs::read_dir(deps).unwrap().map(|entry| entry.unwrap().path());
    paths.filter(is_library).max_by_key(built_at).expect("cargo has built the library beside this test")
}

/// Checks a program, and returns what the compiler says; it has to refuse.
fn refused(name: &str, program: &str) -> String {
    let (is_refused, said) = compiled(name, program, "metadata");
    assert!(is_refused, "it compiles:\n{program}");
    said
}

/// Compiles a program to what `emit` names; whether the compiler refuses, and what it says. Constants of generic code are computed where
/// that is compiled for a type: for `obj`, not for `metadata`.
fn compiled(name: &str, program: &str, emit: &str) -> (bool, String) {
    let exe = env::current_exe().unwrap();
    let deps = exe.parent().unwrap();
    let source = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.rs"));
    fs::write(&source, program).unwrap();
    let output = Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
        .args(["--edition=2024", "--crate-type=lib", "--color=never", "--emit", emit, "-o"])
        .arg(source.with_extension(emit))
        .arg("--extern")
        .arg(format!("green={}", library(deps).display()))
        .arg("-L")
        .arg(format!("dependency={}", deps.display()))
        .arg(&source)
        .output()
        .unwrap();
    (!output.status.success(), String::from_utf8(output.stderr).unwrap())
}

const ACTOR: &str = "
    use green::actor::{Actor, Addr, Message};
    pub struct Till;
    impl Actor for Till {}
    pub struct Refund(pub u32);
    impl Message for Refund { type Reply = u32; }
    pub struct Add(pub u32);
    impl Message for Add { type Reply = u32; }
";

/// What else the actor takes: one message, for which the compiler could take the one that it gets, or one whose reply it gives by hand.
const HANDLERS: [&str; 3] = [
    "",
    "impl green::actor::Handler<Add> for Till {
        fn handle(&mut self, msg: Add, _: &mut green::actor::Context<Self>) -> u32 { msg.0 }
    }",
    "impl green::actor::Receives<Add> for Till {
        fn receive(&mut self, _: Add, _: green::actor::Deferred<u32>, _: &mut green::actor::Context<Self>) {}
    }",
];

#[test]
fn a_missing_handler_is_told_with_the_message_and_the_actor() {
    for (number, handlers) in HANDLERS.into_iter().enumerate() {
        for call in ["tell", "send", "call"] {
            let program =
                format!("{ACTOR} {handlers} pub fn refund(till: Addr<Till>) {{ till.{call}(Refund(1)).ok(); }}");
            let said = refused(&format!("missing_{call}_{number}"), &program);
            for text in [
                "error[E0277]: actors of type `Till` do not handle messages of type `Refund`",
                "`Till` has no `Handler<Refund>`",
                "write `impl Handler<Refund> for Till`, or the message in `messages! { impl Till { .. } }`",
            ] {
                assert!(said.contains(text), "{call}: {text:?} is not in\n{said}");
            }
        }
    }
}

/// A state machine, and what else it takes.
const MACHINE: &str = "
    use green::actor::{Context, Machine, On, StateMachine, Step};
    pub struct Turnstile;
    impl StateMachine for Turnstile {
        type State = bool;
        fn timed_out(&mut self, open: &bool, _: &mut Context<Machine<Self>>) -> bool { *open }
    }
    impl On<Add> for Turnstile {
        fn on(&mut self, _: &bool, msg: Add, _: &mut Context<Machine<Self>>) -> Step<bool, Add> { Step::Stay(msg.0) }
    }
";

#[test]
fn what_a_state_machine_does_not_handle_is_told_as_a_missing_on() {
    for (number, machine) in [MACHINE, MACHINE.split_once("impl On").unwrap().0].into_iter().enumerate() {
        let refund = "pub fn refund(turnstile: Addr<Machine<Turnstile>>) { turnstile.tell(Refund(1)).ok(); }";
        let said = refused(&format!("missing_on_{number}"), &format!("{ACTOR} {machine} {refund}"));
        for text in [
            "error[E0277]: state machines of type `Turnstile` do not handle messages of type `Refund`",
            "`Turnstile` has no `On<Refund>`",
            "write `impl On<Refund> for Turnstile`",
        ] {
            assert!(said.contains(text), "{text:?} is not in\n{said}");
        }
        assert!(!said.contains("is not satisfied"), "{said}");
    }
}

#[test]
fn what_a_pool_cannot_hand_on_is_told_as_a_missing_handler_of_its_workers_or_as_a_missing_key() {
    let handler = "impl green::actor::Handler<Refund> for Till {
        fn handle(&mut self, msg: Refund, _: &mut green::actor::Context<Self>) -> u32 { msg.0 }
    }";
    let keyed = "impl green::actor::Keyed for Refund { type Key = u32; fn key(&self) -> u32 { self.0 } }";
    let no_handler = [
        "error[E0277]: actors of type `Till` do not handle messages of type `Refund`",
        "`Till` has no `Handler<Refund>`",
        "write `impl Handler<Refund> for Till`, or the message in `messages! { impl Till { .. } }`",
    ];
    let no_key = [
        "error[E0277]: messages of type `Refund` have no key",
        "`Refund` is not `Keyed`",
        "write `impl Keyed for Refund`, or take a pool with one queue: `Pool::shared`",
    ];
    for (name, pool, has, told) in [
        ("shared", "Pool<Till>", "", no_handler),
        ("by_key", "Pool<Till, ByKey>", keyed, no_handler),
        ("no_key", "Pool<Till, ByKey>", handler, no_key),
    ] {
        let refund = format!("pub fn refund(tills: Addr<green::actor::{pool}>) {{ tills.tell(Refund(1)).ok(); }}");
        let refund = refund.replace("ByKey", "green::actor::ByKey");
        let said = refused(&format!("pool_{name}"), &format!("{ACTOR} {has} {refund}"));
        for text in told {
            assert!(said.contains(text), "{name}: {text:?} is not in\n{said}");
        }
        assert!(!said.contains("is not satisfied"), "{name}:\n{said}");
    }
}

#[test]
fn a_program_with_the_handler_is_not_refused() {
    let with = "impl green::actor::Handler<Refund> for Till {
        fn handle(&mut self, msg: Refund, _: &mut green::actor::Context<Self>) -> u32 { msg.0 }
    }
    pub fn refund(till: Addr<Till>) -> u32 { till.send(Refund(1)) }";
    // The one mistake that is left: the reply is in a `Result`.
    let said = refused("with_handler", &format!("{ACTOR} {with}"));
    assert!(said.contains("error[E0308]") && !said.contains("do not handle"), "{said}");
    assert_eq!(said.matches("\nerror").count() + usize::from(said.starts_with("error")), 2, "{said}");
}

#[test]
fn a_receive_time_out_of_zero_which_would_signal_without_end_is_refused() {
    for (time, is_zero) in [("ZERO", true), ("from_nanos(1)", false)] {
        let program = format!(
            "use std::time::Duration;
            pub struct Hasty;
            impl green::actor::Actor for Hasty {{
                const RECEIVE_TIMEOUT: Option<Duration> = Some(Duration::{time});
            }}
            pub fn start() {{ green::actor::Actor::start(Hasty); }}"
        );
        let (is_refused, said) = compiled(&format!("receive_timeout_{is_zero}"), &program, "obj");
        assert_eq!(is_refused, is_zero, "{said}");
        assert_eq!(said.contains("`RECEIVE_TIMEOUT` must not be zero"), is_zero, "{said}");
    }
}
