//! The limits that a program runs into when it maps memory, and which of them it was.

use std::fs::{self, File};
use std::io::{self, Read};

use crate::sys::mem;

/// The most mappings that the kernel allows a process, where it counts them.
pub(crate) fn max_map_count() -> Option<usize> {
    number_in("/proc/sys/vm/max_map_count")
}

/// How many mappings the process has now, where the system tells. Reads piece by piece: the whole file is megabytes
/// just when there may be no memory for it.
pub(crate) fn mappings_in_use() -> Option<usize> {
    let mut maps = File::open("/proc/self/maps").ok()?;
    let (mut lines, mut piece) = (0, [0; 4096]);
    loop {
        match maps.read(&mut piece).ok()? {
            0 => return Some(lines),
            len => lines += piece[..len].iter().filter(|byte| **byte == b'\n').count(),
        }
    }
}

/// Why the system refused to map `wanted` bytes, or to split a mapping (`wanted` is 0): an error of kind
/// `OutOfMemory` that names the limit.
pub(crate) fn mapping_refused(wanted: usize, cause: &io::Error) -> io::Error {
    let limit = address_space_limit(wanted)
        .or_else(mapping_limit)
        .unwrap_or_else(|| format!("the system is short of memory or allows no overcommitment ({cause})"));
    io::Error::new(io::ErrorKind::OutOfMemory, format!("no memory for another stack: {limit}"))
}

/// The resource limit that `wanted` bytes more would break.
fn address_space_limit(wanted: usize) -> Option<String> {
    // Fields of /proc/self/statm, in pages: all address space comes first, data and stacks sixth.
    for (name, limit, field) in
        [("RLIMIT_AS", rlimit(ResourceLimit::AddressSpace), 0), ("RLIMIT_DATA", rlimit(ResourceLimit::Data), 5)]
    {
        let Some(limit) = limit else { continue };
        let in_use = statm_field(field).map_or(limit, |pages| pages.saturating_mul(mem::page_size()) as libc::rlim_t);
        if wanted > 0 && in_use.saturating_add(wanted as libc::rlim_t) > limit {
            return Some(format!("{name} is {limit} bytes"));
        }
    }
    None
}

/// The kernel's limit on mappings, if the process is near it.
fn mapping_limit() -> Option<String> {
    let (max, used) = (max_map_count()?, mappings_in_use()?);
    (used + used / 32 >= max).then(|| format!("vm.max_map_count is {max} and {used} mappings are in use"))
}

fn statm_field(index: usize) -> Option<usize> {
    fs::read_to_string("/proc/self/statm").ok()?.split_whitespace().nth(index)?.parse().ok()
}

fn number_in(path: &str) -> Option<usize> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

enum ResourceLimit {
    AddressSpace,
    Data,
}

/// The soft limit in bytes, or `None` if there is none.
fn rlimit(which: ResourceLimit) -> Option<libc::rlim_t> {
    let which = match which {
        ResourceLimit::AddressSpace => libc::RLIMIT_AS,
        ResourceLimit::Data => libc::RLIMIT_DATA,
    };
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the call writes one `rlimit`.
    let known = unsafe { libc::getrlimit(which, &raw mut limit) } == 0;
    (known && limit.rlim_cur != libc::RLIM_INFINITY).then_some(limit.rlim_cur)
}

/// Lowers the limit on the address space to what is in use and `more` bytes. Says the limit, or `None` if the system
/// does not keep it.
#[cfg(test)]
pub(crate) fn leave_address_space(more: usize) -> Option<libc::rlim_t> {
    let limit = (statm_field(0)? * mem::page_size() + more) as libc::rlim_t;
    let new = libc::rlimit { rlim_cur: limit, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: the call reads one `rlimit`.
    let set = unsafe { libc::setrlimit(libc::RLIMIT_AS, &raw const new) } == 0;
    (set && rlimit(ResourceLimit::AddressSpace) == Some(limit)).then_some(limit)
}
