//! A wrapper round the process's panic hook, put there once, by the first runtime or the first cancel. It notes that the
//! thread panics ([`unwind`]), and marks the OS thread while the hook runs: nothing may switch there, because a panic of
//! another green thread inside this one's hook makes std abort with a message that helps nobody.

use std::panic;
use std::sync::Once;

use crate::park::current::set_in_hook;
use crate::park::unwind;

/// Puts the wrapper there. Not while the calling thread panics.
pub(crate) fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let previous = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            unwind::begins(true);
            let before = set_in_hook(true);
            previous(info);
            set_in_hook(before);
        }));
    });
}
