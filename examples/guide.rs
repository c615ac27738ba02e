//! Pages of `green::guide` whose programs need crates that only the examples have: run here, by `cargo test --doc`.

#[cfg(all(doctest, feature = "web"))]
#[doc = include_str!("../src/guide/tls.md")]
pub mod tls {}
