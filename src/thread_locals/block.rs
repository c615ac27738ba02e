//! Blocks: how they are made, made new, and kept. Steps B1 to B3.
//!
//! # Invariants
//!
//! 1. A [`Block`] is the only one for its memory, which is mapped for ever and laid out as [`Kit::layout`] says: static thread-locals and
//!    descriptor about the thread pointer, the [`Record`] behind both.
//! 2. Nobody is on a block in a pool or in the store: its last thread has ended. It is made new when it is taken: libraries may come and go until then.
//! 3. [`RECORD`], [`TID`] and [`RANGE`] are set before there is a block.

use std::cell::Cell;
use std::ffi::c_void;
use std::ptr;
use std::sync::Mutex;

use crate::arch::{set_thread_pointer, thread_pointer};
use crate::base::abort::fatal;
use crate::base::atomic::{AtomicU32, AtomicUsize, Ordering};
use crate::base::lock::lock;
use crate::sys::fork::PerProcess;
use crate::sys::glibc::{self, LastLibrary};
use crate::sys::{mem, sanitizer, signals};
use crate::thread_locals::kit::{FirstValues, Kit, MOST_OF_LIBC, descriptor_of, descriptor_offset, kit};
use crate::thread_locals::numbers;
use crate::thread_locals::template::Word;
use crate::thread_locals::unsupported::Unsupported;

/// The most blocks that a worker keeps to itself. Where threads end on other workers than they begin on, one worker has those that another one lacks, and that makes
/// new ones meanwhile.
const MOST: usize = 64;
/// So many blocks are mapped at a time.
const SLAB: usize = 64;
/// Rounds of destructors of keys: `PTHREAD_DESTRUCTOR_ITERATIONS`.
const KEY_ROUNDS: u32 = 4;
const KEYS: u32 = 1024;
/// Why there is no block.
const MEMORY: &str = "no memory for the thread-locals of a green thread";
const NUMBER: &str = "no number is left for a green thread with thread-locals of its own: 8388608 have theirs";

/// From the thread pointer to the record; to the number: both zero as long as there is no block.
static RECORD: AtomicUsize = AtomicUsize::new(0);
static TID: AtomicUsize = AtomicUsize::new(0);
/// The [range](numbers) of the numbers of this copy's blocks; 0: there is no block.
static RANGE: AtomicU32 = AtomicU32::new(0);

/// What the crate itself keeps of the thread on a block.
#[derive(Debug)]
pub(crate) struct Record {
    /// What stands in the thread's header otherwise.
    pub(crate) kept: Cell<*mut ()>,
    /// The hub's thread pointer.
    pub(crate) hub: Cell<usize>,
    /// The worker's.
    worker: Cell<usize>,
    /// The hub is the worker's loop.
    of_loop: Cell<bool>,
    /// What the vector of dynamic thread-locals was when it was made: its address, and its generation.
    vector: Cell<(usize, usize)>,
}

impl Record {
    /// Is the hub the worker's loop, for sure?
    #[inline]
    pub(crate) fn is_of_loop(&self) -> bool {
        self.of_loop.get()
    }

    /// The worker with this thread pointer runs the thread from now on. For the thread, before it sets its own.
    #[inline]
    pub(crate) fn set_worker(&self, pointer: usize) {
        if self.worker.replace(pointer) != pointer && sanitizer::IS_THERE {
            self.block().copy_sanitizers_record(pointer);
        }
    }

    /// The block that this is the record of.
    fn block(&self) -> Block {
        // Invariants 1 and 3.
        Block(ptr::from_ref(self).addr() - RECORD.load(Ordering::Relaxed))
    }

    /// The hub is the worker's loop from now on.
    #[inline]
    pub(crate) fn set_of_loop(&self) {
        self.of_loop.set(true);
        self.hub.set(self.worker.get());
    }
}

/// The thread-locals and the descriptor of one green thread, by their thread pointer.
#[derive(Debug)]
pub(crate) struct Block(usize);

/// Where the parts of a block are, from its begin.
#[derive(Clone, Copy, Debug)]
struct Layout {
    thread_pointer: usize,
    record: usize,
    len: usize,
}

impl Kit {
    fn layout(&self) -> Layout {
        let align = self.align.max(64);
        let len = self.template.witness.len;
        let (before, behind) =
            if cfg!(target_arch = "x86_64") { (self.static_len - len, len) } else { (len, self.static_len) };
        let thread_pointer = before.next_multiple_of(align);
        let record = (thread_pointer + behind).next_multiple_of(16);
        Layout { thread_pointer, record, len: (record + size_of::<Record>()).next_multiple_of(align) }
    }
}

/// Makes invariant 3 true, once.
pub(super) fn publish(kit: &Kit) -> Result<(), Unsupported> {
    let range = numbers::claim();
    let range = range.ok_or_else(|| Unsupported::new("no numbers for them are left in this process".to_owned()))?;
    let layout = kit.layout();
    RECORD.store(layout.record - layout.thread_pointer, Ordering::Relaxed);
    let tid = kit.template.witness.tid.wrapping_add_signed(-descriptor_offset(kit.template.witness.len));
    TID.store(tid, Ordering::Relaxed);
    // ORDERING: Release pairs with the Acquire in `is_block`: a signal's handler may look at any time.
    RANGE.store(range, Ordering::Release);
    Ok(())
}

/// Is this the thread pointer of a block? Of one of this copy's: another one has its own layout.
#[inline]
fn is_block(pointer: usize) -> bool {
    // ORDERING: Acquire as in `publish`.
    let range = RANGE.load(Ordering::Acquire);
    let tid = pointer.wrapping_add(TID.load(Ordering::Relaxed));
    // SAFETY: glibc's threads and ours have their numbers there.
    range != 0 && unsafe { word(tid).cast::<u32>().read_volatile() } >> numbers::BITS == range
}

fn word(address: usize) -> *mut u64 {
    ptr::with_exposed_provenance_mut(address)
}

/// Is the calling thread on a block?
#[inline]
pub(crate) fn is_own() -> bool {
    is_block(thread_pointer())
}

/// The record of the block on which the calling thread is.
///
/// # Safety
///
/// It is on one, and leaves the record alone when it has ended.
#[inline]
pub(crate) unsafe fn record<'a>() -> &'a Record {
    // SAFETY: invariants 1 and 3.
    unsafe { record_at(thread_pointer()) }
}

/// # Safety
///
/// The thread pointer of a block.
#[inline]
unsafe fn record_at<'a>(pointer: usize) -> &'a Record {
    // SAFETY: invariants 1 and 3.
    unsafe { &*word(pointer + RECORD.load(Ordering::Relaxed)).cast::<Record>() }
}

/// The thread pointer of the worker that runs the thread on this block; `None`: it is no block. Safe in a signal handler.
pub(super) fn worker_of(pointer: usize) -> Option<usize> {
    // SAFETY: it was just looked at; the record was complete before the thread pointer was set.
    is_block(pointer).then(|| unsafe { record_at(pointer) }.worker.get())
}

/// Runs `f` on a block.
///
/// # Safety
///
/// Nobody is on it.
pub(super) unsafe fn on<R>(block: &Block, f: impl FnOnce() -> R) -> R {
    #[inline(never)]
    fn apart<R>(f: impl FnOnce() -> R) -> R {
        f()
    }
    let outside = block.enter();
    // SAFETY: as the caller promises; `apart` is a function of its own, which uses its thread-locals inside.
    unsafe {
        set_thread_pointer(block.0);
        let result = apart(f);
        set_thread_pointer(outside);
        result
    }
}

/// Blocks without an owner, and memory for more.
struct BlockStore {
    free: Vec<Block>,
    fresh: usize,
    left: usize,
}

static STORE: PerProcess<Mutex<BlockStore>> =
    PerProcess::new(|| Mutex::new(BlockStore { free: Vec::new(), fresh: 0, left: 0 }));

fn store() -> std::sync::MutexGuard<'static, BlockStore> {
    lock(STORE.get())
}

impl Block {
    /// A block that has not been used, or why there is none.
    pub(super) fn new(kit: &Kit) -> Result<Block, &'static str> {
        let layout = kit.layout();
        let number = numbers::next(RANGE.load(Ordering::Relaxed)).ok_or(NUMBER)?;
        let base = {
            let mut store = store();
            if store.left == 0 {
                store.fresh = mem::reserve(SLAB * layout.len).map_err(|_| MEMORY)?.as_ptr().expose_provenance();
                store.left = SLAB;
            }
            store.left -= 1;
            store.fresh + store.left * layout.len
        };
        let block = Block(base + layout.thread_pointer);
        // SAFETY: zeroed memory, of the size and alignment that glibc asks for, and ours alone. The record is fresh.
        unsafe {
            if (kit.functions.allocate)(word(block.0).cast()).is_null() {
                return Err(MEMORY);
            }
            let record = Record {
                kept: Cell::new(ptr::null_mut()),
                hub: Cell::new(0),
                worker: Cell::new(0),
                of_loop: Cell::new(false),
                vector: Cell::default(),
            };
            word(base + layout.record).cast::<Record>().write(record);
            let tid = word(block.descriptor(kit) + kit.template.witness.tid).cast::<u32>();
            tid.write(number);
            block.write_template(kit);
            block.record().vector.set(block.vector());
        }
        Ok(block)
    }

    pub(crate) fn thread_pointer(&self) -> usize {
        self.0
    }

    fn descriptor(&self, kit: &Kit) -> usize {
        descriptor_of(self.0, kit.template.witness.len)
    }

    /// Writes what a thread's descriptor begins with.
    ///
    /// # Safety
    ///
    /// Nobody is on the block.
    unsafe fn write_template(&self, kit: &Kit) {
        let descriptor = self.descriptor(kit);
        // SAFETY: the descriptor is as long as the template (invariant 1), and ours.
        unsafe {
            for (at, kind) in kit.template.words.iter().enumerate() {
                let value = match *kind {
                    Word::Same(value) => value,
                    Word::Within(offset) => (descriptor + offset) as u64,
                    Word::StackBase | Word::StackLen => 0,
                    Word::Apart => continue,
                };
                word(descriptor + at * 8).write(value);
            }
            let list = descriptor + kit.template.witness.list;
            word(list).write(list as u64);
            word(list + 8).write(list as u64);
            let (pointer, state) = kit.resolver;
            word(self.0.wrapping_add_signed(pointer)).write((descriptor + state) as u64);
            if let Some(cpu) = kit.rseq_cpu {
                word(self.0.wrapping_add_signed(cpu)).cast::<i32>().write(-1);
            }
        }
    }

    /// Says where the stack of the thread is.
    #[inline]
    pub(crate) fn set_stack(&self, base: usize, len: usize) {
        let Some(kit) = kit() else { return };
        let descriptor = self.descriptor(kit);
        for &(at, is_base) in &kit.stack {
            // SAFETY: invariant 1; the thread has not begun.
            unsafe { word(descriptor + at).write(if is_base { base } else { len } as u64) };
        }
    }

    /// The calling thread is about to set the block's thread pointer; gives the one that it has.
    #[inline]
    pub(crate) fn enter(&self) -> usize {
        let hub = thread_pointer();
        // SAFETY: invariant 1.
        let record = unsafe { record_at(self.0) };
        record.hub.set(hub);
        record.of_loop.set(false);
        record.worker.set(worker_of(hub).unwrap_or(hub));
        if sanitizer::IS_THERE {
            self.copy_sanitizers_record(hub);
        }
        hub
    }

    /// A sanitizer takes the thread for its worker, which it knows; it is told of each switch between stacks.
    fn copy_sanitizers_record(&self, hub: usize) {
        let Some((kit, (_, at))) = kit().and_then(|kit| Some((kit, kit.sanitizer?))) else { return };
        let from = descriptor_of(hub, kit.template.witness.len) + at;
        // SAFETY: both descriptors are as long as the template (invariant 1, and the hub's is glibc's own or a block's); nobody is on this block.
        unsafe { ptr::copy_nonoverlapping(word(from), word(self.descriptor(kit) + at), 2) };
    }

    /// The record of this block.
    #[inline]
    pub(crate) fn record(&self) -> &Record {
        // SAFETY: invariant 1.
        unsafe { record_at(self.0) }
    }

    /// Address and generation of the vector of dynamic thread-locals.
    #[inline]
    fn vector(&self) -> (usize, usize) {
        let place = self.0 + if cfg!(target_arch = "x86_64") { 8 } else { 0 };
        // SAFETY: the ABI has the vector's address there, and its generation in the first word.
        unsafe {
            let vector = word(place).read_volatile() as usize;
            (vector, word(vector).read_volatile() as usize)
        }
    }

    /// Step B2. The vector is as it was made, and no library has come: then the thread has only changed static thread-locals, and those are known.
    ///
    /// # Safety
    ///
    /// Its thread has ended.
    #[inline]
    unsafe fn make_new(&self, kit: &Kit) {
        // SAFETY: as the caller promises.
        unsafe {
            if self.has_only_static(kit) {
                self.write_first_values(kit);
            } else {
                self.make_vector_new(kit);
            }
            let descriptor = self.descriptor(kit);
            for &(at, value) in &kit.changeable.words {
                word(descriptor + at).write(value);
            }
            for &(at, offset) in &kit.changeable.within {
                word(descriptor + at).write((descriptor + offset) as u64);
            }
        }
    }

    /// Are the thread-locals that its thread may have changed static, and known?
    #[inline]
    fn has_only_static(&self, kit: &Kit) -> bool {
        let known = kit.all_static && kit.last.is_some_and(LastLibrary::is_last);
        known && self.vector() == self.record().vector.get()
    }

    /// Gives all static thread-locals but libc's their first values.
    ///
    /// # Safety
    ///
    /// They have been destroyed.
    #[inline]
    unsafe fn write_first_values(&self, kit: &Kit) {
        for FirstValues { begin, image, len } in &kit.modules {
            let place = word(self.0.wrapping_add_signed(*begin)).cast::<u8>();
            // SAFETY: the module's thread-locals are in the block (invariant 1).
            unsafe {
                ptr::copy_nonoverlapping(image.as_ptr(), place, image.len());
                ptr::write_bytes(place.add(image.len()), 0, len - image.len());
            }
        }
    }

    /// # Safety
    ///
    /// As [`make_new`](Self::make_new).
    #[cold]
    #[inline(never)]
    unsafe fn make_vector_new(&self, kit: &Kit) {
        let place = word(self.0.wrapping_add_signed(kit.kept.start)).cast::<u8>();
        let len = kit.kept.len();
        let mut kept = [0_u8; MOST_OF_LIBC];
        // SAFETY: libc's thread-locals are in the block (invariant 1), and come back as they were: the vector is made anew by the same
        // pair of functions by which it was made.
        unsafe {
            ptr::copy_nonoverlapping(place, kept.as_mut_ptr(), len);
            (kit.functions.deallocate)(word(self.0).cast(), false);
            if (kit.functions.allocate)(word(self.0).cast()).is_null() {
                refuse(MEMORY);
            }
            ptr::copy_nonoverlapping(kept.as_ptr(), place, len);
        }
        self.record().vector.set(self.vector());
    }

    /// The block goes to all workers.
    pub(super) fn give(self) {
        store().free.push(self);
    }
}

/// The blocks of one worker.
#[derive(Debug, Default)]
pub(crate) struct BlockPool(Vec<Block>);

impl BlockPool {
    /// The block used last, or another, or a fresh one.
    pub(crate) fn take(&mut self) -> Block {
        let Some(kit) = kit() else { refuse(MEMORY) };
        let Some(block) = self.0.pop().or_else(|| self.fetch()) else {
            return Block::new(kit).unwrap_or_else(|why| refuse(why));
        };
        // SAFETY: invariant 2: its thread has ended.
        unsafe { block.make_new(kit) };
        block
    }

    /// One of those without an owner, and some more for the pool.
    #[cold]
    #[inline(never)]
    fn fetch(&mut self) -> Option<Block> {
        let mut store = store();
        let from = store.free.len().saturating_sub(MOST / 2);
        self.0.extend(store.free.drain(from..));
        self.0.pop()
    }

    /// Takes a block back whose thread has ended.
    #[inline]
    pub(crate) fn give(&mut self, block: Block) {
        if self.0.len() == MOST {
            store().free.extend(self.0.drain(..MOST / 2));
        }
        self.0.push(block);
    }
}

impl Drop for BlockPool {
    fn drop(&mut self) {
        if !self.0.is_empty() {
            store().free.append(&mut self.0);
        }
    }
}

#[cold]
#[inline(never)]
fn refuse(why: &str) -> ! {
    fatal(format_args!("{why}"))
}

/// Runs `f` while the calling thread's descriptor says by which number the kernel knows its worker. No signal comes meanwhile: its handler would be on no block, by that number, and would fork
/// on it.
pub(crate) fn with_kernels_number<R>(f: impl FnOnce() -> R) -> R {
    let number = word(thread_pointer().wrapping_add(TID.load(Ordering::Relaxed))).cast::<u32>();
    // SAFETY: invariant 3; the number is the thread's own affair while it runs.
    signals::while_blocked(|| unsafe {
        let own = number.replace(glibc::tid());
        let result = f();
        number.write(own);
        result
    })
}

thread_local! {
    /// The thread pointer of the block on which a thread is that forks.
    static FORKS: Cell<usize> = const { Cell::new(0) };
}

#[inline(never)]
fn replace_forks(pointer: usize) -> usize {
    FORKS.replace(pointer)
}

/// A thread forks. On a block, it goes on as its worker for as long: glibc's child knows one descriptor, that of the thread that forks, and takes the
/// stacks of all others in its list to be free. True: it was on one.
pub(crate) fn before_fork() -> bool {
    let pointer = thread_pointer();
    let Some(worker) = worker_of(pointer) else { return false };
    // SAFETY: the worker runs this very thread, so nobody else is on its thread-locals; they are used in a function of its own.
    unsafe { set_thread_pointer(worker) };
    replace_forks(pointer);
    true
}

/// It has forked, or failed to: is it as the worker still?
pub(crate) fn has_forked_as_worker() -> bool {
    FORKS.get() != 0
}

/// It has forked: the same in parent and child. Back to the block.
pub(crate) fn after_fork() {
    let pointer = replace_forks(0);
    if pointer != 0 {
        // SAFETY: that of the block on which the calling thread was.
        unsafe { set_thread_pointer(pointer) };
    }
}

/// First on a new thread-pointer: what glibc does at the begin of a thread.
pub(crate) fn begin() {
    // SAFETY: errno of the calling thread. It is one of those that stay.
    unsafe { *glibc::errno_location() = 0 };
    glibc::use_global_locale();
}

/// Destroys the calling thread's thread-locals and its values of pthread keys: step U3.
pub(crate) fn destroy() {
    let Some(kit) = kit() else { return };
    // A key's destructor may use thread-locals, whose destructors are registered by that.
    // SAFETY: the calling thread is on a block; what is called are destructors that were registered for it.
    let destroy = || unsafe { (kit.functions.destroy)() };
    destroy();
    for _ in 0..KEY_ROUNDS {
        if !destroy_values(kit) {
            return;
        }
        destroy();
    }
    // What is still set stays undestroyed; the next thread does not find it.
    for key in 0..KEYS {
        if !glibc::key(key).is_null() && !is_sanitizers(kit, key) {
            glibc::set_key(key, ptr::null());
        }
    }
}

/// Gives the calling thread's thread-locals their first values once more: step U3. Dynamic ones may get other addresses.
///
/// # Safety
///
/// They have been destroyed, and the calling thread is on a block. No frame on its stack uses a thread-local before this and after it, but in functions that
/// are not inlined: it may keep an address.
#[cold]
#[inline(never)]
pub(crate) unsafe fn renew() {
    let Some(kit) = kit() else { return };
    let block = Block(thread_pointer());
    // SAFETY: as the caller promises; this function uses none of them. The worker runs this very thread, so nobody else is on its thread-locals, on which the
    // vector is made anew, by a function of its own: libc allocates there.
    unsafe {
        if block.has_only_static(kit) {
            return block.write_first_values(kit);
        }
        set_thread_pointer(block.record().worker.get());
        block.make_vector_new(kit);
        set_thread_pointer(block.0);
    }
}

/// The value is the worker's.
fn is_sanitizers(kit: &Kit, key: u32) -> bool {
    sanitizer::IS_THERE && kit.sanitizer.is_some_and(|(sanitizers, _)| key == sanitizers)
}

/// One round. True: there was a destructor.
fn destroy_values(kit: &Kit) -> bool {
    let mut any = false;
    for key in 0..KEYS {
        // SAFETY: the table has so many entries. Another thread may change one meanwhile, as with glibc's own threads.
        let [sequence, destructor] = unsafe { kit.keys.add(key as usize).read_volatile() };
        // Keys are given out from the first one on.
        if sequence == 0 {
            break;
        }
        if sequence % 2 == 0 {
            continue;
        }
        let value = glibc::key(key);
        if value.is_null() || is_sanitizers(kit, key) {
            continue;
        }
        glibc::set_key(key, ptr::null());
        if destructor != 0 {
            any = true;
            // SAFETY: the program has given it with the key, for such values.
            unsafe { std::mem::transmute::<usize, unsafe extern "C" fn(*mut c_void)>(destructor)(value) };
        }
    }
    any
}
