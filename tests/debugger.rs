//! gdb sees the green threads of a live process and of a core file.
#![cfg(all(target_os = "linux", not(green_emulated), not(miri)))]

mod help;

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use green::sync::Mutex;

const COUNT: usize = 1000;
const CHILD: &str = "GREEN_DEBUGGEE";

/// A frame to be found on a parked stack, below those of the wait.
#[inline(never)]
fn a_wait_deep_down(depth: u64, mutex: &Mutex<u64>) -> u64 {
    if depth > 0 {
        return std::hint::black_box(a_wait_deep_down(depth - 1, mutex)) + 1;
    }
    *mutex.lock().unwrap()
}

/// The program that is looked at: a thousand threads that wait for a mutex, and one that joins another, which runs on top of it.
#[test]
fn debuggee() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    help::set_limit(libc::RLIMIT_CORE as i32, most_of_a_core());
    // Where a process may look at its children only, also one that is none of them may look at this one.
    // SAFETY: it changes who may trace this process.
    unsafe { libc::prctl(libc::PR_SET_PTRACER, libc::PR_SET_PTRACER_ANY) };
    let runtime = green::Runtime::builder().workers(1).build().unwrap();
    runtime.run(|| {
        let mutex = Arc::new(Mutex::new(0));
        let _locked = mutex.lock().unwrap();
        let waiters: Vec<_> = (0..COUNT)
            .map(|number| {
                let mutex = mutex.clone();
                let name = format!("waiter {number}");
                green::thread::Builder::new().name(name).spawn(move || a_wait_deep_down(3, &mutex)).unwrap()
            })
            .collect();
        waiters.iter().for_each(|waiter| help::until_parked(waiter.thread(), "mutex"));
        // One that waits with a deadline, for a lock that has readers.
        let shared = Arc::new(green::sync::RwLock::new(()));
        let _read = shared.read().unwrap();
        let writes = green::thread::Builder::new().name("writer".to_owned()).spawn({
            let shared = Arc::clone(&shared);
            move || _ = green::timeout(Duration::from_secs(3600), || drop(shared.write().unwrap()))
        });
        help::until_parked(writes.unwrap().thread(), "rwlock");
        let joined = green::thread::Builder::new().name("on top".to_owned()).spawn(|| {
            println!("\npid={}", std::process::id());
            loop {
                std::thread::sleep(Duration::from_secs(1));
            }
        });
        joined.unwrap().join().unwrap();
    });
}

/// With its output: a test that takes long says so there, and ends if nobody could read it.
struct Debuggee(Child, Option<BufReader<ChildStdout>>);

impl Debuggee {
    /// The program, as soon as all of its threads wait.
    fn start() -> Self {
        Self::start_in(Path::new("."))
    }

    fn start_in(directory: &Path) -> Self {
        let mut command = help::itself();
        command.current_dir(directory);
        command.args(["debuggee", "--exact", "--nocapture"]).env(CHILD, "1").stdout(Stdio::piped());
        let mut child = Self(command.spawn().unwrap(), None);
        let mut output = BufReader::new(child.0.stdout.take().unwrap());
        let mut lines = output.by_ref().lines().map_while(Result::ok);
        assert!(lines.any(|line| line.starts_with("pid=")), "the program ended");
        child.1 = Some(output);
        child
    }
}

impl Drop for Debuggee {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What gdb prints when it has run `commands` on the program that `target` says.
fn gdb(target: &[&str], commands: &[&str]) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/sched/debug.py");
    let mut gdb = Command::new("gdb");
    gdb.args([
        "-nx",
        "-batch",
        "-iex",
        "set auto-load safe-path /nowhere",
        "-ex",
        &format!("source {}", script.display()),
    ]);
    gdb.args(commands.iter().flat_map(|command| ["-ex", command]));
    let output = gdb.args(target).env_remove("RUST_BACKTRACE").output().expect("gdb is installed");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    format!("{text}{}", String::from_utf8_lossy(&output.stderr))
}

fn program() -> String {
    std::env::current_exe().unwrap().display().to_string()
}

/// The number of the thread on the line that contains `what`.
fn id_of<'a>(list: &'a str, what: &str) -> &'a str {
    let line = list.lines().find(|line| line.contains(what)).unwrap_or_else(|| panic!("no {what} in {list}"));
    line.split_whitespace().next().unwrap()
}

fn check(target: &[&str]) {
    let list = gdb(target, &["green threads", "green locks"]);
    assert!(list.contains(&format!("\n{} green threads\n", COUNT + 3)), "{list}");
    assert_eq!(list.matches("waits: mutex").count(), COUNT, "{list}");
    assert!(list.contains("'on top'  running on worker 0"), "{list}");
    let waiter = id_of(&list, "'waiter 997'");
    let below = id_of(&list, "  below ");
    let running = id_of(&list, "'on top'");
    let commands = [waiter, below, running, "123456789", "x"].map(|id| format!("green bt {id}"));
    let text = gdb(target, &commands.each_ref().map(String::as_str));
    assert!(text.contains(&format!("green thread {waiter}: waits: mutex")), "{text}");
    assert_eq!(text.matches("a_wait_deep_down (").count(), 4, "{text}");
    // To the first frame of the stack, of both.
    assert_eq!(text.matches("_entry ()").count(), 2, "{text}");
    assert!(text.contains(&format!("green thread {below}: below {running}, which runs on top of it")), "{text}");
    assert!(text.contains(&format!("thread {running} runs on worker 0")), "{text}");
    assert!(text.contains("no green thread 123456789"), "{text}");
    assert!(text.contains("which thread?"), "{text}");
    assert!(list.contains("\n2 locks that green threads wait for\n"), "{list}");
    let mutex = list.lines().find(|line| line.starts_with("mutex 0x")).unwrap_or_else(|| panic!("no mutex in {list}"));
    // The thread that holds it joins the one that runs on top of it.
    assert!(mutex.contains(&format!(", held by thread {below}; waiting: {COUNT}: ")), "{mutex}");
    assert!(mutex.ends_with(", ...") && mutex.contains(" 'waiter 0', "), "{mutex}");
    let rwlock = list.lines().find(|line| line.starts_with("rwlock 0x")).unwrap_or_else(|| panic!("none in {list}"));
    assert!(rwlock.contains(", held by 1 readers; waiting: 1: ") && rwlock.ends_with(" 'writer'"), "{rwlock}");
}

/// Is there a gdb? `.ci/run` sees to it, and says so.
fn has_gdb() -> bool {
    let there = Command::new("gdb").arg("--version").stdout(Stdio::null()).status().is_ok();
    assert!(there || std::env::var_os("GREEN_HAS_GDB").is_none(), "there is no gdb");
    if !there {
        eprintln!("not run: there is no gdb");
    }
    there
}

/// What this machine refuses to gdb; where there has to be a gdb it has to work, too.
fn not_run(why: &str) {
    assert!(std::env::var_os("GREEN_HAS_GDB").is_none(), "{why}");
    eprintln!("not run: {why}");
}

#[test]
fn a_live_process_shows_its_green_threads() {
    if !has_gdb() {
        return;
    }
    let child = Debuggee::start();
    let process = child.0.id().to_string();
    if gdb(&["-p", &process], &[]).contains("Operation not permitted") {
        return not_run("a process here may not look at another");
    }
    check(&["-p", &process]);
}

/// The largest core file that a process here may ask for.
fn most_of_a_core() -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the call writes one `rlimit`.
    assert_eq!(unsafe { libc::getrlimit(libc::RLIMIT_CORE, &raw mut limit) }, 0);
    limit.rlim_max
}

/// Does the system write core files, and into the directory of the process?
fn cores_are_written_here() -> bool {
    let pattern = std::fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap();
    !pattern.starts_with('|') && !pattern.contains('/') && most_of_a_core() > 0
}

#[test]
fn a_core_file_shows_its_green_threads() {
    if !has_gdb() {
        return;
    }
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("core.{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let mut child = Debuggee::start_in(&directory);
    if cores_are_written_here() {
        // SAFETY: a signal to our own child, which has not been waited for.
        assert_eq!(unsafe { libc::kill(child.0.id() as i32, libc::SIGABRT) }, 0);
        assert!(child.0.wait().unwrap().core_dumped());
    } else {
        // The system writes none, or elsewhere: gdb does.
        let file = format!("gcore {}", directory.join("core").display());
        let text = gdb(&["-p", &child.0.id().to_string()], &[&file]);
        if text.contains("Operation not permitted") {
            return not_run("a process here may not look at another, nor are core files written");
        }
        assert!(text.contains("Saved corefile"), "{text}");
    }
    let core = std::fs::read_dir(&directory).unwrap().next().expect("a core file").unwrap().path();
    check(&[&program(), &core.display().to_string()]);
    std::fs::remove_dir_all(&directory).unwrap();
}

#[test]
fn a_program_without_symbols_is_told_so() {
    if !has_gdb() {
        return;
    }
    let text = gdb(&["/bin/true"], &["green threads"]);
    assert!(text.contains("no table of green threads"), "{text}");
}

#[test]
fn the_script_is_in_the_program() {
    let bytes = std::fs::read(program()).unwrap();
    let script = b"gdb commands for green threads, in a live process and in a core file.";
    assert!(bytes.windows(script.len()).any(|window| window == script));
}
