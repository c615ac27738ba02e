//! Of the parallelism benchmarks: 18 (a pipeline that grows) and 28 (a search, split among workers).

use green::actor::{Actor, Addr, Context, Deferred, Handler, Mailbox};

use crate::{LONG, message, scaled};

/// One stage of the sieve: up to `ROOM` primes, and whoever comes after them.
struct Stage {
    primes: Vec<u64>,
    next: Option<Addr<Stage>>,
}
const ROOM: usize = 1000;
message! {
    Candidate(u64) -> ();
    CountPrimes -> u64;
}
impl Actor for Stage {
    const ASK_TIMEOUT: std::time::Duration = LONG;
}
impl Handler<Candidate> for Stage {
    fn handle(&mut self, m: Candidate, _: &mut Context<Self>) {
        if self.primes.iter().take_while(|p| **p * **p <= m.0).any(|p| m.0.is_multiple_of(*p)) {
            return;
        }
        if self.primes.len() < ROOM {
            self.primes.push(m.0);
            return;
        }
        let next = self.next.get_or_insert_with(|| Stage { primes: Vec::new(), next: None }.start());
        next.tell(m).unwrap();
    }
}
impl Handler<CountPrimes> for Stage {
    fn handle(&mut self, _: CountPrimes, _: &mut Context<Self>) -> u64 {
        // The tail answers for itself; all candidates are ahead of this message.
        self.primes.len() as u64 + self.next.as_ref().map_or(0, |next| next.send(CountPrimes).unwrap())
    }
}

pub(crate) fn sieve(scale: u64) {
    let n = scaled(100_000, scale);
    let first = Stage { primes: vec![2], next: None }.start();
    (3..n).step_by(2).for_each(|candidate| first.tell(Candidate(candidate)).unwrap());
    let prime = |n: u64| (2..).take_while(|p| p * p <= n).all(|p| !n.is_multiple_of(p));
    let expected = (2..n).filter(|n| prime(*n)).count().max(1) as u64;
    assert_eq!(first.send(CountPrimes).unwrap(), expected);
}

/// Solves a part of the board, or splits it.
pub(crate) struct Solver {
    master: Addr<Master>,
}
pub(crate) struct Master {
    solvers: Vec<Addr<Solver>>,
    given: usize,
    open: u64,
    solutions: u64,
    waiting: Option<Deferred<u64>>,
}
message! {
    Solvers(Vec<Addr<Solver>>) -> ();
    Board(u32, Vec<u8>) -> ();
    Solved(u64) -> ();
    Solutions(u32) -> u64;
}
impl Actor for Solver {
    const MAILBOX: Mailbox = Mailbox::unbounded();
}
impl Actor for Master {
    const MAILBOX: Mailbox = Mailbox::unbounded();
    const ASK_TIMEOUT: std::time::Duration = LONG;
}
impl Master {
    fn give(&mut self, board: Board) {
        self.open += 1;
        self.given += 1;
        self.solvers[self.given % self.solvers.len()].tell(board).unwrap();
    }
}
impl Handler<Solvers> for Master {
    fn handle(&mut self, m: Solvers, _: &mut Context<Self>) {
        self.solvers = m.0;
    }
}
impl Handler<Board> for Master {
    fn handle(&mut self, m: Board, _: &mut Context<Self>) {
        self.give(m);
    }
}
impl Handler<Solved> for Master {
    fn handle(&mut self, m: Solved, _: &mut Context<Self>) {
        self.open -= 1;
        self.solutions += m.0;
        if self.open == 0
            && let Some(waiting) = self.waiting.take()
        {
            self.solvers.clear();
            waiting.reply(self.solutions);
        }
    }
}
impl Handler<Solutions> for Master {
    fn handle(&mut self, m: Solutions, ctx: &mut Context<Self>) -> u64 {
        self.waiting = Some(ctx.defer::<Solutions>());
        self.give(Board(m.0, Vec::new()));
        0
    }
}

fn safe(queens: &[u8], column: u8) -> bool {
    let row = queens.len();
    queens.iter().enumerate().all(|(r, c)| *c != column && c.abs_diff(column) as usize != row - r)
}

fn count(size: u32, queens: &mut Vec<u8>) -> u64 {
    if queens.len() == size as usize {
        return 1;
    }
    let mut solutions = 0;
    for column in 0..size as u8 {
        if safe(queens, column) {
            queens.push(column);
            solutions += count(size, queens);
            queens.pop();
        }
    }
    solutions
}

/// Below so many queens a board is split.
const THRESHOLD: usize = 4;

impl Handler<Board> for Solver {
    fn handle(&mut self, mut m: Board, _: &mut Context<Self>) {
        if m.1.len() >= THRESHOLD {
            self.master.tell(Solved(count(m.0, &mut m.1))).unwrap();
            return;
        }
        for column in (0..m.0 as u8).filter(|column| safe(&m.1, *column)) {
            let queens = m.1.iter().copied().chain([column]).collect();
            self.master.tell(Board(m.0, queens)).unwrap();
        }
        self.master.tell(Solved(0)).unwrap();
    }
}

pub(crate) fn queens(scale: u64) {
    let (size, expected) = if scale >= 100 { (12, 14_200) } else { (8, 92) };
    let master = Master { solvers: Vec::new(), given: 0, open: 0, solutions: 0, waiting: None }.start();
    let solvers = (0..20).map(|_| Solver { master: master.clone() }.start()).collect();
    master.send(Solvers(solvers)).unwrap();
    assert_eq!(master.send(Solutions(size)).unwrap(), expected);
}
