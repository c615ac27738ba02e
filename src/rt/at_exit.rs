//! The end of the process: its runtimes do not end, they are gone, and so is what waits for their actors. How much that is, is said.

use crate::base::report::report;
use crate::sched::Shared;
use crate::sys::exit::at_exit;
use crate::sys::fork::{self, ForkSafeOnce};

/// There is a runtime from now on.
pub(super) fn install() {
    static ONCE: ForkSafeOnce<()> = ForkSafeOnce::new();
    ONCE.get_or_init(|| at_exit(say_what_waits));
}

extern "C" fn say_what_waits() {
    if fork::generation() != 0 {
        return; // In a child of fork a lock may be held by a thread that is not there.
    }
    let waiting: Vec<_> = Shared::all().iter().map(|shared| shared.waiting()).collect();
    let messages: usize = waiting.iter().map(|(messages, _)| messages).sum();
    let actors: usize = waiting.iter().map(|(_, actors)| actors).sum();
    if messages != 0 {
        report(format_args!(
            "messages that nobody has handled when the process ends: {messages} (of {actors} actors; green::shutdown has \
             them handled)"
        ));
    }
}
