//! What the integration tests share: bounds in time, the settings that a test runs in, and children that are this test
//! binary again.
#![allow(dead_code, reason = "each test file uses a part of it")]

pub(crate) mod dump;

use std::collections::BTreeMap;
use std::env;
use std::ops::Div;
use std::os::unix::process::ExitStatusExt;
use std::panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::time::{Duration, Instant};

use green::thread::Thread;
use green::{Runtime, RuntimeBuilder, ThreadLocals};

/// Is each instruction emulated, by qemu (`.ci/cross` says so) or by Miri? Whole tests are left out by `cfg(green_emulated)`, which
/// `build.rs` sets.
pub(crate) const EMULATED: bool = cfg!(miri) || option_env!("GREEN_EMULATED").is_some();

/// After this long a test has hung. An emulated processor gets more, an interpreter most.
pub(crate) const BOUND: Duration = Duration::from_secs(match () {
    () if cfg!(miri) => 1200,
    () if EMULATED => 120,
    () => 30,
});

/// Numbers from a seed: xorshift64*.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    /// Numbers of their own for another thread.
    pub(crate) fn fork(&mut self) -> Self {
        Self::new(self.next())
    }
}

/// The first of several seeds: 1, or `GREEN_SEED`.
pub(crate) fn first_seed() -> u64 {
    env::var("GREEN_SEED").map_or(1, |seed| seed.parse().expect("GREEN_SEED is a number"))
}

/// `n` where tests run at full speed, a fraction where they are emulated.
pub(crate) fn scaled<T: Div<Output = T> + From<u8> + Ord>(n: T) -> T {
    if EMULATED { (n / T::from(16)).max(T::from(1)) } else { n }
}

/// How many cases a test of random programs tries: `n`, fewer where tests are emulated, or what `PROPTEST_CASES` says.
pub(crate) fn cases(n: u32) -> u32 {
    env::var("PROPTEST_CASES").map_or(scaled(n), |text| text.parse().expect("PROPTEST_CASES is a number"))
}

/// Runs `f` on an OS thread of its own; fails if it takes so long that it must have hung.
#[track_caller]
pub(crate) fn bounded<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, receiver) = mpsc::channel();
    let name = std::thread::current().name().unwrap_or("test").to_owned();
    std::thread::Builder::new()
        .name(name)
        .spawn(move || sender.send(catch_unwind(AssertUnwindSafe(f))))
        .expect("a thread for the test");
    match receiver.recv_timeout(BOUND) {
        Ok(Ok(value)) => value,
        Ok(Err(payload)) => resume_unwind(payload),
        Err(_) => panic!("hung: not done after {BOUND:?}"),
    }
}

/// Has one of three rounds, which say how long they have taken, taken less than `d`? A machine that stops for a while is forgiven; what waits for longer each time is not.
#[track_caller]
pub(crate) fn within(d: Duration, mut round: impl FnMut() -> Duration) {
    let mut took = Vec::new();
    while took.last().is_none_or(|last| *last >= d) {
        assert!(took.len() < 3, "each time it takes too long: {took:?}");
        took.push(round());
    }
}

/// Have the threads of the tests' runtimes thread-locals of their own, so that they move? As for the default runtime, `GREEN_THREAD_LOCALS` says so:
/// a part of the suite runs in both ways.
pub(crate) fn own_thread_locals() -> bool {
    env::var_os("GREEN_THREAD_LOCALS").is_some_and(|value| value == "thread")
}

/// For a runtime with threads of that kind.
pub(crate) fn builder() -> RuntimeBuilder {
    let own = own_thread_locals();
    Runtime::builder().thread_locals(if own { ThreadLocals::PerThread } else { ThreadLocals::PerWorker })
}

/// The number of the OS thread that runs the caller, whosever thread-locals that uses.
pub(crate) fn os_thread() -> u64 {
    // SAFETY: neither has requirements.
    #[cfg(all(target_os = "linux", not(miri)))]
    return unsafe { libc::syscall(libc::SYS_gettid) } as u64;
    // SAFETY: as above.
    #[cfg(not(all(target_os = "linux", not(miri))))]
    return unsafe { libc::pthread_self() } as u64;
}

/// The time that it has computed: that goes on while it has a processor, and not while others have it.
pub(crate) fn cpu_of_this_thread() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call fills the struct in.
    assert_eq!(unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) }, 0);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Its name.
pub(crate) fn os_thread_name() -> String {
    let name = if own_thread_locals() { std::fs::read_to_string("/proc/thread-self/comm").ok() } else { None };
    name.map_or_else(|| std::thread::current().name().unwrap_or_default().to_owned(), |name| name.trim_end().to_owned())
}

/// With so many workers, and none more when these are stalled.
pub(crate) fn runtime(workers: usize) -> Runtime {
    builder().workers(workers).spare_workers(0).build().expect("a runtime")
}

/// The same for tests that measure memory: no stall is reported, as to name the functions of one takes megabytes, on a busy machine alone.
pub(crate) fn unwatched(workers: usize) -> Runtime {
    builder().workers(workers).spare_workers(0).stall_limit(Duration::ZERO).build().expect("a runtime")
}

/// Runs `f` as a green thread of runtimes with one, two and four workers.
#[track_caller]
pub(crate) fn on_workers(f: impl Fn() + Send + Sync + Clone + 'static) {
    for workers in [1, 2, 4] {
        let f = f.clone();
        bounded(move || runtime(workers).run(f));
    }
}

/// As [`on_workers`], and on a plain OS thread too, whose threads run in the default runtime.
#[track_caller]
pub(crate) fn everywhere(f: impl Fn() + Send + Sync + Clone + 'static) {
    on_workers(f.clone());
    bounded(f);
}

/// Waits, without blocking anything of the crate's, until `done`; fails if that takes too long.
#[track_caller]
pub(crate) fn spin_until(what: &str, done: impl Fn() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < BOUND, "{what} does not come");
        std::thread::yield_now();
    }
}

/// The same where the threads of the caller's own worker have to run meanwhile.
#[track_caller]
pub(crate) fn until(done: impl Fn() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < BOUND, "what this waits for does not come");
        green::sleep(Duration::from_micros(50));
    }
}

/// Waits until `thread` waits for what `reason` names, as [`Thread::waits_for`] has it.
#[track_caller]
pub(crate) fn until_parked(thread: &Thread, reason: &str) {
    let start = Instant::now();
    while thread.waits_for() != Some(reason) {
        assert!(start.elapsed() < BOUND, "{thread:?} waits for {:?}, not {reason:?}", thread.waits_for());
        green::sleep(Duration::from_micros(50));
    }
}

/// Through which a thread that nobody has a handle of, an actor's, can be seen.
#[derive(Clone, Default, Debug)]
pub(crate) struct Spot(Arc<OnceLock<Thread>>);

impl Spot {
    /// The calling thread is the one.
    pub(crate) fn mark(&self) {
        self.0.set(green::thread::current()).expect("one thread marks it, once");
    }

    pub(crate) fn waits_for(&self) -> Option<&'static str> {
        self.0.get()?.waits_for()
    }
}

/// A flag that is set once: between all kinds of threads.
#[derive(Default, Debug)]
pub(crate) struct Flag(AtomicBool);

impl Flag {
    pub(crate) const fn new() -> Self {
        Self(AtomicBool::new(false))
    }

    pub(crate) fn set(&self) {
        self.0.store(true, Ordering::Release);
    }

    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// Waits, at cancellation points, until it is set.
    #[track_caller]
    pub(crate) fn wait(&self) {
        until(|| self.is_set());
    }

    /// As [`set`](Self::set), but orders nothing.
    pub(crate) fn set_relaxed(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_set_relaxed(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A flag of which each thread has a clone: some wait for it, one opens it.
#[derive(Clone, Default, Debug)]
pub(crate) struct Gate(Arc<Flag>);

impl Gate {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn open(&self) {
        self.0.set();
    }

    pub(crate) fn is_open(&self) -> bool {
        self.0.is_set()
    }

    /// Waits at cancellation points.
    #[track_caller]
    pub(crate) fn wait(&self) {
        self.0.wait();
    }
}

/// How a child ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) signal: Option<i32>,
    pub(crate) output: String,
}

impl Ended {
    #[track_caller]
    pub(crate) fn assert_success(&self) {
        assert_eq!((self.code, self.signal), (Some(0), None), "{}", self.output);
    }
}

const ROLE: &str = "GREEN_TEST_CHILD";
const SUCCESS: i32 = 0;
/// Where each test has called [`in_a_child`].
static PLACES: Mutex<BTreeMap<String, &Location<'_>>> = Mutex::new(BTreeMap::new());

/// Runs `f` in a child: this test again, alone in its process, with `variables` set. To be called at one place in a test: a child gets no further than the first.
#[track_caller]
pub(crate) fn in_a_child(variables: &[(&str, &str)], f: impl FnOnce()) -> Ended {
    if env::var_os(ROLE).is_some() {
        // A child that hangs is ended by SIGALRM.
        // SAFETY: no requirements.
        unsafe { libc::alarm(BOUND.as_secs() as u32) };
        f();
        std::process::exit(SUCCESS);
    }
    let name = std::thread::current().name().expect("the harness names a test's thread").to_owned();
    let first = *PLACES.lock().unwrap().entry(name.clone()).or_insert(Location::caller());
    assert_eq!(first, Location::caller(), "a second call of `in_a_child` in one test");
    let mut child = itself();
    child.args([&name, "--exact", "--include-ignored", "--nocapture", "--test-threads=1"]).env(ROLE, "1");
    // A backtrace costs a tenth of a second in each process, and a test may fork hundreds that panic.
    child.env("RUST_BACKTRACE", "0").envs(variables.iter().copied());
    let done = child.output().expect("this binary runs");
    let output = String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned();
    assert!(output.contains("running 1 test"), "the child did not run {name}: {output}");
    Ended { code: done.status.code(), signal: done.status.signal(), output }
}

/// A binary of this architecture, by way of the emulator that cargo was told to run it with, if any.
pub(crate) fn command(binary: &Path) -> Command {
    let target = format!("CARGO_TARGET_{}", env::consts::ARCH.to_uppercase());
    let runner = env::vars().find(|(name, _)| name.starts_with(&target) && name.ends_with("_RUNNER"));
    let runner = env::var("GREEN_TEST_RUNNER").ok().or(runner.map(|(_, runner)| runner));
    let Some(runner) = runner else { return Command::new(binary) };
    let mut words = runner.split_whitespace();
    let mut command = Command::new(words.next().expect("a runner is not empty"));
    command.args(words).arg(binary);
    command
}

/// The example of that name: cargo builds those of the package before its tests, to `target/<profile>`.
pub(crate) fn example(name: &str) -> Command {
    let mut example = command(&profile().join(name));
    // In a build like this one, or under an emulator, a thread has soon computed for 20 ms.
    example.env("GREEN_STALL_LIMIT", "0");
    example
}

/// The same for one that is a library.
pub(crate) fn library(name: &str) -> PathBuf {
    profile().join("examples").join(format!("lib{name}.so"))
}

fn profile() -> PathBuf {
    let exe = env::current_exe().expect("the path of this binary");
    exe.parent().and_then(Path::parent).expect("tests live in target/<profile>/deps").to_owned()
}

/// This test binary, to be run again.
pub(crate) fn itself() -> Command {
    command(&env::current_exe().expect("the path of this binary"))
}

/// Has the kernel refuse membarrier(2) to this process from now on. An emulator's is its own.
#[cfg(target_os = "linux")]
pub(crate) fn forbid_membarrier() {
    const SET_MODE_FILTER: libc::c_int = 1;
    const FOR_ALL_THREADS: libc::c_int = 1;
    let step = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    let program = [
        // The number of the call; is it that of membarrier? EPERM, or allowed.
        step(0x20, 0, 0, 0),
        step(0x15, 0, 1, libc::SYS_membarrier as u32),
        step(0x06, 0, 0, 0x0005_0000 | libc::EPERM as u32),
        step(0x06, 0, 0, 0x7fff_0000),
    ];
    let filter = libc::sock_fprog { len: program.len() as u16, filter: program.as_ptr().cast_mut() };
    // SAFETY: the kernel reads the program.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        let refused = libc::syscall(libc::SYS_seccomp, SET_MODE_FILTER, FOR_ALL_THREADS, &raw const filter);
        assert_eq!(refused, 0, "{}", std::io::Error::last_os_error());
        assert_eq!(libc::syscall(libc::SYS_membarrier, 0, 0, 0), -1, "it is refused");
    }
}

/// Lowers the limit on the address space to what is in use and `more` bytes.
pub(crate) fn leave_address_space(more: u64) {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux tells the size of a process");
    let pages: u64 = statm.split_whitespace().next().and_then(|pages| pages.parse().ok()).expect("a number of pages");
    // SAFETY: no requirements.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as u64;
    set_limit(libc::RLIMIT_AS as i32, pages * page + more);
}

/// Sets a soft limit of this process.
pub(crate) fn set_limit(which: i32, limit: u64) {
    let mut new = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the calls write and read one `rlimit`.
    let done = unsafe {
        libc::getrlimit(which as _, &raw mut new);
        new.rlim_cur = limit as libc::rlim_t;
        libc::setrlimit(which as _, &raw const new)
    };
    assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
}

/// Tries ten times, and five times over if need be: `try_once` says what came of it and whether that is right, and of one ten `least` have to be. For what the system's other
/// threads disturb now and then, for a second or two, in which all tries may be over, so it waits in between: such a disturbance does not fail the test, and a fault that
/// shows in each third try seldom gets through.
#[track_caller]
pub(crate) fn nearly_always<T: std::fmt::Debug>(least: usize, what: &str, mut try_once: impl FnMut() -> (T, bool)) {
    const TRIES: usize = 10;
    let least = if EMULATED { least.min(2) } else { least };
    let (mut seen, mut pause) = (Vec::new(), Duration::from_millis(500));
    for _ in 0..5 {
        let mut right = 0;
        for tried in 1..=TRIES {
            let (came, is_right) = try_once();
            seen.push(came);
            right += usize::from(is_right);
            if right == least {
                return println!("{what}: {} tries, {seen:?}", seen.len());
            }
            if tried - right > TRIES - least {
                break;
            }
        }
        std::thread::sleep(pause);
        pause *= 2;
    }
    panic!("{what}: never {least} times of {TRIES}: {seen:?}");
}
