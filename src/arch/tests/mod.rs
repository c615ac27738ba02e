//! The switch by itself, and what the tests of fibers need in assembly.

use std::mem::MaybeUninit;
use std::ptr::NonNull;

use super::{MachineContext, switch};

#[cfg(target_arch = "aarch64")]
mod aarch64;
#[cfg(target_arch = "x86_64")]
mod x86_64;

#[cfg(target_arch = "aarch64")]
use aarch64 as imp;
#[cfg(target_arch = "x86_64")]
use x86_64 as imp;

pub(crate) use imp::HELD;

/// A function that assembly can call, with its argument.
type Call = unsafe extern "C" fn(arg: *mut ());

/// `f` as a function and its argument.
fn callable<F: FnMut()>(f: &mut F) -> (Call, *mut ()) {
    unsafe extern "C" fn call<F: FnMut()>(f: *mut ()) {
        // SAFETY: the argument that it is returned with, below.
        unsafe { (*f.cast::<F>())() };
    }
    (call::<F>, (&raw mut *f).cast())
}

/// Fills the registers that [`HELD`] names, calls `f`, and stores what they hold then.
pub(crate) fn hold<F: FnMut()>(registers: &mut [u64; HELD.len()], f: &mut F) {
    let (call, arg) = callable(f);
    // SAFETY: the routine reads and writes one word a register, and keeps the C ABI towards both sides.
    unsafe { imp::hold(registers.as_mut_ptr(), call, arg) };
}

/// The control bits of the floating-point units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Control(u64);

impl Control {
    /// Three rounding modes that are not the default.
    pub(crate) fn three_unlike_the_default() -> [Control; 3] {
        imp::ROUNDING.map(|bits| Control(Self::current().0 ^ bits))
    }

    pub(crate) fn current() -> Control {
        Control(imp::control() & imp::CONTROL_BITS)
    }
}

/// Calls `f` with these control bits; returns those that are set when it comes back, and restores the former.
pub(crate) fn with_control(control: Control, mut f: impl FnMut()) -> Control {
    let mut word = control.0;
    let (call, arg) = callable(&mut f);
    // SAFETY: the routine reads and writes the word, restores the control words that it found, and keeps the C ABI
    // otherwise. `f` computes with no floats.
    unsafe { imp::with_control(&raw mut word, call, arg) };
    Control(word & imp::CONTROL_BITS)
}

/// A stack of this thread's own making, without a guard.
struct Plain(Vec<u128>);

impl Plain {
    fn top(&mut self) -> NonNull<u8> {
        NonNull::new(self.0.as_mut_ptr_range().end).unwrap().cast()
    }
}

#[test]
fn the_first_function_on_a_fresh_stack_finds_it_aligned() {
    let mut stack = Plain(vec![0; 4096]);
    let mut hub = MaybeUninit::uninit();
    // SAFETY: 64 KiB are enough for a routine that stores one vector, and belong to this test; the routine takes any
    // argument. The context is continued once.
    let remainder = unsafe {
        let mut fresh = MachineContext::fresh(stack.top(), imp::aligned_store, std::ptr::null_mut());
        switch(hub.as_mut_ptr(), &raw mut fresh, 0)
    };
    assert_eq!(remainder, 0);
}

#[test]
fn the_argument_goes_in_and_the_result_comes_out() {
    unsafe extern "C" fn twice(arg: *mut ()) -> usize {
        arg.addr() * 2
    }
    let mut stack = Plain(vec![0; 4096]);
    let mut hub = MaybeUninit::uninit();
    // SAFETY: as above; `twice` takes any argument.
    let result = unsafe {
        let mut fresh = MachineContext::fresh(stack.top(), twice, std::ptr::without_provenance_mut(21));
        switch(hub.as_mut_ptr(), &raw mut fresh, 0)
    };
    assert_eq!(result, 42);
}
