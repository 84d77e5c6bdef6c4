//! systemd's journal, by its native protocol: a datagram of fields, or one with a sealed memfd that holds them.
//!
//! Source: systemd `docs/JOURNAL_NATIVE_PROTOCOL.md`.

use std::fs::File;
use std::io::{self, IoSlice, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::time::Duration;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType,
    sendmsg_addr, socket_with,
};

use super::AuditError;

/// Where journald listens.
pub(super) const SOCKET: &str = "/run/systemd/journal/socket";
/// Name of the sender.
const IDENTIFIER: &str = "palisade";
/// A journal whose queue is full is waited for a tenth of a second; then the request is refused, as with the file.
const TRIES: u32 = 100;
/// See [`TRIES`].
const PAUSE: Duration = Duration::from_millis(1);

/// Sends a record's line.
pub(super) fn send(path: &Path, event: &str, line: &[u8]) -> Result<(), AuditError> {
    let fields = fields(event, line.strip_suffix(b"\n").unwrap_or(line));
    try_send(path, &fields).map_err(|source| AuditError::Journal { path: path.to_owned(), source })
}

/// A record is one line, so its field can't end early; the event is a word of this program.
fn fields(event: &str, record: &[u8]) -> Vec<u8> {
    let head = format!(
        "SYSLOG_IDENTIFIER={IDENTIFIER}\nPRIORITY={}\nPALISADE_EVENT={event}\nMESSAGE=",
        priority(event, record)
    );
    [head.as_bytes(), record, b"\n"].concat()
}

/// As syslog(3) counts: 4 is a warning, 6 information.
fn priority(event: &str, record: &[u8]) -> u8 {
    let has = |word: &[u8]| record.windows(word.len()).any(|window| window == word);
    match event {
        "decision" if has(b"\"decision\":\"deny\"") => 4,
        "decision" | "policy_load" => 6,
        "attestation" if has(b"\"mismatches\":[]") => 6,
        _ => 4,
    }
}

fn try_send(path: &Path, fields: &[u8]) -> io::Result<()> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None)?;
    let address = SocketAddrUnix::new(path)?;
    let mut nothing = SendAncillaryBuffer::default();
    match patiently(|| sendmsg_addr(&socket, &address, &[IoSlice::new(fields)], &mut nothing, SendFlags::NOSIGNAL)) {
        Err(Errno::MSGSIZE | Errno::NOBUFS) => {}
        sent => return Ok(sent.map(drop)?),
    }
    let memfd = sealed(fields)?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let descriptors = [memfd.as_fd()];
    Ok(patiently(|| {
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
        sendmsg_addr(&socket, &address, &[], &mut ancillary, SendFlags::NOSIGNAL)
    })
    .map(drop)?)
}

fn patiently(mut send: impl FnMut() -> rustix::io::Result<usize>) -> rustix::io::Result<usize> {
    for _ in 0..TRIES {
        match send() {
            Err(Errno::AGAIN) => std::thread::sleep(PAUSE),
            Err(Errno::INTR) => {}
            sent => return sent,
        }
    }
    Err(Errno::AGAIN)
}

/// journald takes only what nobody can change any more.
fn sealed(fields: &[u8]) -> io::Result<File> {
    let mut file = File::from(memfd_create("palisade-record", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?);
    file.write_all(fields)?;
    fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE | SealFlags::SEAL)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::io::{IoSliceMut, Read as _, Seek as _};
    use std::os::unix::net::UnixDatagram;

    use rustix::fs::fcntl_get_seals;
    use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

    use super::super::scratch::Scratch;
    use super::*;

    /// Takes one message as journald does.
    fn received(journal: &UnixDatagram) -> (bool, String) {
        let mut bytes = vec![0; 1 << 20];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let got =
            recvmsg(journal, &mut [IoSliceMut::new(&mut bytes)], &mut ancillary, RecvFlags::CMSG_CLOEXEC).unwrap();
        let descriptor = ancillary.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
            _ => None,
        });
        let Some(descriptor) = descriptor else {
            return (false, String::from_utf8_lossy(&bytes[..got.bytes]).into_owned());
        };
        assert_eq!(got.bytes, 0);
        let seals = fcntl_get_seals(&descriptor).unwrap();
        assert!(seals.contains(SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL));
        let (mut file, mut text) = (File::from(descriptor), String::new());
        file.rewind().unwrap();
        file.read_to_string(&mut text).unwrap();
        (true, text)
    }

    #[test]
    fn a_record_is_fields_in_a_datagram_and_a_large_one_in_a_sealed_memfd() {
        let scratch = Scratch::new("journal");
        let path = scratch.path("socket");
        let journal = UnixDatagram::bind(&path).unwrap();
        send(&path, "decision", b"{\"decision\":\"deny\"}\n").unwrap();
        let expected =
            "SYSLOG_IDENTIFIER=palisade\nPRIORITY=4\nPALISADE_EVENT=decision\nMESSAGE={\"decision\":\"deny\"}\n";
        assert_eq!(received(&journal), (false, expected.to_owned()));
        let large = format!("{{\"x\":\"{}\"}}", "y".repeat(500_000));
        send(&path, "oom", large.as_bytes()).unwrap();
        let (by_memfd, text) = received(&journal);
        assert!(by_memfd && text.ends_with(&format!("PALISADE_EVENT=oom\nMESSAGE={large}\n")));
    }

    #[test]
    fn a_journal_that_is_not_there_or_takes_nothing_is_an_error() {
        let scratch = Scratch::new("no-journal");
        let path = scratch.path("socket");
        assert!(matches!(send(&path, "oom", b"{}\n"), Err(AuditError::Journal { .. })));
        let _full = UnixDatagram::bind(&path).unwrap();
        let refused = (0..10_000).find_map(|_| send(&path, "oom", b"{}\n").err());
        assert!(
            matches!(&refused, Some(AuditError::Journal { source, .. }) if source.kind() == io::ErrorKind::WouldBlock),
            "{refused:?}"
        );
    }
}
