//! Are blocks to be had here? Steps T1 and T5, and all that lies between.

use std::ptr;
use std::sync::OnceLock;

use crate::sys::glibc;
use crate::thread_locals::block::{self, Block};
use crate::thread_locals::kit::{self, Kit, descriptor_of};
use crate::thread_locals::setxid;
use crate::thread_locals::unsupported::Unsupported;

/// Says so; the first call finds out.
pub(super) fn supported() -> Result<(), Unsupported> {
    static FOUND: OnceLock<Result<(), Unsupported>> = OnceLock::new();
    FOUND.get_or_init(find_out).clone()
}

fn find_out() -> Result<(), Unsupported> {
    refuse_machine()?;
    let kit = kit::make()?;
    block::publish(kit);
    setxid::install();
    rehearse(kit)
}

/// Step T1.
fn refuse_machine() -> Result<(), Unsupported> {
    let refuse = |reason: &str| Err(Unsupported::new(reason.to_owned()));
    if cfg!(all(green_sanitizer = "address", not(green_sanitized))) {
        return refuse("this build has AddressSanitizer, which is not to be told of green threads");
    }
    if cfg!(all(any(green_sanitized, green_sanitizer = "thread"), not(green_sanitizer = "address"))) {
        return refuse("this build has a sanitizer whose own thread-locals are set up when an OS thread starts");
    }
    #[cfg(target_arch = "x86_64")]
    if glibc::hwcap2() & 2 == 0 {
        return refuse(
            "the processor or the kernel does not let programs set the base of fs (FSGSBASE: Linux 5.9 and later)",
        );
    }
    if glibc::has_shadow_stack() {
        return refuse("the process has a shadow stack, which would have to be switched as well");
    }
    Ok(())
}

/// Step T5.
fn rehearse(kit: &Kit) -> Result<(), Unsupported> {
    let refuse = |what: &str| Err(Unsupported::new(format!("in a rehearsal, {what} of a thread was wrong")));
    let Some(block) = Block::new(kit) else { return refuse("the memory") };
    let Some(key) = glibc::new_key() else { return refuse("a key") };
    glibc::set_key(key, ptr::without_provenance(1));
    let outside = glibc::errno_location();
    // SAFETY: the block is new, and nobody is on it.
    let found = unsafe { block::on(&block, || found(key)) };
    glibc::delete_key(key);
    if found.errno == outside.addr() || found.errno_value != 0 {
        return refuse("errno");
    }
    if found.descriptor != descriptor_of(block.thread_pointer(), kit.template.witness.len) {
        return refuse("pthread_self");
    }
    if found.key != 0 || !found.key_stays {
        return refuse("a key's value");
    }
    if !found.is_own || block::is_own() {
        return refuse("the number");
    }
    block.give();
    Ok(())
}

/// What a thread sees.
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
