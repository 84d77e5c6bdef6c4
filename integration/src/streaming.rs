//! The streams of exec, attach and port-forward, as containerd's streaming server gives them over WebSocket: each message is of one
//! channel, whose number is its first byte (kubelet's `pkg/cri/streaming`).

use std::collections::BTreeMap;
use std::net::TcpStream;
use std::time::Duration;

use tungstenite::error::ProtocolError;
use tungstenite::protocol::{Message, WebSocket};
use tungstenite::{ClientRequestBuilder, client};

use crate::Failure;

/// Standard input of exec and attach; the data of a port-forward's first port.
pub const STDIN: u8 = 0;
/// Standard output; the errors of a port-forward's first port.
pub const STDOUT: u8 = 1;
/// Standard error.
pub const STDERR: u8 = 2;
/// How it ended: a status document.
pub const ENDING: u8 = 3;
/// The size of the terminal.
pub const RESIZE: u8 = 4;

/// Newest first. The last sub-protocol has a signal for the end of standard input.
const PROTOCOLS: [&str; 2] = ["v5.channel.k8s.io", "v4.channel.k8s.io"];
const SILENCE: Duration = Duration::from_secs(30);

/// An open connection, with what has come on each channel.
#[derive(Debug)]
pub struct Streaming {
    socket: WebSocket<TcpStream>,
    protocol: String,
    received: BTreeMap<u8, Vec<u8>>,
}

impl Streaming {
    /// Connects to an address that CRI's Exec, Attach or PortForward gave.
    ///
    /// # Errors
    /// Nobody answers there, or not as a WebSocket.
    pub fn open(url: &str) -> Result<Self, Failure> {
        let address = url.strip_prefix("http://").and_then(|rest| rest.split('/').next()).unwrap_or_default();
        let stream = TcpStream::connect(address)
            .map_err(|source| Failure::Io { action: format!("connect to {address}"), source })?;
        stream
            .set_read_timeout(Some(SILENCE))
            .map_err(|source| Failure::Io { action: "set a deadline".to_owned(), source })?;
        let uri = url.replacen("http:", "ws:", 1).parse().map_err(|error| Failure::unreadable(url, &error))?;
        let request =
            PROTOCOLS.iter().fold(ClientRequestBuilder::new(uri), |request, name| request.with_sub_protocol(*name));
        let (socket, response) = client(request, stream).map_err(|error| Failure::unreadable("a WebSocket", &error))?;
        let protocol = response.headers().get("sec-websocket-protocol").and_then(|name| name.to_str().ok());
        Ok(Self { protocol: protocol.unwrap_or_default().to_owned(), socket, received: BTreeMap::new() })
    }

    /// The sub-protocol that the server chose.
    #[must_use]
    pub fn protocol(&self) -> &str {
        &self.protocol
    }

    /// Writes to a channel.
    ///
    /// # Errors
    /// The connection is closed.
    pub fn send(&mut self, channel: u8, bytes: &[u8]) -> Result<(), Failure> {
        let message = [&[channel], bytes].concat();
        self.socket.send(Message::binary(message)).map_err(|error| Failure::unreadable("a WebSocket", &error))
    }

    /// Sets the size of the terminal.
    ///
    /// # Errors
    /// The connection is closed.
    pub fn resize(&mut self, width: u16, height: u16) -> Result<(), Failure> {
        self.send(RESIZE, format!("{{\"Width\":{width},\"Height\":{height}}}").as_bytes())
    }

    /// What has come on a channel.
    #[must_use]
    pub fn text(&self, channel: u8) -> String {
        self.received.get(&channel).map(|bytes| String::from_utf8_lossy(bytes).into_owned()).unwrap_or_default()
    }

    /// Reads until a channel's text contains this.
    ///
    /// # Errors
    /// It ends first, or nothing comes for half a minute.
    pub fn until(&mut self, channel: u8, word: &str) -> Result<(), Failure> {
        while !self.text(channel).contains(word) {
            if !self.read()? {
                return Err(Failure::unreadable(&format!("{word:?} from a stream"), &self.text(channel)));
            }
        }
        Ok(())
    }

    /// Reads until the server ends it.
    ///
    /// # Errors
    /// Nothing comes for half a minute.
    pub fn finish(mut self) -> Result<Self, Failure> {
        while self.read()? {}
        Ok(self)
    }

    /// Leaves, as a client whose user has gone.
    ///
    /// # Errors
    /// The server does not take leave.
    pub fn leave(mut self) -> Result<(), Failure> {
        self.socket.close(None).map_err(|error| Failure::unreadable("a WebSocket", &error))?;
        self.finish().map(drop)
    }

    /// Takes the next message; false at the end.
    fn read(&mut self) -> Result<bool, Failure> {
        let message = match self.socket.read() {
            Ok(message) => message,
            Err(tungstenite::Error::ConnectionClosed | tungstenite::Error::AlreadyClosed) => return Ok(false),
            // The server closes the connection without the farewell that the protocol has, or sends what it still had after it.
            Err(tungstenite::Error::Protocol(
                ProtocolError::ResetWithoutClosingHandshake | ProtocolError::ReceivedAfterClosing,
            )) => return Ok(false),
            Err(error) => return Err(Failure::unreadable("a WebSocket", &error)),
        };
        if let Message::Binary(bytes) = message
            && let Some((channel, bytes)) = bytes.split_first()
        {
            self.received.entry(*channel).or_default().extend_from_slice(bytes);
        }
        Ok(true)
    }
}
