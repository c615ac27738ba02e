//! `panic = "abort"` builds, and what need not unwind runs. Builds a small program in a project of its own, with the
//! crates that this one was built with. By the native compiler, so there is nothing in it for an emulated target.
#![cfg(not(any(miri, green_emulated)))]
#![allow(missing_docs)]

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;

fn build() -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("panic_abort");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    fs::create_dir_all(dir.join("src")).unwrap();
    fs::copy(root.join("tests/abort/program.rs"), dir.join("src/main.rs")).unwrap();
    // The same versions, if they are pinned here.
    let _ = fs::copy(root.join("Cargo.lock"), dir.join("Cargo.lock"));
    let manifest = format!(
        "[package]\nname = \"program\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n[workspace]\n\n\
         [dependencies]\ngreen = {{ path = {root:?} }}\n\n[profile.dev]\npanic = \"abort\"\ndebug = false\n"
    );
    fs::write(dir.join("Cargo.toml"), manifest).unwrap();
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--offline"]).current_dir(&dir).env_remove("CARGO_BUILD_TARGET").env_remove("RUSTFLAGS");
    let built = cargo.env("CARGO_TARGET_DIR", dir.join("target")).output().unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    dir.join("target/debug/program")
}

#[test]
fn a_program_with_panic_abort_builds_and_runs_and_a_panic_ends_it() {
    let program = build();
    let done = Command::new(&program).output().unwrap();
    assert!(done.status.success(), "{done:?}");
    assert_eq!(done.stdout, b"all is well\n");
    let done = Command::new(&program).arg("panic").output().unwrap();
    assert_eq!(done.status.signal(), Some(6), "{done:?}");
    assert!(String::from_utf8_lossy(&done.stderr).contains("ends the process"), "{done:?}");
}
