//! A bank: each account is an actor, a transfer is an ask from one to another.
//!
//! `cargo run --bin bank -- [FILE]`, or with the lines on standard input:
//!
//! ```text
//! open alice 100
//! open bob 20
//! transfer alice bob 30
//! balance bob
//! ```
//!
//! Transfers run side by side, a few hundred at a time; what a line says is answered in the order of the lines. An overdraft
//! is refused. At the end the totals have to agree, or the program fails. Ctrl-c and SIGTERM stop it in good order: it reads no further
//! line, the transfers that are under way end, the totals have to agree, and it says after which line it was, and exits with 1.
//!
//! No transfer makes money out of an error. The money leaves one account before it is sent to the other. If it is then not known
//! whether it has arrived (the answer is late), the sender sets it aside and finds out: each transfer has a number, and an account knows
//! which ones it has received. To see that, two more lines give an account a fault: `slow bob 6000` has it answer each deposit so many
//! milliseconds late, `crash bob` has it end at the next one.

use std::collections::{HashMap, HashSet, VecDeque};
use std::error::Error;
use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use green::actor::{Actor, Addr, Context, Deferred, Pending, SendError, messages};
use green::channel::{Receiver, bounded, select};

/// Transfers that may be under way.
const WINDOW: usize = 256;

/// An answer to a deposit that takes longer is not waited for.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long actors have to end.
const GRACE: Duration = Duration::from_secs(10);

#[derive(Default)]
struct Account {
    balance: u64,
    /// What is in no balance, because it is not known yet whether it has arrived.
    held: u64,
    /// The transfers that have arrived here.
    received: HashSet<u64>,
    slow: Duration,
    crashes: bool,
}

impl Actor for Account {}

#[derive(Debug, PartialEq)]
enum Refused {
    Overdraft { balance: u64 },
    Busy,
    Gone,
    Unknown { held: u64 },
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refused::Overdraft { balance } => write!(f, "refused: the balance is {balance}"),
            Refused::Busy => f.write_str("refused: the two accounts wait for each other, try again"),
            Refused::Gone => f.write_str("refused: an account is closed"),
            Refused::Unknown { held } => write!(f, "not known: the other account is gone, {held} is held back"),
        }
    }
}

type Answer = Result<u64, Refused>;

messages! {
    impl Account {
        /// Takes from this account and gives to another.
        fn Transfer(&mut self, ctx: &mut Context<Self>, reply: Deferred<Answer>, number: u64, to: Addr<Account>, amount: u64) {
            if amount > self.balance {
                return reply.reply(Err(Refused::Overdraft { balance: self.balance }));
            }
            if to == ctx.addr() {
                return reply.reply(Ok(self.balance));
            }
            // From here on the money is in no balance. This account is not touched by others until this returns. If the other account
            // is waiting for this one, both would wait for ever; that is an error, and the money comes back.
            self.balance -= amount;
            match deposit(&to, Deposit(number, amount), ctx.deadline()) {
                Outcome::Arrived => reply.reply(Ok(self.balance)),
                Outcome::Refused(why) => {
                    self.balance += amount;
                    reply.reply(Err(why));
                }
                Outcome::Unknown => {
                    self.held += amount;
                    let me = ctx.weak_addr();
                    ctx.spawn(move || {
                        let found = find_out(&to, number);
                        if let Some(me) = me.upgrade() {
                            // Refused only if this account ends, and its money with it.
                            let _ = me.tell(Found(amount, found, reply));
                        }
                    });
                }
            }
        }

        /// What has become of money that was held.
        fn Found(&mut self, amount: u64, arrived: Option<bool>, reply: Deferred<Answer>) {
            let Some(arrived) = arrived else { return reply.reply(Err(Refused::Unknown { held: amount })) };
            self.held -= amount;
            if arrived {
                return reply.reply(Ok(self.balance));
            }
            self.balance += amount;
            reply.reply(Err(Refused::Busy));
        }

        fn Deposit(&mut self, number: u64, amount: u64) {
            assert!(!self.crashes, "it crashes, as it was told");
            self.balance += amount;
            self.received.insert(number);
            green::sleep(self.slow);
        }

        fn Received(&self, number: u64) -> bool { self.received.contains(&number) }
        fn Balance(&self) -> u64 { self.balance }
        fn Total(&self) -> u64 { self.balance + self.held }
        fn Slow(&mut self, slow: Duration) { self.slow = slow }
        fn Crash(&mut self) { self.crashes = true }
    }
}

enum Outcome {
    Arrived,
    /// It has not arrived, and never will.
    Refused(Refused),
    Unknown,
}

/// Tries until `deadline`, as long as it is safe to try again: as long as the message comes back.
fn deposit(to: &Addr<Account>, mut deposit: Deposit, deadline: Option<Instant>) -> Outcome {
    loop {
        match to.send_timeout(deposit, PATIENCE) {
            Ok(()) => return Outcome::Arrived,
            Err(SendError::Closed(_)) => return Outcome::Refused(Refused::Gone),
            Err(SendError::Timeout(Some(back))) if deadline.is_none_or(|deadline| Instant::now() < deadline) => {
                deposit = back.into_inner();
            }
            Err(SendError::Timeout(Some(_)) | SendError::Full(_) | SendError::Deadlock { msg: Some(_), .. }) => {
                return Outcome::Refused(Refused::Busy);
            }
            // Its handler had started.
            Err(_) => return Outcome::Unknown,
        }
    }
}

/// Has the transfer arrived? Its deposit had been begun, and an account does one thing after the other: so the answer holds. `None`: the
/// account is gone.
fn find_out(to: &Addr<Account>, number: u64) -> Option<bool> {
    loop {
        match to.send(Received(number)) {
            Ok(arrived) => return Some(arrived),
            Err(SendError::Closed(_) | SendError::Died(_)) => return None,
            Err(_) => {}
        }
    }
}

enum Line<'a> {
    Open(&'a str, u64),
    Transfer(&'a str, &'a str, u64),
    Balance(&'a str),
    Slow(&'a str, u64),
    Crash(&'a str),
}

fn parse(line: &str) -> Result<Option<Line<'_>>, String> {
    let number = |text: &str| text.parse().map_err(|_| format!("{text:?} is not an amount"));
    let words: Vec<&str> = line.split_whitespace().collect();
    match words[..] {
        [] => Ok(None),
        [first, ..] if first.starts_with('#') => Ok(None),
        ["open", name, amount] => Ok(Some(Line::Open(name, number(amount)?))),
        ["transfer", from, to, amount] => Ok(Some(Line::Transfer(from, to, number(amount)?))),
        ["balance", name] => Ok(Some(Line::Balance(name))),
        ["slow", name, millis] => Ok(Some(Line::Slow(name, number(millis)?))),
        ["crash", name] => Ok(Some(Line::Crash(name))),
        _ => Err(format!("not understood: {line:?}")),
    }
}

#[derive(Default)]
struct Bank {
    accounts: HashMap<String, Addr<Account>>,
    opened: u64,
    running: VecDeque<(String, Pending<Transfer>)>,
    refused: u64,
    done: u64,
    /// The last transfer.
    number: u64,
}

impl Bank {
    fn account(&self, name: &str) -> Result<&Addr<Account>, String> {
        self.accounts.get(name).ok_or_else(|| format!("there is no account {name:?}"))
    }

    fn line(&mut self, line: &str, out: &mut impl Write) -> Result<(), Box<dyn Error>> {
        match parse(line)? {
            None => {}
            Some(Line::Open(name, balance)) => {
                let total = self.opened.checked_add(balance).ok_or("more money than there can be")?;
                if self.accounts.contains_key(name) {
                    return Err(format!("there is an account {name:?} already").into());
                }
                self.opened = total;
                self.accounts.insert(name.to_owned(), Account { balance, ..Account::default() }.start());
            }
            Some(Line::Transfer(from, to, amount)) => {
                self.number += 1;
                let transfer = Transfer(self.number, self.account(to)?.clone(), amount);
                let pending = self.account(from)?.call(transfer)?;
                self.running.push_back((line.trim().to_owned(), pending));
                if self.running.len() >= WINDOW {
                    self.settle(WINDOW / 2, out)?;
                }
            }
            Some(Line::Balance(name)) => {
                self.settle(0, out)?;
                writeln!(out, "{name}: {}", self.account(name)?.send(Balance)?)?;
            }
            Some(Line::Slow(name, millis)) => self.account(name)?.send(Slow(Duration::from_millis(millis)))?,
            Some(Line::Crash(name)) => self.account(name)?.send(Crash)?,
        }
        Ok(())
    }

    /// Answers transfers until `left` are under way.
    fn settle(&mut self, left: usize, out: &mut impl Write) -> Result<(), Box<dyn Error>> {
        while self.running.len() > left {
            let Some((line, pending)) = self.running.pop_front() else { break };
            // However long it takes: an account answers when it knows.
            match pending.wait_timeout(Duration::MAX)? {
                Ok(_) => self.done += 1,
                Err(refused) => {
                    self.refused += 1;
                    writeln!(out, "{line}: {refused}")?;
                }
            }
        }
        Ok(())
    }

    fn total(&self) -> Result<u64, SendError<Total>> {
        self.accounts.values().map(|account| account.send(Total)).sum()
    }
}

/// `Some`: it was stopped after so many lines.
fn run(file: Option<OsString>, out: &mut impl Write) -> Result<Option<usize>, Box<dyn Error>> {
    // The signals are ours before there is anything to lose.
    let _ = green::timeout(Duration::ZERO, green::signal::terminate);
    let (told, stops) = bounded::<()>(0);
    green::spawn(move || green::signal::terminate().map(|_| drop(told)));
    let lines = lines(file)?;
    let mut bank = Bank::default();
    let mut stopped = None;
    for number in 1.. {
        let line = select! {
            recv(stops) -> _ => {
                stopped = Some(number - 1);
                break;
            }
            recv(lines) -> line => line,
        };
        let Ok(line) = line else { break };
        bank.line(&line?, out).map_err(|error| format!("line {number}: {error}"))?;
    }
    bank.settle(0, out)?;
    let total = bank.total()?;
    writeln!(
        out,
        "{} accounts, {} transfers, {} refused, {total} in all",
        bank.accounts.len(),
        bank.done,
        bank.refused
    )?;
    if total != bank.opened {
        return Err(format!("the totals do not agree: {} was paid in, {total} is there", bank.opened).into());
    }
    drop(bank);
    let end = green::shutdown(GRACE);
    if end.is_clean() { Ok(stopped) } else { Err(format!("the accounts: {end}").into()) }
}

/// The lines of the file that the argument names, or of standard input. A read there blocks: so an OS thread reads, and nobody waits for that
/// one.
fn lines(file: Option<OsString>) -> Result<Receiver<Result<String, String>>, String> {
    let name = file.as_ref().map_or("standard input".to_owned(), |path| path.display().to_string());
    let failed = move |error: io::Error| format!("{name}: {error}");
    let (sender, lines) = bounded(WINDOW);
    let input: Box<dyn BufRead + Send> = match file {
        Some(path) => Box::new(BufReader::new(File::open(path).map_err(&failed)?)),
        None => Box::new(BufReader::new(io::stdin())),
    };
    std::thread::spawn(move || {
        for line in input.lines() {
            if sender.send(line.map_err(&failed)).is_err() {
                break;
            }
        }
    });
    Ok(lines)
}

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    let (file, None) = (args.next(), args.next()) else {
        eprintln!("usage: bank [FILE]");
        return ExitCode::from(2);
    };
    match green::run(|| run(file, &mut io::stdout().lock()).map_err(|error| error.to_string())) {
        Ok(None) => ExitCode::SUCCESS,
        Ok(Some(lines)) => {
            eprintln!("bank: stopped after line {lines}");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("bank: {error}");
            ExitCode::FAILURE
        }
    }
}
