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

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=asm");
    println!("cargo::rerun-if-env-changed=GREEN_BACKEND");
    println!("cargo::rustc-check-cfg=cfg(green_backend, values(\"asm\", \"corosensei\", \"threads\"))");

    let arch = env::var("CARGO_CFG_TARGET_ARCH").expect("cargo sets CARGO_CFG_TARGET_ARCH");
    let unix = env::var_os("CARGO_CFG_UNIX").is_some();
    let miri = env::var_os("CARGO_CFG_MIRI").is_some();
    let target = env::var("TARGET").expect("cargo sets TARGET");
    if !unix {
        println!("cargo::error=green supports Unix targets only (Linux, macOS, the BSDs); {target} is not one");
        return;
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
}
