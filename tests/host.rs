//! `green::fs`, `green::process`, `green::signal`: what the host does for us, without holding a worker up.
#![allow(missing_docs)]

mod help;

use std::io::{Read, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use green::process::Command;

/// On a plain OS thread, and on a runtime with one worker: there, whatever holds a worker up hangs.
fn both(f: impl Fn() + Send + Sync) {
    f();
    help::builder().workers(1).build().unwrap().run(f);
}

struct Dir(PathBuf);

impl Dir {
    fn new() -> Dir {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("green-host-{}-{number}", std::process::id()));
        green::fs::create_dir_all(path.join("a/b")).unwrap();
        Dir(path)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn files_are_written_read_copied_renamed_and_removed() {
    both(|| {
        let dir = Dir::new();
        let path = |name: &str| dir.0.join(name);
        green::fs::write(path("x"), b"hello").unwrap();
        assert_eq!(green::fs::read_to_string(path("x")).unwrap(), "hello");
        assert_eq!(green::fs::copy(path("x"), path("y")).unwrap(), 5);
        green::fs::rename(path("y"), path("z")).unwrap();
        assert!(!green::fs::exists(path("y")).unwrap());
        green::fs::hard_link(path("x"), path("w")).unwrap();
        assert_eq!(green::fs::metadata(path("z")).unwrap().len(), 5);
        let mut names: Vec<_> = green::fs::read_dir(&dir.0).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["a", "w", "x", "z"]);
        green::fs::remove_file(path("z")).unwrap();
        green::fs::remove_dir(path("a/b")).unwrap();
        assert_eq!(green::fs::canonicalize(path("a/../x")).unwrap().file_name(), path("x").file_name());
        assert_eq!(green::fs::read(path("z")).unwrap_err().kind(), std::io::ErrorKind::NotFound);
        green::fs::remove_dir_all(&dir.0).unwrap();
    });
}

#[test]
fn a_directory_with_many_entries_gives_each_once() {
    both(|| {
        let dir = Dir::new();
        (0..300).for_each(|i| std::fs::write(dir.0.join(format!("a/b/{i}")), "").unwrap());
        let mut names: Vec<String> = green::fs::read_dir(dir.0.join("a/b"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), 300);
    });
}

#[test]
fn an_open_file_reads_writes_and_seeks_as_in_std() {
    both(|| {
        let dir = Dir::new();
        let path = dir.0.join("file");
        let mut file = green::fs::File::create_new(&path).unwrap();
        assert!(green::fs::File::create_new(&path).is_err());
        file.write_all(b"0123456789").unwrap();
        file.sync_all().unwrap();
        file.seek(SeekFrom::Start(4)).unwrap();
        let mut buf = [0; 3];
        file.read_exact(&mut buf).unwrap();
        assert_eq!(&buf, b"456");
        file.set_len(8).unwrap();
        let mut rest = String::new();
        file.try_clone().unwrap().read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "7");
        assert_eq!(file.metadata().unwrap().len(), 8);
        let mut more = green::fs::OpenOptions::new().append(true).open(&path).unwrap();
        more.write_all(b"!").unwrap();
        assert_eq!(std::fs::File::from(more).metadata().unwrap().len(), 9);
        assert!(green::fs::File::open(dir.0.join("none")).is_err());
    });
}

#[test]
fn a_child_is_waited_for_while_its_worker_goes_on() {
    both(|| {
        // Each child writes a byte, and ends when this thread, which has read all of them, closes the other pipe: they are all there at one time.
        let (mut told, tells) = std::io::pipe().unwrap();
        let (waits, ends) = std::io::pipe().unwrap();
        let children: Vec<_> = (0..4)
            .map(|_| {
                let (tells, waits) = (tells.try_clone().unwrap(), waits.try_clone().unwrap());
                green::spawn(move || {
                    let mut child = Command::new("sh");
                    child.args(["-c", "printf x; exec cat >/dev/null"]).stdin(waits).stdout(tells);
                    child.status().unwrap().success()
                })
            })
            .collect();
        for _ in 0..children.len() {
            green::io::wait_readable(&told).unwrap();
            told.read_exact(&mut [0]).unwrap();
        }
        drop(ends);
        assert!(children.into_iter().all(|child| child.join().unwrap()));
    });
}

#[test]
fn output_collects_both_pipes_even_when_each_is_more_than_a_pipe_holds() {
    both(|| {
        let script = "head -c 300000 /dev/zero; head -c 300000 /dev/zero >&2; head -c 300000 /dev/zero; exit 3";
        let output = Command::new("sh").args(["-c", script]).output().unwrap();
        assert_eq!((output.stdout.len(), output.stderr.len(), output.status.code()), (600_000, 300_000, Some(3)));
        let output = Command::new("sh").args(["-c", "echo $GREEN_X"]).env("GREEN_X", "7").output().unwrap();
        assert_eq!(output.stdout, b"7\n");
        // An emulator reports it as an exit status.
        #[cfg(not(green_emulated))]
        assert_eq!(Command::new("/no/such/program").output().unwrap_err().kind(), std::io::ErrorKind::NotFound);
    });
}

#[test]
fn a_childs_pipes_park() {
    both(|| {
        let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let sent: Vec<u8> = (0..500_000).map(|i| (i % 251) as u8).collect();
        let expected = sent.clone();
        let writes = green::spawn(move || stdin.write_all(&sent).unwrap());
        let mut got = Vec::new();
        stdout.read_to_end(&mut got).unwrap();
        assert!(got == expected);
        writes.join().unwrap();
        assert!(child.wait().unwrap().success());
        assert!(child.try_wait().unwrap().is_some());
    });
}

#[test]
fn a_wait_for_a_child_ends_at_a_time_out_and_the_child_can_be_killed() {
    both(|| {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        assert!(green::timeout(Duration::from_millis(20), || child.wait()).is_err());
        assert!(child.try_wait().unwrap().is_none() && child.id() > 0);
        child.kill().unwrap();
        assert!(!child.wait().unwrap().success());
    });
}

#[test]
fn ctrl_c_wakes_all_who_wait_and_does_not_end_the_process() {
    const NAME: &str = "ctrl_c_wakes_all_who_wait_and_does_not_end_the_process";
    if std::env::var_os("GREEN_CTRL_C").is_none() {
        let child = help::itself().args([NAME, "--exact", "--nocapture"]).env("GREEN_CTRL_C", "1").output().unwrap();
        assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stderr));
        return;
    }
    let raise = || {
        // SAFETY: it takes a number.
        assert_eq!(unsafe { libc::raise(libc::SIGINT) }, 0);
    };
    let runtime = help::builder().workers(1).build().unwrap();
    let waits: Vec<_> = (0..3).map(|_| runtime.spawn(|| green::signal::ctrl_c().unwrap())).collect();
    // The first wait takes the signal over; until then it would end the process.
    assert!(green::timeout(Duration::from_millis(1), green::signal::ctrl_c).is_err());
    let os = std::thread::spawn(|| green::signal::ctrl_c().unwrap());
    while waits.iter().any(|wait| !wait.is_finished()) || !os.is_finished() {
        raise();
        std::thread::yield_now();
    }
    os.join().unwrap();
    waits.into_iter().for_each(|wait| wait.join().unwrap());
    raise();
}

#[test]
fn a_signal_that_comes_before_the_wait_for_it_is_kept_and_several_as_one() {
    use green::signal::{SignalKind, wait_for};
    let ended = help::in_a_child(&[], || {
        let both = [SignalKind::User1, SignalKind::User2];
        let timeout = |kinds: &'static [SignalKind]| green::timeout(Duration::ZERO, || wait_for(kinds).unwrap());
        // Takes them over.
        assert!(timeout(&[SignalKind::User1, SignalKind::User2]).is_err());
        for number in [libc::SIGUSR1, libc::SIGUSR1, libc::SIGUSR2] {
            // SAFETY: it takes a number.
            assert_eq!(unsafe { libc::raise(number) }, 0);
        }
        // They come in order.
        assert_eq!(wait_for(&both[1..]).unwrap(), SignalKind::User2);
        assert_eq!(wait_for(&both).unwrap(), SignalKind::User1);
        assert!(timeout(&[SignalKind::User1]).is_err() && timeout(&[SignalKind::User2]).is_err());
    });
    ended.assert_success();
}

#[test]
fn each_signal_wakes_those_who_wait_for_it_alone() {
    use green::signal::{SignalKind, terminate, wait_for};
    const NAME: &str = "each_signal_wakes_those_who_wait_for_it_alone";
    if std::env::var_os("GREEN_SIGNALS").is_none() {
        let child = help::itself().args([NAME, "--exact", "--nocapture"]).env("GREEN_SIGNALS", "1").output().unwrap();
        assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stderr));
        return;
    }
    let kinds = [
        (SignalKind::Interrupt, libc::SIGINT),
        (SignalKind::Terminate, libc::SIGTERM),
        (SignalKind::Hangup, libc::SIGHUP),
        (SignalKind::User1, libc::SIGUSR1),
        (SignalKind::User2, libc::SIGUSR2),
    ];
    let all = kinds.map(|(kind, _)| kind);
    // Takes all of them over.
    assert!(green::timeout(Duration::ZERO, || wait_for(&all)).is_err());
    let runtime = help::builder().workers(1).build().unwrap();
    for (place, (kind, number)) in kinds.into_iter().enumerate().take(kinds.len() - 1) {
        // Of those before it one may still be on its way.
        let others = all[place + 1..].to_vec();
        let others = runtime.spawn(move || wait_for(&others).unwrap());
        let waits = runtime.spawn(move || wait_for(&[kind]).unwrap());
        let ends = matches!(kind, SignalKind::Interrupt | SignalKind::Terminate)
            .then(|| runtime.spawn(|| terminate().unwrap()));
        help::until_parked(others.thread(), "signal");
        while !waits.is_finished() || ends.as_ref().is_some_and(|ends| !ends.is_finished()) {
            // SAFETY: it takes a number.
            assert_eq!(unsafe { libc::raise(number) }, 0);
            std::thread::yield_now();
        }
        assert_eq!(waits.join().unwrap(), kind);
        // (An interrupt that was one too many is kept.)
        assert!(ends.is_none_or(|ends| [kind, SignalKind::Interrupt].contains(&ends.join().unwrap())));
        assert!(!others.is_finished());
        others.cancel();
        assert!(others.join().is_err());
    }
}
