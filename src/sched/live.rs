//! The threads that live on a worker: they have started, or will start nowhere else, and have not ended. The owner alone changes the list, or a worker that stands in for it; how many they are
//! others may read at any time, and the list under its lock ([`listing`](super::listing)).

use std::mem::offset_of;
use std::ptr::NonNull;

use crate::base::atomic::{AtomicU32, Ordering};
use crate::base::list::List;
use crate::sched::biased::BiasedLock;
use crate::task::Header;

/// See the module's text.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) list: List<Header>,
    /// How many they are. Changed by the owner.
    count: &'static AtomicU32,
    listed: &'static BiasedLock<ListPlaces>,
}

/// How far one that lists the threads has come: the thread that it meets next, and how many it meets at most. New ones come behind all others, so that
/// is enough for those that were there when it began; else it might never come to an end.
#[derive(Debug)]
pub(crate) struct ListPlace {
    next: Option<NonNull<Header>>,
    left: usize,
}

/// What those that list the threads now have come to.
#[derive(Debug)]
pub(crate) struct ListPlaces {
    /// Of each the place; `None`: nobody has that number.
    places: Vec<Option<ListPlace>>,
    /// As long as somebody has a place: where [`tidy`](super::tidy) goes on, which else has the list begin there. `None`: at the begin.
    tidy: Option<NonNull<Header>>,
}

// SAFETY: they are addresses, used under the lock that guards the list.
unsafe impl Send for ListPlaces {}

impl ListPlaces {
    pub(crate) const NONE: Self = Self { places: Vec::new(), tidy: None };

    fn has_any(&self) -> bool {
        self.places.iter().any(Option::is_some)
    }

    /// A place at the first thread, by number, until it is [left](Self::leave).
    pub(crate) fn begin(&mut self, live: &Live) -> usize {
        let place = Some(ListPlace { next: live.list.front(), left: live.count() });
        if !self.has_any() {
            // The list begins there. What stands here is old: nobody has heeded it since the last one left.
            self.tidy = None;
        }
        if let Some(free) = self.places.iter().position(Option::is_none) {
            self.places[free] = place;
            return free;
        }
        self.places.push(place);
        self.places.len() - 1
    }

    /// The place with this number, which has begun.
    pub(crate) fn at(&mut self, number: usize) -> &mut ListPlace {
        self.places[number].as_mut().expect("it has begun, and has not been left")
    }

    pub(crate) fn leave(&mut self, number: usize) {
        self.places[number] = None;
    }
}

impl ListPlace {
    /// The thread that is met next.
    pub(crate) fn next(&mut self, live: &Live) -> Option<NonNull<Header>> {
        self.left = self.left.checked_sub(1)?;
        let thread = self.next?;
        self.next = live.list.next_of(thread);
        Some(thread)
    }
}

impl Live {
    /// Where a debugger finds the first thread.
    pub(crate) const FIRST: usize = offset_of!(Self, list) + List::<Header>::HEAD;

    pub(crate) fn new(count: &'static AtomicU32, listed: &'static BiasedLock<ListPlaces>) -> Self {
        Self { list: List::new(), count, listed }
    }

    #[inline]
    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed) as usize
    }

    /// # Safety
    ///
    /// The thread is in no list; it is taken out before it is freed.
    #[inline]
    pub(crate) unsafe fn push(&self, thread: NonNull<Header>) {
        self.listed.own(|_| {
            // SAFETY: as the caller promises.
            unsafe { self.list.push_back(thread) };
            self.count.store(self.count.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        });
    }

    /// # Safety
    ///
    /// The thread is in the list.
    #[inline]
    pub(crate) unsafe fn remove(&self, thread: NonNull<Header>) {
        // SAFETY: as the caller promises.
        unsafe { self.remove_with(thread, || {}) };
    }

    /// The same; who visits the list sees what `also` does, if it sees that the thread is gone.
    ///
    /// # Safety
    ///
    /// The thread is in the list.
    #[inline]
    pub(crate) unsafe fn remove_with(&self, thread: NonNull<Header>, also: impl FnOnce()) {
        self.listed.own(|places| {
            if let Some(ListPlaces { places, tidy }) = places {
                let nexts = places.iter_mut().flatten().map(|place| &mut place.next).chain([tidy]);
                nexts.filter(|next| **next == Some(thread)).for_each(|next| *next = self.list.next_of(thread));
            }
            // SAFETY: as the caller promises.
            unsafe { self.list.remove(thread) };
            self.count.store(self.count.load(Ordering::Relaxed) - 1, Ordering::Relaxed);
            also();
        });
    }

    /// The thread that [`tidy`](super::tidy) meets next.
    pub(crate) fn next_to_tidy(&self) -> Option<NonNull<Header>> {
        let noted = self.listed.own(|places| places.filter(|places| places.has_any())?.tidy);
        noted.or_else(|| self.list.front())
    }

    /// It has met all up to `last`. That one becomes the last one of all, as by [`List::rotate_past`]; while somebody lists them, who would miss some, it is noted instead.
    ///
    /// # Safety
    ///
    /// The thread is in the list.
    pub(crate) unsafe fn has_tidied_up_to(&self, last: NonNull<Header>) {
        self.listed.own(|places| match places.filter(|places| places.has_any()) {
            Some(places) => places.tidy = self.list.next_of(last),
            // SAFETY: as the caller promises.
            None => unsafe { self.list.rotate_past(last) },
        });
    }
}
