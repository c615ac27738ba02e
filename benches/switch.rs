//! What does a context switch cost, and a fiber's whole life on a hot stack? Peer: corosensei, on the same stacks.
//!
//! One *switch* is one way: a resume and the suspend that answers it are two. The crate's own files are compiled into the
//! bench, because the fiber floor is not public.
#![allow(unused, unreachable_pub, missing_docs)]

#[cfg(green_backend = "asm")]
#[path = "../src/arch/mod.rs"]
mod arch;
#[path = "../src/base/mod.rs"]
mod base;
#[path = "../src/fiber/mod.rs"]
mod fiber;
#[path = "../src/stack/mod.rs"]
mod stack;
#[path = "../src/sys/mod.rs"]
mod sys;
#[path = "../src/thread_locals/mod.rs"]
mod thread_locals;

use std::hint::black_box;
use std::mem::MaybeUninit;
use std::time::{Duration, Instant};

use corosensei::stack::DefaultStack;
use corosensei::{Coroutine, ScopedCoroutine};
use criterion::{Criterion, criterion_group, criterion_main};

use fiber::{Fiber, Status};
use stack::{Cache, StackSize};

/// Suspends for ever. The argument points to the fiber itself.
unsafe fn ping(fiber: *mut ()) {
    // SAFETY: the bench made the fiber before it resumes it, and this is its stack. A copy, which has no destructor.
    let fiber = unsafe { fiber.cast::<Fiber>().read() };
    loop {
        // SAFETY: as above.
        unsafe { fiber.suspend() };
    }
}

unsafe fn nothing(_: *mut ()) {}

fn switch(c: &mut Criterion) {
    let mut group = c.benchmark_group("switch, one way");
    group.bench_function("green", |b| {
        let mut cache = Cache::new();
        cache.reserve(StackSize::DEFAULT).expect("a stack");
        let mut place = MaybeUninit::<Fiber>::uninit();
        // SAFETY: `ping` reads the place when the fiber is first resumed, after it was written here.
        let fiber = unsafe { Fiber::new(cache.acquire(StackSize::DEFAULT), ping, place.as_mut_ptr().cast()) };
        let fiber = place.write(fiber);
        // SAFETY: it never ends, so it is suspended here; this thread alone resumes it.
        b.iter_custom(|iterations| halved(iterations, &mut *fiber, |fiber| unsafe { fiber.resume(0) }));
    });
    group.bench_function("corosensei", |b| {
        let stack = DefaultStack::new(256 << 10).expect("a stack");
        let mut coroutine = Coroutine::with_stack(stack, |yielder, ()| -> () {
            loop {
                yielder.suspend(());
            }
        });
        b.iter_custom(|iterations| halved(iterations, &mut coroutine, |coroutine| coroutine.resume(())));
        // SAFETY: nothing on its stack has a destructor.
        unsafe { coroutine.force_reset() };
    });
    group.finish();
}

/// Times `iterations` switches, of which each call of `both_ways` makes two.
fn halved<T, R>(iterations: u64, mut fiber: T, both_ways: impl Fn(&mut T) -> R) -> Duration {
    let start = Instant::now();
    for _ in 0..iterations.div_ceil(2) {
        black_box(both_ways(&mut fiber));
    }
    start.elapsed()
}

fn life(c: &mut Criterion) {
    let mut group = c.benchmark_group("build, run and drop on a hot stack");
    group.bench_function("green", |b| {
        let mut cache = Cache::new();
        b.iter(|| {
            let stack = cache.acquire_unpromised(StackSize::DEFAULT).expect("a stack");
            // SAFETY: the entry takes any argument; the fiber ends with its first resume, so its stack is free.
            unsafe {
                let fiber = Fiber::new(stack, nothing, black_box(std::ptr::null_mut()));
                let status = fiber.resume(0);
                debug_assert!(status == Status::Finished);
                cache.release(fiber.into_stack());
            }
        });
    });
    group.bench_function("corosensei", |b| {
        let mut stack = DefaultStack::new(256 << 10).expect("a stack");
        b.iter(|| {
            let arg = black_box(0_usize);
            let mut coroutine = ScopedCoroutine::with_stack(&mut stack, |_: &corosensei::Yielder<(), ()>, ()| {
                black_box(arg);
            });
            coroutine.scope(|mut coroutine| _ = black_box(coroutine.as_mut().resume(())));
        });
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().without_plots().warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    targets = switch, life
}
criterion_main!(benches);
