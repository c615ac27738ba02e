//! What is said when nothing can go on.
#![forbid(unsafe_code)]

use std::fmt::Write as _;
use std::io::Write as _;

use crate::dump::text;
use crate::sched::standstill::StandstillRecord;
use crate::sys::standard_error::StandardError;

/// Says so on standard error, with a dump. At once, as far as possible: not by std's handle, whose lock a thread may have. Until somebody reads it, if need be: the monitor, which calls this, has nothing
/// to watch any more.
pub(super) fn report(record: StandstillRecord) {
    let mut said = head(&record).into_bytes();
    if let Err(error) = text(&mut said) {
        said.extend(format!("green: no dump: {error}\n").into_bytes());
    }
    let _ = StandardError.write_all(&said);
}

fn head(StandstillRecord { green_threads, os_threads }: &StandstillRecord) -> String {
    let mut text = format!(
        "green: deadlock: all threads wait for one another, {green_threads} green and {} other, and nothing else can wake one\n",
        os_threads.len()
    );
    for thread in os_threads {
        let name = thread.name.as_deref().unwrap_or("nameless");
        let _ = writeln!(text, "OS thread {} {name:?}, waits: {}", thread.id, thread.reason);
    }
    text
}
