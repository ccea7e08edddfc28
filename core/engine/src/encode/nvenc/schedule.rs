//! Which GPU a session goes to: the one whose engines have least to do, for this process and for others, among those that
//! can do it and have the memory.

use super::gpu::Gpu;
use crate::error::{Error, ErrorKind, Result};
use ghoststream_sys::nvml;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What this process does on one GPU.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Load {
    /// Sessions that are open or being opened.
    pub sessions: u32,
    /// Samples of luma a second that they were opened for.
    pub work: f64,
    /// The same of sessions that jobs have not opened yet.
    pub claimed: f64,
}

static LOADS: Mutex<BTreeMap<u32, Load>> = Mutex::new(BTreeMap::new());

fn loads() -> MutexGuard<'static, BTreeMap<u32, Load>> {
    LOADS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What this process does on the GPU of CUDA's number `index`.
pub fn load(index: u32) -> Load {
    loads().get(&index).copied().unwrap_or_default()
}

/// Samples of luma that an engine codes in a second, where its driver does not say: two streams of 1080p at 60.
const ENGINE: f64 = 1920.0 * 1080.0 * 120.0;
/// What another program's session counts for at least: its driver tells of the last moments only, in which it may have
/// begun, or waited. A stream of 720p at 30.
const SESSION: f64 = 1280.0 * 720.0 * 30.0;

/// What a GPU's management says of it, for all programs.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Readings {
    /// Free bytes of its memory.
    pub free: Option<u64>,
    /// Encode sessions.
    pub sessions: Option<u32>,
    /// Percent of the time in which its encoders were busy.
    pub encoder: Option<u32>,
    /// Percent of the time in which its decoders were busy.
    pub decoder: Option<u32>,
}

impl Readings {
    /// Of those of `gpus`, by CUDA's number.
    pub fn of(gpus: &[Gpu]) -> impl Fn(u32) -> Readings + use<> {
        let known = nvml::devices();
        let numbers: Vec<(u32, u32)> = gpus
            .iter()
            .filter_map(|gpu| {
                let same = known.iter().find(|d| d.uuid.as_ref() == Some(&gpu.uuid))?;
                Some((gpu.index, same.index))
            })
            .collect();
        move |index| {
            let Some((_, number)) = numbers.iter().find(|(i, _)| *i == index) else {
                return Readings::default();
            };
            let usage = nvml::usage(*number);
            Readings {
                free: usage.memory_total.zip(usage.memory_used).and_then(|(all, used)| all.checked_sub(used)),
                sessions: usage.encoder_sessions,
                encoder: usage.encoder,
                decoder: usage.decoder,
            }
        }
    }

    /// What other programs have the engines do, in samples of luma a second. `own` sessions are this program's.
    fn others(&self, own: u32, whole: f64) -> f64 {
        let busy = f64::from(self.encoder.unwrap_or(0).min(100)) / 100.0 * whole;
        match self.sessions {
            // Programs that are not counted as sessions keep the engines as busy.
            None if own == 0 => busy,
            None => 0.0,
            Some(all) => {
                let theirs = all.saturating_sub(own);
                let share = if all == 0 { 0.0 } else { f64::from(theirs) / f64::from(all) };
                (busy * share).max(f64::from(theirs) * SESSION)
            }
        }
    }
}

/// A place on a GPU, held while a session lives.
#[derive(Debug)]
pub(super) struct Place {
    /// CUDA's number of the GPU.
    pub index: u32,
    work: f64,
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(load) = loads().get_mut(&self.index) {
            load.sessions = load.sessions.saturating_sub(1);
            load.work = if load.sessions == 0 { 0.0 } else { (load.work - self.work).max(0.0) };
        }
    }
}

/// What a session needs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Need {
    /// The GPU that the document names.
    pub gpu: Option<u32>,
    /// The GPU that the frames are on: there or nowhere.
    pub home: Option<u32>,
    /// Samples of luma a second.
    pub work: f64,
    /// Bytes of device memory.
    pub memory: u64,
}

impl Need {
    /// Bytes of device memory of a session for pictures of `size`, roughly: surfaces, references and bitstreams. What fits
    /// in less is rare, what needs more is told by the driver.
    pub fn memory_of(size: (u32, u32)) -> u64 {
        u64::from(size.0) * u64::from(size.1) * 3 * 16 + (64 << 20)
    }
}

/// How busy `gpu` would be with `work` more: 1 and its engines have no time to spare.
fn pressure(gpu: &Gpu, own: &Load, readings: &Readings, work: f64) -> f64 {
    let whole = f64::from(gpu.engines.max(1)) * gpu.engine_rate().unwrap_or(ENGINE);
    (own.work + own.claimed + readings.others(own.sessions, whole) + work) / whole
}

/// The least busy of `rooms` that has the memory.
fn best<'a>(
    rooms: &[(&'a Gpu, Readings)],
    loads: &BTreeMap<u32, Load>,
    work: f64,
    memory: u64,
) -> Option<&'a Gpu> {
    let busy = |(gpu, readings): &(&Gpu, Readings)| {
        pressure(gpu, &loads.get(&gpu.index).copied().unwrap_or_default(), readings, work)
    };
    rooms
        .iter()
        .filter(|(_, readings)| readings.free.is_none_or(|free| free >= memory))
        .min_by(|a, b| busy(a).total_cmp(&busy(b)).then(a.0.index.cmp(&b.0.index)))
        .map(|(gpu, _)| *gpu)
}

fn no_room(memory: u64) -> Error {
    Error::new(ErrorKind::Memory, format!("no GPU has {} MB free for an encode session", memory >> 20))
}

/// Takes a place for `need` on one of `gpus`. `fits` refuses those that cannot do it; `readings` tells what management says
/// of one.
///
/// # Errors
/// What `fits` said of the only or the last candidate; [`ErrorKind::NotFound`] for a GPU that is not there;
/// [`ErrorKind::Memory`] when none has the memory.
pub(super) fn place(
    gpus: &[Gpu],
    need: Need,
    fits: impl Fn(&Gpu) -> Result<()>,
    readings: impl Fn(u32) -> Readings,
) -> Result<Place> {
    let named = |gpu: &&Gpu| need.home.or(need.gpu).is_none_or(|index| gpu.index == index);
    if let (Some(home), Some(gpu)) = (need.home, need.gpu)
        && home != gpu
    {
        let message = format!("{gpu}, but the frames are on GPU {home}");
        return Err(Error::unsupported(format!("video.options.gpu: {message}")));
    }
    let mut obstacle = None;
    let mut able = Vec::new();
    for gpu in gpus.iter().filter(named) {
        match fits(gpu) {
            Ok(()) => able.push(gpu),
            Err(e) => obstacle = Some(e),
        }
    }
    if able.is_empty() {
        return Err(obstacle.unwrap_or_else(|| match need.home.or(need.gpu) {
            Some(index) => {
                Error::new(ErrorKind::NotFound, format!("video.options.gpu: there is no GPU {index}"))
            }
            None => Error::new(ErrorKind::Device, "there is no NVIDIA GPU"),
        }));
    }
    let rooms: Vec<(&Gpu, Readings)> = able.into_iter().map(|gpu| (gpu, readings(gpu.index))).collect();
    let mut loads = loads();
    let gpu = best(&rooms, &loads, need.work, need.memory).ok_or_else(|| no_room(need.memory))?;
    let own = loads.entry(gpu.index).or_default();
    own.sessions += 1;
    own.work += need.work;
    Ok(Place { index: gpu.index, work: need.work })
}

/// A GPU that a job's decoder, filters and encoders are to share, and what its encoders will do there: it counts from now
/// on, so that jobs that begin at the same time do not all choose the same one. Clones are the same claim.
#[derive(Clone, Debug)]
pub struct Claim(Arc<Claimed>);

#[derive(Debug)]
struct Claimed {
    index: u32,
    left: Mutex<f64>,
}

impl Claim {
    /// CUDA's number of the GPU.
    pub fn index(&self) -> u32 {
        self.0.index
    }

    /// A session on GPU `index` begins to do its part, `work`, which counts by itself from now on.
    pub(super) fn draw(&self, index: u32, work: f64) {
        if index == self.0.index {
            self.0.draw(work);
        }
    }
}

impl Claimed {
    fn draw(&self, work: f64) {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let part = left.min(work);
        *left -= part;
        if let Some(own) = loads().get_mut(&self.index) {
            own.claimed = (own.claimed - part).max(0.0);
        }
    }
}

impl Drop for Claimed {
    fn drop(&mut self) {
        self.draw(f64::INFINITY);
    }
}

/// What an encoder of a job asks of the GPU that the job's pictures are on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    pub work: f64,
    pub memory: u64,
}

/// Claims one of `gpus` for all `parts`: the least busy of those that can do most of them. `fits` tells whether a GPU can do
/// part `n`; a job without parts only decodes.
///
/// # Errors
/// [`ErrorKind::Device`] without a GPU; [`ErrorKind::Memory`] when none has the memory.
pub(super) fn claim(
    gpus: &[&Gpu],
    parts: &[Part],
    fits: impl Fn(&Gpu, usize) -> bool,
    readings: impl Fn(u32) -> Readings,
) -> Result<Claim> {
    let able = |gpu: &Gpu| (0..parts.len()).filter(|n| fits(gpu, *n)).count();
    let counts: Vec<(usize, &Gpu)> = gpus.iter().map(|gpu| (able(gpu), *gpu)).collect();
    let most = counts.iter().map(|(count, _)| *count).max();
    let most = most.ok_or_else(|| Error::new(ErrorKind::Device, "there is no NVIDIA GPU"))?;
    let rooms: Vec<(&Gpu, Readings)> = counts
        .into_iter()
        .filter(|(count, _)| *count == most)
        .map(|(_, gpu)| (gpu, readings(gpu.index)))
        .collect();
    let work = parts.iter().map(|part| part.work).sum();
    let memory = parts.iter().map(|part| part.memory).sum();
    // Chosen and claimed under one lock: of two jobs that begin together the second sees what the first has claimed.
    let mut loads = loads();
    let index = {
        let chosen = match parts {
            // Encoders have nothing to do with it.
            [] => rooms
                .iter()
                .min_by_key(|(gpu, readings)| (readings.decoder.unwrap_or(0), gpu.index))
                .map(|(gpu, _)| *gpu),
            _ => best(&rooms, &loads, work, memory),
        };
        chosen.ok_or_else(|| no_room(memory))?.index
    };
    loads.entry(index).or_default().claimed += work;
    Ok(Claim(Arc::new(Claimed { index, left: Mutex::new(work) })))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers that no other test uses: the loads are the process's.
    fn gpu(index: u32, engines: u32) -> Gpu {
        Gpu { index, engines, name: format!("GPU {index}"), ..Gpu::default() }
    }

    const HD: Need = Need { gpu: None, home: None, work: 1920.0 * 1080.0 * 60.0, memory: 100 << 20 };

    fn nothing(_: u32) -> Readings {
        Readings::default()
    }

    #[test]
    fn sessions_spread_by_engines_and_come_back() {
        let gpus = [gpu(900, 1), gpu(901, 2)];
        let take = || place(&gpus, HD, |_| Ok(()), nothing).unwrap();
        let places: Vec<Place> = (0..6).map(|_| take()).collect();
        let on = |index| places.iter().filter(|p| p.index == index).count();
        assert_eq!((on(900), on(901)), (2, 4));
        assert_eq!(load(901).sessions, 4);
        drop(places);
        assert_eq!((load(900), load(901)), (Load::default(), Load::default()));
        assert_eq!(take().index, 901, "an idle GPU with more engines");
    }

    #[test]
    fn what_does_not_fit_and_who_has_no_memory_is_passed_over() {
        let gpus = [gpu(910, 4), gpu(911, 1)];
        let able =
            |g: &Gpu| if g.index == 910 { Err(Error::unsupported("video.b_frames: none")) } else { Ok(()) };
        assert_eq!(place(&gpus, HD, able, nothing).unwrap().index, 911);
        let free = |index| Readings {
            free: Some(if index == 910 { 1 << 20 } else { 1 << 30 }),
            ..Readings::default()
        };
        assert_eq!(place(&gpus, HD, |_| Ok(()), free).unwrap().index, 911);
        let e =
            place(&gpus, HD, |_| Ok(()), |_| Readings { free: Some(0), ..Readings::default() }).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Memory);
        let e = place(&gpus[..1], HD, able, nothing).unwrap_err();
        assert!(e.message().starts_with("video.b_frames: "));
    }

    #[test]
    fn a_named_gpu_and_the_frames_own_are_kept_to() {
        let gpus = [gpu(920, 1), gpu(921, 1)];
        let at = |gpu, home| place(&gpus, Need { gpu, home, ..HD }, |_| Ok(()), nothing);
        assert_eq!(at(Some(921), None).unwrap().index, 921);
        assert_eq!(at(None, Some(921)).unwrap().index, 921);
        assert_eq!(at(Some(7), None).unwrap_err().kind(), ErrorKind::NotFound);
        assert!(at(Some(920), Some(921)).unwrap_err().message().contains("the frames are on GPU 921"));
        assert_eq!(place(&[], HD, |_| Ok(()), nothing).unwrap_err().kind(), ErrorKind::Device);
    }

    #[test]
    fn what_other_programs_do_counts() {
        let gpus = [gpu(930, 2), gpu(931, 1)];
        let with = |sessions, encoder| {
            move |index| match index {
                930 => Readings { sessions, encoder, ..Readings::default() },
                _ => Readings { sessions: Some(0), encoder: Some(0), ..Readings::default() },
            }
        };
        let index =
            |readings: &dyn Fn(u32) -> Readings| place(&gpus, HD, |_| Ok(()), readings).unwrap().index;
        assert_eq!(index(&with(Some(0), Some(0))), 930, "two engines that are idle");
        assert_eq!(index(&with(Some(3), Some(90))), 931, "engines that others keep busy");
        assert_eq!(index(&with(None, Some(90))), 931, "the same, without a count of sessions");
        assert_eq!(index(&with(Some(40), Some(0))), 931, "sessions that have only just begun");
        // Its own sessions are not counted twice: what they keep busy is its own.
        let held: Vec<Place> = (0..2)
            .map(|_| place(&gpus[..1], Need { work: 1e6, ..HD }, |_| Ok(()), nothing).unwrap())
            .collect();
        assert_eq!(index(&with(Some(2), Some(90))), 930);
        drop(held);
    }

    #[test]
    fn jobs_that_begin_at_once_choose_different_gpus() {
        let (a, b) = (gpu(940, 1), gpu(941, 1));
        let part = Part { work: HD.work, memory: HD.memory };
        let choose = |parts: &[Part]| claim(&[&a, &b], parts, |_, _| true, nothing).unwrap();
        let (first, second) = (choose(&[part]), choose(&[part]));
        assert_eq!((first.index(), second.index()), (940, 941));
        // A session counts once, whether it is claimed or open.
        let gpus = [a.clone(), b.clone()];
        let open = place(&gpus, Need { home: Some(940), ..HD }, |_| Ok(()), nothing).unwrap();
        first.draw(open.index, HD.work);
        assert_eq!(choose(&[part]).index(), 940, "both have one job each");
        drop(second);
        assert_eq!(choose(&[part]).index(), 941, "what was claimed and not used is free");
        // Who can do more of it goes first; a GPU without the memory does not.
        let only_940 = claim(&[&a, &b], &[part, part], |g, n| n == 0 || g.index == 940, nothing).unwrap();
        assert_eq!(only_940.index(), 940);
        let full = |_| Readings { free: Some(HD.memory), ..Readings::default() };
        let e = claim(&[&a, &b], &[part, part], |_, _| true, full).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Memory);
        // Decoding alone goes where decoders are idle.
        let decoders = |i| Readings { decoder: Some(if i == 940 { 50 } else { 10 }), ..Readings::default() };
        assert_eq!(claim(&[&a, &b], &[], |_, _| true, decoders).unwrap().index(), 941);
        assert_eq!(claim(&[], &[], |_, _| true, nothing).unwrap_err().kind(), ErrorKind::Device);
    }
}
