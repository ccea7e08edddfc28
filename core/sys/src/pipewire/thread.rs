//! A thread on which PipeWire's loop runs, and everything of one object with it.

use super::{Error, Kind};
use pipewire::channel::{Sender, channel};
use pipewire::context::ContextRc;
use pipewire::core::CoreRc;
use pipewire::main_loop::MainLoopRc;
use std::cell::RefCell;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::mpsc;

/// What lives on the loop. It is made before the loop runs, told of messages while it runs, and dropped inside of it: its
/// streams must be disconnected by its `drop`.
pub(super) trait Resident: 'static {
    /// What it can be told.
    type Message: Send + 'static;

    /// Takes a message; must not send one to its own thread.
    fn tell(&mut self, message: Self::Message);
}

/// The two ways to the loop.
enum Told<M> {
    Message(M),
    End,
}

/// The thread. Dropping it ends the resident and joins.
pub(super) struct Thread<M: Send + 'static> {
    sender: Sender<Told<M>>,
    handle: Option<std::thread::JoinHandle<()>>,
}

/// Sends to a [`Thread`], which may have ended.
pub(super) struct Address<M: Send + 'static>(Sender<Told<M>>);

impl<M: Send + 'static> Clone for Address<M> {
    fn clone(&self) -> Self {
        Address(self.0.clone())
    }
}

impl<M: Send + 'static> Address<M> {
    /// Tells the resident, if there is still one.
    pub fn send(&self, message: M) {
        // Nobody to hear it: what it is about is gone too.
        let _ = self.0.send(Told::Message(message));
    }
}

impl<M: Send + 'static> Thread<M> {
    /// Connects to PipeWire, through `remote` where that is a connection that somebody opened for us (the portal), and lets
    /// `make` build the resident. Returns when that is done.
    ///
    /// # Errors
    /// [`Kind::NotFound`] when there is no PipeWire; what `make` fails with.
    pub fn start<R: Resident<Message = M>>(
        name: &str,
        remote: Option<OwnedFd>,
        make: impl FnOnce(&MainLoopRc, &CoreRc, Address<M>) -> Result<R, Error> + Send + 'static,
    ) -> Result<Thread<M>, Error> {
        let (sender, receiver) = channel();
        let address = Address(sender.clone());
        let (ready, made) = mpsc::channel();
        let body = move || {
            let begun = connect(remote).and_then(|(main_loop, core)| {
                let resident = make(&main_loop, &core, address)?;
                Ok((main_loop, core, resident))
            });
            let (main_loop, core, resident) = match begun {
                Ok(begun) => begun,
                Err(e) => return drop(ready.send(Err(e))),
            };
            let slot = Rc::new(RefCell::new(Some(resident)));
            let _attached = receiver.attach(main_loop.loop_(), {
                let (slot, main_loop) = (slot.clone(), main_loop.clone());
                move |told| match told {
                    Told::Message(message) => {
                        if let Some(resident) = slot.borrow_mut().as_mut() {
                            resident.tell(message);
                        }
                    }
                    Told::End => {
                        // Here, while the loop runs: afterwards PipeWire's data thread would call back by itself.
                        let resident = slot.borrow_mut().take();
                        drop(resident);
                        main_loop.quit();
                    }
                }
            });
            let _ = ready.send(Ok(()));
            main_loop.run();
            drop(core);
        };
        let thread = std::thread::Builder::new().name(name.chars().take(15).collect()).spawn(body);
        let handle = thread.map_err(|e| Error::new(Kind::Memory, format!("no thread for PipeWire: {e}")))?;
        match made.recv() {
            Ok(Ok(())) => Ok(Thread { sender, handle: Some(handle) }),
            Ok(Err(e)) => {
                let _ = handle.join();
                Err(e)
            }
            Err(_) => Err(Error::new(Kind::Io, "PipeWire's thread ended before it began")),
        }
    }

    /// Tells the resident.
    pub fn send(&self, message: M) {
        // It fails when the thread has ended, which the object's own state tells.
        let _ = self.sender.send(Told::Message(message));
    }
}

impl<M: Send + 'static> Drop for Thread<M> {
    fn drop(&mut self) {
        let _ = self.sender.send(Told::End);
        if let Some(handle) = self.handle.take() {
            let _ = handle.join();
        }
    }
}

fn connect(remote: Option<OwnedFd>) -> Result<(MainLoopRc, CoreRc), Error> {
    let none = |e: pipewire::Error| Error::new(Kind::NotFound, format!("no PipeWire to connect to: {e}"));
    let main_loop = MainLoopRc::new(None).map_err(none)?;
    let context = ContextRc::new(&main_loop, None).map_err(none)?;
    let core = match remote {
        Some(fd) => context.connect_fd_rc(fd, None),
        None => context.connect_rc(None),
    };
    Ok((main_loop, core.map_err(none)?))
}

/// Whether an error is the end of the connection. Others are of single objects, such as a link that was late.
pub(super) fn is_end(id: u32, code: i32) -> bool {
    id == 0 && code == -libc::EPIPE
}

/// A refusal of PipeWire's.
pub(super) fn refused(what: &str) -> impl Fn(pipewire::Error) -> Error {
    move |e| Error::new(Kind::Io, format!("PipeWire: {what}: {e}"))
}
