//! Which GPU a session goes to: the one whose engines have least to do, among those that can do it and have the memory.

use super::gpu::Gpu;
use crate::error::{Error, ErrorKind, Result};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What this process does on one GPU.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Load {
    /// Sessions that are open or being opened.
    pub sessions: u32,
    /// Samples of luma a second that they were opened for.
    pub work: f64,
}

static LOADS: Mutex<BTreeMap<u32, Load>> = Mutex::new(BTreeMap::new());

fn loads() -> MutexGuard<'static, BTreeMap<u32, Load>> {
    LOADS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What this process does on the GPU of CUDA's number `index`.
pub fn load(index: u32) -> Load {
    loads().get(&index).copied().unwrap_or_default()
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

/// Takes a place for `need` on one of `gpus`. `fits` refuses those that cannot do it; `free` tells the free bytes of one, if
/// it can.
///
/// # Errors
/// What `fits` said of the only or the last candidate; [`ErrorKind::NotFound`] for a GPU that is not there;
/// [`ErrorKind::Memory`] when none has the memory.
pub(super) fn place(
    gpus: &[Gpu],
    need: Need,
    fits: impl Fn(&Gpu) -> Result<()>,
    free: impl Fn(u32) -> Option<u64>,
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
    let rooms: Vec<(&Gpu, Option<u64>)> = able.into_iter().map(|gpu| (gpu, free(gpu.index))).collect();
    let mut loads = loads();
    let busy = |gpu: &Gpu| {
        let load = loads.get(&gpu.index).copied().unwrap_or_default();
        (load.work + need.work) / f64::from(gpu.engines.max(1))
    };
    let best = rooms
        .iter()
        .filter(|(_, free)| free.is_none_or(|free| free >= need.memory))
        .min_by(|(a, _), (b, _)| busy(a).total_cmp(&busy(b)).then(a.index.cmp(&b.index)));
    let Some((gpu, _)) = best else {
        let mb = need.memory >> 20;
        return Err(Error::new(ErrorKind::Memory, format!("no GPU has {mb} MB free for an encode session")));
    };
    let load = loads.entry(gpu.index).or_default();
    load.sessions += 1;
    load.work += need.work;
    Ok(Place { index: gpu.index, work: need.work })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers that no other test uses: the loads are the process's.
    fn gpu(index: u32, engines: u32) -> Gpu {
        Gpu { index, engines, name: format!("GPU {index}"), ..Gpu::default() }
    }

    const HD: Need = Need { gpu: None, home: None, work: 1920.0 * 1080.0 * 60.0, memory: 100 << 20 };

    #[test]
    fn sessions_spread_by_engines_and_come_back() {
        let gpus = [gpu(900, 1), gpu(901, 2)];
        let take = || place(&gpus, HD, |_| Ok(()), |_| None).unwrap();
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
        assert_eq!(place(&gpus, HD, able, |_| None).unwrap().index, 911);
        let free = |index| Some(if index == 910 { 1 << 20 } else { 1 << 30 });
        assert_eq!(place(&gpus, HD, |_| Ok(()), free).unwrap().index, 911);
        let e = place(&gpus, HD, |_| Ok(()), |_| Some(0)).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Memory);
        let e = place(&gpus[..1], HD, able, |_| None).unwrap_err();
        assert!(e.message().starts_with("video.b_frames: "));
    }

    #[test]
    fn a_named_gpu_and_the_frames_own_are_kept_to() {
        let gpus = [gpu(920, 1), gpu(921, 1)];
        let at = |gpu, home| place(&gpus, Need { gpu, home, ..HD }, |_| Ok(()), |_| None);
        assert_eq!(at(Some(921), None).unwrap().index, 921);
        assert_eq!(at(None, Some(921)).unwrap().index, 921);
        assert_eq!(at(Some(7), None).unwrap_err().kind(), ErrorKind::NotFound);
        assert!(at(Some(920), Some(921)).unwrap_err().message().contains("the frames are on GPU 921"));
        assert_eq!(place(&[], HD, |_| Ok(()), |_| None).unwrap_err().kind(), ErrorKind::Device);
    }
}
