//! What the system says of an OS thread of this process, to another one: what it does, and what it has got. Only Linux says it, in `/proc`.

/// The number of an OS thread that is there.
#[derive(Debug)]
pub(crate) struct SystemThread(i32);

/// What an OS thread does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum OsActivity {
    /// It runs, or could.
    Runs,
    /// It waits in a system call.
    InCall(OsCall),
    Unknown,
}

/// A system call in which an OS thread waits, and where that thread stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct OsCall {
    pub(crate) number: i64,
    /// Its stack pointer.
    pub(crate) sp: usize,
    /// The instruction that comes next.
    pub(crate) place: usize,
}

/// What an OS thread has got of processors, and for how long it has waited for one, since its beginning.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct CpuUsage {
    pub(crate) ran_ns: u64,
    pub(crate) waited_ns: u64,
}

#[cfg_attr(not(target_os = "linux"), allow(clippy::unused_self, reason = "nobody says it"))]
impl SystemThread {
    /// The calling one.
    pub(crate) fn current() -> Self {
        #[cfg(all(target_os = "linux", not(miri)))]
        // SAFETY: no requirements.
        return Self(unsafe { libc::syscall(libc::SYS_gettid) } as i32);
        #[cfg(not(all(target_os = "linux", not(miri))))]
        Self(0)
    }

    pub(crate) fn number(&self) -> i32 {
        self.0
    }

    fn read(&self, what: &str) -> Option<String> {
        if !cfg!(target_os = "linux") {
            return None;
        }
        std::fs::read_to_string(format!("/proc/self/task/{}/{what}", self.0)).ok()
    }

    pub(crate) fn activity(&self) -> OsActivity {
        self.read("stat").map_or(OsActivity::Unknown, |stat| match state(&stat) {
            Some('R') => OsActivity::Runs,
            Some('S' | 'D') => self.read("syscall").map_or(OsActivity::Unknown, |call| call_of(&call)),
            _ => OsActivity::Unknown,
        })
    }

    pub(crate) fn usage(&self) -> Option<CpuUsage> {
        self.read("schedstat").and_then(|text| usage(&text))
    }
}

/// The numbers of all OS threads of the process. `None`: the system does not say.
pub(crate) fn numbers() -> Option<Vec<i32>> {
    if !cfg!(target_os = "linux") || cfg!(miri) {
        return None;
    }
    let entries = std::fs::read_dir("/proc/self/task").ok()?;
    entries.map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
}

/// Asks for short slices of time for the calling OS thread, which runs seldom and shortly: then it waits less for a processor that others use (Linux 6.12 and
/// later; elsewhere nothing happens).
pub(crate) fn ask_for_short_slices() {
    #[cfg(all(target_os = "linux", not(miri)))]
    {
        /// The kernel's `sched_attr`, in its first version.
        #[repr(C)]
        #[derive(Default)]
        struct SchedAttr {
            size: u32,
            policy: u32,
            flags: u64,
            nice: i32,
            priority: u32,
            runtime_ns: u64,
            deadline_ns: u64,
            period_ns: u64,
        }
        const SHORTEST_NS: u64 = 100_000;
        let mut attr = SchedAttr::default();
        let size = size_of::<SchedAttr>() as u32;
        // SAFETY: both calls are of the calling thread, with a structure of that size.
        unsafe {
            if libc::syscall(libc::SYS_sched_getattr, 0, &raw mut attr, size, 0) == 0 {
                (attr.size, attr.runtime_ns) = (size, SHORTEST_NS);
                libc::syscall(libc::SYS_sched_setattr, 0, &raw const attr, 0);
            }
        }
    }
}

/// The letter behind the name, which may have spaces and brackets in it.
fn state(stat: &str) -> Option<char> {
    stat.rsplit_once(") ")?.1.chars().next()
}

/// Its number comes first, stack pointer and place last; of a thread that runs it is `running`.
fn call_of(call: &str) -> OsActivity {
    let first = call.split_whitespace().next().unwrap_or_default();
    let mut last = call.split_whitespace().rev().map(|word| {
        word.strip_prefix("0x").and_then(|digits| usize::from_str_radix(digits, 16).ok()).unwrap_or_default()
    });
    match first.parse() {
        Ok(number) if number >= 0 => {
            let (place, sp) = (last.next().unwrap_or_default(), last.next().unwrap_or_default());
            OsActivity::InCall(OsCall { number, sp, place })
        }
        _ if first == "running" => OsActivity::Runs,
        _ => OsActivity::Unknown,
    }
}

fn usage(text: &str) -> Option<CpuUsage> {
    let mut numbers = text.split_whitespace().map(str::parse);
    Some(CpuUsage { ran_ns: numbers.next()?.ok()?, waited_ns: numbers.next()?.ok()? })
}

/// The system call in which a lock of std's, and of most others, waits.
#[cfg(target_os = "linux")]
#[allow(clippy::unnecessary_cast, reason = "it is narrower on machines of 32 bits")]
pub(crate) const FUTEX: i64 = libc::SYS_futex as i64;
#[cfg(not(target_os = "linux"))]
pub(crate) const FUTEX: i64 = -1;

/// The name of a system call in which threads use to wait.
#[cfg_attr(target_os = "linux", allow(clippy::useless_conversion, reason = "as above"))]
pub(crate) fn call_name(number: i64) -> Option<&'static str> {
    #[cfg(target_os = "linux")]
    return linux::CALLS
        .iter()
        .chain(linux::OLDER_CALLS)
        .find(|(known, _)| i64::from(*known) == number)
        .map(|(_, name)| *name);
    #[cfg(not(target_os = "linux"))]
    {
        let _ = number;
        None
    }
}

#[cfg(target_os = "linux")]
mod linux {
    macro_rules! calls {
        ($($constant:ident $name:literal),* $(,)?) => {
            &[$((libc::$constant, $name)),*]
        };
    }

    /// Of those that all architectures have.
    pub(super) const CALLS: &[(libc::c_long, &str)] = calls![
        SYS_read "read",
        SYS_write "write",
        SYS_readv "readv",
        SYS_writev "writev",
        SYS_pread64 "pread64",
        SYS_pwrite64 "pwrite64",
        SYS_futex "futex",
        SYS_nanosleep "nanosleep",
        SYS_clock_nanosleep "clock_nanosleep",
        SYS_ppoll "ppoll",
        SYS_pselect6 "pselect6",
        SYS_epoll_pwait "epoll_pwait",
        SYS_connect "connect",
        SYS_accept "accept",
        SYS_accept4 "accept4",
        SYS_recvfrom "recvfrom",
        SYS_recvmsg "recvmsg",
        SYS_sendto "sendto",
        SYS_sendmsg "sendmsg",
        SYS_openat "openat",
        SYS_close "close",
        SYS_fsync "fsync",
        SYS_fdatasync "fdatasync",
        SYS_fallocate "fallocate",
        SYS_flock "flock",
        SYS_fcntl "fcntl",
        SYS_ioctl "ioctl",
        SYS_wait4 "wait4",
        SYS_waitid "waitid",
        SYS_getdents64 "getdents64",
        SYS_sendfile "sendfile",
        SYS_splice "splice",
        SYS_msync "msync",
        SYS_io_uring_enter "io_uring_enter",
    ];

    /// Of those that newer architectures lack.
    #[cfg(target_arch = "x86_64")]
    pub(super) const OLDER_CALLS: &[(libc::c_long, &str)] =
        calls![SYS_poll "poll", SYS_select "select", SYS_epoll_wait "epoll_wait", SYS_open "open", SYS_pause "pause"];
    #[cfg(not(target_arch = "x86_64"))]
    pub(super) const OLDER_CALLS: &[(libc::c_long, &str)] = &[];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_stands_behind_a_name_with_anything_in_it() {
        assert_eq!(state("22069 (a) b) (R S) R 22065 22065 18146 0 -1"), Some('R'));
        assert_eq!(state("1 (x) S 0"), Some('S'));
        assert_eq!(state(""), None);
    }

    #[test]
    fn a_call_is_known_by_its_number() {
        let call = OsCall { number: 0, sp: 0x7ffc_8b14_7f18, place: 0x7f12_d432_d2ad };
        assert_eq!(call_of("0 0x3 0x7f12d41b1000 0x7ffc8b147f18 0x7f12d432d2ad\n"), OsActivity::InCall(call));
        assert_eq!(call_of("running\n"), OsActivity::Runs);
        assert_eq!(call_of("-1 0x7ffc8b147f18 0x7f12d432d2ad\n"), OsActivity::Unknown);
        assert_eq!(call_of(""), OsActivity::Unknown);
    }

    #[test]
    fn usage_is_two_numbers_and_more() {
        assert_eq!(usage("1270986 3240849 3\n"), Some(CpuUsage { ran_ns: 1_270_986, waited_ns: 3_240_849 }));
        assert_eq!(usage("1270986"), None);
    }

    #[test]
    #[cfg(all(target_os = "linux", not(miri)))]
    fn the_system_says_what_this_thread_does() {
        assert_eq!(SystemThread::current().activity(), OsActivity::Runs);
        assert_eq!(call_name(FUTEX), Some("futex"));
    }
}
