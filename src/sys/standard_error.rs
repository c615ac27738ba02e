//! Standard error, without std's handle: a worker may hold the lock of that, and be stuck. And without another descriptor: there may be none left.
//!
//! # Invariants
//!
//! 1. What the kernel is given is a slice, by itself or in a list of one, or one entry of `poll`'s; all of it lives until the call returns.

use std::io::{self, Write};

use crate::sys::clock::NEVER;
use crate::sys::poll::wait_for;

/// See the module's text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StandardError;

impl StandardError {
    /// Writes as much of a line as there is room for, and does not wait for a reader. Where the kernel cannot be told not to wait (before Linux 6.4 of a pipe, of a terminal,
    /// elsewhere than on Linux) it is asked first whether there is room; there another thread that takes the room in between has this one wait after all.
    pub(crate) fn offer(&mut self, line: &[u8]) {
        offer(libc::STDERR_FILENO, line);
    }
}

/// What a pipe that has room takes at once: no system's is less than 512, and Linux's is a page, as that is what it means by room.
const AT_ONCE: usize = if cfg!(target_os = "linux") { 4096 } else { 512 };

fn offer(descriptor: libc::c_int, mut line: &[u8]) {
    while !line.is_empty() {
        match write_at_once(descriptor, line) {
            Ok(written) if written > 0 => line = &line[written.min(line.len())..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            _ => return,
        }
    }
}

/// # Errors
///
/// `WouldBlock`: there is no room. Those of `write`.
fn write_at_once(descriptor: libc::c_int, bytes: &[u8]) -> io::Result<usize> {
    // A file has no reader to wait for; and may have to wait for its disk.
    #[cfg(target_os = "linux")]
    if !is_file(descriptor) {
        match write_without_waiting(descriptor, bytes) {
            // It cannot be told so.
            Err(error) if !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            result => return result,
        }
    }
    let mut ready = libc::pollfd { fd: descriptor, events: libc::POLLOUT, revents: 0 };
    // SAFETY: invariant 1.
    if unsafe { libc::poll(&raw mut ready, 1, 0) } != 1 {
        return Err(io::ErrorKind::WouldBlock.into());
    }
    write(descriptor, &bytes[..bytes.len().min(AT_ONCE)])
}

#[cfg(target_os = "linux")]
fn is_file(descriptor: libc::c_int) -> bool {
    // SAFETY: the kernel fills a struct in that is valid as zeros.
    let mode = unsafe {
        let mut stat: libc::stat = std::mem::zeroed();
        libc::fstat(descriptor, &raw mut stat);
        stat.st_mode
    };
    mode & libc::S_IFMT == libc::S_IFREG
}

/// By the system call itself: what libraries make of it where there is none would wait.
#[cfg(target_os = "linux")]
fn write_without_waiting(descriptor: libc::c_int, bytes: &[u8]) -> io::Result<usize> {
    let slice = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    // Where the last write has ended: both halves of an offset of -1.
    let (low, high) = (-1 as libc::c_long, -1 as libc::c_long);
    // SAFETY: invariant 1.
    let written =
        unsafe { libc::syscall(libc::SYS_pwritev2, descriptor, &raw const slice, 1, low, high, libc::RWF_NOWAIT) };
    usize::try_from(written).map_err(|_| io::Error::last_os_error())
}

fn write(descriptor: libc::c_int, bytes: &[u8]) -> io::Result<usize> {
    // SAFETY: invariant 1: the kernel reads as many bytes as there are.
    let written = unsafe { libc::write(descriptor, bytes.as_ptr().cast(), bytes.len()) };
    usize::try_from(written).map_err(|_| io::Error::last_os_error())
}

/// Waits for its reader, also where the descriptor does not: a pipe that a shell, or another process that has it, has made non-blocking.
impl Write for StandardError {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match write(libc::STDERR_FILENO, bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    wait_for(libc::STDERR_FILENO, true, NEVER)?;
                }
                result => return result,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(all(test, not(miri), target_os = "linux"))]
mod tests {
    use std::io::{self, Read, Write};
    use std::os::fd::AsRawFd;
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use super::offer;

    /// What is left of `line` in a pipe with `before` in it.
    fn offered(before: &[u8], line: Vec<u8>) -> Vec<u8> {
        let (mut reader, mut writer) = io::pipe().unwrap();
        writer.write_all(before).unwrap();
        let (sender, done) = channel();
        let offers = std::thread::spawn(move || {
            offer(writer.as_raw_fd(), &line);
            sender.send(()).unwrap();
        });
        let waits = done.recv_timeout(Duration::from_secs(10)).is_err();
        let mut all = Vec::new();
        reader.read_to_end(&mut all).unwrap();
        offers.join().unwrap();
        assert!(!waits, "it waits for the reader");
        all.split_off(before.len())
    }

    #[test]
    fn a_line_longer_than_a_page_waited_for_the_reader_of_a_pipe_that_had_room_for_one() {
        let (_reader, writer) = io::pipe().unwrap();
        // SAFETY: neither has requirements.
        let (page, all) =
            unsafe { (libc::sysconf(libc::_SC_PAGESIZE), libc::fcntl(writer.as_raw_fd(), libc::F_GETPIPE_SZ)) };
        let (page, all) = (page as usize, all as usize);
        let but_one = vec![b'x'; all - page];
        let long = offered(&but_one, vec![b'y'; page + 1000]);
        assert!((1..=page).contains(&long.len()), "{}", long.len());
        assert_eq!(offered(&but_one, vec![b'y'; 100]), [b'y'; 100]);
        assert_eq!(offered(&[], vec![b'y'; 5000]), [b'y'; 5000]);
        assert_eq!(offered(&vec![b'x'; all], vec![b'y'; 100]), []);
    }

    #[test]
    fn a_file_has_a_line_as_whole_as_it_is() {
        let path = std::env::temp_dir().join(format!("green-offer-{}", std::process::id()));
        let file = std::fs::File::create_new(&path).unwrap();
        offer(file.as_raw_fd(), &[b'y'; 5000]);
        let read = std::fs::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(read, [b'y'; 5000]);
    }
}
