//! Files that make their users wait for one another: locks and FIFOs. Nobody takes the pool's threads away from who would end the wait.
#![cfg(all(target_os = "linux", not(miri)))]
#![allow(missing_docs)]

mod help;

use std::ffi::CString;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use green::Cancelled;
use green::fs::File;
use help::{bounded, everywhere, until_parked};

/// A path in the temporary directory, removed in the end.
struct Temporary(PathBuf);

impl Temporary {
    fn path() -> Temporary {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("green-files-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        Temporary(std::env::temp_dir().join(name))
    }

    fn file() -> Temporary {
        let path = Self::path();
        std::fs::write(&path.0, "text").unwrap();
        path
    }

    fn fifo() -> Temporary {
        let path = Self::path();
        let name = CString::new(path.0.as_os_str().as_bytes()).unwrap();
        // SAFETY: a string that ends in NUL.
        assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
        path
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Runs `f` as a green thread of runtimes with one and with two workers, whose pools have two threads.
fn with_a_small_pool(f: impl Fn() + Send + Sync + Clone + 'static) {
    for workers in [1, 2] {
        let f = f.clone();
        bounded(move || help::builder().workers(workers).blocking_threads(2).build().unwrap().run(f));
    }
}

fn no_reader(path: &Path) -> bool {
    let opened = std::fs::File::options().write(true).custom_flags(libc::O_NONBLOCK).open(path);
    opened.is_err_and(|error| error.raw_os_error() == Some(libc::ENXIO))
}

#[test]
fn more_waiters_for_a_file_lock_than_pool_threads_do_not_keep_its_holder_from_the_pool() {
    with_a_small_pool(|| {
        let path = Temporary::file();
        let holder = File::open(&path.0).unwrap();
        holder.lock().unwrap();
        let waiting = AtomicUsize::new(0);
        green::scope(|s| {
            let threads: Vec<_> = (0..8)
                .map(|n| {
                    let (waiting, path) = (&waiting, &path);
                    s.spawn(move || {
                        let file = File::open(&path.0).unwrap();
                        waiting.fetch_add(1, Ordering::SeqCst);
                        if n % 2 == 0 {
                            file.lock().unwrap()
                        } else {
                            file.lock_shared().unwrap()
                        }
                        file.unlock().unwrap();
                    })
                })
                .collect();
            while waiting.load(Ordering::SeqCst) < threads.len() {
                green::sleep(Duration::from_millis(1));
            }
            green::sleep(Duration::from_millis(5));
            assert_eq!(green::fs::read_to_string(&path.0).unwrap(), "text");
            holder.unlock().unwrap();
        });
    });
}

#[test]
fn a_wait_for_a_file_lock_ends_at_a_time_out_and_at_a_cancel() {
    everywhere(|| {
        let path = Temporary::file();
        let (holder, other) = (File::open(&path.0).unwrap(), File::open(&path.0).unwrap());
        holder.lock().unwrap();
        for lock in [File::lock, File::lock_shared] {
            let start = Instant::now();
            assert!(green::timeout(Duration::from_millis(20), || lock(&other)).is_err());
            assert!(start.elapsed() < Duration::from_secs(10));
        }
        green::scope(|s| {
            let waits = s.spawn(|| other.lock());
            until_parked(waits.thread(), "sleep");
            waits.cancel();
            assert!(waits.join().unwrap_err().is::<Cancelled>());
        });
        holder.unlock().unwrap();
        other.lock().unwrap();
        assert!(matches!(holder.try_lock(), Err(green::fs::TryLockError::WouldBlock)));
    });
}

#[test]
fn more_threads_that_open_a_fifo_than_pool_threads_do_not_keep_its_other_end_from_the_pool() {
    with_a_small_pool(|| {
        let (fifo, file) = (Temporary::fifo(), Temporary::file());
        green::scope(|s| {
            let readers: Vec<_> = (0..5).map(|_| s.spawn(|| File::open(&fifo.0).map(drop))).collect();
            readers.iter().for_each(|reader| until_parked(reader.thread(), "readable"));
            assert_eq!(green::fs::read_to_string(&file.0).unwrap(), "text");
            assert!(readers.iter().all(|reader| !reader.is_finished()));
            // Nothing is written: that it is open is enough.
            let _writer = File::options().write(true).open(&fifo.0).unwrap();
            readers.into_iter().for_each(|reader| reader.join().unwrap().unwrap());
        });
        green::scope(|s| {
            let writers: Vec<_> =
                (0..5).map(|_| s.spawn(|| File::options().append(true).open(&fifo.0).map(drop))).collect();
            green::sleep(Duration::from_millis(5));
            assert_eq!(green::fs::read_to_string(&file.0).unwrap(), "text");
            let _reader = std::fs::File::options().read(true).custom_flags(libc::O_NONBLOCK).open(&fifo.0).unwrap();
            writers.into_iter().for_each(|writer| writer.join().unwrap().unwrap());
        });
    });
}

#[test]
fn a_fifo_is_opened_as_std_opens_it() {
    everywhere(|| {
        let fifo = Temporary::fifo();
        let path = &fifo.0;
        // The other end is std's, which waits on an OS thread of its own.
        std::thread::scope(|s| {
            s.spawn(|| std::fs::write(path, "from std").unwrap());
            assert_eq!(green::fs::read_to_string(path).unwrap(), "from std");
        });
        std::thread::scope(|s| {
            let reads = s.spawn(|| std::fs::read(path).unwrap());
            green::fs::write(path, "to std").unwrap();
            assert_eq!(green::blocking(|| reads.join().unwrap()), b"to std");
        });
        // A writer that goes without a word.
        std::thread::scope(|s| {
            s.spawn(|| drop(std::fs::File::options().write(true).open(path).unwrap()));
            let mut text = String::new();
            assert_eq!(File::open(path).unwrap().read_to_string(&mut text).unwrap(), 0);
        });
        // Both ends at once, and with the caller's own flag: no wait.
        let both = File::options().read(true).write(true).open(path).unwrap();
        let mut now = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path).unwrap();
        assert_eq!(now.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
        drop((both, now));
        let mut alone = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path).unwrap();
        assert_eq!(alone.read(&mut [0]).unwrap(), 0);
        drop(alone);
        let refused = File::options().write(true).custom_flags(libc::O_NONBLOCK).open(path).unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(libc::ENXIO));
        assert_eq!(File::create_new(path).unwrap_err().kind(), ErrorKind::AlreadyExists);
    });
}

#[test]
fn a_fifo_whose_other_end_does_not_come_is_left_by_a_time_out_and_by_a_cancel_and_nobody_stays_behind() {
    with_a_small_pool(|| {
        let fifo = Temporary::fifo();
        let path = &fifo.0;
        for _ in 0..5 {
            assert!(green::timeout(Duration::from_millis(5), || File::open(path)).is_err());
            assert!(no_reader(path));
            assert!(green::timeout(Duration::from_millis(5), || green::fs::write(path, "x")).is_err());
        }
        green::scope(|s| {
            let opens = s.spawn(|| File::open(path).map(drop));
            until_parked(opens.thread(), "readable");
            opens.cancel();
            assert!(opens.join().unwrap_err().is::<Cancelled>());
        });
        assert!(no_reader(path));
    });
    // An OS thread inside a time-out, too.
    let fifo = Temporary::fifo();
    assert!(green::timeout(Duration::from_millis(5), || File::open(&fifo.0)).is_err());
    assert!(no_reader(&fifo.0));
}

#[test]
fn more_readers_of_a_fifo_than_pool_threads_do_not_keep_the_writer_from_the_pool() {
    with_a_small_pool(|| {
        let fifo = Temporary::fifo();
        let path = &fifo.0;
        // Both ends, so that nobody has to wait for an `open`.
        let ends = || File::options().read(true).write(true).open(path).unwrap();
        let mut writer = ends();
        green::scope(|s| {
            let readers: Vec<_> = (0..5)
                .map(|_| {
                    s.spawn(|| {
                        let mut four = [0; 4];
                        ends().read_exact(&mut four).unwrap();
                        four
                    })
                })
                .collect();
            green::sleep(Duration::from_millis(5));
            for _ in 0..5 {
                // One at a time, so that each has a whole one.
                writer.write_all(b"four").unwrap();
                while !writer.is_empty_fifo() {
                    green::sleep(Duration::from_millis(1));
                }
            }
            readers.into_iter().for_each(|reader| assert_eq!(&reader.join().unwrap(), b"four"));
            let waits = s.spawn(|| ends().read(&mut [0]));
            until_parked(waits.thread(), "readable");
            waits.cancel();
            assert!(waits.join().unwrap_err().is::<Cancelled>());
        });
        // More than fits in, by more writers than the pool has threads.
        green::scope(|s| {
            let count = 5 * 300_000;
            (0..5).for_each(|_| _ = s.spawn(|| ends().write_all(&[7; 300_000]).unwrap()));
            green::sleep(Duration::from_millis(5));
            assert!(green::fs::exists(path).unwrap());
            let (mut left, mut piece, mut reader) = (count, [0; 10_000], ends());
            while left > 0 {
                let length = reader.read(&mut piece).unwrap();
                assert!(piece[..length].iter().all(|byte| *byte == 7));
                left -= length;
            }
        });
    });
}

/// What a test asks of a FIFO.
trait IsEmpty {
    fn is_empty_fifo(&self) -> bool;
}

impl IsEmpty for File {
    fn is_empty_fifo(&self) -> bool {
        use std::os::fd::AsRawFd;
        let mut count = 0;
        // SAFETY: FIONREAD writes one number.
        assert_eq!(unsafe { libc::ioctl(self.as_raw_fd(), libc::FIONREAD, &raw mut count) }, 0);
        count == 0
    }
}
