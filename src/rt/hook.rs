//! A wrapper round the process's panic hook, put there once, by the first runtime. It marks the OS thread while the hook
//! runs: nothing may switch there, because a panic of another green thread inside this one's hook makes std abort with a
//! message that helps nobody.

use std::panic;
use std::sync::Once;

use crate::park::current::{note_panic, set_in_hook};

pub(crate) fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let previous = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            note_panic();
            let before = set_in_hook(true);
            previous(info);
            set_in_hook(before);
        }));
    });
}
