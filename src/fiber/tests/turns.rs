//! Taking turns, ending, unwinding, stacks.

use std::cell::{Cell, RefCell};
use std::hint::black_box;
use std::rc::Rc;

use super::{Backend, Coro, Me, Noisy, Status, UNWIND, Unwound, on_every_backend, stacks, take_stack};

/// Fewer of everything where it is slow.
const MANY: usize = if cfg!(miri) { 10 } else { 500 };

#[repr(align(64))]
struct Line([u8; 64]);
#[repr(align(4096))]
struct Page([u8; 4096]);

#[inline(never)]
fn deep<B: Backend>(me: &Me<B>, depth: usize) -> usize {
    let local = black_box([depth; 8]);
    let below = if depth == 0 { me.suspend() } else { deep(me, depth - 1) };
    below + local[black_box(3)]
}

on_every_backend! {
    fn each_suspend_returns_the_word_of_the_next_resume<B: Backend>() {
        let words = Rc::new(RefCell::new(Vec::new()));
        let seen = words.clone();
        let mut coro = Coro::<B>::new(&stacks(), move |me| {
            for _ in 0..3 {
                let word = me.suspend();
                seen.borrow_mut().push(word);
            }
        });
        assert!(words.borrow().is_empty());
        for word in 10..13 {
            assert_eq!(coro.resume(word), Status::Suspended);
        }
        assert_eq!(*words.borrow(), [11, 12]);
        assert_eq!(coro.resume(13), Status::Finished);
        assert_eq!(*words.borrow(), [11, 12, 13]);
        assert!(coro.end().is_ok());
    }

    fn a_fiber_that_never_ran_gives_its_stack_back<B: Backend>() {
        unsafe fn never(_: *mut ()) {
            unreachable!("nobody resumes it");
        }
        let stacks = stacks();
        let stack = take_stack(&stacks);
        let top = stack.top();
        // SAFETY: the entry takes any argument; the fiber is never resumed.
        let stack = unsafe {
            let fiber = B::new(stack, never, std::ptr::null_mut());
            assert_eq!(fiber.stack().top(), top);
            fiber.into_stack()
        };
        assert_eq!(stack.top(), top);
        stacks.borrow_mut().release(stack);
    }

    fn a_panic_caught_inside_is_handed_on_and_the_hub_goes_on<B: Backend>() {
        let mut coro = Coro::<B>::new(&stacks(), |me| {
            me.suspend();
            std::panic::resume_unwind(Box::new("inside"));
        });
        assert_eq!(coro.resume(0), Status::Suspended);
        assert_eq!(coro.resume(0), Status::Finished);
        assert_eq!(coro.end().unwrap_err().downcast_ref(), Some(&"inside"));
    }

    fn a_suspended_fiber_that_is_unwound_runs_its_destructors_innermost_first<B: Backend>() {
        let log = Rc::new(RefCell::new(Vec::new()));
        let inside = log.clone();
        let mut coro = Coro::<B>::new(&stacks(), move |me| {
            let _outer = Noisy("outer", inside.clone());
            let _second = Noisy("second", inside.clone());
            let nested = || {
                let _inner = Noisy("inner", inside.clone());
                me.suspend();
                inside.borrow_mut().push("not reached");
            };
            nested();
        });
        assert_eq!(coro.resume(0), Status::Suspended);
        assert!(log.borrow().is_empty());
        assert_eq!(coro.resume(UNWIND), Status::Finished);
        assert!(coro.end().unwrap_err().is::<Unwound>());
        assert_eq!(*log.borrow(), ["inner", "second", "outer"]);
    }

    fn a_fiber_that_suspends_while_it_unwinds_finishes_unwinding<B: Backend>() {
        struct Waits<B: Backend>(*const Me<B>, Rc<Cell<usize>>);
        impl<B: Backend> Drop for Waits<B> {
            fn drop(&mut self) {
                // SAFETY: the value lies on the fiber's stack, below its `Me`.
                self.1.set(unsafe { (*self.0).suspend() });
            }
        }
        let got = Rc::new(Cell::new(0));
        let inside = got.clone();
        let mut coro = Coro::<B>::new(&stacks(), move |me| {
            let _waits = Waits(me, inside);
            me.suspend();
        });
        assert_eq!(coro.resume(0), Status::Suspended);
        assert_eq!(coro.resume(UNWIND), Status::Suspended);
        assert_eq!(coro.resume(5), Status::Finished);
        assert_eq!(got.get(), 5);
        assert!(coro.end().unwrap_err().is::<Unwound>());
    }

    fn locals_of_a_fiber_are_where_they_were_after_a_switch<B: Backend>() {
        let mut coro = Coro::<B>::new(&stacks(), |me| {
            let line = black_box(Line([7; 64]));
            let page = black_box(Page([9; 4096]));
            for address in [(&raw const line).addr() % 64, (&raw const page).addr() % 4096] {
                assert_eq!(address, 0, "an over-aligned local is misplaced");
            }
            assert_eq!(deep(me, 20), 1 + (0..=20).sum::<usize>());
            assert!(line.0.iter().all(|&byte| byte == 7) && page.0.iter().all(|&byte| byte == 9));
        });
        assert_eq!(coro.resume(0), Status::Suspended);
        assert_eq!(coro.resume(1), Status::Finished);
        assert!(coro.end().is_ok());
    }

    fn live_floats_and_integers_survive_a_switch<B: Backend>() {
        let mut coro = Coro::<B>::new(&stacks(), |me| {
            let floats: [f64; 24] = black_box(std::array::from_fn(|at| at as f64 + 0.5));
            let words: [u64; 24] = black_box(std::array::from_fn(|at| at as u64 * 3));
            let (floats, words) = (floats.map(|x| x * 2.0), words.map(|x| x + 1));
            me.suspend();
            (0..24).for_each(|at| assert_eq!((floats[at], words[at]), (at as f64 * 2.0 + 1.0, at as u64 * 3 + 1)));
        });
        let (a, b) = (black_box(1.5_f64), black_box(7_u64));
        let (a, b) = (a * 3.0, b * 3);
        assert_eq!(coro.resume(0), Status::Suspended);
        assert_eq!((a, b), (4.5, 21));
        assert_eq!(coro.resume(0), Status::Finished);
        assert_eq!((a, b), (4.5, 21));
        coro.end().unwrap();
    }

    fn an_over_aligned_closure_is_moved_into_a_fiber_whole<B: Backend>() {
        let (line, page) = (Line([1; 64]), Page([2; 4096]));
        let mut coro = Coro::<B>::new(&stacks(), move |me| {
            let page = page;
            me.suspend();
            assert_eq!((&raw const page).addr() % 4096, 0);
            assert_eq!((&raw const line).addr() % 64, 0);
            assert!(line.0 == [1; 64] && page.0 == [2; 4096]);
        });
        assert_eq!(coro.resume(0), Status::Suspended);
        assert_eq!(coro.resume(0), Status::Finished);
        assert!(coro.end().is_ok());
    }

    fn a_fiber_can_be_the_hub_of_others<B: Backend>() {
        fn nest<B: Backend>(stacks: &super::Stacks, me: &Me<B>, depth: usize) -> usize {
            if depth == 0 {
                return me.suspend();
            }
            let result = Rc::new(Cell::new(0));
            let (inside, inner_stacks) = (result.clone(), stacks.clone());
            let mut coro = Coro::<B>::new(stacks, move |me| inside.set(1 + nest(&inner_stacks, me, depth - 1)));
            let mut word = 0;
            while coro.resume(word) == Status::Suspended {
                word = me.suspend();
            }
            coro.end().unwrap();
            result.get()
        }
        let stacks = stacks();
        let inside = stacks.clone();
        let result = Rc::new(Cell::new(0));
        let outcome = result.clone();
        let mut coro = Coro::<B>::new(&stacks, move |me| outcome.set(nest(&inside, me, 4)));
        assert_eq!(coro.resume(0), Status::Suspended);
        assert_eq!(coro.resume(100), Status::Finished);
        coro.end().unwrap();
        assert_eq!(result.get(), 104);
    }

    fn many_fibers_run_on_recycled_stacks<B: Backend>() {
        let stacks = stacks();
        for round in 0..MANY / 10 {
            let sum = Rc::new(Cell::new(0));
            let mut coros: Vec<_> = (0..10)
                .map(|_| {
                    let sum = sum.clone();
                    Coro::<B>::new(&stacks, move |me| {
                        let own = deep(me, 3);
                        sum.set(sum.get() + own);
                    })
                })
                .collect();
            for coro in &mut coros {
                assert_eq!(coro.resume(0), Status::Suspended);
            }
            // Neither first in, first out nor the reverse.
            coros.rotate_left(3);
            for mut coro in coros {
                assert_eq!(coro.resume(round), Status::Finished);
                coro.end().unwrap();
            }
            assert_eq!(sum.get(), 10 * (round + 6));
        }
    }
}
