//! Picks the backend of the context switch and tells the crate by `cfg(green_backend = "…")`.
//!
//! | backend      | targets                                  | what it is                                  |
//! | ------------ | ---------------------------------------- | ------------------------------------------- |
//! | `asm`        | Unix on x86_64 and aarch64               | our own assembly, `asm/`                    |
//! | `corosensei` | every other Unix target that it supports | the corosensei crate behind the same contract |
//! | `threads`    | Miri                                     | one OS thread a fiber, a baton between them |
//!
//! `GREEN_BACKEND=threads` (or `asm`) overrides the choice, so that the suite can run over another backend; a name
//! that this target cannot have is an error.
//!
//! Under a sanitizer (`-Zsanitizer=…`, which only a nightly compiler takes, and which it tells us) `cfg(green_sanitizer = "…")`
//! names it, and `cfg(green_sanitized)` has the crate tell it of switches and let go of every block that is free.
//! `GREEN_SANITIZER=ignore` leaves the latter out: by that the sanitizers' tests show that they would fail.
//!
//! `GREEN_VALGRIND=1`, for `cfg(green_valgrind)`, has Valgrind told where the stacks are: some instructions for each thread that starts.
//!
//! `cfg(green_thread_locals)` says that green threads may have thread-locals of their own, if the machine allows it: with our own
//! switch, over glibc, linked dynamically.
//!
//! `cfg(green_stack_walk)` says that the stacks of suspended threads can be walked: with the feature `backtrace`, on Linux.
//!
//! `cfg(green_asks)` says that an OS thread can be asked by a signal where it stands: on Linux, with our own switch, without a sanitizer.
//!
//! `GREEN_DEADLOCKS`, for `cfg(green_deadlocks)`, has a release build find deadlocks as a debug build does. Not a feature: one crate of many that turned it on would
//! make every lock of the program larger and slower.
//!
//! `GREEN_EMULATED`, for `cfg(green_emulated)`, says that tests will run under an emulator; it changes nothing in the crate.

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=asm");
    println!("cargo::rerun-if-env-changed=GREEN_BACKEND");
    println!("cargo::rustc-check-cfg=cfg(green_backend, values(\"asm\", \"corosensei\", \"threads\"))");

    println!("cargo::rerun-if-env-changed=GREEN_SANITIZER");
    println!("cargo::rustc-check-cfg=cfg(green_sanitized)");
    println!("cargo::rustc-check-cfg=cfg(green_sanitizer, values(any()))");

    if !switches(&[("GREEN_DEADLOCKS", "green_deadlocks"), ("GREEN_VALGRIND", "green_valgrind")]) {
        return;
    }

    println!("cargo::rerun-if-env-changed=GREEN_EMULATED");
    println!("cargo::rustc-check-cfg=cfg(green_emulated)");
    if env::var_os("GREEN_EMULATED").is_some() {
        println!("cargo::rustc-cfg=green_emulated");
    }

    let arch = env::var("CARGO_CFG_TARGET_ARCH").expect("cargo sets CARGO_CFG_TARGET_ARCH");
    let unix = env::var_os("CARGO_CFG_UNIX").is_some();
    let miri = env::var_os("CARGO_CFG_MIRI").is_some();
    let target = env::var("TARGET").expect("cargo sets TARGET");
    if !unix {
        println!("cargo::error=green supports Unix targets only (Linux, macOS, the BSDs); {target} is not one");
        return;
    }

    let sanitizers = env::var("CARGO_CFG_SANITIZE").unwrap_or_default();
    sanitizers
        .split(',')
        .filter(|name| !name.is_empty())
        .for_each(|name| println!("cargo::rustc-cfg=green_sanitizer=\"{name}\""));
    match env::var("GREEN_SANITIZER").as_deref() {
        Err(_) if sanitizers.is_empty() => {}
        Err(_) => println!("cargo::rustc-cfg=green_sanitized"),
        Ok("ignore") => {}
        Ok(name) => {
            println!("cargo::error=GREEN_SANITIZER={name:?}: the only value that it takes is \"ignore\"");
            return;
        }
    }

    let has_asm = matches!(arch.as_str(), "x86_64" | "aarch64");
    let own = if has_asm { "asm" } else { "corosensei" };
    let backend = match env::var("GREEN_BACKEND") {
        Ok(name) if name == own || name == "threads" => name,
        Ok(name) => {
            println!("cargo::error=GREEN_BACKEND={name:?} is not a backend of {target}: use {own:?} or \"threads\"");
            return;
        }
        Err(_) if miri => "threads".to_owned(),
        Err(_) => own.to_owned(),
    };
    println!("cargo::rustc-cfg=green_backend=\"{backend}\"");

    println!("cargo::rustc-check-cfg=cfg(green_stack_walk)");
    if env::var_os("CARGO_FEATURE_BACKTRACE").is_some() && has_asm && !miri && target.contains("linux") {
        println!("cargo::rustc-cfg=green_stack_walk");
    }

    println!("cargo::rustc-check-cfg=cfg(green_asks)");
    let sanitized = !sanitizers.is_empty();
    let wide = env::var("CARGO_CFG_TARGET_POINTER_WIDTH").is_ok_and(|width| width == "64");
    if backend == "asm" && wide && !sanitized && env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "linux") {
        println!("cargo::rustc-cfg=green_asks");
    }

    println!("cargo::rustc-check-cfg=cfg(green_thread_locals)");
    let is = |name: &str, value: &str| env::var(name).is_ok_and(|is| is == value);
    let features = env::var("CARGO_CFG_TARGET_FEATURE").unwrap_or_default();
    let dynamic = !features.split(',').any(|feature| feature == "crt-static");
    if backend == "asm" && dynamic && is("CARGO_CFG_TARGET_OS", "linux") && is("CARGO_CFG_TARGET_ENV", "gnu") {
        println!("cargo::rustc-cfg=green_thread_locals");
    }
}

/// What is off unless the environment says 1. False: it says something else, and that was told.
fn switches(all: &[(&str, &str)]) -> bool {
    all.iter().all(|(variable, cfg)| {
        println!("cargo::rerun-if-env-changed={variable}");
        println!("cargo::rustc-check-cfg=cfg({cfg})");
        match env::var(variable).as_deref() {
            Ok("1") => println!("cargo::rustc-cfg={cfg}"),
            Err(_) | Ok("" | "0") => {}
            Ok(value) => {
                println!("cargo::error={variable}={value:?}: it takes 1, or 0");
                return false;
            }
        }
        true
    })
}
