//! Reads the file: the part of Perfetto's protobuf format that green writes.

use std::collections::HashMap;
use std::io;

/// One track.
#[derive(Clone, Debug)]
pub(crate) struct FileTrack {
    pub(crate) name: String,
    pub(crate) is_worker: bool,
    pub(crate) is_counter: bool,
}

/// What took some time.
#[derive(Clone, Debug)]
pub(crate) struct Slice {
    pub(crate) track: u64,
    pub(crate) name: String,
    pub(crate) begin_ns: u64,
    pub(crate) end_ns: u64,
    /// Of which thread.
    pub(crate) thread: Option<u64>,
    /// What the thread did afterwards: `waits: mutex`.
    pub(crate) then: Option<String>,
    /// The arrow that ends where it begins.
    pub(crate) arrow: Option<u64>,
}

/// What happened at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Mark {
    pub(crate) track: u64,
    pub(crate) name: String,
    pub(crate) at_ns: u64,
    pub(crate) value: u64,
    /// The arrow that begins here.
    pub(crate) arrow: Option<u64>,
}

/// A trace, as it was in its file.
#[derive(Default, Debug)]
pub(crate) struct TraceFile {
    pub(crate) tracks: HashMap<u64, FileTrack>,
    /// By their ends.
    pub(crate) slices: Vec<Slice>,
    /// By time.
    pub(crate) marks: Vec<Mark>,
    /// Track, time, value; by time.
    pub(crate) counters: Vec<(u64, u64, u64)>,
    /// So many workers have recorded only what is rare: neither turns, nor waits, nor who wakes whom.
    pub(crate) rare: u64,
    open: HashMap<u64, Vec<Slice>>,
    is_whole: bool,
}

/// The first track of every trace.
const PROCESS: u64 = 1;
/// What the last packet says, and what of how many workers.
const LAST: &str = "end of trace";
const RARE: &str = "workers with rare events only";

/// A field of a message.
enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

impl<'a> Value<'a> {
    fn number(&self) -> u64 {
        if let Self::Number(number) = self { *number } else { 0 }
    }

    fn bytes(&self) -> &'a [u8] {
        if let Self::Bytes(bytes) = self { bytes } else { &[] }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(self.bytes()).into_owned()
    }
}

/// Takes the next field off `bytes`. `None`: that is cut off, or is no protobuf.
fn next_field<'a>(bytes: &mut &'a [u8]) -> Option<(u32, Value<'a>)> {
    let key = varint(bytes)?;
    let value = match key & 7 {
        0 => Value::Number(varint(bytes)?),
        1 => Value::Number(u64::from_le_bytes(bytes.split_off(..8)?.try_into().ok()?)),
        2 => {
            let len = usize::try_from(varint(bytes)?).ok()?;
            Value::Bytes(bytes.split_off(..len)?)
        }
        5 => Value::Number(u32::from_le_bytes(bytes.split_off(..4)?.try_into().ok()?).into()),
        _ => return None,
    };
    Some((u32::try_from(key >> 3).ok()?, value))
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = *bytes.split_off_first()?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

/// All fields of a message.
fn fields(mut bytes: &[u8]) -> io::Result<Vec<(u32, Value<'_>)>> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        fields.push(next_field(&mut bytes).ok_or_else(|| invalid("a packet in it is damaged".to_owned()))?);
    }
    Ok(fields)
}

fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}

impl TraceFile {
    /// # Errors
    ///
    /// `InvalidData`: it is no trace of green's, or it is cut off, or damaged; the message says which.
    pub(crate) fn read(bytes: &[u8]) -> io::Result<Self> {
        let mut trace = Self::default();
        let mut rest = bytes;
        while !rest.is_empty() {
            let at = bytes.len() - rest.len();
            let field = next_field(&mut rest);
            match field {
                Some((1, Value::Bytes(packet))) => trace.packet(packet).map_err(|error| trace.or_foreign(error))?,
                Some(_) => return Err(trace.or_foreign(invalid(format!("it is damaged after {at} bytes")))),
                None => return Err(trace.or_foreign(invalid(format!("the trace is cut off after {at} bytes")))),
            }
        }
        if !trace.is_whole {
            return Err(trace.or_foreign(invalid(format!("the trace is cut off after {} bytes", bytes.len()))));
        }
        Ok(trace)
    }

    /// The error, if what was read so far is a trace of green's.
    fn or_foreign(&self, error: io::Error) -> io::Error {
        let is_ours = self.tracks.get(&PROCESS).is_some_and(|track| track.name == "green");
        if is_ours { error } else { invalid("it is no trace of green's flight recorder".to_owned()) }
    }

    fn packet(&mut self, packet: &[u8]) -> io::Result<()> {
        let mut at_ns = 0;
        for (field, value) in fields(packet)? {
            match field {
                8 => at_ns = value.number(),
                11 => self.event(at_ns, value.bytes())?,
                60 => self.descriptor(value.bytes())?,
                _ => {}
            }
        }
        Ok(())
    }

    fn descriptor(&mut self, bytes: &[u8]) -> io::Result<()> {
        let (mut uuid, mut track) = (0, FileTrack { name: String::new(), is_worker: false, is_counter: false });
        for (field, value) in fields(bytes)? {
            match field {
                1 => uuid = value.number(),
                2 => track.name = value.text(),
                8 => track.is_counter = true,
                _ => {}
            }
        }
        track.is_worker = track.name.starts_with("worker ");
        self.tracks.insert(uuid, track);
        Ok(())
    }

    fn event(&mut self, at_ns: u64, bytes: &[u8]) -> io::Result<()> {
        let (mut edge, mut track, mut name, mut counter) = (0, 0, String::new(), 0);
        let (mut begins, mut ends, mut number, mut text) = (None, None, None, None);
        for (field, value) in fields(bytes)? {
            match field {
                4 => {
                    let mut of = String::new();
                    for (field, value) in fields(value.bytes())? {
                        match field {
                            3 if of == RARE => self.rare = value.number(),
                            3 => number = Some(value.number()),
                            6 => text = Some(value.text()),
                            10 => of = value.text(),
                            _ => {}
                        }
                    }
                }
                9 => edge = value.number(),
                11 => track = value.number(),
                23 => name = value.text(),
                30 => counter = value.number(),
                47 => begins = Some(value.number()),
                48 => ends = Some(value.number()),
                _ => {}
            }
        }
        let open = self.open.entry(track).or_default();
        match edge {
            1 => open.push(Slice {
                track,
                name,
                begin_ns: at_ns,
                end_ns: at_ns,
                thread: number,
                then: None,
                arrow: ends,
            }),
            2 => self.slices.extend(open.pop().map(|slice| Slice { end_ns: at_ns, then: text, ..slice })),
            3 if track == PROCESS && name == LAST => self.is_whole = true,
            3 => self.marks.push(Mark { track, name, at_ns, value: number.unwrap_or_default(), arrow: begins }),
            4 => self.counters.push((track, at_ns, counter)),
            _ => return Err(invalid("an event in it is damaged".to_owned())),
        }
        Ok(())
    }

    pub(crate) fn track_name(&self, track: u64) -> &str {
        self.tracks.get(&track).map_or("a track without a name", |track| &track.name)
    }

    pub(crate) fn is_worker(&self, track: u64) -> bool {
        self.tracks.get(&track).is_some_and(|track| track.is_worker)
    }

    /// From the first to the last moment that it tells of.
    pub(crate) fn span_ns(&self) -> (u64, u64) {
        let slices = self.slices.iter().flat_map(|slice| [slice.begin_ns, slice.end_ns]);
        let moments = || slices.clone().chain(self.marks.iter().map(|mark| mark.at_ns));
        (moments().min().unwrap_or_default(), moments().max().unwrap_or_default())
    }

    pub(crate) fn summary(&self) -> String {
        let (begin, end) = self.span_ns();
        let workers = self.tracks.values().filter(|track| track.is_worker).count();
        format!("{:.1} ms of {workers} workers", (end - begin) as f64 / 1e6)
    }
}
