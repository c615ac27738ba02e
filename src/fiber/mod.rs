//! Floor 4: fibers. A fiber is an entry function on a stack of its own, which can stop in the middle and go on later.
//!
//! It knows no scheduler. Two sides take turns: the *hub*, ordinary code of an OS thread, resumes the fiber; the fiber
//! suspends back to the hub. Nothing else moves control between them.
//!
//! # Contract, the same for every backend
//!
//! 1. `Fiber::new` runs nothing. The first `resume` calls the entry on the fiber's stack.
//! 2. All resumes of a fiber come from one OS thread, one at a time; of a fiber with thread-locals of its own, each may come from another. That thread may run
//!    other fibers in between, and a fiber may be the hub of further fibers: `suspend` goes back to the side that resumed last.
//! 3. A word travels with each resume and is what `suspend` returns. The word of the first resume is not delivered.
//! 4. When the entry returns, that resume returns [`Status::Finished`], and the fiber is never resumed again. An entry
//!    that unwinds ends the process: an entry that is to survive a panic catches it inside.
//! 5. A fiber has no `Drop`. One that is dropped before its end leaks its stack and all that lives on it, because other
//!    code may hold references into it. To end it early, resume it with a word that makes the code above `suspend`
//!    unwind: forced unwinding is the business of higher floors.
//! 6. The floating-point environment is not switched; asm/ says why.
//!
//! # Backends
//!
//! | file             | how                                                  | used                            |
//! | ---------------- | ---------------------------------------------------- | ------------------------------- |
//! | `asm.rs`         | our own switch; inlines down to one jump             | on x86_64 and aarch64           |
//! | `corosensei.rs`  | the crate corosensei on our stacks                   | on other targets, and as oracle |
//! | `threads.rs`     | one OS thread a fiber; its thread-locals are its own | under Miri                      |
//!
//! # Tools that follow the stack
//!
//! * *AddressSanitizer* has to be told of each switch, and is, by `asm.rs` in a build for it: [`crate::sys::sanitizer`].
//! * *ThreadSanitizer* is told, too, in a build for it: each fiber is one of its own to it. There are some six thousand that it is told of at a time; the frames of those beyond
//!   stand in one list for each OS thread, of 65 536. A fiber stays on its OS thread (there are no others under it).
//! * *Valgrind* guesses that a stack pointer that moves by more than 2 MB is on another stack. Stacks that are neighbours are
//!   nearer than that; it then takes a switch for a call with a huge frame, and all that lies between for fresh or gone:
//!   thousands of false reports. In a build with `GREEN_VALGRIND=1` in the environment it is told where each stack is ([`known_stack`]).
//!
//! A fiber with thread-locals of its own ([`own`]) needs `asm.rs`.
//!
//! `build.rs` chooses. Code that runs in fibers of the last kind finds other thread-locals than its hub has: the floors
//! above set theirs from the entry. And a hub that is such a fiber counts as the OS thread that runs it.

#[cfg(green_backend = "asm")]
mod asm;
#[cfg(any(green_backend = "corosensei", all(test, not(miri))))]
mod corosensei;
#[cfg(green_backend = "asm")]
mod known_stack;
#[cfg(green_thread_locals)]
pub(crate) mod own;
#[cfg(any(green_backend = "threads", test))]
mod threads;

#[cfg(test)]
mod tests;

#[cfg(green_backend = "asm")]
pub(crate) use asm::{CONTEXTS, Fiber};
#[cfg(green_backend = "corosensei")]
pub(crate) use corosensei::Fiber;
#[cfg(green_backend = "threads")]
pub(crate) use threads::Fiber;

/// Where a fiber is suspended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct SavedContext {
    /// Stack pointer, program counter, frame pointer and base register, in the order of a saved context.
    pub(crate) registers: [usize; 4],
    /// Its frames lie below this address.
    pub(crate) top: usize,
    /// What was left by `leave_note`; 0: nothing.
    pub(crate) note: u64,
}

/// What another backend's fiber leaves behind is not known.
#[cfg(not(green_backend = "asm"))]
impl Fiber {
    /// # Safety
    ///
    /// None.
    pub(crate) unsafe fn peek(_: *const Option<Fiber>) -> Option<SavedContext> {
        None
    }

    /// # Safety
    ///
    /// None.
    pub(crate) unsafe fn peek_beneath(_: *const Option<Fiber>) -> impl Iterator<Item = SavedContext> {
        std::iter::empty()
    }

    /// Nobody could read it.
    pub(crate) fn leave_note(&self, _: u64) {}
}

/// A debugger cannot find the contexts.
#[cfg(not(green_backend = "asm"))]
pub(crate) const CONTEXTS: [usize; 2] = [usize::MAX; 2];

/// The code of a fiber. Runs on the fiber's stack; if it unwinds, the process aborts.
pub(crate) type Entry = unsafe fn(arg: *mut ());

/// What a fiber with thread-locals of its own calls on its way out and in.
#[cfg_attr(not(green_thread_locals), allow(dead_code, reason = "there is no such fiber"))]
#[derive(Debug)]
pub(crate) struct Border {
    /// It is about to suspend, and still on its own thread-locals. `into_loop`: to its worker's loop, which may be told what to run next. True: it
    /// was, and that is a fiber of this kind, which has started; so the loop need not have its own thread pointer in between.
    pub(crate) leaves: fn(into_loop: bool) -> bool,
    /// It goes on, on its own thread-locals, resumed with this word, by a worker that resumes fibers of others, too.
    pub(crate) arrives: unsafe fn(word: usize),
}

/// What the word points to with which a worker resumes fibers: the thread pointer of its loop, if they may come from other workers, else 0.
#[derive(Debug, Default)]
#[cfg_attr(not(green_thread_locals), allow(dead_code, reason = "no thread has thread-locals of its own here"))]
pub(crate) struct Hub(std::cell::Cell<usize>);

impl Hub {
    /// For the worker, in its loop, before it resumes any that may come from others.
    #[cfg(green_thread_locals)]
    pub(crate) fn set(&self) {
        self.0.set(crate::arch::thread_pointer());
    }
}

/// Asks for the cache line at `address`, which need not be valid.
#[inline(always)]
pub(crate) fn prefetch<T>(address: *const T) {
    #[cfg(green_backend = "asm")]
    crate::arch::prefetch(address.cast());
    #[cfg(not(green_backend = "asm"))]
    let _ = address;
}

/// How a resume ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Status {
    /// The fiber suspended; it can be resumed again.
    Suspended,
    /// The entry returned; the stack can be taken back.
    Finished,
}

/// What a fiber runs.
#[derive(Clone, Copy)]
struct Code {
    entry: Entry,
    arg: *mut (),
}

impl Code {
    /// Calls the entry. `extern "C"`: a panic that gets here ends the process instead of leaving the stack.
    ///
    /// # Safety
    ///
    /// The entry may be called with its argument.
    #[inline(always)]
    unsafe extern "C" fn run(&self) {
        // SAFETY: the caller says so.
        unsafe { (self.entry)(self.arg) };
    }
}
