//! The last seconds of coded media: whole groups of pictures, bounded by time and by bytes, in memory or in files that
//! have no name.

use super::TrackHeader;
use crate::error::{Context, Error, Result};
use crate::packet::{Packet, SideData};
use crate::time::{TimeBase, Timestamp};
use bytes::{Bytes, BytesMut};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Payloads share allocations of this size: one of their own each would cost more than it holds.
const SLAB: usize = 256 << 10;
/// Files that a spool is spread over; the oldest goes when nothing in it is needed.
const CHUNKS: f64 = 16.0;
/// Media without pictures is kept in pieces of so many seconds.
const SOUND_SECONDS: f64 = 1.0;

/// Makes names of spool files differ, for the moment that they have one.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// Packets from one key frame to the next, with what is heard meanwhile.
#[derive(Clone)]
pub(super) struct Group {
    /// When its key frame is shown.
    pub begin: Timestamp,
    pub items: Vec<Item>,
    /// What the tracks were when it began.
    pub tracks: Arc<Vec<TrackHeader>>,
    cost: u64,
}

/// A kept packet.
#[derive(Clone)]
pub(super) struct Item {
    pub track: usize,
    pts: Option<i64>,
    dts: Option<i64>,
    duration: i64,
    base: TimeBase,
    key: bool,
    side_data: Vec<SideData>,
    data: Held,
}

/// A payload.
#[derive(Clone)]
enum Held {
    /// In memory, in two pieces where a slab ended.
    Memory(Bytes, Bytes),
    Disk {
        chunk: Arc<Chunk>,
        at: u64,
        len: usize,
    },
}

/// A file without a name.
pub(super) struct Chunk(Mutex<File>);

/// Where payloads go.
pub(super) enum Store {
    Memory(BytesMut),
    Disk(Spool),
}

/// Files without names in a directory.
pub(super) struct Spool {
    directory: PathBuf,
    /// How much goes into one file.
    seconds: f64,
    chunk: Option<(Arc<Chunk>, Timestamp)>,
    end: u64,
}

impl Store {
    /// In memory.
    pub fn memory() -> Store {
        Store::Memory(BytesMut::new())
    }

    /// In `directory`, which is tried at once.
    ///
    /// # Errors
    /// I/O errors by name of the directory.
    pub fn disk(directory: &Path, seconds: f64) -> Result<Store> {
        let mut spool = Spool {
            directory: directory.to_owned(),
            seconds: (seconds / CHUNKS).max(1.0),
            chunk: None,
            end: 0,
        };
        spool.open()?;
        Ok(Store::Disk(spool))
    }

    /// A group begins at `at`.
    fn turn(&mut self, at: Timestamp) -> Result<()> {
        let Store::Disk(spool) = self else { return Ok(()) };
        match &spool.chunk {
            Some((_, begin)) if at.seconds() - begin.seconds() < spool.seconds => {}
            _ => spool.chunk = Some((spool.open()?, at)),
        }
        Ok(())
    }

    fn put(&mut self, data: &Bytes) -> Result<Held> {
        match self {
            Store::Memory(slab) => Ok(hold(slab, data)),
            Store::Disk(spool) => spool.put(data),
        }
    }
}

fn hold(slab: &mut BytesMut, data: &[u8]) -> Held {
    if data.len() > SLAB / 2 {
        return Held::Memory(Bytes::copy_from_slice(data), Bytes::new());
    }
    if slab.capacity() == 0 {
        *slab = BytesMut::with_capacity(SLAB);
    }
    let (first, second) = data.split_at(data.len().min(slab.capacity()));
    slab.extend_from_slice(first);
    let first = slab.split().freeze();
    if second.is_empty() {
        return Held::Memory(first, Bytes::new());
    }
    *slab = BytesMut::with_capacity(SLAB);
    slab.extend_from_slice(second);
    Held::Memory(first, slab.split().freeze())
}

impl Spool {
    fn open(&mut self) -> Result<Arc<Chunk>> {
        let name =
            format!(".ghoststream-replay-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = self.directory.join(name);
        let shown = || format!("{}: replay spool", self.directory.display());
        let file = File::options().read(true).write(true).create_new(true).open(&path);
        let file = file.map_err(Error::from).context(shown)?;
        // Without a name it is gone when nobody holds it any more, however the process ends.
        std::fs::remove_file(&path).map_err(Error::from).context(shown)?;
        self.end = 0;
        Ok(Arc::new(Chunk(Mutex::new(file))))
    }

    fn put(&mut self, data: &[u8]) -> Result<Held> {
        let Some((chunk, _)) = &self.chunk else {
            return Err(Error::new(crate::ErrorKind::Internal, "a replay packet before its group"));
        };
        let at = self.end;
        chunk.with(at, |file| file.write_all(data)).context(|| "replay spool".to_string())?;
        self.end += data.len() as u64;
        Ok(Held::Disk { chunk: chunk.clone(), at, len: data.len() })
    }
}

impl Chunk {
    fn with(&self, at: u64, run: impl FnOnce(&mut File) -> std::io::Result<()>) -> Result<()> {
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        file.seek(SeekFrom::Start(at))?;
        Ok(run(&mut file)?)
    }
}

impl Item {
    /// The packet again.
    ///
    /// # Errors
    /// I/O errors of the spool.
    pub fn packet(&self) -> Result<Packet> {
        let data = match &self.data {
            Held::Memory(whole, rest) if rest.is_empty() => whole.clone(),
            Held::Memory(first, second) => [&first[..], &second[..]].concat().into(),
            Held::Disk { chunk, at, len } => {
                let mut data = vec![0; *len];
                chunk.with(*at, |file| file.read_exact(&mut data)).context(|| "replay spool".to_string())?;
                data.into()
            }
        };
        Ok(Packet {
            data,
            pts: self.pts,
            dts: self.dts,
            duration: self.duration,
            base: self.base,
            key: self.key,
            stream: self.track,
            hidden: false,
            seam: None,
            side_data: self.side_data.clone(),
            coding: None,
        })
    }

    /// When it is shown.
    pub fn presentation(&self) -> Option<Timestamp> {
        self.pts.map(|t| Timestamp::new(t, self.base))
    }
}

/// The last groups.
pub(super) struct Ring {
    groups: VecDeque<Arc<Group>>,
    seconds: f64,
    most: Option<u64>,
    store: Store,
    cost: u64,
    /// The end of what came last.
    end: Option<Timestamp>,
    tracks: Arc<Vec<TrackHeader>>,
    lead: usize,
    pictures: bool,
}

/// What became of a packet.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Kept {
    /// It is kept, or came before the first key frame.
    Yes,
    /// One group is more than all that may be kept: it is given up, and a key frame is needed to begin again.
    TooMuch,
}

impl Ring {
    /// Keeps `seconds`, but at most `most` bytes.
    pub fn new(seconds: f64, most: Option<u64>, store: Store) -> Ring {
        Ring {
            groups: VecDeque::new(),
            seconds,
            most,
            store,
            cost: 0,
            end: None,
            tracks: Arc::default(),
            lead: 0,
            pictures: false,
        }
    }

    /// Tells the tracks; groups begin with key frames of `lead`, which has pictures or not.
    pub fn begin(&mut self, tracks: Vec<TrackHeader>, lead: usize, pictures: bool) {
        self.tracks = Arc::new(tracks);
        (self.lead, self.pictures) = (lead, pictures);
    }

    /// Bytes that are kept, with what it takes to keep them.
    #[cfg(test)]
    pub fn cost(&self) -> u64 {
        self.cost
    }

    /// Takes a packet.
    ///
    /// # Errors
    /// I/O errors of the spool.
    pub fn push(&mut self, track: usize, packet: &Packet) -> Result<Kept> {
        self.note_headers(track, packet);
        let time = packet.presentation().or(packet.decode());
        if track == self.lead
            && packet.key
            && let Some(time) = time
        {
            let late = self.groups.back().is_none_or(|g| time.seconds() - g.begin.seconds() >= SOUND_SECONDS);
            if self.pictures || late {
                self.store.turn(time)?;
                let group = Group { begin: time, items: Vec::new(), tracks: self.tracks.clone(), cost: 0 };
                self.groups.push_back(Arc::new(group));
            }
        }
        let Some(group) = self.groups.back_mut() else { return Ok(Kept::Yes) };
        let data = self.store.put(&packet.data)?;
        let in_memory = if matches!(data, Held::Memory(..)) { packet.data.len() } else { 0 };
        let bytes = match &self.store {
            Store::Memory(_) => in_memory + size_of::<Item>(),
            // What is bounded is the disk; memory has the times only.
            Store::Disk(_) => packet.data.len(),
        } as u64;
        // A save that reads the group now keeps what it has seen of it.
        let group = Arc::make_mut(group);
        group.cost += bytes;
        self.cost += bytes;
        group.items.push(Item {
            track,
            pts: packet.pts,
            dts: packet.dts,
            duration: packet.duration,
            base: packet.base,
            key: packet.key,
            side_data: packet.side_data.clone(),
            data,
        });
        if let Some(time) = time {
            let end = Timestamp::new(time.ticks.saturating_add(packet.duration), time.base);
            self.end = Some(self.end.map_or(end, |e| e.max(end)));
        }
        Ok(self.trim())
    }

    /// Takes over the headers that an encoder sends while it runs.
    fn note_headers(&mut self, track: usize, packet: &Packet) {
        for side in &packet.side_data {
            if let (SideData::NewExtradata(data), Some(header)) =
                (side, Arc::make_mut(&mut self.tracks).get_mut(track))
            {
                header.stream.extradata = data.clone();
                if let Some(native) = &mut header.stream.native {
                    let values = native.values();
                    // What cannot be said stays in the packet itself.
                    let _ = native
                        .set(&ghoststream_sys::ffmpeg::ParameterValues { extradata: data.clone(), ..values });
                }
            }
        }
    }

    fn trim(&mut self) -> Kept {
        let end = self.end.map_or(0.0, |e| e.seconds());
        while self.groups.get(1).is_some_and(|next| end - next.begin.seconds() >= self.seconds) {
            self.drop_first();
        }
        while self.most.is_some_and(|most| self.cost > most) {
            let last = self.groups.len() <= 1;
            self.drop_first();
            if last {
                return Kept::TooMuch;
            }
        }
        Kept::Yes
    }

    fn drop_first(&mut self) {
        if let Some(group) = self.groups.pop_front() {
            self.cost -= group.cost;
        }
    }

    /// The groups of the last `seconds` (all, when absent) and what came before them in the first.
    pub fn last(&self, seconds: Option<f64>) -> Vec<Arc<Group>> {
        let end = self.end.map_or(0.0, |e| e.seconds());
        let wanted = seconds.map_or(f64::NEG_INFINITY, |s| end - s);
        let first = self.groups.iter().rposition(|g| g.begin.seconds() <= wanted).unwrap_or(0);
        self.groups.iter().skip(first).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Rational;

    const FRAMES: TimeBase = Rational::new(1, 10);

    fn video(n: i64, size: usize) -> Packet {
        Packet { key: n % 20 == 0, ..Packet::new(vec![n as u8; size].into(), n, 1, FRAMES) }
    }

    fn filled(mut ring: Ring, frames: i64, size: usize) -> Ring {
        ring.begin(Vec::new(), 0, true);
        for n in 0..frames {
            assert_eq!(ring.push(0, &video(n, size)).unwrap(), Kept::Yes);
        }
        ring
    }

    fn begins(ring: &Ring, seconds: Option<f64>) -> Vec<f64> {
        ring.last(seconds).iter().map(|g| g.begin.seconds()).collect()
    }

    #[test]
    fn whole_groups_go_from_the_front() {
        let ring = filled(Ring::new(5.0, None, Store::memory()), 95, 100);
        // 9.5 s are over; 5 s of them begin in the group at 4 s.
        assert_eq!(begins(&ring, None), [4.0, 6.0, 8.0]);
        assert_eq!(begins(&ring, Some(3.0)), [6.0, 8.0]);
        assert_eq!(begins(&ring, Some(0.1)), [8.0]);
        assert_eq!(begins(&ring, Some(100.0)), [4.0, 6.0, 8.0]);
    }

    #[test]
    fn bytes_are_bounded_too() {
        let most = 50_000;
        let mut ring = Ring::new(60.0, Some(most), Store::memory());
        ring.begin(Vec::new(), 0, true);
        for n in 0..1000 {
            assert_eq!(ring.push(0, &video(n, 1000)).unwrap(), Kept::Yes);
            assert!(ring.cost() <= most);
        }
        assert!(ring.groups.len() >= 2, "{}", ring.groups.len());
        // A group that never ends is given up rather than kept beyond the bound.
        let mut given_up = 0;
        for n in 1001..1100 {
            let packet = Packet { key: false, ..video(n, 1000) };
            given_up += u32::from(ring.push(0, &packet).unwrap() == Kept::TooMuch);
            assert!(ring.cost() <= most);
        }
        assert_eq!((given_up, ring.groups.len()), (1, 0));
    }

    #[test]
    fn payloads_come_back_as_they_were_from_memory_and_from_disk() {
        let dir = tempfile::tempdir().unwrap();
        for store in [Store::memory(), Store::disk(dir.path(), 60.0).unwrap()] {
            let mut ring = Ring::new(60.0, None, store);
            ring.begin(Vec::new(), 0, true);
            let sizes = [10, SLAB / 3, SLAB / 3, SLAB / 2, SLAB / 2 + 1, 3 * SLAB, 0, 7];
            for (n, size) in sizes.iter().enumerate() {
                let data: Vec<u8> = (0..*size).map(|i| (i * 7 + n) as u8).collect();
                let packet = Packet { key: n == 0, ..Packet::new(data.into(), n as i64, 1, FRAMES) };
                ring.push(0, &packet).unwrap();
            }
            let groups = ring.last(None);
            let items: Vec<_> = groups.iter().flat_map(|g| &g.items).collect();
            assert_eq!(items.len(), sizes.len());
            for (n, (item, size)) in items.iter().zip(sizes).enumerate() {
                let packet = item.packet().unwrap();
                assert_eq!((packet.pts, packet.data.len(), packet.key), (Some(n as i64), size, n == 0));
                assert!(packet.data.iter().enumerate().all(|(i, b)| *b == (i * 7 + n) as u8), "{n}");
            }
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "a spool has no name");
    }

    #[test]
    fn a_save_is_not_disturbed_by_what_comes_after_it() {
        let mut ring = filled(Ring::new(2.0, None, Store::memory()), 30, 100);
        let saved = ring.last(None);
        let before: usize = saved.iter().map(|g| g.items.len()).sum();
        for n in 30..200 {
            ring.push(0, &video(n, 100)).unwrap();
        }
        assert_eq!(saved.iter().map(|g| g.items.len()).sum::<usize>(), before);
        assert_eq!(saved[0].items[3].packet().unwrap().data[0], 3);
    }

    #[test]
    fn a_day_goes_by() {
        // Ticks of 90 kHz pass 32 bits in half a day.
        let base = Rational::new(1, 90_000);
        let mut ring = Ring::new(60.0, None, Store::memory());
        ring.begin(Vec::new(), 0, true);
        let mut most = 0;
        for n in 0..24 * 3600 * 5i64 {
            let video =
                Packet { key: n % 10 == 0, ..Packet::new(vec![1; 20].into(), n * 18_000, 18_000, base) };
            ring.push(0, &video).unwrap();
            let sound = Packet::new(vec![2; 10].into(), n * 9600, 9600, Rational::new(1, 48_000));
            ring.push(1, &sound).unwrap();
            most = most.max(ring.cost());
        }
        let groups = ring.last(None);
        let length = 86_400.0 - groups[0].begin.seconds();
        assert!((60.0..=62.0).contains(&length), "{length}");
        let one = (30 + 2 * size_of::<Item>()) as u64;
        assert!(most <= one * 5 * 62 + one, "{most}");
    }

    #[test]
    fn memory_is_what_the_rate_says() {
        // 6 Mbit/s of pictures at 30 a second and 160 kbit/s of sound, for two minutes.
        let mut ring = Ring::new(60.0, None, Store::memory());
        ring.begin(Vec::new(), 0, true);
        for n in 0..3600i64 {
            let size = if n % 60 == 0 { 100_000 } else { 23_728 };
            let video =
                Packet { key: n % 60 == 0, ..Packet::new(vec![1; size].into(), n, 1, Rational::new(1, 30)) };
            ring.push(0, &video).unwrap();
            for i in 0..2 {
                let at = n * 1600 + i * 800;
                let sound = Packet::new(vec![2; 333].into(), at, 800, Rational::new(1, 48_000));
                ring.push(1, &sound).unwrap();
            }
        }
        let groups = ring.last(None);
        let seconds = 120.0 - groups[0].begin.seconds();
        let expected = seconds * (6e6 + 160e3) / 8.0;
        let off = ring.cost() as f64 / expected;
        assert!((0.95..=1.05).contains(&off), "{off}");
    }
}
