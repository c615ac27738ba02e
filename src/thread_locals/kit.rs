//! All that is needed to make blocks, found once in a process: steps T2 to T4.
//!
//! # Invariants
//!
//! 1. What is called here by a pointer from `dlsym` has the type that glibc gives it since 2.34 at least; that it behaves is shown by the rehearsal.

use std::ffi::{CStr, c_void};
use std::ops::Range;
use std::ptr;

use crate::arch::thread_pointer;
use crate::sys::fork::ForkSafeOnce;
use crate::sys::glibc::{self, Donor, LastLibrary, Module, symbol};
use crate::sys::{mem, sanitizer};
use crate::thread_locals::template::{Known, Template, Witness, Word, explain};
use crate::thread_locals::unsupported::Unsupported;

/// The functions of glibc by which blocks are made and thread-locals destroyed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Functions {
    /// Makes the vector of the thread pointer, and first values of all static thread-locals.
    pub(super) allocate: unsafe extern "C" fn(*mut c_void) -> *mut c_void,
    /// Frees that vector and the dynamic thread-locals.
    pub(super) deallocate: unsafe extern "C" fn(*mut c_void, bool),
    /// Runs the destructors of the calling thread's thread-locals.
    pub(super) destroy: unsafe extern "C" fn(),
}

/// What a thread may change in its descriptor.
#[derive(Debug, Default)]
pub(super) struct Changeable {
    /// Offsets, and the word that stands there in all threads. They are some thirty, in seven rows; a copy of each row would be a call of some nanoseconds.
    pub(super) words: Vec<(usize, u64)>,
    /// Addresses: where they stand, and of which place in the descriptor they are, as offsets.
    pub(super) within: Vec<(usize, usize)>,
}

/// See the module's text.
#[derive(Debug)]
pub(super) struct Kit {
    pub(super) functions: Functions,
    pub(super) template: Template,
    /// Bytes of static thread-locals, and their alignment: `_dl_get_tls_static_info`.
    pub(super) static_len: usize,
    pub(super) align: usize,
    /// libc's own thread-locals, as offsets from the thread pointer.
    pub(super) kept: Range<isize>,
    /// The other static thread-locals.
    pub(super) modules: Vec<FirstValues>,
    /// No library that is loaded has dynamic thread-locals.
    pub(super) all_static: bool,
    /// As long as no library comes after this one, those are all.
    pub(super) last: Option<LastLibrary>,
    pub(super) changeable: Changeable,
    /// Where a descriptor says where the stack is (true), and how long.
    pub(super) stack: Vec<(usize, bool)>,
    /// The pointer to the resolver's state, as an offset from the thread pointer, and that state, in the descriptor.
    pub(super) resolver: (isize, usize),
    /// Where rseq says on which CPU the thread runs, as an offset from the thread pointer.
    pub(super) rseq_cpu: Option<isize>,
    /// The key under which a sanitizer keeps its record of an OS thread, and where its value is in a descriptor. Green threads have their worker's.
    pub(super) sanitizer: Option<(u32, usize)>,
    /// glibc's table of keys: a sequence number, which is odd while the key is in use, and the destructor.
    pub(super) keys: *const [usize; 2],
}

/// What the static thread-locals of one module are when a thread begins.
#[derive(Debug)]
pub(super) struct FirstValues {
    /// From the thread pointer.
    pub(super) begin: isize,
    /// A copy, as the library may be unloaded; zeros follow up to `len`.
    pub(super) image: Box<[u8]>,
    pub(super) len: usize,
}

// SAFETY: the pointers are to what glibc has for all threads.
unsafe impl Send for Kit {}
// SAFETY: as above.
unsafe impl Sync for Kit {}

/// libc's own thread-locals have at most so many bytes.
pub(super) const MOST_OF_LIBC: usize = 512;
const RSEQ_LEN: isize = 32;
const TRIES: u32 = 5;

static KIT: ForkSafeOnce<Kit> = ForkSafeOnce::new();

/// The kit, once it has been learned.
#[inline]
pub(super) fn kit() -> Option<&'static Kit> {
    KIT.get()
}

/// Learns what is needed: steps T2 to T4.
pub(super) fn make() -> Result<&'static Kit, Unsupported> {
    let kit = learn().map_err(|refused| match refused {
        NotLearned::Missing(name) => Unsupported::new(format!("glibc {} has no {name:?}", glibc::version())),
        NotLearned::Other(unsupported) => unsupported,
    })?;
    Ok(KIT.get_or_init(|| kit))
}

enum NotLearned {
    Missing(&'static CStr),
    Other(Unsupported),
}

impl From<&'static CStr> for NotLearned {
    fn from(name: &'static CStr) -> Self {
        Self::Missing(name)
    }
}

impl From<Unsupported> for NotLearned {
    fn from(unsupported: Unsupported) -> Self {
        Self::Other(unsupported)
    }
}

/// A number that glibc exports.
fn number<T: Copy>(name: &'static CStr) -> Result<T, &'static CStr> {
    // SAFETY: the symbol is of this type in glibc, and is never written.
    symbol(name).map(|at| unsafe { at.cast::<T>().read() })
}

/// Where in a descriptor: the third of three numbers (bits, count, offset).
fn offset(name: &'static CStr) -> Result<usize, &'static CStr> {
    number::<[u32; 3]>(name).map(|[_, _, offset]| offset as usize)
}

/// Steps T2 to T4.
fn learn() -> Result<Kit, NotLearned> {
    let witness = Witness {
        len: number::<u32>(c"_thread_db_sizeof_pthread")? as usize,
        tid: offset(c"_thread_db_pthread_tid")?,
        list: offset(c"_thread_db_pthread_list")?,
        specific: offset(c"_thread_db_pthread_specific")?,
    };
    let rseq: Option<isize> = number(c"__rseq_offset").ok();
    let resolver_pointer = symbol(c"__resp")?.addr().get().wrapping_sub(thread_pointer()) as isize;
    let functions = functions()?;
    let (static_len, align) = static_info()?;
    if align > mem::page_size() {
        return Err(Unsupported::new(format!("a thread-local is aligned to {align} bytes, more than a page")).into());
    }
    if glibc::pthread_self() != descriptor_of(thread_pointer(), witness.len) {
        return Err(Unsupported::new("pthread_self is not where the thread pointer says".to_owned()).into());
    }
    let from_descriptor = |offset: isize| offset + descriptor_offset(witness.len);
    let rseq_area = rseq.map_or((0, 0), |rseq| (from_descriptor(rseq), from_descriptor(rseq) + RSEQ_LEN));
    let dtv = cfg!(target_arch = "x86_64").then_some(8);
    let known = Known { dtv, rseq: rseq_area, function: glibc::donor_function() as u64 };
    let descriptor = |donor: &Donor| descriptor_of(donor.thread_pointer, witness.len);
    let mut tries = 0;
    let (template, donors) = loop {
        // SAFETY: the descriptor is that long, as glibc says.
        let donors = unsafe { glibc::donors(witness.len, glibc::pthread_self, thread_pointer) };
        let Some(donors) = donors else {
            return Err(Unsupported::new("the system refuses three threads to learn from".to_owned()).into());
        };
        tries += 1;
        match explain(&donors, witness, known, descriptor) {
            Ok(template) => break (template, donors),
            // Other threads began or ended meanwhile, and stood between the donors in glibc's list.
            Err(refused) if tries == TRIES => return Err(refused.into()),
            Err(_) => {}
        }
    };
    let resolver = donors[0].resolver.wrapping_sub(descriptor(&donors[0]));
    if resolver >= witness.len {
        return Err(Unsupported::new("the resolver's state of a thread is not in its descriptor".to_owned()).into());
    }
    let last = LastLibrary::find();
    let Loaded { kept, modules, all_static } = loaded(static_places(static_len, witness.len))?;
    let sanitizer = sanitizer(&template)?;
    let random: Vec<usize> = donors.iter().flat_map(|donor| donor.random.clone()).collect();
    let changeable = changeable(&template, resolver, &random);
    let places = template.words.iter().enumerate();
    let stack = places.filter(|(_, word)| matches!(word, Word::StackBase | Word::StackLen));
    let stack = stack.map(|(at, word)| (at * 8, *word == Word::StackBase)).collect();
    Ok(Kit {
        functions,
        template,
        modules,
        last,
        all_static,
        changeable,
        stack,
        static_len,
        align,
        kept,
        resolver: (resolver_pointer, resolver),
        rseq_cpu: rseq.map(|rseq| rseq + 4),
        sanitizer,
        keys: symbol(c"__pthread_keys")?.as_ptr().cast(),
    })
}

/// The thread-locals of what is loaded, as in [`Kit`].
struct Loaded {
    kept: Range<isize>,
    modules: Vec<FirstValues>,
    all_static: bool,
}

/// `places`: where static thread-locals are, from the thread pointer.
fn loaded(places: Range<isize>) -> Result<Loaded, Unsupported> {
    let (mut kept, mut modules) = (0..0, Vec::new());
    glibc::modules(&mut |Module { place, image, file, len }| {
        let begin = place.wrapping_sub(thread_pointer()) as isize;
        if (glibc::errno_location().addr()).wrapping_sub(place) < len {
            kept = begin..begin + len as isize;
        } else {
            // SAFETY: the module is loaded while the loader shows it, and the loader says that its first values are there.
            let image = unsafe { std::slice::from_raw_parts(ptr::with_exposed_provenance(image), file) };
            modules.push(FirstValues { begin, image: image.into(), len });
        }
    });
    // A module elsewhere has dynamic thread-locals. This thread may have them, others need not.
    let count = modules.len();
    modules.retain(|module| places.contains(&module.begin));
    if kept.is_empty() || kept.len() > MOST_OF_LIBC {
        return Err(Unsupported::new("errno is not in the thread-locals of a library".to_owned()));
    }
    let all_static = modules.len() == count;
    Ok(Loaded { kept, modules, all_static })
}

/// Keys whose values stand in the descriptor itself, 16 bytes each: a number and the value.
const NEAR_KEYS: usize = 32;

/// The values of the first keys, as offsets into the descriptor.
fn near_keys(template: &Template) -> Range<usize> {
    match template.words[template.witness.specific / 8] {
        Word::Within(first) => first..first + NEAR_KEYS * 16,
        _ => 0..0,
    }
}

fn sanitizer(template: &Template) -> Result<Option<(u32, usize)>, Unsupported> {
    let Some(key) = sanitizer::thread_key() else {
        return match sanitizer::IS_THERE {
            true => Err(Unsupported::new("AddressSanitizer keeps its record of a thread under no key".to_owned())),
            false => Ok(None),
        };
    };
    let at = near_keys(template).nth(key as usize * 16);
    at.map(|at| Some((key, at)))
        .ok_or_else(|| Unsupported::new("AddressSanitizer's key is not one of the first".to_owned()))
}

/// All of the template, but for the values of keys, which are taken out one by one, the resolver's state and that of `getrandom`, which stay, and
/// the zeros at the begin, before the link: room that glibc leaves free.
fn changeable(template: &Template, resolver: usize, random: &[usize]) -> Changeable {
    const RESOLVER_LEN: usize = 568;
    let specific = template.witness.specific;
    let apart = [near_keys(template), specific..specific + NEAR_KEYS * 8, resolver..resolver + RESOLVER_LEN];
    let Changeable { mut words, mut within } = Changeable::default();
    for (at, word) in template.words.iter().enumerate().map(|(at, word)| (at * 8, word)) {
        match *word {
            _ if apart.iter().any(|range| range.contains(&at)) || random.contains(&at) => (),
            Word::Same(0) if at < template.witness.list => (),
            Word::Same(value) => words.push((at, value)),
            Word::Within(offset) => within.push((at, offset)),
            Word::StackBase | Word::StackLen | Word::Apart => (),
        }
    }
    Changeable { words, within }
}

fn functions() -> Result<Functions, &'static CStr> {
    let allocate = symbol(c"_dl_allocate_tls")?;
    let deallocate = symbol(c"_dl_deallocate_tls")?;
    let destroy = symbol(c"__call_tls_dtors")?;
    // SAFETY: invariant 1.
    unsafe {
        Ok(Functions {
            allocate: std::mem::transmute::<*mut c_void, unsafe extern "C" fn(*mut c_void) -> *mut c_void>(
                allocate.as_ptr(),
            ),
            deallocate: std::mem::transmute::<*mut c_void, unsafe extern "C" fn(*mut c_void, bool)>(
                deallocate.as_ptr(),
            ),
            destroy: std::mem::transmute::<*mut c_void, unsafe extern "C" fn()>(destroy.as_ptr()),
        })
    }
}

/// Size and alignment of all static thread-locals: on x86_64 with the descriptor.
fn static_info() -> Result<(usize, usize), &'static CStr> {
    let info = symbol(c"_dl_get_tls_static_info")?;
    let (mut len, mut align) = (0_usize, 0_usize);
    // SAFETY: invariant 1; it writes two numbers.
    unsafe {
        let info = std::mem::transmute::<*mut c_void, unsafe extern "C" fn(*mut usize, *mut usize)>(info.as_ptr());
        info(&raw mut len, &raw mut align);
    }
    Ok((len, align))
}

/// Where static thread-locals are, from the thread pointer.
fn static_places(static_len: usize, descriptor: usize) -> Range<isize> {
    if cfg!(target_arch = "x86_64") { -((static_len - descriptor) as isize)..0 } else { 0..static_len as isize }
}

/// The thread pointer, from where the descriptor begins.
pub(super) const fn descriptor_offset(len: usize) -> isize {
    if cfg!(target_arch = "x86_64") { 0 } else { len as isize }
}

/// Where the descriptor of the thread with this thread pointer begins.
pub(super) const fn descriptor_of(thread_pointer: usize, len: usize) -> usize {
    thread_pointer.wrapping_add_signed(-descriptor_offset(len))
}
