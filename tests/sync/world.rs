//! Where a test runs: on OS threads, on green threads of one worker or of two, or on both kinds in turn.

use std::any::Any;
use std::cell::Cell;
use std::time::Duration;

use green::Runtime;

use crate::help::bounded;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Os,
    Green,
    InTurn,
}

pub(crate) struct World<'a> {
    kind: Kind,
    runtime: &'a Runtime,
    spawned: Cell<u32>,
}

pub(crate) enum Handle<T> {
    Os(std::thread::JoinHandle<T>),
    Green(green::thread::JoinHandle<T>),
}

impl World<'_> {
    pub(crate) fn spawn<T: Send + 'static>(&self, f: impl FnOnce() -> T + Send + 'static) -> Handle<T> {
        let number = self.spawned.replace(self.spawned.get() + 1);
        match self.kind {
            Kind::Os => Handle::Os(std::thread::spawn(f)),
            Kind::InTurn if number.is_multiple_of(2) => Handle::Os(std::thread::spawn(f)),
            Kind::InTurn | Kind::Green => Handle::Green(self.runtime.spawn(f)),
        }
    }
}

impl<T> Handle<T> {
    pub(crate) fn is_finished(&self) -> bool {
        match self {
            Handle::Os(handle) => handle.is_finished(),
            Handle::Green(handle) => handle.is_finished(),
        }
    }

    pub(crate) fn join(self) -> Result<T, Box<dyn Any + Send>> {
        match self {
            Handle::Os(handle) => {
                // An OS thread may need a green one that runs on this very worker.
                while !handle.is_finished() && green::thread::available_parallelism().is_ok() {
                    green::sleep(Duration::from_micros(200));
                }
                handle.join()
            }
            Handle::Green(handle) => handle.join(),
        }
    }
}

/// Runs `test` in every world: from an OS thread, and from a green thread of runtimes with one and two workers.
pub(crate) fn everywhere(test: impl Fn(&World) + Send + Sync + 'static) {
    bounded(move || {
        for workers in [1, 2] {
            let runtime = crate::help::builder().workers(workers).build().unwrap();
            for kind in [Kind::Os, Kind::Green, Kind::InTurn] {
                let world = || World { kind, runtime: &runtime, spawned: Cell::new(0) };
                eprintln!("{kind:?}, {workers} workers, from an OS thread");
                test(&world());
                if kind != Kind::Os {
                    eprintln!("{kind:?}, {workers} workers, from a green thread");
                    runtime.run(|| test(&world()));
                }
            }
        }
    });
}
