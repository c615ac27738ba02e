//! What `thread_locals` needs of glibc: private functions by name, real threads to learn from, the modules that are loaded.
//!
//! # Invariants
//!
//! 1. Names are looked up with `dlsym`, so the program that is linked needs none of them, and starts where they are missing.

use std::ffi::{CStr, c_char, c_int, c_ulong, c_void};
use std::mem::MaybeUninit;
use std::ptr::{self, NonNull};
use std::sync::Barrier;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::sys::mem;

/// Where glibc keeps what `name` means: for a thread-local, that of the calling thread.
///
/// # Errors
///
/// It has no such name; the error is the name.
pub(crate) fn symbol(name: &'static CStr) -> Result<NonNull<c_void>, &'static CStr> {
    // SAFETY: a name that ends with NUL.
    NonNull::new(unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) }).ok_or(name)
}

/// The version of glibc.
pub(crate) fn version() -> &'static str {
    // SAFETY: it returns a string that stays.
    unsafe { CStr::from_ptr(libc::gnu_get_libc_version()) }.to_str().unwrap_or("?")
}

/// The second word of what the kernel says of the processor.
#[cfg(target_arch = "x86_64")]
pub(crate) fn hwcap2() -> u64 {
    // SAFETY: it takes any number.
    unsafe { libc::getauxval(libc::AT_HWCAP2) }
}

/// Does the calling thread have a shadow stack?
#[cfg(target_arch = "x86_64")]
pub(crate) fn has_shadow_stack() -> bool {
    const ARCH_SHSTK_STATUS: c_int = 0x5005;
    let mut status = 0_u64;
    // SAFETY: the kernel writes one word, or refuses.
    unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_SHSTK_STATUS, &raw mut status) == 0 && status & 1 != 0 }
}

/// Does the calling thread have a guarded control stack, the shadow stack of aarch64?
#[cfg(target_arch = "aarch64")]
pub(crate) fn has_shadow_stack() -> bool {
    const PR_GET_SHADOW_STACK_STATUS: c_int = 74;
    let mut status = 0_u64;
    // SAFETY: the kernel writes one word, or refuses.
    unsafe { libc::prctl(PR_GET_SHADOW_STACK_STATUS, &raw mut status, 0, 0, 0) == 0 && status & 1 != 0 }
}

/// The calling thread as glibc names it.
pub(crate) fn pthread_self() -> usize {
    // SAFETY: no conditions.
    unsafe { libc::pthread_self() as usize }
}

/// Where the calling thread's errno is.
pub(crate) fn errno_location() -> *mut c_int {
    // SAFETY: no conditions.
    unsafe { libc::__errno_location() }
}

/// Where the calling thread's state of the resolver is.
pub(crate) fn resolver_state() -> usize {
    unsafe extern "C" {
        fn __res_state() -> *mut c_void;
    }
    // SAFETY: no conditions.
    unsafe { __res_state() }.addr()
}

/// Gives the calling thread the process's locale: so its tables of `<ctype.h>` are set up.
pub(crate) fn use_global_locale() {
    // SAFETY: `LC_GLOBAL_LOCALE`.
    unsafe { libc::uselocale(ptr::without_provenance_mut(usize::MAX)) };
}

/// Value of a key of the calling thread.
pub(crate) fn key(key: u32) -> *mut c_void {
    // SAFETY: it takes any number.
    unsafe { libc::pthread_getspecific(key) }
}

/// Sets it.
pub(crate) fn set_key(key: u32, value: *const c_void) -> bool {
    // SAFETY: it takes any number, and does not look at the value.
    unsafe { libc::pthread_setspecific(key, value) == 0 }
}

/// A fresh key without a destructor.
pub(crate) fn new_key() -> Option<u32> {
    let mut key = 0;
    // SAFETY: it writes one number.
    (unsafe { libc::pthread_key_create(&raw mut key, None) } == 0).then_some(key)
}

/// Gives a key back.
pub(crate) fn delete_key(key: u32) {
    // SAFETY: it takes any number.
    unsafe { libc::pthread_key_delete(key) };
}

/// What a donor has shown.
#[derive(Clone, Debug, Default)]
pub(crate) struct Donor {
    pub(crate) thread_pointer: usize,
    /// The number of the thread in the kernel.
    pub(crate) tid: u32,
    pub(crate) stack: usize,
    /// From the begin of its descriptor on.
    pub(crate) words: Vec<u64>,
    /// Which of those words change when the thread first asks for random bytes: glibc 2.41 keeps there what it never gets back.
    pub(crate) random: Vec<usize>,
    /// [`resolver_state`].
    pub(crate) resolver: usize,
    /// What it was given, which it finds in its descriptor.
    pub(crate) argument: usize,
}

/// The size of the donors' stacks: an odd one, by which it is known again.
pub(crate) const DONOR_STACK: usize = 0x11_3000;
const DONORS: usize = 3;

/// What a donor gets.
struct Lesson {
    donor: Donor,
    descriptor: fn() -> usize,
    thread_pointer: fn() -> usize,
    barrier: &'static Barrier,
    /// The kernel makes it 0 when the thread has ended.
    alive: AtomicU32,
}

/// Runs three threads at a time, which copy `len` bytes of their descriptors. `None`: the system refuses them.
///
/// # Safety
///
/// `descriptor` says where the calling thread's descriptor is, which has at least `len` bytes.
pub(crate) unsafe fn donors(
    len: usize,
    descriptor: fn() -> usize,
    thread_pointer: fn() -> usize,
) -> Option<Vec<Donor>> {
    // It stays, should some of them be refused and the others wait for them for ever.
    let barrier: &'static Barrier = Box::leak(Box::new(Barrier::new(DONORS + 1)));
    let mut lessons: Vec<Box<Lesson>> = Vec::new();
    for _ in 0..DONORS {
        let stack = mem::reserve(DONOR_STACK).ok()?.as_ptr().expose_provenance();
        let donor = Donor { stack, words: vec![0; len / 8], ..Donor::default() };
        let lesson = Lesson { donor, descriptor, thread_pointer, barrier, alive: AtomicU32::new(1) };
        lessons.push(Box::new(lesson));
    }
    let mut started = 0;
    for lesson in &mut lessons {
        // SAFETY: the stack is fresh memory, writable; the lesson outlives the thread, for whose end the loop below waits.
        started += usize::from(unsafe { start_donor(&raw mut **lesson, lesson.donor.stack) });
    }
    if started < DONORS {
        // Those that have started wait for the others for ever; they hold what they were given.
        lessons.into_iter().for_each(|lesson| _ = Box::leak(lesson));
        return None;
    }
    barrier.wait();
    barrier.wait();
    for lesson in &lessons {
        // ORDERING: Acquire: what the thread has written is visible once the kernel has cleared the word.
        while lesson.alive.load(Ordering::Acquire) != 0 {
            // SAFETY: the word lives; the kernel wakes those that wait for it shared.
            unsafe {
                libc::syscall(libc::SYS_futex, lesson.alive.as_ptr(), libc::FUTEX_WAIT, 1, ptr::null::<c_void>())
            };
        }
        let base = NonNull::new(ptr::with_exposed_provenance_mut(lesson.donor.stack)).expect("it was reserved");
        // SAFETY: the thread has left it for good, and glibc does not keep stacks that are not its own.
        unsafe { mem::unmap(mem::Pages { base, len: DONOR_STACK }) };
    }
    Some(lessons.into_iter().map(|lesson| lesson.donor).collect())
}

type Create = unsafe extern "C" fn(
    *mut libc::pthread_t,
    *const libc::pthread_attr_t,
    extern "C" fn(*mut c_void) -> *mut c_void,
    *mut c_void,
) -> c_int;

/// # Safety
///
/// Nobody else uses the stack, and the lesson outlives the thread.
unsafe fn start_donor(lesson: *mut Lesson, stack: usize) -> bool {
    let mut attributes = MaybeUninit::uninit();
    // SAFETY: the name ends with NUL; what is found is libc's function. What stands before libc's (a sanitizer's) would leave its own traces in
    // the descriptor. The attributes are made before they are used; the stack is the caller's, and so is the lesson.
    unsafe {
        let Some(create) = NonNull::new(libc::dlsym(libc::RTLD_NEXT, c"pthread_create".as_ptr())) else { return false };
        let create = std::mem::transmute::<*mut c_void, Create>(create.as_ptr());
        if libc::pthread_attr_init(attributes.as_mut_ptr()) != 0 {
            return false;
        }
        let stack = ptr::with_exposed_provenance_mut(stack);
        libc::pthread_attr_setstack(attributes.as_mut_ptr(), stack, DONOR_STACK);
        libc::pthread_attr_setdetachstate(attributes.as_mut_ptr(), libc::PTHREAD_CREATE_DETACHED);
        let mut thread = MaybeUninit::uninit();
        let made = create(thread.as_mut_ptr(), attributes.as_ptr(), donate, lesson.cast());
        libc::pthread_attr_destroy(attributes.as_mut_ptr());
        made == 0
    }
}

/// The address of the function that a donor runs, which it finds in its descriptor.
pub(crate) fn donor_function() -> usize {
    donate as *const () as usize
}

extern "C" fn donate(lesson: *mut c_void) -> *mut c_void {
    // SAFETY: `start_donor` passes it; the lesson outlives the thread.
    unsafe {
        let lesson = lesson.cast::<Lesson>();
        (*lesson).barrier.wait();
        let descriptor: *const u64 = ptr::with_exposed_provenance(((*lesson).descriptor)());
        let donor = &mut (*lesson).donor;
        donor.thread_pointer = ((*lesson).thread_pointer)();
        donor.tid = tid();
        donor.resolver = resolver_state();
        donor.argument = lesson.addr();
        for (at, word) in donor.words.iter_mut().enumerate() {
            *word = descriptor.add(at).read_volatile();
        }
        let mut byte = 0_u8;
        libc::getrandom((&raw mut byte).cast(), 1, libc::GRND_NONBLOCK);
        let changed = |&at: &usize| descriptor.add(at).read_volatile() != donor.words[at];
        donor.random = (0..donor.words.len()).filter(changed).map(|at| at * 8).collect();
        libc::syscall(libc::SYS_set_tid_address, (*lesson).alive.as_ptr());
        (*lesson).barrier.wait();
    }
    ptr::null_mut()
}

/// Static thread-locals of one module that is loaded, as the calling thread has them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Module {
    /// The calling thread's; 0: it has none yet.
    pub(crate) place: usize,
    /// Their first values: `file` bytes at this address, and zeros up to `len`.
    pub(crate) image: usize,
    pub(crate) file: usize,
    pub(crate) len: usize,
}

/// Calls `f` with each module that has thread-locals.
pub(crate) fn modules(f: &mut dyn FnMut(Module)) {
    unsafe extern "C" fn each(info: *mut libc::dl_phdr_info, _: usize, f: *mut c_void) -> c_int {
        // SAFETY: the loader passes a module, and `modules` the closure.
        unsafe {
            let (info, f) = (&*info, &mut *f.cast::<&mut dyn FnMut(Module)>());
            for at in 0..usize::from(info.dlpi_phnum) {
                let header = &*info.dlpi_phdr.add(at);
                if header.p_type == libc::PT_TLS {
                    f(Module {
                        place: info.dlpi_tls_data.addr(),
                        image: info.dlpi_addr as usize + header.p_vaddr as usize,
                        file: header.p_filesz as usize,
                        len: header.p_memsz as usize,
                    });
                }
            }
        }
        0
    }
    let mut f = f;
    // SAFETY: the closure lives while this runs.
    unsafe { libc::dl_iterate_phdr(Some(each), (&raw mut f).cast()) };
}

/// The libraries that are loaded, as the loader lists them; new ones come to the end. The begin of `struct link_map`, which glibc has made public.
#[repr(C)]
struct Library {
    _base: usize,
    name: *const c_char,
    _dynamic: usize,
    next: *const Library,
}

/// The longest path of a file, with its NUL.
const LONGEST_NAME: usize = 4096;

/// What [`find_last`] finds.
struct FoundLibrary {
    first: *const Library,
    last: *const Library,
    /// The last one's. (A copy: the loader may free it.)
    name: [u8; LONGEST_NAME],
}

/// Called by the loader under the lock that it takes to change its list, so that no library leaves it meanwhile. Neither allocates nor calls the loader; called once.
unsafe extern "C" fn find_last(_: *mut libc::dl_phdr_info, _: usize, found: *mut c_void) -> c_int {
    // SAFETY: `LastLibrary::find` passes it. The list does not change: its entries are there, and their names.
    unsafe {
        let found = &mut *found.cast::<FoundLibrary>();
        found.last = found.first;
        while let Some(next) = (*found.last).next.as_ref() {
            found.last = next;
        }
        let name = CStr::from_ptr((*found.last).name).to_bytes_with_nul();
        match found.name.get_mut(..name.len()) {
            Some(place) => place.copy_from_slice(name),
            None => found.last = ptr::null(),
        }
    }
    1
}

/// The library loaded last.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LastLibrary(*const Library);

// SAFETY: it is only asked whether another came after it, and stays loaded.
unsafe impl Send for LastLibrary {}
// SAFETY: as above.
unsafe impl Sync for LastLibrary {}

impl LastLibrary {
    /// The one loaded last up to now, which will not be unloaded. `None`: that cannot be told, or been seen to.
    pub(crate) fn find() -> Option<LastLibrary> {
        let mut found = FoundLibrary { first: ptr::null(), last: ptr::null(), name: [0; LONGEST_NAME] };
        // SAFETY: the program's own handle is the begin of the list, and stays. The list is walked as the loader lists it, `found` lives while this runs, and the name
        // that is passed to `dlopen` ends with NUL. What that gives is compared, and stays loaded.
        unsafe {
            found.first = libc::dlopen(ptr::null(), libc::RTLD_LAZY).cast_const().cast::<Library>();
            if found.first.is_null() {
                return None;
            }
            libc::dl_iterate_phdr(Some(find_last), (&raw mut found).cast());
            // Not under the lock: the loader takes another one before that. If it was unloaded meanwhile, what has come in its place is another one, or none.
            let name = found.name.as_ptr().cast();
            let pinned = libc::dlopen(name, libc::RTLD_LAZY | libc::RTLD_NOLOAD | libc::RTLD_NODELETE);
            (pinned.cast_const().cast() == found.last && !pinned.is_null()).then_some(LastLibrary(found.last))
        }
    }

    /// Is it still the last?
    #[inline]
    pub(crate) fn is_last(self) -> bool {
        // SAFETY: it stays loaded, and with it this entry.
        unsafe { (&raw const (*self.0).next).read_volatile() }.is_null()
    }
}

/// libc's own `pthread_getattr_np`, whatever the program defines.
///
/// # Safety
///
/// As of that.
pub(crate) unsafe fn getattr(thread: c_ulong, attributes: *mut c_void) -> c_int {
    // SAFETY: the name ends with NUL, and what is found is libc's function.
    unsafe {
        let Some(getattr) = NonNull::new(libc::dlsym(libc::RTLD_NEXT, c"pthread_getattr_np".as_ptr())) else {
            return libc::ENOSYS;
        };
        let getattr =
            std::mem::transmute::<*mut c_void, unsafe extern "C" fn(c_ulong, *mut c_void) -> c_int>(getattr.as_ptr());
        getattr(thread, attributes)
    }
}

/// The calling thread's number in the kernel.
pub(crate) fn tid() -> u32 {
    // SAFETY: no conditions.
    unsafe { libc::syscall(libc::SYS_gettid) as u32 }
}

/// The signal by which glibc has all threads change their user, for `setuid` and its like.
const SIGSETXID: c_int = 33;

/// A handler as the kernel keeps it.
#[repr(C)]
struct Action {
    handler: usize,
    flags: usize,
    restorer: usize,
    mask: u64,
}

/// Puts `handler` in the place of glibc's handler of [`SIGSETXID`], if there is one; `before` gets that one first, as `handler` may run at once.
///
/// # Safety
///
/// `handler` does what glibc's does.
pub(crate) unsafe fn replace_setxid(
    handler: extern "C" fn(c_int, *mut c_void, *mut c_void),
    before: impl FnOnce(usize),
) {
    let mut action = MaybeUninit::<Action>::zeroed();
    let size = size_of::<u64>();
    // SAFETY: both calls are given the kernel's own structure; glibc's wrapper would refuse the signal.
    unsafe {
        let null = ptr::null_mut::<Action>();
        if libc::syscall(libc::SYS_rt_sigaction, SIGSETXID, null, action.as_mut_ptr(), size) != 0 {
            return;
        }
        let mut action = action.assume_init();
        // Ours: this is a child, and its parent had come so far.
        if action.handler <= 1 || action.handler == handler as *const () as usize {
            return;
        }
        before(action.handler);
        action.handler = handler as *const () as usize;
        libc::syscall(libc::SYS_rt_sigaction, SIGSETXID, &raw const action, null, size);
    }
}

#[cfg(all(test, green_thread_locals))]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    use super::*;

    static MAY_END: AtomicBool = AtomicBool::new(false);
    static HAS_BEGUN: AtomicBool = AtomicBool::new(false);

    /// Has the loader's lock until it may end.
    unsafe extern "C" fn stays(_: *mut libc::dl_phdr_info, _: usize, _: *mut c_void) -> c_int {
        HAS_BEGUN.store(true, Ordering::Release);
        while !MAY_END.load(Ordering::Acquire) {
            std::thread::sleep(Duration::from_millis(1));
        }
        1
    }

    #[test]
    fn the_list_of_libraries_was_walked_while_another_thread_might_unload_one() {
        assert!(LastLibrary::find().is_some_and(LastLibrary::is_last));
        std::thread::scope(|scope| {
            // SAFETY: the function takes nothing.
            scope.spawn(|| unsafe { libc::dl_iterate_phdr(Some(stays), ptr::null_mut()) });
            while !HAS_BEGUN.load(Ordering::Acquire) {
                std::thread::yield_now();
            }
            let finds = scope.spawn(LastLibrary::find);
            std::thread::sleep(Duration::from_millis(100));
            let has_found = finds.is_finished();
            MAY_END.store(true, Ordering::Release);
            assert!(finds.join().unwrap().is_some());
            assert!(!has_found, "without the lock of who unloads");
        });
    }
}
