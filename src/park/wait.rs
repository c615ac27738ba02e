//! One wait, and what may end it: decided when it begins, and again when it goes on.
//!
//! No wait keeps a guess about which thread unwinds. Of a thread with a cancel or a limit, [`Wait::how`] says:
//!
//! | what is known of the thread | the wait                                                                                |
//! | --------------------------- | --------------------------------------------------------------------------------------- |
//! | it does not unwind          | may be interrupted, or is at once                                                       |
//! | it unwinds                  | may not: that does not change as long as the thread stands where it waits               |
//! | nothing (a doubt)           | may be interrupted, and is asked then: the answer may raise, or have it asked again later |
//!
//! So what is pending is raised as soon as the answer is *no*: at once, or one interval after the doubt is over. The model at
//! the end of this file drives all of it.
#![forbid(unsafe_code)]

use std::ptr;

use crate::park::waits_on::{self, NotedMany};
use crate::sys::clock::NEVER;
use crate::task::header::Reason;
use crate::task::limit::Interrupts;

/// How long a wait goes on, after it has been interrupted in doubt or by a limit that is not its own, before it asks again.
pub(crate) const ASK_AGAIN_NS: u64 = 4_000_000;

/// One wait: why, how long, and whether a cancel or an enclosing `timeout` may end it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wait {
    pub(crate) reason: Reason,
    /// What exactly: an address or a number, which [`waits_on`](super::waits_on) reads by the reason; 0: it is not told.
    pub(crate) on: usize,
    pub(crate) deadline_ns: u64,
    pub(crate) interrupts: Interrupts,
    /// It has been interrupted, nothing could be raised yet, and it shall not be again before an interval is over.
    patient: bool,
}

/// The state that a thread is in when it begins to wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct ThreadState {
    /// What may end its waits: nothing, if it unwinds for certain.
    pub(crate) interrupts: Interrupts,
    pub(crate) cancelled: bool,
    /// Its earliest limit.
    pub(crate) limit_ns: u64,
}

/// Why nothing was raised when a wait was interrupted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum NotRaised {
    /// Nothing is pending any more: the limit that has ended the wait is gone, as another thread has resumed the coroutine with the
    /// frame of it. The wait is what it was, under the limits that are left.
    Nothing,
    /// What is pending belongs to a coroutine that is suspended, or the stack leaves open which thread unwinds.
    NotYet,
    /// The thread unwinds, or is in a panic hook, or cannot unwind at all: as long as it waits here.
    Unwinds,
}

/// What follows for a wait from the state that its thread is in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct WaitTerms {
    pub(crate) interrupts: Interrupts,
    pub(crate) deadline_ns: u64,
}

impl Wait {
    pub(crate) fn new(reason: Reason) -> Self {
        Self { reason, on: 0, deadline_ns: NEVER, interrupts: Interrupts::All, patient: false }
    }

    /// It is for this, which stays in place as long as the wait lasts.
    #[inline(always)]
    pub(crate) fn on<T>(self, what: *const T) -> Self {
        Self { on: what.expose_provenance(), ..self }
    }

    /// As [`on`](Self::on), of a channel that never holds a message.
    #[inline(always)]
    pub(crate) fn on_empty<T>(self, what: *const T) -> Self {
        Self { on: what.expose_provenance() | waits_on::EMPTY, ..self }
    }

    /// It is for what the actor owes whose header's address stands in this place, or null; the place stays as long as the wait lasts, and the header as long as its address
    /// stands there.
    #[inline(always)]
    pub(crate) fn on_owed<T>(self, place: *const T) -> Self {
        Self { on: waits_on::debt_note(place), ..self }
    }

    /// It is for the first of several.
    #[inline(always)]
    pub(crate) fn on_many(self, many: &NotedMany) -> Self {
        Self { on: ptr::from_ref(many).expose_provenance() | waits_on::MANY, ..self }
    }

    /// It is for the descriptor with this number.
    #[inline(always)]
    pub(crate) fn on_descriptor(self, fd: i32) -> Self {
        Self { on: (fd as usize) << waits_on::FD_SHIFT, ..self }
    }

    pub(crate) fn until(self, deadline_ns: u64) -> Self {
        Self { deadline_ns, ..self }
    }

    /// The wait goes on whatever happens: its end is what makes borrowed data safe to leave.
    pub(crate) fn uninterruptible(self) -> Self {
        Self { interrupts: Interrupts::None, ..self }
    }

    pub(crate) fn is_interruptible(self) -> bool {
        self.interrupts != Interrupts::None
    }

    /// How it goes on after it was interrupted and nothing was raised.
    pub(crate) fn goes_on(self, why: NotRaised) -> Self {
        match why {
            NotRaised::Nothing => Self { patient: false, ..self },
            NotRaised::NotYet => Self { patient: true, ..self },
            NotRaised::Unwinds => self.uninterruptible(),
        }
    }

    /// How it begins; `now_ns` reads the clock. `None`: it is interrupted already.
    pub(crate) fn how(self, thread: ThreadState, now_ns: impl FnOnce() -> u64) -> Option<WaitTerms> {
        let (own_ns, interrupts) = (self.deadline_ns, self.interrupts.min(thread.interrupts));
        match interrupts {
            Interrupts::None => Some(WaitTerms { interrupts, deadline_ns: own_ns }),
            _ if self.patient => {
                let deadline_ns = own_ns.min(now_ns() + ASK_AGAIN_NS);
                Some(WaitTerms { interrupts: Interrupts::TimeoutsOnly, deadline_ns })
            }
            Interrupts::All if thread.cancelled => None,
            _ => Some(WaitTerms { interrupts, deadline_ns: own_ns.min(thread.limit_ns) }),
        }
    }
}

// Over fibers made of OS threads std counts each one's panics apart, and there is nothing to model.
#[cfg(all(test, not(green_backend = "threads")))]
mod tests {
    //! Every course of events on one OS thread with two green threads: T, which waits, and N, its neighbour. Each may begin
    //! to unwind and be through with it, T is cancelled or its limit passes at some moment, and they take turns.

    use super::*;
    use crate::park::doubt::Doubt;
    use crate::sys::unwinder::Unwinds;

    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    enum Step {
        /// The running thread begins to unwind, into a destructor.
        Begins,
        /// It has caught an unwinding.
        Catches,
        /// The other one has its turn. T waits, if it is T that goes.
        Switches,
        Cancel,
        /// T's limit, and all others, are past.
        TimePasses,
        /// N resumes the coroutine with the frame of T's limit, and that ends.
        LimitGoes,
    }

    const STEPS: [Step; 6] =
        [Step::Begins, Step::Catches, Step::Switches, Step::Cancel, Step::TimePasses, Step::LimitGoes];

    struct Model {
        doubt: Doubt,
        /// Unwindings under way, of T and of N.
        unwinding: [u32; 2],
        runs: usize,
        cancelled: bool,
        limit_ns: u64,
        now_ns: u64,
        /// T's wait, and how it stands, if it waits.
        wait: Wait,
        how: Option<WaitTerms>,
        raised: bool,
        /// Can stacks be looked at?
        stacks: bool,
    }

    impl Model {
        fn new(limit_ns: u64, stacks: bool) -> Self {
            Self {
                doubt: Doubt::new(),
                unwinding: [0; 2],
                runs: 0,
                cancelled: false,
                limit_ns,
                now_ns: 1,
                wait: Wait::new(Reason::Park),
                how: None,
                raised: false,
                stacks,
            }
        }

        fn panicking(&self) -> bool {
            self.unwinding != [0; 2]
        }

        /// Asks the running thread; checks the answer.
        fn ask(&self) -> Unwinds {
            let really = self.unwinding[self.runs] != 0;
            let stack = match (self.stacks, really) {
                (false, _) => Unwinds::Unknown,
                (true, false) => Unwinds::No,
                (true, true) => Unwinds::Yes,
            };
            let answer = self.doubt.ask(self.panicking(), || stack);
            match answer {
                Unwinds::Yes => assert!(really),
                Unwinds::No => assert!(!really, "what is raised now ends the process"),
                Unwinds::Unknown => assert!(!self.stacks && self.panicking()),
                Unwinds::Barred => unreachable!(),
            }
            answer
        }

        fn is_pending(&self) -> bool {
            self.cancelled || self.limit_ns <= self.now_ns
        }

        /// T begins to wait, or goes on to.
        fn waits(&mut self) {
            loop {
                let in_doubt = self.doubt.is_in_doubt(self.panicking());
                let unwinds = self.panicking() && !in_doubt;
                let interrupts = if unwinds { Interrupts::None } else { Interrupts::All };
                let thread = ThreadState { interrupts, cancelled: self.cancelled, limit_ns: self.limit_ns };
                let how = self.wait.how(thread, || self.now_ns);
                if how.is_some_and(|how| how.deadline_ns > self.now_ns) {
                    self.how = how;
                    return;
                }
                if self.interrupted() {
                    return;
                }
            }
        }

        /// The caller of the wait asks what to do. True: raised.
        fn interrupted(&mut self) -> bool {
            let why = match self.is_pending().then(|| self.ask()) {
                Some(Unwinds::No) => {
                    self.raised = true;
                    return true;
                }
                None => NotRaised::Nothing,
                Some(_) if self.doubt.is_in_doubt(self.panicking()) => NotRaised::NotYet,
                Some(_) => NotRaised::Unwinds,
            };
            self.wait = self.wait.goes_on(why);
            false
        }

        fn leaves(&self) {
            if self.panicking() {
                self.doubt.suspends_panicking();
            }
        }

        /// T, which waits, is resumed: by its cancel or its deadline.
        fn wakes(&mut self) {
            self.how = None;
            if !self.interrupted() {
                self.waits();
            }
        }

        /// What ends T's wait now, does.
        fn end_wait(&mut self) {
            let due = |how: WaitTerms, model: &Self| {
                how.interrupts == Interrupts::All && model.cancelled || how.deadline_ns <= model.now_ns
            };
            if self.runs == 1 && self.how.is_some_and(|how| due(how, self)) {
                self.leaves();
                self.runs = 0;
                self.wakes();
                if !self.raised {
                    self.leaves();
                    self.runs = 1;
                }
            }
        }

        fn step(&mut self, step: Step) {
            match step {
                Step::Begins if self.unwinding[self.runs] < 2 => self.unwinding[self.runs] += 1,
                Step::Catches if self.unwinding[self.runs] > 0 => self.unwinding[self.runs] -= 1,
                Step::Switches if self.runs == 0 => {
                    self.wait = Wait::new(Reason::Park);
                    self.waits();
                    if !self.raised {
                        self.leaves();
                        self.runs = 1;
                    }
                }
                // T's wait has an end of its own.
                Step::Switches => {
                    self.leaves();
                    (self.runs, self.how) = (0, None);
                }
                Step::Cancel => self.cancelled = true,
                Step::TimePasses => self.now_ns += ASK_AGAIN_NS,
                Step::LimitGoes if self.runs == 1 => self.limit_ns = NEVER,
                Step::Begins | Step::Catches | Step::LimitGoes => {}
            }
            if !self.raised {
                self.ask();
                self.end_wait();
            }
        }

        /// From here on nothing unwinds but T where it stands: what is pending is raised, unless it does.
        fn come_to_rest(mut self, course: &[Step]) {
            if self.raised || self.how.is_none() {
                return;
            }
            self.unwinding[1] = 0;
            for _ in 0..3 {
                self.step(Step::TimePasses);
            }
            let owed = self.is_pending() && self.unwinding[0] == 0;
            assert!(self.raised || !owed, "lost after {course:?}");
        }
    }

    #[test]
    fn no_course_of_events_loses_a_cancel_or_raises_one_in_a_cleanup() {
        const LENGTH: u32 = 7;
        for (limit_ns, stacks) in [(NEVER, true), (NEVER, false), (2, true), (2, false)] {
            for number in 0..STEPS.len().pow(LENGTH) {
                let course: [Step; LENGTH as usize] =
                    std::array::from_fn(|at| STEPS[number / STEPS.len().pow(at as u32) % STEPS.len()]);
                let mut model = Model::new(limit_ns, stacks);
                for step in course {
                    if !model.raised {
                        model.step(step);
                    }
                }
                model.come_to_rest(&course);
            }
        }
    }

    #[test]
    fn a_wait_that_was_patient_is_so_no_more_when_nothing_is_pending() {
        let thread = ThreadState { interrupts: Interrupts::All, cancelled: false, limit_ns: NEVER };
        let patient = Wait::new(Reason::Park).goes_on(NotRaised::NotYet);
        assert_eq!(patient.how(thread, || 1).unwrap().deadline_ns, 1 + ASK_AGAIN_NS);
        let terms = patient.goes_on(NotRaised::Nothing).how(thread, || 1).unwrap();
        assert_eq!(terms, WaitTerms { interrupts: Interrupts::All, deadline_ns: NEVER });
    }

    #[test]
    fn with_a_look_at_the_stack_a_cancel_is_raised_at_once_though_a_neighbour_unwinds() {
        let mut model = Model::new(NEVER, true);
        for step in [Step::Begins, Step::Catches, Step::Switches, Step::Begins, Step::Switches, Step::Switches] {
            model.step(step);
        }
        assert_eq!(model.unwinding, [0, 1]);
        model.step(Step::Cancel);
        assert!(model.raised);
    }
}
