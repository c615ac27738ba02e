//! The threads of the connections that are open.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};

use green::sync::{Mutex, MutexGuard};
use green::thread::JoinHandle;

/// Each thread strikes itself out at its end. So a new connection costs the same however many others there are, and nothing is
/// kept of those that are over.
#[derive(Clone, Default)]
pub(crate) struct Running(Arc<Mutex<HashMap<u64, JoinHandle<()>>>>);

impl Running {
    fn lock(&self) -> MutexGuard<'_, HashMap<u64, JoinHandle<()>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts the thread of a connection, which has a number of its own.
    pub(crate) fn start(&self, number: u64, connection: impl FnOnce() + Send + 'static) {
        let running = self.clone();
        // With the lock: the thread finds its handle, however soon it ends.
        let mut handles = self.lock();
        let thread = green::spawn(move || {
            let _entry = Entry { running, number };
            connection();
        });
        handles.insert(number, thread);
    }

    /// How many there are.
    #[allow(dead_code, reason = "for its test")]
    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    /// The threads that run now, for whoever ends them.
    pub(crate) fn take(&self) -> Vec<JoinHandle<()>> {
        std::mem::take(&mut *self.lock()).into_values().collect()
    }
}

/// Strikes a connection out, by a panic or a cancel too.
struct Entry {
    running: Running,
    number: u64,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.running.lock().remove(&self.number);
    }
}
