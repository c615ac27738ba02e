//! `green::io`: descriptors of other people's making.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use green::io::{wait_readable, wait_readable_timeout, wait_writable, wait_writable_timeout};

use crate::{connection, everywhere};

#[test]
fn a_pipe_is_waited_for_until_bytes_come_and_until_it_ends() {
    everywhere(|| {
        let (mut reader, mut writer) = std::io::pipe().unwrap();
        let reads = green::spawn(move || {
            let mut buf = [0; 8];
            let mut lens = Vec::new();
            loop {
                wait_readable(&reader).unwrap();
                lens.push(reader.read(&mut buf).unwrap());
                if lens.last() == Some(&0) {
                    return lens;
                }
            }
        });
        writer.write_all(b"abc").unwrap();
        drop(writer);
        assert_eq!(reads.join().unwrap(), [3, 0]);
    });
}

#[test]
fn a_full_pipe_is_waited_for_until_there_is_room() {
    everywhere(|| {
        let (a, b) = UnixStream::pair().unwrap();
        a.set_nonblocking(true).unwrap();
        while (&a).write(&[0; 4096]).is_ok() {}
        assert_eq!(wait_writable_timeout(&a, Duration::from_millis(2)).unwrap_err().kind(), ErrorKind::TimedOut);
        let drains = green::spawn(move || {
            let (mut buf, mut total) = (vec![0; 1 << 16], 0);
            while wait_readable_timeout(&b, Duration::from_millis(200)).is_ok() {
                total += (&b).read(&mut buf).unwrap();
            }
            total
        });
        wait_writable(&a).unwrap();
        assert!(drains.join().unwrap() > 0);
    });
}

#[test]
fn a_time_out_is_timed_out_and_zero_only_looks() {
    everywhere(|| {
        let (reader, mut writer) = std::io::pipe().unwrap();
        for d in [Duration::ZERO, Duration::from_millis(3)] {
            let begin = Instant::now();
            assert_eq!(wait_readable_timeout(&reader, d).unwrap_err().kind(), ErrorKind::TimedOut);
            assert!(begin.elapsed() >= d);
        }
        writer.write_all(b"x").unwrap();
        wait_readable_timeout(&reader, Duration::ZERO).unwrap();
        wait_readable_timeout(&reader, Duration::from_secs(3600)).unwrap();
        wait_writable(&writer).unwrap();
    });
}

#[test]
fn several_threads_wait_for_one_descriptor_even_one_of_our_own_sockets() {
    everywhere(|| {
        let (client, server) = connection();
        green::scope(|s| {
            let waits: Vec<_> = (0..4).map(|_| s.spawn(|| wait_readable(&client).unwrap())).collect();
            let reads = s.spawn(|| client.peek(&mut [0]).unwrap());
            green::yield_now();
            (&server).write_all(b"x").unwrap();
            waits.into_iter().for_each(|wait| wait.join().unwrap());
            assert_eq!(reads.join().unwrap(), 1);
        });
        assert_eq!((&client).read(&mut [0]).unwrap(), 1);
    });
}

#[test]
fn files_are_ready_and_wrong_descriptors_are_errors() {
    everywhere(|| {
        let file = std::fs::File::open("Cargo.toml").unwrap();
        wait_readable(&file).unwrap();
        // SAFETY: nothing is done with it but what the system refuses.
        let wrong = unsafe { BorrowedFd::borrow_raw(1_000_000) };
        assert_eq!(wait_readable(wrong).unwrap_err().raw_os_error(), Some(libc::EBADF));
        assert_eq!(wait_writable(wrong.as_fd()).unwrap_err().raw_os_error(), Some(libc::EBADF));
    });
}

#[cfg(target_os = "linux")]
#[test]
fn eventfds_and_timerfds_park() {
    use std::os::fd::{FromRawFd, OwnedFd};
    everywhere(|| {
        // SAFETY: the calls take numbers; a descriptor that they give is ours.
        let (event, timer) = unsafe {
            let event = OwnedFd::from_raw_fd(libc::eventfd(0, libc::EFD_CLOEXEC));
            let timer = OwnedFd::from_raw_fd(libc::timerfd_create(libc::CLOCK_MONOTONIC, libc::TFD_CLOEXEC));
            let soon = libc::timespec { tv_sec: 0, tv_nsec: 3_000_000 };
            let never = libc::timespec { tv_sec: 0, tv_nsec: 0 };
            let spec = libc::itimerspec { it_interval: never, it_value: soon };
            use std::os::fd::AsRawFd;
            assert_eq!(libc::timerfd_settime(timer.as_raw_fd(), 0, &spec, std::ptr::null_mut()), 0);
            (event, timer)
        };
        let other = std::fs::File::from(event.try_clone().unwrap());
        let waits = green::spawn(move || wait_readable(&event).unwrap());
        wait_readable(&timer).unwrap();
        (&other).write_all(&1_u64.to_ne_bytes()).unwrap();
        waits.join().unwrap();
    });
}
