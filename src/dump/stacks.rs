//! The distinct stacks of a dump, and the names of what is on them.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::park::fork::hold_for_lists;
use crate::sys::library::module_of;
use crate::sys::stack_walk::{StackCopy, Walker};

/// So many distinct stacks are kept at most: of 128 words, 16 MiB. With one more all are forgotten, and kept anew as they are met.
pub(crate) const KEPT: usize = 16 << 10;

/// The stacks that were met, each once.
#[derive(Debug)]
pub(crate) struct Stacks {
    /// `None`: in a child of fork that must not ask for the tables.
    walker: Option<Walker>,
    known: HashSet<Arc<[usize]>>,
    found: Vec<usize>,
}

impl Stacks {
    pub(crate) fn new() -> Self {
        // Under this, nothing else: what is called with each thread may do as it likes.
        let walker = hold_for_lists().map(|_held| Walker::new());
        Self { walker, known: HashSet::new(), found: Vec::new() }
    }

    /// The frames on a stack; of `None`, none.
    pub(crate) fn frames(&mut self, stack: Option<&StackCopy>) -> Arc<[usize]> {
        self.found.clear();
        if let Some((stack, walker)) = stack.zip(self.walker.as_mut()) {
            walker.walk(stack, &mut self.found, hold_for_lists);
        }
        if self.found.is_empty() {
            // Not kept: those who number the stacks forget theirs with these.
            return Arc::default();
        }
        if let Some(known) = self.known.get(&*self.found) {
            return Arc::clone(known);
        }
        if self.known.len() == KEPT {
            self.known.clear();
        }
        let new: Arc<[usize]> = self.found.as_slice().into();
        self.known.insert(Arc::clone(&new));
        new
    }
}

/// A function that has called another, or waits.
#[derive(Debug, Default)]
pub(crate) struct Symbol {
    pub(crate) name: Option<String>,
    /// Of one without a name: the program or library that it is in, and how far behind its beginning.
    pub(crate) module: Option<(String, usize)>,
    pub(crate) file: Option<String>,
    pub(crate) line: Option<u32>,
}

/// The functions at addresses, each looked up once.
#[derive(Debug, Default)]
pub(crate) struct Symbols(HashMap<usize, Vec<Symbol>>);

impl Symbols {
    /// Those at one address: the one that was called, and before it those that are inlined into it.
    pub(crate) fn at(&mut self, address: usize) -> &[Symbol] {
        self.0.entry(address).or_insert_with(|| {
            // In a child of fork that must not look, an address has no name.
            hold_for_lists().map_or_else(|| vec![Symbol::default()], |_held| look_up(address))
        })
    }
}

#[cfg(feature = "backtrace")]
fn look_up(address: usize) -> Vec<Symbol> {
    let mut functions = Vec::new();
    backtrace::resolve(std::ptr::without_provenance_mut(address), |symbol| {
        functions.push(Symbol {
            // Without the compiler's hash.
            name: symbol.name().map(|name| format!("{name:#}")),
            module: None,
            file: symbol.filename().map(|file| file.display().to_string()),
            line: symbol.lineno(),
        });
    });
    if functions.is_empty() {
        functions.push(Symbol::default());
    }
    for function in functions.iter_mut().filter(|function| function.name.is_none()) {
        function.module = module_of(address);
    }
    functions
}

#[cfg(not(feature = "backtrace"))]
fn look_up(address: usize) -> Vec<Symbol> {
    vec![Symbol { module: module_of(address), ..Symbol::default() }]
}

#[cfg(all(test, green_stack_walk, not(any(miri, green_emulated))))]
mod tests {
    use std::sync::Barrier;

    use super::*;
    use crate::sys::fork::tests::{exited, forked, in_a_new_process};
    use crate::sys::library::tests::stay_in_list;

    #[test]
    fn a_child_whose_parent_was_stuck_in_libcs_list_of_libraries_dumps_without_it() {
        in_a_new_process(|| {
            let name = |address: usize| Symbols::default().at(address)[0].name.is_some();
            // Not its first byte: what is looked up is taken for what a call comes back to, so it is the byte before.
            let address = stay_in_list as *const () as usize + 1;
            let names = || i32::from(Stacks::new().walker.is_some()) + 2 * i32::from(name(address));
            let (stands, goes_on) = (Barrier::new(2), Barrier::new(2));
            assert_eq!(forked(names), exited(3));
            let (child, grandchild) = std::thread::scope(|scope| {
                scope.spawn(|| {
                    let _held = hold_for_lists();
                    stay_in_list(&stands, &goes_on);
                });
                stands.wait();
                let ended = (forked(names), forked(|| forked(names) >> 8));
                goes_on.wait();
                ended
            });
            assert_eq!((child, grandchild), (exited(0), exited(0)));
            assert_eq!((forked(names), names()), (exited(3), 3), "nobody is at it");
        });
    }
}
