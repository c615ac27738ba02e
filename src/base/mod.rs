//! Floor 0: what every floor uses and what knows none of them.

pub(crate) mod abort;
pub(crate) mod atomic;
pub(crate) mod debug;
pub(crate) mod latest;
pub(crate) mod list;
pub(crate) mod lock;
pub(crate) mod report;
pub(crate) mod shown;
pub(crate) mod spin;

/// How many random programs a test tries: `n`, a handful in an interpreter, or what `PROPTEST_CASES` says.
#[cfg(test)]
pub(crate) fn cases(n: u32) -> u32 {
    let otherwise = if cfg!(miri) { 4 } else { n };
    std::env::var("PROPTEST_CASES").map_or(otherwise, |text| text.parse().expect("PROPTEST_CASES is a number"))
}
