//! What the loom models share.
#![allow(dead_code, reason = "each model uses a part of it")]

pub(crate) mod prelude;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use loom::sync::{Condvar, Mutex};

/// Runs `model` in every interleaving with at most so many preemptions.
///
/// Where `MODELS_STOP` is set (`.ci/orderings`) the first model that fails ends the process.
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
