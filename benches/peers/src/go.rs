//! Go: `go/main.go`, built when the table begins. Its process stands in the place of the child's own work.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::{Job, Unit, Work};

/// Beside this bench.
fn program() -> PathBuf {
    std::env::current_exe().expect("this bench").with_file_name("peers-go")
}

/// False: there is no `go`, or it has said why it does not build.
pub fn build() -> bool {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/go/main.go");
    let built = Command::new("go").args(["build", "-o"]).arg(program()).arg(source).status();
    built.is_ok_and(|status| status.success())
}

pub fn run(job: Job) -> f64 {
    let (work, senders) = match job.work {
        Work::Tell { senders } => ("tell", senders),
        Work::Ask => ("ask", 1),
        Work::FanOut => ("fan-out", 1),
        Work::Big => ("big", 1),
        Work::Create => ("create", 1),
        Work::Idle => ("idle", 1),
    };
    let unit = match job.unit {
        Unit::Cpu => "cpu",
        Unit::Wall => "wall",
        Unit::Resident => "resident",
    };
    let numbers = [senders, job.workers as u64, job.count].map(|number| number.to_string());
    let mut program = Command::new(program());
    program.arg(work).args(numbers).arg(unit).stderr(Stdio::inherit());
    let output = program.output().expect("it was built");
    assert!(output.status.success(), "{work} failed: {}", output.status);
    String::from_utf8_lossy(&output.stdout).trim().parse().expect("a number")
}
