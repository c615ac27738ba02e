//! Floor 3 (stub)
