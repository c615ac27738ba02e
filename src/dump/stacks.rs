//! The distinct stacks of a dump, and the names of what is on them.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::sys::library::module_of;
use crate::sys::stack_walk::{StackCopy, Walker};

/// So many distinct stacks are kept at most: of 128 words, 16 MiB. With one more all are forgotten, and kept anew as they are met.
pub(crate) const KEPT: usize = 16 << 10;

/// The stacks that were met, each once.
#[derive(Debug)]
pub(crate) struct Stacks {
    walker: Walker,
    known: HashSet<Arc<[usize]>>,
    found: Vec<usize>,
}

impl Stacks {
    pub(crate) fn new() -> Self {
        Self { walker: Walker::new(), known: HashSet::new(), found: Vec::new() }
    }

    /// The frames on a stack; of `None`, none.
    pub(crate) fn frames(&mut self, stack: Option<&StackCopy>) -> Arc<[usize]> {
        self.found.clear();
        if let Some(stack) = stack {
            self.walker.walk(stack, &mut self.found);
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
        self.0.entry(address).or_insert_with(|| look_up(address))
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
