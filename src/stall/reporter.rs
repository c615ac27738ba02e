//! Who tells of stalls: an OS thread of its own. A hook may wait, and so may who writes to a standard error that nobody reads; that is not to keep the monitor from looking, nor from starting the spare
//! worker by which the wait may end.
//!
//! It starts with the first report. As a hook may wake somebody, each report that is not through counts as a [`LaterWake`]: until then nothing stands still.
#![forbid(unsafe_code)]

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use crate::base::lock::Lock;
use crate::base::report::survive;
use crate::park::os_threads::{self, LaterWake};
use crate::sched::monitor::StallRecord;
use crate::sys::fork::PerProcess;
use crate::sys::signals::while_blocked;

/// So many reports wait at most; what comes then is left out.
const MOST: usize = 64;
/// Enough for a hook that looks up the names of functions.
const STACK: usize = 1 << 20;

type Told = (StallRecord, LaterWake);

static REPORTER: PerProcess<Lock<Option<SyncSender<Told>>>> = PerProcess::new(|| Lock::new(None));

/// Has `tell` called with `record`, there; here if there is no OS thread to be had.
pub(super) fn report_apart(record: StallRecord, tell: fn(StallRecord)) {
    let reporter = {
        let mut reporter = REPORTER.get().lock();
        if reporter.is_none() {
            *reporter = start(tell).ok();
        }
        reporter.clone()
    };
    match reporter {
        Some(reporter) => _ = reporter.try_send((record, LaterWake::new())),
        None => tell(record),
    }
}

fn start(tell: fn(StallRecord)) -> io::Result<SyncSender<Told>> {
    let (sender, reports) = sync_channel(MOST);
    let thread = std::thread::Builder::new().name("green-stalls".to_owned()).stack_size(STACK);
    while_blocked(|| thread.spawn(move || tell_all(&reports, tell)))?;
    Ok(sender)
}

fn tell_all(reports: &Receiver<Told>, tell: fn(StallRecord)) {
    let _serves = os_threads::serves();
    for (record, _later) in reports {
        // What goes wrong in one report is not to be the end of all.
        survive(|| tell(record));
    }
}
