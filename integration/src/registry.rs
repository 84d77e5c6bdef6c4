//! A registry of one image on the loopback, as far as a pull needs one.
//!
//! Source: OCI distribution-spec, "Pull".

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};

use crate::image::{MANIFEST, digest_of};
use crate::{Assets, Failure, image};

/// Longest request, in bytes.
const MAX_REQUEST: u64 = 64 << 10;

/// It runs until it is dropped.
#[derive(Debug)]
pub struct Registry {
    address: SocketAddr,
    digest: String,
    blobs: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

impl Registry {
    /// Serves the workload image with a date of its own, under any repository and tag.
    ///
    /// # Errors
    /// A program that cannot be read, or no port.
    pub fn serve(assets: &Assets, created: &str) -> Result<Self, Failure> {
        let contents = image::blobs(assets, created)?;
        let digest = digest_of(contents.first().map_or(&[], Vec::as_slice));
        let failed = |source| Failure::Io { action: "serve a registry".to_owned(), source };
        let listener = TcpListener::bind("127.0.0.1:0").map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let blobs = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&blobs);
        let thread = thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                // An empty connection is the end.
                if !answer(stream, &contents, &counted) {
                    return;
                }
            }
        });
        Ok(Self { address, digest, blobs, thread: Some(thread) })
    }

    /// Host and port.
    #[must_use]
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// The manifest's digest.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// How many blobs were fetched.
    #[must_use]
    pub fn fetched(&self) -> usize {
        self.blobs.load(Ordering::Relaxed)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        if let Ok(stream) = TcpStream::connect(self.address) {
            stream.shutdown(Shutdown::Write).ok();
        }
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

/// One request a connection. False: there was none.
fn answer(mut stream: TcpStream, contents: &[Vec<u8>; 3], blobs: &AtomicUsize) -> bool {
    let Ok(copy) = stream.try_clone() else { return true };
    let mut lines = BufReader::new(copy.take(MAX_REQUEST)).lines().map_while(Result::ok);
    let Some(first) = lines.next() else { return false };
    // To the empty line that ends the head.
    lines.by_ref().take_while(|line| !line.is_empty()).for_each(drop);
    let mut words = first.split(' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let [manifest, rest @ ..] = contents;
    let (status, kind, body): (_, _, &[u8]) = if path == "/v2/" {
        ("200 OK", "application/json", b"{}")
    } else if path.contains("/manifests/") {
        ("200 OK", MANIFEST, manifest)
    } else if let Some(blob) = rest.iter().chain([manifest]).find(|blob| path.ends_with(&digest_of(blob))) {
        blobs.fetch_add(1, Ordering::Relaxed);
        ("200 OK", "application/octet-stream", blob)
    } else {
        ("404 Not Found", "application/json", b"{}")
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nDocker-Content-Digest: {}\r\nConnection: close\r\n\r\n",
        body.len(),
        digest_of(body)
    );
    let body = if method == "HEAD" { &[] } else { body };
    // Who has gone away does not mind.
    stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body)).ok();
    true
}
