//! A trace as Perfetto reads it: a small writer of its protobuf messages. The numbers of fields are those of `protos/perfetto/trace/` in Perfetto's repository, which
//! never change.

use std::collections::{HashMap, HashSet};
use std::io::{self, Write};

use crate::recorder::trace::{Happening, Trace, TraceEvent};
use crate::task::id::ThreadId;

/// The field of a `Trace` that is a packet.
const PACKET: u32 = 1;

/// Fields of a `TracePacket`.
mod packet {
    pub(super) const TIMESTAMP: u32 = 8;
    pub(super) const SEQUENCE: u32 = 10;
    pub(super) const TRACK_EVENT: u32 = 11;
    pub(super) const SEQUENCE_FLAGS: u32 = 13;
    pub(super) const TRACK_DESCRIPTOR: u32 = 60;
}

/// Fields of a `TrackDescriptor`.
mod track {
    pub(super) const UUID: u32 = 1;
    pub(super) const NAME: u32 = 2;
    pub(super) const PROCESS: u32 = 3;
    pub(super) const PARENT: u32 = 5;
    pub(super) const COUNTER: u32 = 8;
    /// Of its `ProcessDescriptor`.
    pub(super) const PID: u32 = 1;
    pub(super) const PROCESS_NAME: u32 = 6;
}

/// Fields of a `TrackEvent`.
mod event {
    pub(super) const ANNOTATION: u32 = 4;
    pub(super) const TYPE: u32 = 9;
    pub(super) const TRACK: u32 = 11;
    pub(super) const NAME: u32 = 23;
    pub(super) const COUNTER_VALUE: u32 = 30;
    pub(super) const FLOWS: u32 = 47;
    pub(super) const ENDING_FLOWS: u32 = 48;
    /// Of a `DebugAnnotation`.
    pub(super) const ANNOTATION_UINT: u32 = 3;
    pub(super) const ANNOTATION_TEXT: u32 = 6;
    pub(super) const ANNOTATION_NAME: u32 = 10;
}

/// The types of a `TrackEvent`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum SliceEdge {
    Begin = 1,
    End = 2,
    Instant = 3,
    Counter = 4,
}

/// One message, as its bytes.
#[derive(Default, Debug)]
struct ProtoMessage(Vec<u8>);

impl ProtoMessage {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn number(&mut self, field: u32, value: u64) {
        self.varint(u64::from(field) << 3);
        self.varint(value);
    }

    fn fixed(&mut self, field: u32, value: u64) {
        self.varint(u64::from(field) << 3 | 1);
        self.0.extend(value.to_le_bytes());
    }

    fn bytes(&mut self, field: u32, bytes: &[u8]) {
        self.varint(u64::from(field) << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    fn message(&mut self, field: u32, fill: impl FnOnce(&mut Self)) {
        let mut message = Self::default();
        fill(&mut message);
        self.bytes(field, &message.0);
    }
}

/// A track, by what it shows.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Track {
    Process,
    /// By runtime and number.
    Worker(usize, usize),
    Outside,
    Thread(ThreadId),
    Lives(usize, usize),
    Ready(usize, usize),
}

/// Writes packets, gathered to larger pieces.
struct PerfettoWriter<'a, W> {
    trace: &'a Trace,
    out: W,
    buffer: ProtoMessage,
    /// Those that have been described, with their numbers and how many slices are open there.
    tracks: HashMap<Track, (u64, u32)>,
    /// The arrows that have not come to their ends, by the threads to which they lead.
    arrows: HashMap<ThreadId, u64>,
    /// How many arrows there were.
    flows: u64,
    /// Threads of which the innermost slice on their own track is a wait.
    waiting: HashSet<ThreadId>,
}

/// Bytes that are gathered.
const PIECE: usize = 64 << 10;

impl Trace {
    /// Writes the trace as Perfetto reads it (`TracePacket`s of its protobuf format): <https://ui.perfetto.dev> opens the file, and so does
    /// `trace_processor`.
    ///
    /// A track for each worker, with what runs there; one for each thread that has a name, with what it waits for, and for each actor, with its messages; arrows from
    /// who wakes to who is woken; counters of threads. Turns, waits and arrows are there of workers that record [`All`](crate::recorder::Detail::All); the last packet says how many do not. `out` is written to in pieces of some 64 KiB.
    ///
    /// ```
    /// let trace = green::run(green::recorder::snapshot);
    /// let mut file = Vec::new();
    /// trace.write_perfetto(&mut file)?;
    /// assert_eq!(file[0], 0x0a); // a packet begins
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of `out`.
    pub fn write_perfetto(&self, out: impl Write) -> io::Result<()> {
        write(self, out)
    }
}

fn write(trace: &Trace, out: impl Write) -> io::Result<()> {
    let mut writer = PerfettoWriter {
        trace,
        out,
        buffer: ProtoMessage::default(),
        tracks: HashMap::new(),
        arrows: HashMap::new(),
        flows: 0,
        waiting: HashSet::new(),
    };
    writer.track(Track::Process);
    let mut last_ns = 0;
    for event in trace.events() {
        writer.event(event);
        last_ns = event.at.as_nanos() as u64;
        writer.flush(PIECE)?;
    }
    let open: Vec<(Track, u32)> = writer.tracks.iter().map(|(track, (_, depth))| (*track, *depth)).collect();
    for (track, depth) in open {
        (0..depth).for_each(|_| writer.end(track, last_ns, None));
    }
    // By this a reader knows that nothing is cut off, and of how many workers only what is rare is there.
    writer.track_event(Track::Process, last_ns, SliceEdge::Instant, |event| {
        event.bytes(event::NAME, b"end of trace");
        annotate(event, "lost", trace.lost());
        annotate(event, "workers with rare events only", trace.rare as u64);
    });
    writer.flush(0)
}

impl<W: Write> PerfettoWriter<'_, W> {
    fn flush(&mut self, least: usize) -> io::Result<()> {
        if self.buffer.0.len() >= least {
            self.out.write_all(&self.buffer.0)?;
            self.buffer.0.clear();
        }
        Ok(())
    }

    fn packet(&mut self, fill: impl FnOnce(&mut ProtoMessage)) {
        let is_first = self.tracks.is_empty();
        self.buffer.message(PACKET, |packet| {
            packet.number(packet::SEQUENCE, 1);
            if is_first {
                // What comes refers to nothing before.
                packet.number(packet::SEQUENCE_FLAGS, 1);
            }
            fill(packet);
        });
    }

    fn name_of(&self, thread: ThreadId) -> String {
        match self.trace.name_of(thread) {
            Some(name) => format!("{} {name}", thread.number()),
            None => format!("thread {}", thread.number()),
        }
    }

    /// The number of a track, which is described when it is first asked for.
    fn track(&mut self, track: Track) -> u64 {
        if let Some((number, _)) = self.tracks.get(&track) {
            return *number;
        }
        let of_runtime = |runtime| if runtime == 0 { String::new() } else { format!(" of runtime {runtime}") };
        let parent = match track {
            Track::Process => None,
            Track::Lives(runtime, worker) | Track::Ready(runtime, worker) => {
                Some(self.track(Track::Worker(runtime, worker)))
            }
            _ => Some(self.track(Track::Process)),
        };
        let name = match track {
            Track::Process => "green".to_owned(),
            Track::Worker(runtime, worker) => format!("worker {worker}{}", of_runtime(runtime)),
            Track::Outside => "monitor".to_owned(),
            Track::Thread(thread) => self.name_of(thread),
            Track::Lives(runtime, worker) => format!("threads on worker {worker}{}", of_runtime(runtime)),
            Track::Ready(runtime, worker) => format!("ready on worker {worker}{}", of_runtime(runtime)),
        };
        let number = self.tracks.len() as u64 + 1;
        self.packet(|packet| {
            packet.message(packet::TRACK_DESCRIPTOR, |descriptor| {
                descriptor.number(track::UUID, number);
                parent.into_iter().for_each(|parent| descriptor.number(track::PARENT, parent));
                descriptor.bytes(track::NAME, name.as_bytes());
                match track {
                    Track::Process => descriptor.message(track::PROCESS, |process| {
                        process.number(track::PID, u64::from(std::process::id()));
                        process.bytes(track::PROCESS_NAME, name.as_bytes());
                    }),
                    Track::Lives(..) | Track::Ready(..) => descriptor.message(track::COUNTER, |_| ()),
                    _ => {}
                }
            });
        });
        self.tracks.insert(track, (number, 0));
        number
    }

    fn track_event(&mut self, track: Track, at_ns: u64, edge: SliceEdge, fill: impl FnOnce(&mut ProtoMessage)) {
        let number = self.track(track);
        self.packet(|packet| {
            packet.number(packet::TIMESTAMP, at_ns);
            packet.message(packet::TRACK_EVENT, |event| {
                event.number(event::TYPE, edge as u64);
                event.number(event::TRACK, number);
                fill(event);
            });
        });
    }

    /// A slice begins. `thread`: of this one, and here ends the arrow that leads to it.
    fn begin(&mut self, track: Track, at_ns: u64, name: &str, thread: Option<ThreadId>) {
        let arrow =
            thread.filter(|_| matches!(track, Track::Worker(..))).and_then(|thread| self.arrows.remove(&thread));
        self.track_event(track, at_ns, SliceEdge::Begin, |event| {
            event.bytes(event::NAME, name.as_bytes());
            thread.into_iter().for_each(|thread| annotate(event, "thread", thread.number()));
            arrow.into_iter().for_each(|arrow| event.fixed(event::ENDING_FLOWS, arrow));
        });
        if let Some((_, depth)) = self.tracks.get_mut(&track) {
            *depth += 1;
        }
    }

    /// The innermost slice ends, if there is one. `why`: as the thread that ran waits for this.
    fn end(&mut self, track: Track, at_ns: u64, why: Option<&str>) {
        match self.tracks.get_mut(&track) {
            Some((_, depth)) if *depth > 0 => *depth -= 1,
            _ => return,
        }
        self.track_event(track, at_ns, SliceEdge::End, |event| {
            why.into_iter().for_each(|why| {
                event.message(event::ANNOTATION, |annotation| {
                    annotation.bytes(event::ANNOTATION_NAME, b"then");
                    annotation.bytes(event::ANNOTATION_TEXT, why.as_bytes());
                });
            });
        });
    }

    fn instant(&mut self, track: Track, at_ns: u64, name: &str, what: (&str, u64), arrow: Option<u64>) {
        self.track_event(track, at_ns, SliceEdge::Instant, |event| {
            event.bytes(event::NAME, name.as_bytes());
            annotate(event, what.0, what.1);
            arrow.into_iter().for_each(|arrow| event.fixed(event::FLOWS, arrow));
        });
    }

    fn counter(&mut self, track: Track, at_ns: u64, value: u64) {
        self.track_event(track, at_ns, SliceEdge::Counter, |event| event.number(event::COUNTER_VALUE, value));
    }

    /// Has the thread a track of its own?
    fn own_track(&self, thread: ThreadId) -> Option<Track> {
        let track = Track::Thread(thread);
        (self.trace.name_of(thread).is_some() || self.tracks.contains_key(&track)).then_some(track)
    }

    /// `thread` is what runs on the worker; `None`: none is.
    fn runs(&mut self, worker: Track, at_ns: u64, thread: Option<ThreadId>, why: Option<&str>) {
        self.end(worker, at_ns, why);
        if let Some(thread) = thread {
            if self.waiting.remove(&thread) {
                self.end(Track::Thread(thread), at_ns, None);
            }
            let name = self.name_of(thread);
            self.begin(worker, at_ns, &name, Some(thread));
        }
    }

    fn event(&mut self, TraceEvent { at, runtime, worker, what }: &TraceEvent) {
        let at_ns = at.as_nanos() as u64;
        let Some(number) = *worker else {
            if let Happening::Stalls(worker, duration) = what {
                let name = format!("worker {worker} stalls");
                self.instant(Track::Outside, at_ns, &name, ("us", duration.as_micros() as u64), None);
            }
            return;
        };
        let worker = Track::Worker(*runtime, number);
        let is_full = self.trace.full.contains(&(*runtime, number));
        let of = |thread: ThreadId| ("thread", thread.number());
        match *what {
            Happening::Starts(thread) if !is_full => self.instant(worker, at_ns, "starts", of(thread), None),
            Happening::Ends(thread) if !is_full => self.instant(worker, at_ns, "ends", of(thread), None),
            Happening::Arrives(thread) => self.instant(worker, at_ns, "arrives", of(thread), None),
            Happening::Stolen(thread) => self.instant(worker, at_ns, "stolen", of(thread), None),
            Happening::Given(thread) => self.instant(worker, at_ns, "given", of(thread), None),
            Happening::TimerFires(thread) => self.instant(worker, at_ns, "timer", of(thread), None),
            Happening::Wakes(thread) => self.arrow(worker, at_ns, "wakes", thread),
            Happening::Spawns(thread) => self.arrow(worker, at_ns, "spawns", thread),
            Happening::Starts(thread) | Happening::Runs(thread) => self.runs(worker, at_ns, Some(thread), None),
            Happening::LoopRuns => self.runs(worker, at_ns, None, None),
            Happening::Ends(_) => self.runs(worker, at_ns, None, Some("ends")),
            Happening::Rests(_) => self.runs(worker, at_ns, None, Some("rests")),
            Happening::Parks(thread, reason) => {
                let reason = reason.unwrap_or("something");
                self.runs(worker, at_ns, None, Some(&format!("waits: {reason}")));
                if let Some(track) = self.own_track(thread) {
                    self.waiting.insert(thread);
                    self.begin(track, at_ns, &format!("waits: {reason}"), Some(thread));
                }
            }
            Happening::MessageBegins(actor) => self.begin(Track::Thread(actor), at_ns, "message", Some(actor)),
            Happening::MessageEnds(actor) => self.end(Track::Thread(actor), at_ns, None),
            Happening::Sleeps => {
                self.end(worker, at_ns, None);
                self.begin(worker, at_ns, "sleeps", None);
            }
            Happening::GetsUp => self.end(worker, at_ns, None),
            Happening::Polls(events) => self.instant(worker, at_ns, "polls", ("events", events), None),
            Happening::Lives(count) => self.counter(Track::Lives(*runtime, number), at_ns, count),
            Happening::Ready(count) => self.counter(Track::Ready(*runtime, number), at_ns, count),
            Happening::Stalls(..) => {}
        }
    }

    /// An arrow begins, which ends where `thread` goes on.
    fn arrow(&mut self, track: Track, at_ns: u64, name: &str, thread: ThreadId) {
        self.flows += 1;
        self.arrows.insert(thread, self.flows);
        self.instant(track, at_ns, name, ("thread", thread.number()), Some(self.flows));
    }
}

fn annotate(event: &mut ProtoMessage, name: &str, value: u64) {
    event.message(event::ANNOTATION, |annotation| {
        annotation.bytes(event::ANNOTATION_NAME, name.as_bytes());
        annotation.number(event::ANNOTATION_UINT, value);
    });
}
