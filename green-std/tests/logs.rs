//! Crates from crates.io that log, trace and draw: streams that wait are written to under locks, and spans are kept by thread.
#![cfg(green_std)]

mod help;

use std::io::{self, BufRead, BufReader, PipeReader, PipeWriter, Write};
use std::os::fd::AsRawFd;
use std::sync::{Barrier, Mutex};
use std::time::Duration;

use env_logger::{Target, WriteStyle};
use help::{many, on_one_worker, on_two_workers};
use indicatif::{ProgressBar, ProgressDrawTarget, TermLike};
use log::LevelFilter;
use tracing::{Span, info_span};
use tracing_subscriber::Registry;

green_std::interpose!();

const THREADS: usize = 50;
const LINES: usize = 20;

/// A pipe with room for one page: who writes to it waits soon.
fn narrow_pipe() -> (PipeReader, PipeWriter) {
    let (reader, writer) = io::pipe().unwrap();
    // SAFETY: no memory is passed.
    assert!(unsafe { libc::fcntl(writer.as_raw_fd(), libc::F_SETPIPE_SZ, 4096) } >= 4096);
    (reader, writer)
}

#[test]
fn env_logger() {
    on_one_worker(|| {
        let (reader, writer) = narrow_pipe();
        let logger = env_logger::Builder::new()
            .filter_level(LevelFilter::Info)
            .write_style(WriteStyle::Never)
            .target(Target::Pipe(Box::new(writer)))
            .build();
        let logger: &dyn log::Log = &logger;
        green::scope(|scope| {
            let counts = scope.spawn(move || {
                let lines = BufReader::new(reader).lines().map(Result::unwrap).take(THREADS * LINES);
                lines.filter(|line| line.contains("a line of thread ")).count()
            });
            many(THREADS, |number| {
                for turn in 0..LINES {
                    let line =
                        format_args!("a line of thread {number}, turn {turn}, so long that few have room in a pipe");
                    logger.log(&log::Record::builder().args(line).level(log::Level::Info).target("logs").build());
                }
            });
            assert_eq!(counts.join().unwrap(), THREADS * LINES);
        });
    });
}

fn spans() {
    let barrier = Barrier::new(THREADS);
    let subscriber = Registry::default();
    tracing::subscriber::with_default(subscriber, || {
        let dispatch = tracing::dispatcher::get_default(Clone::clone);
        many(THREADS, |number| {
            tracing::dispatcher::with_default(&dispatch, || {
                let outer = info_span!("outer", number);
                let id = outer.id();
                assert!(id.is_some());
                let entered = outer.entered();
                for _ in 0..LINES {
                    // All are inside of their spans at once.
                    barrier.wait();
                    assert_eq!(Span::current().id(), id);
                    let inner = info_span!("inner");
                    let inner_id = inner.id();
                    inner.in_scope(|| {
                        std::thread::sleep(Duration::from_micros(100 * (number % 5) as u64));
                        assert_eq!(Span::current().id(), inner_id);
                    });
                    assert_eq!(Span::current().id(), id);
                }
                drop(entered);
                assert_eq!(Span::current().id(), None);
            });
        });
    });
}

#[test]
fn spans_of_tracing() {
    on_one_worker(spans);
}

#[test]
fn spans_of_tracing_while_threads_move() {
    on_two_workers(spans);
}

/// What is drawn goes into a pipe.
#[derive(Debug)]
struct Terminal(Mutex<PipeWriter>);

impl Terminal {
    fn print(&self, text: &str) -> io::Result<()> {
        self.0.lock().unwrap().write_all(text.as_bytes())
    }
}

impl TermLike for Terminal {
    fn width(&self) -> u16 {
        80
    }

    fn move_cursor_up(&self, n: usize) -> io::Result<()> {
        self.print(&format!("\x1b[{n}A"))
    }

    fn move_cursor_down(&self, n: usize) -> io::Result<()> {
        self.print(&format!("\x1b[{n}B"))
    }

    fn move_cursor_right(&self, n: usize) -> io::Result<()> {
        self.print(&format!("\x1b[{n}C"))
    }

    fn move_cursor_left(&self, n: usize) -> io::Result<()> {
        self.print(&format!("\x1b[{n}D"))
    }

    fn write_line(&self, line: &str) -> io::Result<()> {
        self.print(&format!("{line}\n"))
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        self.print(text)
    }

    fn clear_line(&self) -> io::Result<()> {
        self.print("\r\x1b[2K")
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn indicatif() {
    on_one_worker(|| {
        let (reader, writer) = narrow_pipe();
        let counts = green::spawn(move || io::read_to_string(reader).unwrap().matches("a line of thread ").count());
        let target = ProgressDrawTarget::term_like(Box::new(Terminal(Mutex::new(writer))));
        let bar = ProgressBar::with_draw_target(Some((THREADS * LINES) as u64), target);
        // An OS thread, which draws under the same lock.
        bar.enable_steady_tick(Duration::from_millis(1));
        many(THREADS, |number| {
            for turn in 0..LINES {
                bar.println(format!("a line of thread {number}, turn {turn}, so long that few have room in a pipe"));
                bar.inc(1);
            }
        });
        assert_eq!(bar.position(), (THREADS * LINES) as u64);
        bar.finish();
        drop(bar);
        assert_eq!(counts.join().unwrap(), THREADS * LINES);
    });
}
