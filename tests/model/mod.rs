//! What the loom models share.
#![allow(dead_code, unused_imports, unused_macros, reason = "each model uses a part of it")]

pub(crate) mod fresh;
pub(crate) mod kernel;
pub(crate) mod late;
pub(crate) mod prelude;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use loom::cell::UnsafeCell;
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread::{self, JoinHandle};

/// Runs `model` in every interleaving with at most so many preemptions.
///
/// Where `MODELS_STOP` is set (`.ci/mutants`) the first model that fails ends the process.
pub(crate) fn check(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.max_branches = 50_000;
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| builder.check(model))) {
        if std::env::var_os("MODELS_STOP").is_some() {
            std::process::exit(1);
        }
        resume_unwind(payload);
    }
}

/// A thread of the model beside the caller's.
pub(crate) fn spawn_with<T: 'static, R: 'static>(shared: &Arc<T>, f: impl FnOnce(&T) -> R + 'static) -> JoinHandle<R> {
    let shared = Arc::clone(shared);
    thread::spawn(move || f(&shared))
}

/// One token and a place to wait for it.
#[derive(Debug)]
pub(crate) struct Gate {
    token: Mutex<bool>,
    changed: Condvar,
}

impl Gate {
    pub(crate) fn new() -> Self {
        Self { token: Mutex::new(false), changed: Condvar::new() }
    }

    pub(crate) fn open(&self) {
        *self.token.lock().unwrap() = true;
        self.changed.notify_one();
    }

    pub(crate) fn wait(&self) {
        let mut token = self.token.lock().unwrap();
        while !std::mem::take(&mut *token) {
            token = self.changed.wait(token).unwrap();
        }
    }
}

/// A number that loom watches: it reports accesses that meet.
#[derive(Debug)]
pub(crate) struct Watched(UnsafeCell<u32>);

// SAFETY: loom checks that no two threads touch it at the same time.
unsafe impl Sync for Watched {}
// SAFETY: as above.
unsafe impl Send for Watched {}

impl Watched {
    pub(crate) fn new(value: u32) -> Self {
        Self(UnsafeCell::new(value))
    }

    pub(crate) fn add(&self, amount: u32) -> u32 {
        self.0.with_mut(|value| {
            // SAFETY: loom checks the access.
            let value = unsafe { &mut *value };
            *value += amount;
            *value
        })
    }

    pub(crate) fn get(&self) -> u32 {
        // SAFETY: loom checks the access.
        self.0.with(|value| unsafe { *value })
    }
}

/// What is sent: a number that loom watches, which fails the model when the receiver could read it too early.
#[derive(Debug)]
pub(crate) struct Message(Box<Watched>);

impl Message {
    pub(crate) fn new(number: u32) -> Self {
        let message = Self(Box::new(Watched::new(0)));
        message.0.add(number);
        message
    }

    pub(crate) fn number(self) -> u32 {
        self.0.get()
    }
}
