//! `Thread` and `ThreadId`: a thread as others see it.

use std::fmt;
use std::num::NonZeroU64;
use std::panic::{RefUnwindSafe, UnwindSafe};

use crate::task::wait::End;
use crate::task::{Task, Ticket};

/// A unique number of a thread, green or OS, in this process: [`std::thread::ThreadId`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ThreadId(NonZeroU64);

/// A handle to a thread, green or OS: [`std::thread::Thread`].
#[derive(Clone)]
pub struct Thread(pub(crate) Task);

impl UnwindSafe for Thread {}
impl RefUnwindSafe for Thread {}

impl Thread {
    /// The thread's number.
    #[must_use]
    pub fn id(&self) -> ThreadId {
        ThreadId(NonZeroU64::new(self.0.id).expect("the numbers of threads begin with 1"))
    }

    /// The thread's name, if it was given one.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.0.name()
    }

    /// Ends the thread's [`park`](crate::thread::park), or the next one that it begins. Tokens do not add up. Never waits.
    pub fn unpark(&self) {
        if let Some(epoch) = self.0.token.put() {
            // SAFETY: `self` keeps the header alive.
            if let Some(wake) = unsafe { Ticket::new(self.0.as_ptr(), epoch).end(End::Notified) } {
                wake.schedule();
            }
        }
    }
}

impl fmt::Debug for Thread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Thread").field("id", &self.id()).field("name", &self.name()).finish_non_exhaustive()
    }
}
