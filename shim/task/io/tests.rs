use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

use super::*;

struct Fifos(PathBuf);

impl Fifos {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("palisade-io-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        for fifo in ["in", "out", "err"] {
            rustix::fs::mknodat(rustix::fs::CWD, dir.join(fifo), rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        }
        Self(dir)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }

    fn stdio(&self) -> Stdio {
        Stdio { stdin: self.path("in"), stdout: self.path("out"), stderr: self.path("err"), terminal: false }
    }

    fn reader(&self, name: &str) -> File {
        let flags = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap();
        OpenOptions::new().read(true).custom_flags(flags).open(self.0.join(name)).unwrap()
    }
}

impl Drop for Fifos {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

fn owner() -> Owner {
    Owner { uid: rustix::process::getuid().as_raw(), gid: rustix::process::getgid().as_raw() }
}

async fn connected(stdio: &Stdio) -> Result<(ProcessIo, ChildStdio), StdioError> {
    let reaper = Reaper::default();
    let host = crate::task::Machine::new(reaper.clone());
    let (owner, id, namespace) = (owner(), "c1", "default");
    ProcessIo::pipes(&Streams { stdio, owner, id, namespace, reaper: &reaper, host: &host }).await
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

#[test]
fn output_larger_than_all_pipes_arrives_whole_and_in_order() {
    let fifos = Fifos::new("large");
    let sent: Vec<u8> = (0..1_000_000_u32).flat_map(|n| n.to_le_bytes()).collect();
    let expected = sent.clone();
    block_on(async {
        let (mut io, child) = connected(&fifos.stdio()).await.unwrap();
        let mut reader = fifos.reader("out");
        let writer = std::thread::spawn(move || File::from(child.stdout.unwrap()).write_all(&sent));
        let received = tokio::task::spawn_blocking(move || {
            let mut received = Vec::new();
            while received.len() < 4_000_000 {
                let mut buffer = [0; 65536];
                match reader.read(&mut buffer) {
                    Ok(count) => received.extend_from_slice(&buffer[..count]),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::thread::yield_now(),
                    Err(error) => panic!("{error}"),
                }
            }
            received
        });
        let received = received.await.unwrap();
        writer.join().unwrap().unwrap();
        io.drain(Duration::from_secs(5)).await;
        assert!(received == expected, "bytes differ");
    });
}

#[test]
fn stdin_ends_with_close_and_not_before() {
    let fifos = Fifos::new("stdin");
    block_on(async {
        let (mut io, child) = connected(&fifos.stdio()).await.unwrap();
        let mut client = OpenOptions::new().write(true).open(fifos.0.join("in")).unwrap();
        client.write_all(b"hello").unwrap();
        drop(client);
        let mut stdin = File::from(child.stdin.unwrap());
        let first = tokio::task::spawn_blocking(move || {
            let mut buffer = [0; 5];
            stdin.read_exact(&mut buffer).map(|()| (buffer, stdin))
        });
        let (bytes, mut stdin) = first.await.unwrap().unwrap();
        assert_eq!(&bytes, b"hello");
        let rest = tokio::task::spawn_blocking(move || {
            let mut rest = Vec::new();
            stdin.read_to_end(&mut rest).map(|_| rest)
        });
        tokio::time::sleep(Duration::from_millis(30)).await;
        assert!(!rest.is_finished(), "the client that went away did not end stdin");
        io.close_stdin();
        assert_eq!(rest.await.unwrap().unwrap(), b"");
    });
}

/// Small writes find the pipe now empty, now filling while splice(2) looks: a wait for the wrong side would never end.
#[test]
fn many_small_writes_to_stdin_arrive() {
    let fifos = Fifos::new("small");
    let path = fifos.0.join("in");
    block_on(async {
        let (mut io, child) = connected(&fifos.stdio()).await.unwrap();
        let writer = std::thread::spawn(move || {
            let mut client = OpenOptions::new().write(true).open(path).unwrap();
            (0..60_000).try_for_each(|turn| {
                // Pauses of many lengths, so that some writes come just after a look at an empty FIFO.
                (0..turn % 700).for_each(|_| std::hint::spin_loop());
                client.write_all(b"1234567\n")
            })
        });
        let mut stdin = File::from(child.stdin.unwrap());
        let reader = std::thread::spawn(move || {
            let mut received = vec![0; 8 * 60_000];
            stdin.read_exact(&mut received)
        });
        let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
        while !(writer.is_finished() && reader.is_finished()) {
            assert!(tokio::time::Instant::now() < deadline, "the copy stalled");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        writer.join().unwrap().unwrap();
        reader.join().unwrap().unwrap();
        io.close_stdin();
    });
}

#[test]
fn drain_does_not_wait_for_a_background_process_for_good() {
    let fifos = Fifos::new("drain");
    block_on(async {
        let (mut io, child) = connected(&fifos.stdio()).await.unwrap();
        io.drain(Duration::from_millis(20)).await;
        drop(child);
    });
}

#[test]
fn a_path_that_is_no_fifo_is_refused() {
    let fifos = Fifos::new("kind");
    std::fs::write(fifos.0.join("file"), "kept").unwrap();
    let stdio = Stdio { stdout: fifos.path("file"), ..Stdio::default() };
    block_on(async {
        let refused = connected(&stdio).await;
        assert!(matches!(refused, Err(StdioError::WrongKind { expected: "FIFO", .. })), "{refused:?}");
    });
    assert_eq!(std::fs::read(fifos.0.join("file")).unwrap(), b"kept");
}

#[test]
fn a_file_is_appended_to() {
    let fifos = Fifos::new("file");
    std::fs::write(fifos.0.join("log"), "old ").unwrap();
    let stdio = Stdio { stdout: format!("file://{}", fifos.path("log")), ..Stdio::default() };
    block_on(async {
        let (mut io, child) = connected(&stdio).await.unwrap();
        File::from(child.stdout.unwrap()).write_all(b"new").unwrap();
        io.drain(Duration::from_secs(5)).await;
    });
    assert_eq!(std::fs::read(fifos.0.join("log")).unwrap(), b"old new");
}

#[test]
fn a_logging_program_that_is_not_roots_is_not_started() {
    let fifos = Fifos::new("logger");
    let program = fifos.0.join("logger");
    std::fs::write(&program, "#!/bin/sh\ntouch started\n").unwrap();
    std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let stdio = Stdio { stdout: format!("binary://{}", program.display()), ..Stdio::default() };
    block_on(async {
        // The temporary directory above it is for everybody to write.
        let refused = connected(&stdio).await;
        assert!(matches!(refused, Err(StdioError::NotRoots(_))), "{refused:?}");
    });
}
