//! Where the thread that serves a new connection starts.
//!
//! A started thread stays where it is, and a connection's thread lives as long as the connection. Started by the worker that
//! accepts, one after the other as connections come, all of them would stay there: none is ever stolen, because each
//! starts as soon as the accepting thread waits again. So the first thread that the accepting thread spawns before it waits again
//! goes to the worker with the fewest threads, if that has fewer than this one. The accepting worker then has a message to send (and a
//! sleeper to wake) for every second connection, and the load of all workers is the same from then on.
//!
//! Such a thread is claimed when it is sent, so nobody steals it if its worker computes without a pause.

use crate::sched::remote::Remote;
use crate::sched::worker::Worker;
use crate::task::Task;

impl Worker {
    /// Queues the thread that is to serve a connection: here, or at the worker that should have it.
    #[cold]
    pub(crate) fn spawn_balanced(&self, task: Task) {
        match self.less_loaded() {
            Some(remote) => send_unstarted(remote, task),
            None => self.spawn(task),
        }
    }

    /// The worker that should have the next connection, if it is another one; it expects the thread.
    fn less_loaded(&self) -> Option<&'static Remote> {
        let own = (self.live_count() + self.unstarted.len()) as u32;
        let others = self.shared.remotes.iter().copied().filter(|remote| remote.index != self.remote.index);
        let (load, least) = others.filter_map(|remote| Some((remote.load()?, remote))).min_by_key(|(load, _)| *load)?;
        (load + 1 < own && least.arriving.expect()).then_some(least)
    }
}

/// Sends an unstarted thread, which is in no queue, to a worker that expects it.
fn send_unstarted(remote: &Remote, task: Task) {
    let claimed = task.state.claim(remote.index);
    debug_assert!(claimed, "it stands in no queue and nobody joins it");
    // SAFETY: it waits for nothing and is in no queue; claimed, it is that worker's alone.
    unsafe { remote.send(task.into_raw()) };
}
