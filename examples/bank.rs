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
//! is refused. At the end the totals have to agree, or the program fails.

use std::collections::{HashMap, VecDeque};
use std::error::Error;
use std::ffi::OsString;
use std::fmt;
use std::io::{self, BufRead, Write};
use std::process::ExitCode;

use green::actor::{Actor, Addr, Context, Handler, Message, Pending, SendError};

/// Transfers that may be under way.
const WINDOW: usize = 256;

struct Account {
    balance: u64,
}

impl Actor for Account {}

#[derive(Debug, PartialEq)]
enum Refused {
    Overdraft { balance: u64 },
    Busy,
    Gone,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refused::Overdraft { balance } => write!(f, "refused: the balance is {balance}"),
            Refused::Busy => f.write_str("refused: the two accounts wait for each other, try again"),
            Refused::Gone => f.write_str("refused: an account is closed"),
        }
    }
}

/// Takes from this account and gives to another.
struct Transfer {
    to: Addr<Account>,
    amount: u64,
}
impl Message for Transfer {
    type Reply = Result<u64, Refused>;
}

struct Deposit(u64);
impl Message for Deposit {
    type Reply = u64;
}

struct Balance;
impl Message for Balance {
    type Reply = u64;
}

impl Handler<Transfer> for Account {
    fn handle(&mut self, m: Transfer, ctx: &mut Context<Self>) -> Result<u64, Refused> {
        if m.amount > self.balance {
            return Err(Refused::Overdraft { balance: self.balance });
        }
        if m.to == ctx.addr() {
            return Ok(self.balance);
        }
        // The plain call: this account is not touched by others until it returns. If the other account is waiting for this
        // one, both would wait for ever; that is an error, and the money stays here.
        match m.to.send(Deposit(m.amount)) {
            Ok(_) => {
                self.balance -= m.amount;
                Ok(self.balance)
            }
            Err(SendError::Deadlock { .. } | SendError::Timeout(Some(_)) | SendError::Full(_)) => Err(Refused::Busy),
            Err(_) => Err(Refused::Gone),
        }
    }
}

impl Handler<Deposit> for Account {
    fn handle(&mut self, m: Deposit, _: &mut Context<Self>) -> u64 {
        self.balance += m.0;
        self.balance
    }
}

impl Handler<Balance> for Account {
    fn handle(&mut self, _: Balance, _: &mut Context<Self>) -> u64 {
        self.balance
    }
}

enum Line<'a> {
    Open(&'a str, u64),
    Transfer(&'a str, &'a str, u64),
    Balance(&'a str),
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
                self.accounts.insert(name.to_owned(), Account { balance }.start());
            }
            Some(Line::Transfer(from, to, amount)) => {
                let transfer = Transfer { to: self.account(to)?.clone(), amount };
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
        }
        Ok(())
    }

    /// Answers transfers until `left` are under way.
    fn settle(&mut self, left: usize, out: &mut impl Write) -> Result<(), Box<dyn Error>> {
        while self.running.len() > left {
            let Some((line, pending)) = self.running.pop_front() else { break };
            match pending.wait()? {
                Ok(_) => self.done += 1,
                Err(refused) => {
                    self.refused += 1;
                    writeln!(out, "{line}: {refused}")?;
                }
            }
        }
        Ok(())
    }

    fn total(&self) -> Result<u64, SendError<Balance>> {
        self.accounts.values().map(|account| account.send(Balance)).sum()
    }
}

fn run(input: impl BufRead, out: &mut impl Write) -> Result<(), Box<dyn Error>> {
    let mut bank = Bank::default();
    for (number, line) in input.lines().enumerate() {
        let line = line?;
        bank.line(&line, out).map_err(|error| format!("line {}: {error}", number + 1))?;
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
    Ok(())
}

/// All of the input: the file that the argument names, or what is on standard input.
fn input(file: Option<OsString>) -> Result<String, String> {
    let (name, text) = match &file {
        Some(path) => (path.display().to_string(), std::fs::read_to_string(path)),
        None => ("standard input".to_owned(), io::read_to_string(io::stdin())),
    };
    text.map_err(|error| format!("{name}: {error}"))
}

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    let (file, None) = (args.next(), args.next()) else {
        eprintln!("usage: bank [FILE]");
        return ExitCode::from(2);
    };
    let run = |text: String| run(text.as_bytes(), &mut io::stdout().lock()).map_err(|error| error.to_string());
    match input(file).and_then(|text| green::run(|| run(text))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bank: {error}");
            ExitCode::FAILURE
        }
    }
}
