//! The runtime for which an OS thread that is no worker acts: that of the green thread whose `blocking` closure it runs.

use std::cell::Cell;
use std::ptr;
use std::sync::Weak;

use crate::blocking::call::Surroundings;
use crate::sched::Shared;

thread_local! {
    /// That runtime. The closure may be left behind, and the runtime end before it.
    static LENT: Cell<*const Weak<Shared>> = const { Cell::new(ptr::null()) };
}

impl Surroundings for Weak<Shared> {
    fn run<R>(&self, f: impl FnOnce() -> R) -> R {
        let before = LENT.replace(ptr::from_ref(self));
        let result = f();
        LENT.set(before);
        result
    }
}

/// The runtime that this OS thread, which is no worker, acts for.
pub(crate) fn lent<'a>() -> Option<&'a Weak<Shared>> {
    // SAFETY: null, or a reference that `run` has and that has not returned; callers keep it for one call.
    unsafe { LENT.get().as_ref() }
}
