//! Where the embedded runtime sends the listeners of a container's processes.

use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::net::UnixDatagram as StdUnixDatagram;
use std::path::{Path, PathBuf};

use palisade_seccomp::CompiledFilter;
use rustix::fs::{Mode, OFlags, open};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, recvmsg};
use tokio::io::Interest;
use tokio::net::UnixDatagram;

const NAME: &str = "seccomp.sock";
/// A filter of 4096 instructions, the kernel's most, with what goes before them.
const MAX_MESSAGE: usize = (4096 * 8) + 64;

/// A datagram socket in the private directory, which only root can reach.
///
/// Its path can exceed what an address holds, so it is bound and passed on through a descriptor of the directory.
#[derive(Debug)]
pub(super) struct ListenerSocket {
    socket: StdUnixDatagram,
    /// Keeps the number in `path_for_runtime` alive.
    _dir: OwnedFd,
    path_for_runtime: PathBuf,
    path: PathBuf,
}

/// What comes from a process of the container, or rather from the runtime before it becomes one.
#[derive(Debug)]
pub(super) enum Arrival {
    /// A listener, and the filter that its answers go by.
    Listener(OwnedFd, CompiledFilter),
    /// Why there is none.
    None(String),
}

impl ListenerSocket {
    pub(super) fn bind(dir: &Path) -> io::Result<Self> {
        let fd = open(dir, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let path_for_runtime = PathBuf::from(format!("/proc/{}/fd/{}/{NAME}", std::process::id(), fd.as_raw_fd()));
        let socket = StdUnixDatagram::bind(&path_for_runtime)?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket, _dir: fd, path_for_runtime, path: dir.join(NAME) })
    }

    pub(super) fn path_for_runtime(&self) -> &Path {
        &self.path_for_runtime
    }

    /// Registers the socket with the caller's event loop.
    pub(super) fn socket(&self) -> io::Result<UnixDatagram> {
        UnixDatagram::from_std(self.socket.try_clone()?)
    }
}

impl Drop for ListenerSocket {
    fn drop(&mut self) {
        match std::fs::remove_file(&self.path) {
            // Gone with the directory.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => crate::warn!("remove {:?}: {error}", self.path),
            Ok(()) => {}
        }
    }
}

/// Waits for the next.
///
/// # Errors
///
/// The kernel's, or `InvalidData` for what no runtime of this version sends.
pub(super) async fn receive(socket: &UnixDatagram) -> io::Result<Arrival> {
    loop {
        socket.readable().await?;
        match socket.try_io(Interest::READABLE, || receive_one(socket)) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            received => return received,
        }
    }
}

fn receive_one(socket: &UnixDatagram) -> io::Result<Arrival> {
    let mut bytes = vec![0; MAX_MESSAGE];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(socket, &mut [IoSliceMut::new(&mut bytes)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    bytes.truncate(received.bytes);
    let descriptor = ancillary.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    match descriptor {
        // The kernel closes what does not fit, and the message comes without.
        _ if received.flags.contains(ReturnFlags::CTRUNC) => {
            Ok(Arrival::None("the shim could not take the listener's descriptor: refused calls get ENOSYS".to_owned()))
        }
        Some(listener) => {
            let filter = CompiledFilter::from_bytes(&bytes).map_err(|_| io::ErrorKind::InvalidData)?;
            Ok(Arrival::Listener(listener, filter))
        }
        None => Ok(Arrival::None(String::from_utf8_lossy(&bytes).into_owned())),
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;

    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

    use super::*;

    #[test]
    fn a_listener_that_got_lost_on_the_way_is_said_to_be() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
        runtime.block_on(async {
            let (theirs, ours) = StdUnixDatagram::pair().unwrap();
            ours.set_nonblocking(true).unwrap();
            let ours = UnixDatagram::from_std(ours).unwrap();
            // As without room for descriptors: more than are taken.
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
            let mut ancillary = SendAncillaryBuffer::new(&mut space);
            let many = [theirs.as_fd(); 8];
            assert!(ancillary.push(SendAncillaryMessage::ScmRights(&many)));
            sendmsg(&theirs, &[std::io::IoSlice::new(&[0xff; 64])], &mut ancillary, SendFlags::empty()).unwrap();
            let Ok(Arrival::None(why)) = receive(&ours).await else { panic!("a listener") };
            assert!(why.contains("could not take the listener's descriptor"), "{why:?}");
        });
    }
}
