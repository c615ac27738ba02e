//! Opening a file. A FIFO is opened when somebody opens its other end: by an OS thread that waits for it, as nothing tells of that.

use std::ffi::{c_char, c_int, c_uint};

use green::__interposed::blocking;

use crate::calls::counters::HANDED_OVER;
use crate::calls::raw::{self, address, returned_int};
use crate::calls::waits::{may_park, may_wait_here, spend};

/// Is it a FIFO that the call would wait for? It is looked at by its name: who puts another file there at this moment makes the call block, as ever.
///
/// # Safety
///
/// As of `openat`.
unsafe fn waits(folder: c_int, path: *const c_char, flags: c_int) -> bool {
    let never = libc::O_NONBLOCK | libc::O_PATH | libc::O_DIRECTORY | libc::O_TMPFILE;
    if flags & never != 0 || flags & libc::O_ACCMODE == libc::O_RDWR {
        return false;
    }
    // SAFETY: zeros are a value of it.
    let mut status: libc::stat = unsafe { std::mem::zeroed() };
    let follow = if flags & libc::O_NOFOLLOW != 0 { libc::AT_SYMLINK_NOFOLLOW } else { 0 };
    let args = [folder as usize, address(path), address(&raw mut status), follow as usize, 0, 0];
    // SAFETY: as the caller promises; the kernel writes one `stat`.
    let found = unsafe { raw::call(libc::SYS_newfstatat, args) } == 0;
    found && status.st_mode & libc::S_IFMT == libc::S_IFIFO
}

/// # Safety
///
/// As of libc's function; without a file to be made `mode` may be anything.
pub unsafe fn openat(folder: c_int, path: *const c_char, flags: c_int, mode: c_uint) -> c_int {
    let args = [folder as usize, address(path), flags as usize, mode as usize, 0, 0];
    // SAFETY: as the caller promises, who waits.
    let call = move || unsafe { raw::call(libc::SYS_openat, args) };
    // SAFETY: as the caller promises.
    if !may_park() || !unsafe { waits(folder, path, flags) } || !may_wait_here() {
        return returned_int(call());
    }
    HANDED_OVER.add();
    let result = blocking(call);
    spend();
    returned_int(result)
}

/// # Safety
///
/// The same.
pub unsafe fn open(path: *const c_char, flags: c_int, mode: c_uint) -> c_int {
    // SAFETY: the same.
    unsafe { openat(libc::AT_FDCWD, path, flags, mode) }
}

/// # Safety
///
/// As of libc's function.
pub unsafe fn creat(path: *const c_char, mode: c_uint) -> c_int {
    // SAFETY: as the caller promises.
    unsafe { open(path, libc::O_CREAT | libc::O_WRONLY | libc::O_TRUNC, mode) }
}
