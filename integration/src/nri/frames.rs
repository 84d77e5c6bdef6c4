//! ttrpc messages on the connections that share a socket. A multiplexed frame is a connection's number and a length, both of 32 bits,
//! highest byte first; a ttrpc message is a length, a stream's number, a kind and flags before its payload (ttrpc PROTOCOL.md).

use std::collections::BTreeMap;
use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;

const REQUEST: u8 = 1;
const RESPONSE: u8 = 2;
const HEADER: usize = 10;

/// A ttrpc message.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) stream: u32,
    kind: u8,
    pub(super) payload: Vec<u8>,
}

impl Frame {
    pub(super) fn request(stream: u32, payload: Vec<u8>) -> Self {
        Self { stream, kind: REQUEST, payload }
    }

    pub(super) fn response(stream: u32, payload: Vec<u8>) -> Self {
        Self { stream, kind: RESPONSE, payload }
    }

    pub(super) fn is_request(&self) -> bool {
        self.kind == REQUEST
    }

    /// Takes the first message off a connection's bytes, where it is there in full.
    fn take(bytes: &mut Vec<u8>) -> Option<Self> {
        let header: [u8; HEADER] = *bytes.first_chunk()?;
        let [a, b, c, d, e, f, g, h, kind, _] = header;
        let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).ok()?;
        let payload = bytes.get(HEADER..HEADER + length)?.to_vec();
        bytes.drain(..HEADER + length);
        Some(Self { stream: u32::from_be_bytes([e, f, g, h]), kind, payload })
    }
}

/// The socket, with what has come on each connection and is not yet a whole message.
#[derive(Debug)]
pub(super) struct Frames {
    socket: UnixStream,
    pending: BTreeMap<u32, Vec<u8>>,
}

impl Frames {
    pub(super) fn of(socket: UnixStream) -> Self {
        Self { socket, pending: BTreeMap::new() }
    }

    pub(super) fn send(&mut self, connection: u32, frame: &Frame) -> io::Result<()> {
        let length = u32::try_from(frame.payload.len()).map_err(io::Error::other)?;
        let mut message = [length.to_be_bytes(), frame.stream.to_be_bytes()].concat();
        message.extend([frame.kind, 0]);
        message.extend_from_slice(&frame.payload);
        let length = u32::try_from(message.len()).map_err(io::Error::other)?;
        let header = [connection.to_be_bytes(), length.to_be_bytes()].concat();
        self.socket.write_all(&[header, message].concat())
    }

    /// The next message and its connection.
    pub(super) fn receive(&mut self) -> io::Result<(u32, Frame)> {
        loop {
            for (connection, bytes) in &mut self.pending {
                if let Some(frame) = Frame::take(bytes) {
                    return Ok((*connection, frame));
                }
            }
            let mut header = [0; 8];
            self.socket.read_exact(&mut header)?;
            let [a, b, c, d, e, f, g, h] = header;
            let length = usize::try_from(u32::from_be_bytes([e, f, g, h])).map_err(io::Error::other)?;
            let mut payload = vec![0; length];
            self.socket.read_exact(&mut payload)?;
            self.pending.entry(u32::from_be_bytes([a, b, c, d])).or_default().extend(payload);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_that_come_in_parts_and_mixed_are_put_together() {
        let (near, mut far) = UnixStream::pair().unwrap();
        let (mut here, mut there) = (Frames::of(near), Frames::of(UnixStream::pair().unwrap().0));
        // The first message's header alone, another connection's message, and the rest of the first.
        for (connection, part) in [
            (1_u32, &[0, 0, 0, 2, 0, 0, 0, 9, REQUEST, 0][..]),
            (2, &[0, 0, 0, 0, 0, 0, 0, 1, RESPONSE, 0]),
            (1, b"ab"),
        ] {
            let length = u32::try_from(part.len()).unwrap();
            far.write_all(&[&connection.to_be_bytes(), &length.to_be_bytes(), part].concat()).unwrap();
        }
        let (connection, frame) = here.receive().unwrap();
        assert_eq!((connection, frame.stream, frame.is_request()), (2, 1, false));
        let (connection, frame) = here.receive().unwrap();
        assert_eq!((connection, frame.stream, frame.payload.as_slice()), (1, 9, &b"ab"[..]));
        assert!(there.send(1, &Frame::request(1, Vec::new())).is_err());
    }
}
