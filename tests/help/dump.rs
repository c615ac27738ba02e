//! What a dump says, for tests that look at single threads of it.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use green::dump::{ThreadInfo, ThreadStatus, WaitsOn, for_each};
use green::thread::{Thread, ThreadId};

/// One test at a time: each looks at all threads of the process.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn info(thread: &Thread) -> ThreadInfo {
    let mut found = None;
    let keep = |met: &ThreadInfo| {
        if met.id() == thread.id() {
            found = Some(met.clone());
        }
        Ok(())
    };
    for_each(keep).unwrap();
    found.expect("the thread is there")
}

/// Waits until a dump shows all of them as waiting for what `why` names. They say so themselves a moment before: a thread that has begun to wait stands
/// on its stack still, and runs to all others; where its worker gets no processor then, for long.
#[track_caller]
pub(crate) fn until_shown<'a>(threads: impl IntoIterator<Item = &'a Thread>, why: &str) {
    // Those that have not come so far are not held up by dumps.
    let id = |thread: &Thread| {
        super::until_parked(thread, why);
        thread.id()
    };
    let wanted: HashSet<ThreadId> = threads.into_iter().map(id).collect();
    super::until(|| {
        let mut waiting = 0;
        let count = |met: &ThreadInfo| {
            let waits = matches!(met.status(), ThreadStatus::Waiting(what) if what == why);
            waiting += usize::from(waits && wanted.contains(&met.id()));
            Ok(())
        };
        for_each(count).unwrap();
        waiting == wanted.len()
    });
}

/// For what `thread` waits as soon as it does, for what `why` names. A wait may be left for a moment, to look: so it is asked until
/// it says so.
#[track_caller]
pub(crate) fn waits_on(thread: &Thread, why: &str) -> WaitsOn {
    super::until_parked(thread, why);
    let found = std::cell::OnceCell::new();
    super::until(|| info(thread).waits_on().is_some_and(|on| found.set(on.clone()).is_ok()));
    found.into_inner().expect("it is known")
}

pub(crate) fn text() -> String {
    let mut text = Vec::new();
    green::dump::text(&mut text).unwrap();
    String::from_utf8(text).unwrap()
}

pub(crate) fn json_of(thread: ThreadId) -> String {
    let mut json = Vec::new();
    green::dump::json(&mut json).unwrap();
    let begin = format!(r#"{{"id":{},"#, format!("{thread:?}").trim_matches(|c: char| !c.is_ascii_digit()));
    let json = String::from_utf8(json).unwrap();
    json.lines().find(|line| line.starts_with(&begin)).unwrap_or_else(|| panic!("no {begin} in {json}")).to_owned()
}
