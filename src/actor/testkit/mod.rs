#![doc = include_str!("README.md")]

mod leaks;
mod mock;
mod probe;

use std::time::Duration;

pub use leaks::{assert_no_actors_left, run};
pub use mock::Mock;
pub use probe::TestProbe;

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(10);
