//! Are blocks to be had here? Steps T1 and T5, and all that lies between.

use std::ptr;
use std::time::{Duration, Instant};

use crate::sys::fork::ForkSafeOnce;
use crate::sys::glibc;
use crate::thread_locals::block::{self, Block, BlockPool};
use crate::thread_locals::kit::{self, Kit, descriptor_of};
use crate::thread_locals::setxid;
use crate::thread_locals::unsupported::Unsupported;

static FOUND: ForkSafeOnce<Result<(), Unsupported>> = ForkSafeOnce::new();

/// Says so; the first call finds out.
pub(super) fn supported() -> Result<(), Unsupported> {
    FOUND.get_or_init(find_out).clone()
}

/// The same. `None`: there was no call yet.
pub(super) fn known() -> Option<Result<(), Unsupported>> {
    FOUND.get().cloned()
}

fn find_out() -> Result<(), Unsupported> {
    refuse_machine(HostMachine::here())?;
    let kit = kit::make()?;
    block::publish(kit)?;
    setxid::install();
    rehearse(kit)
}

/// What step T1 asks of the machine.
struct HostMachine {
    sets_fs: bool,
    has_shadow_stack: bool,
}

impl HostMachine {
    fn here() -> Self {
        #[cfg(target_arch = "x86_64")]
        let sets_fs = glibc::hwcap2() & 2 != 0;
        #[cfg(not(target_arch = "x86_64"))]
        let sets_fs = true;
        Self { sets_fs, has_shadow_stack: glibc::has_shadow_stack() }
    }
}

/// Step T1.
fn refuse_machine(machine: HostMachine) -> Result<(), Unsupported> {
    let refuse = |reason: &str| Err(Unsupported::new(reason.to_owned()));
    if cfg!(all(green_sanitizer = "address", not(green_sanitized))) {
        return refuse("this build has AddressSanitizer, which is not to be told of green threads");
    }
    if cfg!(all(any(green_sanitized, green_sanitizer = "thread"), not(green_sanitizer = "address"))) {
        return refuse("this build has a sanitizer whose own thread-locals are set up when an OS thread starts");
    }
    if !machine.sets_fs {
        return refuse(
            "the processor or the kernel does not let programs set the base of fs (FSGSBASE: Linux 5.9 and later)",
        );
    }
    if machine.has_shadow_stack {
        return refuse("the process has a shadow stack, which would have to be switched as well");
    }
    Ok(())
}

fn refuse_rehearsal(what: &str) -> Result<(), Unsupported> {
    Err(Unsupported::new(format!("in a rehearsal, {what} of a thread was wrong")))
}

/// Step T5.
fn rehearse(kit: &Kit) -> Result<(), Unsupported> {
    let Ok(block) = Block::new(kit) else { return refuse_rehearsal("the memory") };
    let Some(key) = glibc::new_key() else { return refuse_rehearsal("a key") };
    glibc::set_key(key, ptr::without_provenance(1));
    let outside = glibc::errno_location();
    // SAFETY: the block is new, and nobody is on it.
    let found = unsafe { block::on(&block, || found(key)) };
    glibc::delete_key(key);
    let descriptor = descriptor_of(block.thread_pointer(), kit.template.witness.len);
    refuse_sight(&found, outside.addr(), descriptor, block::is_own())?;
    block.give();
    Ok(())
}

/// What was found on a block whose descriptor is known; outside of it `errno` is elsewhere.
fn refuse_sight(found: &Sight, outside: usize, descriptor: usize, is_own_outside: bool) -> Result<(), Unsupported> {
    let refuse = refuse_rehearsal;
    if found.errno == outside || found.errno_value != 0 {
        return refuse("errno");
    }
    if found.descriptor != descriptor {
        return refuse("pthread_self");
    }
    if found.key != 0 || !found.key_stays {
        return refuse("a key's value");
    }
    if !found.is_own || is_own_outside {
        return refuse("the number");
    }
    Ok(())
}

/// What a thread sees.
#[cfg_attr(test, derive(Clone, Copy))]
struct Sight {
    errno: usize,
    errno_value: i32,
    descriptor: usize,
    key: usize,
    key_stays: bool,
    is_own: bool,
}

fn found(key: u32) -> Sight {
    glibc::use_global_locale();
    let errno = glibc::errno_location();
    // SAFETY: errno of this thread.
    let errno_value = unsafe { *errno };
    let before = glibc::key(key).addr();
    let key_stays = glibc::set_key(key, ptr::without_provenance(2)) && glibc::key(key).addr() == 2;
    glibc::set_key(key, ptr::null());
    drop(std::hint::black_box(vec![1_u8; 100]));
    // What the allocator keeps by thread.
    block::destroy();
    Sight {
        errno: errno.addr(),
        errno_value,
        descriptor: glibc::pthread_self(),
        key: before,
        key_stays,
        is_own: block::is_own(),
    }
}

/// For the test `figures` alone: how long it takes to make a block new so many times, whose thread has touched little. `None`: blocks are not to be had.
#[doc(hidden)]
#[must_use]
pub fn blocks_made_new(times: u32) -> Option<Duration> {
    supported().ok()?;
    let mut pool = BlockPool::default();
    let begin = Instant::now();
    for _ in 0..times {
        let block = std::hint::black_box(pool.take());
        pool.give(block);
    }
    Some(begin.elapsed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rehearsal_that_finds_what_it_must_not_is_refused_and_the_reason_named() {
        const OUTSIDE: usize = 0x1000;
        const DESCRIPTOR: usize = 0x2000;
        let good =
            Sight { errno: 0x3000, errno_value: 0, descriptor: DESCRIPTOR, key: 0, key_stays: true, is_own: true };
        let refused = |found: Sight, is_own_outside| {
            let refused = refuse_sight(&found, OUTSIDE, DESCRIPTOR, is_own_outside);
            refused.map_err(|refused| std::io::Error::from(refused).to_string())
        };
        assert_eq!(refused(good, false), Ok(()));
        for (found, is_own_outside, reason) in [
            (Sight { errno: OUTSIDE, ..good }, false, "errno"),
            (Sight { errno_value: 4, ..good }, false, "errno"),
            (Sight { descriptor: DESCRIPTOR + 64, ..good }, false, "pthread_self"),
            (Sight { key: 1, ..good }, false, "a key's value"),
            (Sight { key_stays: false, ..good }, false, "a key's value"),
            (Sight { is_own: false, ..good }, false, "the number"),
            (good, true, "the number"),
        ] {
            let said = refused(found, is_own_outside).unwrap_err();
            assert!(said.contains(&format!("in a rehearsal, {reason} of a thread was wrong")), "{said}");
        }
    }

    #[test]
    fn a_machine_that_lacks_something_is_refused_and_the_reason_named() {
        let refused = |sets_fs, has_shadow_stack| {
            let found = refuse_machine(HostMachine { sets_fs, has_shadow_stack });
            found.map_err(|refused| std::io::Error::from(refused).to_string())
        };
        assert_eq!(refused(true, false), Ok(()));
        assert!(refused(false, false).unwrap_err().contains("FSGSBASE"));
        assert!(refused(true, true).unwrap_err().contains("shadow stack"));
    }
}
