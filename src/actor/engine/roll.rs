//! What ends with an actor, unless it has ended before: its timers and helper threads.

#![forbid(unsafe_code)]

/// The shortest list that is looked through.
const SHORT: usize = 16;

/// A list from which those that are over are struck now and then: when it has grown to twice what was left at the last look.
/// So to add one costs the same however many there are, and at most as many of those that are over are kept as others.
#[derive(Debug)]
pub(crate) struct Roll<T> {
    items: Vec<T>,
    look_at: usize,
}

impl<T> Default for Roll<T> {
    fn default() -> Self {
        Self { items: Vec::new(), look_at: SHORT }
    }
}

impl<T> Roll<T> {
    /// Adds one. Gives back those that were struck.
    pub(crate) fn add(&mut self, item: T, is_over: impl FnMut(&mut T) -> bool) -> Vec<T> {
        let over = if self.items.len() >= self.look_at { self.strike(is_over) } else { Vec::new() };
        self.items.push(item);
        over
    }

    fn strike(&mut self, is_over: impl FnMut(&mut T) -> bool) -> Vec<T> {
        let over = self.items.extract_if(.., is_over).collect();
        self.look_at = (self.items.len() * 2).max(SHORT);
        self.items.shrink_to(self.look_at);
        over
    }

    pub(crate) fn into_items(self) -> Vec<T> {
        self.items
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_looks_together_are_in_proportion_to_what_was_added() {
        for churn in [false, true] {
            let (mut roll, mut looks, mut struck, living) = (Roll::default(), 0, 0, 10_000);
            for n in 0..50_000_usize {
                // At each moment all live, or the last so many.
                let is_over = |item: &mut usize| {
                    looks += 1;
                    churn && *item + living < n
                };
                struck += roll.add(n, is_over).len();
                assert!(!churn || roll.items.len() <= 2 * living + SHORT + 2);
            }
            assert!(looks <= 2 * 50_000, "{looks}");
            assert_eq!(struck + roll.into_items().len(), 50_000);
        }
    }
}
