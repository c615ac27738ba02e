//! A wrapper round the process's panic hook. It marks the OS thread while the hook runs: nothing may switch there, because a
//! panic of another green thread inside this one's hook makes std abort with a message that helps nobody. And it notes
//! that a panic begins. If the hook is std's, the wrapper names the green thread or the actor that panics, in a line of its own.
//!
//! The first runtime puts it there. A program that sets a hook later throws it away, and the hook in it; so with each
//! wrapper goes a [`Keeper`], whose destructor, which std runs before `set_hook` returns, wraps what has been put in its
//! place. Where the program keeps what `take_hook` gives it, nothing is thrown away and nothing is wrapped, until it is put
//! back, is called by the hook that replaced it, or is dropped. A hook without a wrapper is known by its stack
//! ([`in_panic`]), which a panic made for the purpose has shown; so each wait looks while std says that the OS thread panics.
//!
//! There is never a wrapper round a wrapper: [`WRAPPERS`] knows them by their address.
//!
//! Who looks at the process's hook and changes it holds the gate of [`fork`]: so no other thread does, and none forks, as in its child std's lock of the hook would
//! stay locked.
#![forbid(unsafe_code)]

use std::cell::{Cell, RefCell};
use std::io::Write as _;
use std::panic::{self, PanicHookInfo};
use std::ptr;
use std::sync::{Arc, OnceLock};

use crate::base::atomic::{AtomicBool, Ordering};
use crate::base::lock::Lock;
use crate::park::no_park::set_in_hook;
use crate::park::unwind;
use crate::park::{current, fork};
use crate::recorder;
use crate::sys::in_panic;

type Hook = Box<dyn Fn(&PanicHookInfo<'_>) + Sync + Send + 'static>;

/// The addresses of all wrappers that there are.
static WRAPPERS: Lock<Vec<usize>> = Lock::new(Vec::new());

thread_local! {
    /// This OS thread changes the hook: a wrapper that it throws away has nothing to see to.
    static WRAPS: Cell<bool> = const { Cell::new(false) };
}

pub(crate) fn install() {
    static INSTALLED: AtomicBool = AtomicBool::new(false);
    let _held = fork::hold();
    // ORDERING: Relaxed: who comes later has waited for the gate.
    if !INSTALLED.swap(true, Ordering::Relaxed) {
        wrap_soon();
    }
}

/// Wraps the process's hook, at once if std allows it.
fn wrap_soon() {
    if std::thread::panicking() {
        // In a destructor, or even in a hook: there std refuses. Not waited for, because std does not let a hook be
        // replaced while one runs. Without a thread for it, the mark is missing.
        let _ = std::thread::Builder::new().spawn(wrap);
    } else {
        wrap();
    }
}

/// Wraps the process's hook, unless it is a wrapper.
fn wrap() {
    let _held = fork::hold();
    WRAPS.set(true);
    let hook = panic::take_hook();
    let is_wrapper = WRAPPERS.lock().contains(&address(&hook));
    // What is there now is std's own.
    let is_std = is_same(&hook, &panic::take_hook());
    panic::set_hook(if is_wrapper { hook } else { wrapper(hook, is_std) });
    WRAPS.set(false);
    static LEARNS: AtomicBool = AtomicBool::new(false);
    if !LEARNS.swap(true, Ordering::Relaxed) {
        learn();
    }
}

/// The payload of a panic that is made to see its hook run; the wrapper reports it to nobody.
struct Specimen;

/// Shows [`in_panic`] the stack of a panic hook.
fn learn() {
    if !cfg!(panic = "unwind") {
        return;
    }
    let before = RefCell::new(Vec::new());
    STACK.with(|stack| stack.borrow_mut().clear());
    let _ = panic::catch_unwind(panic::AssertUnwindSafe(|| {
        // Here, so that what catching leaves on a stack is known to be there at other times, too.
        in_panic::functions(&mut |function| before.borrow_mut().push(function));
        panic::panic_any(Specimen)
    }));
    STACK.with(|stack| in_panic::learn(&before.borrow(), &stack.borrow()));
}

thread_local! {
    /// The stack in the hook of the specimen.
    static STACK: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
}

/// Are both hooks the same function? Then neither has a place in memory. If they are taken for two, a line is missing in a report.
fn is_same(one: &Hook, other: &Hook) -> bool {
    size_of_val(&**one) == 0 && ptr::eq(&raw const **one, &raw const **other)
}

/// The line above std's: that names the worker's OS thread only. In std's form.
fn name_thread(id: u64, name: Option<&str>, type_name: Option<&str>) {
    // Standard error may be closed; a panic here would end the process.
    let _ = match (type_name, name) {
        (Some(type_name), Some(name)) => writeln!(std::io::stderr(), "\nin actor {id} {name:?} ({type_name})"),
        (Some(type_name), None) => writeln!(std::io::stderr(), "\nin actor {id} ({type_name})"),
        (None, name) => writeln!(std::io::stderr(), "\nin green thread '{}' ({id})", name.unwrap_or("<unnamed>")),
    };
}

fn wrapper(previous: Hook, is_std: bool) -> Hook {
    let keeper = Keeper(Arc::default());
    let place = Arc::clone(&keeper.0);
    let hook: Hook = Box::new(move |info| {
        let _keeper = &keeper;
        if info.payload().is::<Specimen>() {
            return STACK.with(|stack| in_panic::functions(&mut |function| stack.borrow_mut().push(function)));
        }
        unwind::begins(true);
        let before = set_in_hook(true);
        if is_std {
            current::describe_with_type(name_thread);
        }
        previous(info);
        recorder::panicked();
        set_in_hook(before);
    });
    WRAPPERS.lock().push(*place.get_or_init(|| address(&hook)));
    hook
}

fn address(hook: &Hook) -> usize {
    (&raw const **hook).addr()
}

/// Goes with the wrapper at this address; see the module's text.
struct Keeper(Arc<OnceLock<usize>>);

impl Drop for Keeper {
    fn drop(&mut self) {
        let held = fork::hold();
        WRAPPERS.lock().retain(|wrapper| Some(wrapper) != self.0.get());
        drop(held);
        // An error: the OS thread has come to its very end.
        if !WRAPS.try_with(Cell::get).unwrap_or(true) {
            wrap_soon();
        }
    }
}
