//! What stands on the calling thread's stack: a destructor that runs because the thread unwinds, or nothing of the kind?
//!
//! std counts panics by OS thread; this looks. A frame that unwinding has entered stands at a call in its *cleanup*, and
//! the compiler sees to it that nothing unwinds out of that call ("panic in a destructor during cleanup"): the frame's
//! table (the LSDA) gives the call a landing pad whose action is an empty *filter*. A call of ordinary code has no landing
//! pad there, or one that cleans up or catches. So the answer is a walk over the frames (the platform's unwinder, which std
//! links) and a look into each one's table. Nothing is run, changed or allocated.
//!
//! | at the call there is      | which means                                                                          |
//! | ------------------------- | ------------------------------------------------------------------------------------ |
//! | no landing pad, a cleanup | an unwinding would pass                                                              |
//! | a catch                   | an unwinding would end here                                                          |
//! | a filter                  | the frame cleans up: the thread unwinds. Unless all landing pads of the function are filters: then nobody can have entered it by unwinding; it is an `extern "C"` function, which aborts |
//! | no entry                  | the callee never unwinds (an `extern "C"` function): an unwinding would abort        |
//!
//! Not told apart from a cleanup: an `extern "C"` function that also cleans up or catches, or is inlined into one that
//! does. Not seen: a cleanup into which a `catch_unwind` was inlined whole, while what that calls runs; an unwinding raised
//! there is caught there.
//!
//! This was checked with rustc 1.89 and 1.95, all optimisation levels and link-time optimisation; and because no language
//! rule promises it, [`look`] tries itself out before it first answers, on a destructor in either case. Where that fails, or
//! a table is in an unknown form, the answer is [`Unwinds::Unknown`]. So it is where the walk ends too early, at a function
//! without tables: of what lies beyond nothing is known.
//!
//! # Invariants
//!
//! 1. A pointer that [`_Unwind_GetLanguageSpecificData`] gives is null or points to a whole table in the form of the C++ ABI
//!    (all compilers' that target these unwinders). Bytes are read one after the other, as far as its own lengths say.

#![cfg_attr(any(miri, target_arch = "arm", not(panic = "unwind")), allow(dead_code, reason = "there is no walk"))]

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use crate::base::atomic::{AtomicU32, AtomicUsize, Ordering};

/// Does a thread unwind? What its stack says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Unwinds {
    /// Nothing on the stack runs because the thread unwinds.
    No,
    /// Something does.
    Yes,
    /// Nothing does, but an unwinding that began here would abort; or that is all that can be said.
    Barred,
    /// The platform does not say.
    Unknown,
}

/// Can a stack be looked at? Not where an unwinder has other tables, or there is none.
const SUPPORTED: bool = cfg!(all(panic = "unwind", not(miri), not(target_arch = "arm")));

/// The first functions on green threads' stacks, where the look ends. (There the stack of our own switch ends anyway;
/// one of corosensei's goes on in its resumer.)
static ROOTS: [AtomicUsize; 2] = [const { AtomicUsize::new(0) }; 2];

/// Has the try-out been made, and how did it end?
static TRIED: AtomicU32 = AtomicU32::new(NOT_TRIED);
const NOT_TRIED: u32 = 0;
const GOOD: u32 = 1;
const BAD: u32 = 2;

/// Says where the stacks of green threads begin.
pub(crate) fn set_roots(roots: [unsafe fn(*mut ()); 2]) {
    ROOTS.iter().zip(roots).for_each(|(to, root)| to.store(root as usize, Ordering::Relaxed));
}

/// Looks at the calling thread's stack.
#[cold]
#[inline(never)]
pub(crate) fn look() -> Unwinds {
    if !SUPPORTED {
        return Unwinds::Unknown;
    }
    // Relaxed: a thread that does not see another's try makes one.
    let mut tried = TRIED.load(Ordering::Relaxed);
    if tried == NOT_TRIED {
        tried = if works() { GOOD } else { BAD };
        TRIED.store(tried, Ordering::Relaxed);
    }
    if tried == GOOD { walk(usize::MAX) } else { Unwinds::Unknown }
}

/// Is a destructor's run by unwinding told from one in good order?
fn works() -> bool {
    struct Looks<'a>(&'a Cell<Unwinds>, usize);
    impl Drop for Looks<'_> {
        #[inline(never)]
        fn drop(&mut self) {
            self.0.set(walk(self.1));
        }
    }
    let (calm, unwound) = (Cell::new(Unwinds::Unknown), Cell::new(Unwinds::Unknown));
    // What lies beyond this frame may unwind.
    let end = (&raw const calm).addr().max((&raw const unwound).addr());
    drop(Looks(&calm, end));
    let _ = catch_unwind(AssertUnwindSafe(|| {
        let _looks = Looks(&unwound, end);
        resume_unwind(Box::new(()));
    }));
    (calm.get(), unwound.get()) == (Unwinds::No, Unwinds::Yes)
}

/// What the unwinder calls with each frame, innermost first.
struct StackWalk {
    found: Unwinds,
    caught: bool,
    /// Frames that begin beyond this address are not looked at.
    end: usize,
    /// It has come to its end.
    whole: bool,
}

#[cfg(not(target_arch = "arm"))]
pub(super) mod unwind {
    use std::ffi::{c_int, c_void};

    /// A frame, to the unwinder.
    #[repr(C)]
    pub(in crate::sys) struct UnwindContext {
        _private: [u8; 0],
    }

    pub(in crate::sys) type Callback = unsafe extern "C-unwind" fn(*mut UnwindContext, *mut c_void) -> c_int;

    unsafe extern "C-unwind" {
        pub(in crate::sys) fn _Unwind_Backtrace(callback: Callback, argument: *mut c_void) -> c_int;
        pub(in crate::sys) fn _Unwind_GetCFA(context: *mut UnwindContext) -> usize;
        pub(in crate::sys) fn _Unwind_GetIPInfo(context: *mut UnwindContext, before: *mut c_int) -> usize;
        pub(in crate::sys) fn _Unwind_GetLanguageSpecificData(context: *mut UnwindContext) -> *const u8;
        pub(in crate::sys) fn _Unwind_GetRegionStart(context: *mut UnwindContext) -> usize;
    }

    /// `_URC_NO_REASON` goes on; any other code ends the walk.
    pub(in crate::sys) const GO_ON: c_int = 0;
    pub(in crate::sys) const END: c_int = 5;
}

#[cfg(target_arch = "arm")]
fn walk(_end: usize) -> Unwinds {
    Unwinds::Unknown
}

/// Looks at the frames up to the address `end`. A call of its own, with nothing to clean up, so that its own frame says
/// nothing.
#[cfg(not(target_arch = "arm"))]
#[inline(never)]
fn walk(end: usize) -> Unwinds {
    let mut walk = StackWalk { found: Unwinds::No, caught: false, end, whole: false };
    // SAFETY: `frame` gets what it expects, for as long as the call lasts.
    unsafe { unwind::_Unwind_Backtrace(frame, (&raw mut walk).cast()) };
    if walk.found == Unwinds::No && !walk.whole { Unwinds::Unknown } else { walk.found }
}

/// # Safety
///
/// Called by the unwinder, with a [`StackWalk`].
#[cfg(not(target_arch = "arm"))]
unsafe extern "C-unwind" fn frame(context: *mut unwind::UnwindContext, walk: *mut std::ffi::c_void) -> std::ffi::c_int {
    // SAFETY: as the caller promises; nobody else has it now.
    let walk = unsafe { &mut *walk.cast::<StackWalk>() };
    let mut before = 0;
    // SAFETY: the frame is the unwinder's, and valid during this call.
    let (ip, start, table, cfa) = unsafe {
        let ip = unwind::_Unwind_GetIPInfo(context, &raw mut before);
        let table = unwind::_Unwind_GetLanguageSpecificData(context);
        (ip, unwind::_Unwind_GetRegionStart(context), table, unwind::_Unwind_GetCFA(context))
    };
    if cfa > walk.end {
        walk.whole = true;
        return unwind::END;
    }
    if !table.is_null() {
        // A frame that was left by a call stands behind the call.
        let ip = if before == 0 { ip.wrapping_sub(1) } else { ip };
        // SAFETY: invariant 1.
        walk.meets(unsafe { Site::find(table, ip.wrapping_sub(start)) });
    }
    walk.whole = ROOTS.iter().any(|root| start == root.load(Ordering::Relaxed));
    if walk.whole || walk.found == Unwinds::Yes { unwind::END } else { unwind::GO_ON }
}

impl StackWalk {
    /// One frame, which stands at `site`.
    fn meets(&mut self, site: Option<Site>) {
        match site {
            None => self.found = Unwinds::Unknown,
            Some(Site::Passes) => {}
            Some(Site::Catches) => self.caught = true,
            Some(Site::Cleanup) => self.found = Unwinds::Yes,
            Some(Site::Aborts) if self.caught || self.found == Unwinds::Unknown => {}
            Some(Site::Aborts) => self.found = Unwinds::Barred,
        }
    }
}

/// What the table of a frame says about the call at which it stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Site {
    Passes,
    Catches,
    /// A filter, in a function with other landing pads, too.
    Cleanup,
    /// A filter in one without, or no entry.
    Aborts,
}

/// The landing pad of one call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Pad {
    None,
    Cleanup,
    Catch,
    Filter,
}

/// "Left out", among the encodings of values in a table.
const OMITTED: u8 = 0xff;
/// No function has so much of a table, or so many actions at one call.
const MOST_TABLE: u64 = 1 << 24;
const MOST_ACTIONS: usize = 64;

impl Site {
    /// Reads `table`; `at` is the place of the call in its function. `None`: the table has an unknown form.
    ///
    /// # Safety
    ///
    /// Invariant 1.
    unsafe fn find(table: *const u8, at: usize) -> Option<Site> {
        let mut header = Reader { next: table, left: usize::MAX };
        let start = header.byte()?;
        if start != OMITTED {
            header.value(start)?;
        }
        if header.byte()? != OMITTED {
            header.uleb()?;
        }
        let encoding = header.byte()?;
        let len = header.uleb()?;
        if len > MOST_TABLE {
            return None;
        }
        let mut calls = Reader { next: header.next, left: len as usize };
        let actions = header.next.wrapping_add(len as usize);
        let (mut here, mut others) = (None, false);
        while calls.left > 0 {
            let (start, len) = (calls.value(encoding)?, calls.value(encoding)?);
            let (pad, action) = (calls.value(encoding)?, calls.uleb()?);
            let pad = match (pad, action) {
                (0, _) => Pad::None,
                (_, 0) => Pad::Cleanup,
                // SAFETY: as the caller promises.
                (_, action) => unsafe { Pad::of_actions(actions.wrapping_add(action as usize - 1)) }?,
            };
            others |= matches!(pad, Pad::Cleanup | Pad::Catch);
            if at as u64 >= start && (at as u64) < start + len {
                here = Some(pad);
            }
        }
        Some(match here {
            Some(Pad::None | Pad::Cleanup) => Site::Passes,
            Some(Pad::Catch) => Site::Catches,
            Some(Pad::Filter) if others => Site::Cleanup,
            Some(Pad::Filter) | None => Site::Aborts,
        })
    }
}

impl Pad {
    /// The first catch or filter of a chain of actions.
    ///
    /// # Safety
    ///
    /// `first` points to a record in a table, invariant 1.
    unsafe fn of_actions(first: *const u8) -> Option<Pad> {
        let mut record = first;
        for _ in 0..MOST_ACTIONS {
            let mut reader = Reader { next: record, left: usize::MAX };
            match reader.sleb()? {
                0 => {}
                1.. => return Some(Pad::Catch),
                _ => return Some(Pad::Filter),
            }
            let from = reader.next;
            match reader.sleb()? {
                0 => return Some(Pad::Cleanup),
                offset => record = from.wrapping_offset(offset as isize),
            }
        }
        None
    }
}

/// Bytes of a table, at most `left` of them.
struct Reader {
    next: *const u8,
    left: usize,
}

impl Reader {
    fn byte(&mut self) -> Option<u8> {
        self.left = self.left.checked_sub(1)?;
        // SAFETY: invariant 1: it is in the table.
        let byte = unsafe { self.next.read() };
        self.next = self.next.wrapping_add(1);
        Some(byte)
    }

    fn fixed(&mut self, bytes: usize) -> Option<u64> {
        let mut value = [0; 8];
        for byte in &mut value[..bytes] {
            *byte = self.byte()?;
        }
        // The bytes of a shorter number stand first in memory: at its small end, or where the big end begins.
        Some(if cfg!(target_endian = "little") {
            u64::from_le_bytes(value)
        } else {
            u64::from_be_bytes(value) >> (64 - 8 * bytes)
        })
    }

    fn uleb(&mut self) -> Option<u64> {
        let (mut value, mut shift) = (0, 0);
        loop {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f).checked_shl(shift)?;
            shift += 7;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
    }

    fn sleb(&mut self) -> Option<i64> {
        let (mut value, mut shift) = (0_i64, 0);
        loop {
            let byte = self.byte()?;
            value |= i64::from(byte & 0x7f).checked_shl(shift)?;
            shift += 7;
            if byte & 0x80 == 0 {
                let negative = byte & 0x40 != 0 && shift < i64::BITS;
                return Some(if negative { value | (-1_i64 << shift) } else { value });
            }
        }
    }

    /// A number in one of the forms `DW_EH_PE_…`, as it stands there; those of signed numbers are not used for distances
    /// from a function's start.
    fn value(&mut self, encoding: u8) -> Option<u64> {
        match encoding & 0x0f {
            0x00 => self.fixed(size_of::<usize>()),
            0x01 => self.uleb(),
            0x02 => self.fixed(2),
            0x03 | 0x0b => self.fixed(4),
            0x04 | 0x0c => self.fixed(8),
            _ => None,
        }
    }
}

#[cfg(all(test, panic = "unwind", not(miri), not(target_arch = "arm")))]
mod tests {
    use std::hint::black_box;

    use super::*;

    /// On a test's own OS thread std's count is exact.
    #[track_caller]
    fn agrees_with_std() {
        let expected = if std::thread::panicking() { Unwinds::Yes } else { Unwinds::No };
        assert_eq!(look_up_to_here(), expected);
    }

    thread_local! {
        /// In the frame of the test, where its looks end: an OS thread's stack has no root.
        static HERE: Cell<usize> = const { Cell::new(usize::MAX) };
    }

    #[inline(never)]
    fn look_up_to_here() -> Unwinds {
        walk(HERE.get())
    }

    struct Looks<'a>(&'a Cell<u32>);

    impl Drop for Looks<'_> {
        fn drop(&mut self) {
            agrees_with_std();
            self.0.set(self.0.get() + 1);
        }
    }

    /// The same, where the optimiser likes it best.
    struct Inlined<'a>(Looks<'a>);

    impl Drop for Inlined<'_> {
        #[inline(always)]
        fn drop(&mut self) {
            agrees_with_std();
            self.0.0.set(self.0.0.get() + 1);
        }
    }

    /// Catches a panic in its destructor, and drops something in good order.
    struct Catches<'a>(Looks<'a>);

    impl Drop for Catches<'_> {
        #[inline(never)]
        fn drop(&mut self) {
            let count = self.0.0;
            assert!(unwound(|| {
                let _looks = Looks(count);
                bang();
            }));
            for _ in 0..black_box(2) {
                drop(black_box(vec![Looks(count)]));
            }
        }
    }

    #[inline(never)]
    fn bang() {
        if black_box(true) {
            resume_unwind(Box::new(()));
        }
    }

    fn unwound(f: impl FnOnce()) -> bool {
        catch_unwind(AssertUnwindSafe(f)).is_err()
    }

    #[test]
    fn a_look_tells_a_destructor_that_unwinding_runs_from_one_in_good_order() {
        let count = Cell::new(0);
        let count = &count;
        HERE.set((&raw const *count).addr());
        for bangs in [true, false] {
            let bang = || {
                if bangs {
                    bang()
                }
            };
            let runs: [&dyn Fn(); 9] = [
                &|| {
                    let _looks = Looks(count);
                    bang();
                },
                &|| {
                    let _looks = Inlined(Looks(count));
                    bang();
                },
                &|| {
                    let _looks: Box<dyn std::ops::Deref<Target = u8> + '_> = Box::new(Derefs(Looks(count)));
                    bang();
                },
                &|| {
                    let _looks = Vec::from([Looks(count), Looks(count)]);
                    bang();
                },
                &|| {
                    let looks = Some(Looks(count));
                    let f = move || {
                        bang();
                        black_box(&looks);
                    };
                    f();
                },
                &|| {
                    let looks = (0..3).map(|_| Inlined(Looks(count))).inspect(|_| bang());
                    drop(looks.collect::<Vec<_>>());
                },
                &|| {
                    let _looks = std::rc::Rc::new((Looks(count), Inlined(Looks(count))));
                    bang();
                },
                &|| {
                    let _looks = Catches(Looks(count));
                    bang();
                },
                &|| {
                    let _first = Looks(count);
                    let _second = Catches(Looks(count));
                    bang();
                },
            ];
            for run in runs {
                count.set(0);
                agrees_with_std();
                assert_eq!(unwound(run), bangs);
                assert!(count.get() > 0);
                agrees_with_std();
            }
        }
    }

    struct Derefs<'a>(Looks<'a>);

    impl std::ops::Deref for Derefs<'_> {
        type Target = u8;

        fn deref(&self) -> &u8 {
            black_box(&self.0);
            &0
        }
    }

    #[test]
    fn nothing_may_be_raised_below_a_function_that_aborts() {
        #[inline(never)]
        extern "C" fn aborts(found: &Cell<Unwinds>) {
            found.set(look_up_to_here());
            // More than a jump.
            black_box(found);
        }
        let found = Cell::new(Unwinds::Unknown);
        HERE.set((&raw const found).addr());
        aborts(&found);
        assert!(matches!(found.get(), Unwinds::Barred | Unwinds::Yes), "{found:?}");
        assert_eq!(look_up_to_here(), Unwinds::No);
    }

    #[test]
    fn of_a_stack_that_cannot_be_walked_to_its_root_nothing_is_known() {
        assert_eq!(look(), Unwinds::Unknown);
    }

    /// A table with one call at 4..8 and the actions behind it.
    fn site(encoding: u8, action: u8, actions: &[u8], at: usize) -> Option<Site> {
        let calls = [4, 4, 16, action, 12, 4, 20, 0];
        let table = [&[OMITTED, OMITTED, encoding, calls.len() as u8], &calls[..], actions].concat();
        // SAFETY: it is a table; no chain of actions leads out of it.
        unsafe { Site::find(table.as_ptr(), at) }
    }

    #[test]
    fn tables_are_read_as_they_are_written() {
        const ULEB: u8 = 1;
        assert_eq!(site(ULEB, 0, &[], 4), Some(Site::Passes));
        assert_eq!(site(ULEB, 0, &[], 8), Some(Site::Aborts), "no entry");
        assert_eq!(site(ULEB, 1, &[0x7f, 0], 7), Some(Site::Cleanup), "a filter");
        assert_eq!(site(ULEB, 1, &[1, 0], 5), Some(Site::Catches));
        assert_eq!(site(ULEB, 1, &[0, 0], 5), Some(Site::Passes), "a cleanup");
        assert_eq!(site(ULEB, 1, &[0, 1, 0x7f, 0], 5), Some(Site::Cleanup), "a cleanup, then a filter");
        assert_eq!(site(ULEB, 1, &[0, 0x7f], 5), None, "a chain without an end");
        assert_eq!(site(0x0f, 0, &[], 4), None, "an unknown encoding");
        assert_eq!(site(3, 0, &[], 4), None, "too short for a third value of four bytes");
    }
}
