//! The processor time of an OS thread, read by another one. Only Linux can say it; elsewhere nobody is told anything.

use crate::base::atomic::{AtomicU32, Ordering};

/// The clock of the thread that took it last. It outlives its thread: then it says nothing any more, or, should another
/// thread of the process have got the old one's number, that one's time. So it is a hint.
#[derive(Debug)]
pub(crate) struct CpuClock {
    /// What the system calls it; 0: nobody's.
    id: AtomicU32,
}

impl CpuClock {
    /// Can the system say it at all?
    pub(crate) const IS_KNOWN: bool = cfg!(all(target_os = "linux", not(miri)));

    pub(crate) fn new() -> Self {
        Self { id: AtomicU32::new(0) }
    }

    /// From now on it is the calling thread's.
    pub(crate) fn take(&self) {
        self.id.store(system::own_id(), Ordering::Relaxed);
    }

    /// What its thread has used so far. One system call.
    pub(crate) fn read_ns(&self) -> Option<u64> {
        match self.id.load(Ordering::Relaxed) {
            0 => None,
            id => system::read_ns(id),
        }
    }

    /// Did its thread not run on any processor between two looks, right now? Of one that runs, the second sees that the
    /// first took time. If so, what it has used so far.
    pub(crate) fn stands_at_ns(&self) -> Option<u64> {
        let first_ns = self.read_ns()?;
        (self.read_ns()? == first_ns).then_some(first_ns)
    }
}

#[cfg(all(target_os = "linux", not(miri)))]
mod system {
    pub(super) fn own_id() -> u32 {
        let mut id: libc::clockid_t = 0;
        // SAFETY: the calling thread is alive, and the pointer is to a clock id of our own.
        let result = unsafe { libc::pthread_getcpuclockid(libc::pthread_self(), &raw mut id) };
        if result == 0 { id as u32 } else { 0 }
    }

    pub(super) fn read_ns(id: u32) -> Option<u64> {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: the pointer is to a `timespec` of our own; an id that is nobody's any more is an error.
        let result = unsafe { libc::clock_gettime(id as libc::clockid_t, &raw mut time) };
        (result == 0).then_some(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
    }
}

#[cfg(not(all(target_os = "linux", not(miri))))]
mod system {
    pub(super) fn own_id() -> u32 {
        0
    }

    pub(super) fn read_ns(_id: u32) -> Option<u64> {
        None
    }
}

#[cfg(all(test, target_os = "linux", not(miri)))]
mod tests {
    use std::sync::Arc;
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn a_clock_runs_with_its_thread_and_stands_while_that_is_blocked() {
        let clock = Arc::new(CpuClock::new());
        assert_eq!(clock.stands_at_ns(), None, "it is nobody's");
        let (go, wait) = channel::<()>();
        let theirs = Arc::clone(&clock);
        let thread = std::thread::spawn(move || {
            theirs.take();
            let _ = wait.recv();
        });
        // It gets to its receive at some time, and never out of it again.
        while clock.stands_at_ns().is_none() {
            std::thread::yield_now();
        }
        drop(go);
        thread.join().expect("it ends");
        clock.take();
        assert_eq!(clock.stands_at_ns(), None, "this thread runs");
    }
}
