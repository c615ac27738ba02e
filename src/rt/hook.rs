//! A wrapper round the process's panic hook, put there once, by the first runtime. It marks the OS thread while the hook
//! runs: nothing may switch there, because a panic of another green thread inside this one's hook makes std abort with a
//! message that helps nobody.

use std::panic;
use std::sync::Once;

use crate::park::current::{note_panic, set_in_hook};

pub(crate) fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        if std::thread::panicking() {
            // The first runtime starts in a destructor, or even in a hook: there std refuses. Not waited for, because
            // std does not let a hook be replaced while one runs. Without a thread for it, the mark is missing.
            let _ = std::thread::Builder::new().spawn(wrap);
        } else {
            wrap();
        }
    });
}

fn wrap() {
    let previous = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        note_panic();
        let before = set_in_hook(true);
        previous(info);
        set_in_hook(before);
    }));
}
