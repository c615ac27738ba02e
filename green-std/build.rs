//! `cfg(green_std)` says that `interpose!` can be had: on Linux, x86_64 and aarch64, with glibc linked dynamically.

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-check-cfg=cfg(green_std)");
    let is = |name: &str, values: &[&str]| env::var(name).is_ok_and(|value| values.contains(&value.as_str()));
    let features = env::var("CARGO_CFG_TARGET_FEATURE").unwrap_or_default();
    let dynamic = !features.split(',').any(|feature| feature == "crt-static");
    let has_arch = is("CARGO_CFG_TARGET_ARCH", &["x86_64", "aarch64"]);
    if has_arch && dynamic && is("CARGO_CFG_TARGET_OS", &["linux"]) && is("CARGO_CFG_TARGET_ENV", &["gnu"]) {
        println!("cargo::rustc-cfg=green_std");
    }
}
