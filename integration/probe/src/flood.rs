//! Calls that every container profile refuses, as many as there can be.

use std::collections::BTreeMap;
use std::io;
use std::time::Instant;

use palisade_probe::Flood;

use crate::attempts::write_words;
use crate::syscalls::{self, Arg};

/// An operation of keyctl(2) that no kernel has, so that a call which runs has an answer of its own: EOPNOTSUPP.
const NO_OPERATION: i64 = 0x7fff;

/// Makes `count` refused calls on each of `threads` threads; without end for a count of 0.
pub(crate) fn run(threads: usize, count: u64) -> io::Result<Flood> {
    let begun = Instant::now();
    let refused = || made(count, || syscalls::call(libc::SYS_keyctl, &mut [Arg::Number(NO_OPERATION)]));
    let errnos = std::thread::scope(|scope| {
        let each: Vec<_> = (0..threads).map(|_| scope.spawn(refused)).collect();
        each.into_iter().filter_map(|thread| thread.join().ok()).collect::<Vec<_>>()
    });
    let micros = micros_since(begun)?;
    let mut all = BTreeMap::new();
    for (errno, count) in errnos.into_iter().flatten() {
        *all.entry(errno).or_default() += count;
    }
    Ok(Flood { errnos: all, micros })
}

/// Loads a filter that allows everything, with a listener; the errno, 0 if it was loaded.
pub(crate) fn listen() -> i32 {
    const SET_MODE_FILTER: i64 = 1;
    const NEW_LISTENER: i64 = 1 << 3;
    // BPF_RET | BPF_K with SECCOMP_RET_ALLOW: `struct sock_filter`.
    let (mut program, mut length_and_program) = ([6, 0, 0, 0, 0, 0, 0xff, 0x7f_u8], [0; 16]);
    write_words(&mut length_and_program, &[(0, 1), (1, program.as_mut_ptr() as u64)]);
    let arguments =
        &mut [Arg::Number(SET_MODE_FILTER), Arg::Number(NEW_LISTENER), Arg::Buffer(&mut length_and_program)];
    let loaded = syscalls::call_for_descriptor(libc::SYS_seccomp, arguments);
    loaded.err().and_then(|error| error.raw_os_error()).unwrap_or(0)
}

/// Makes `count` calls that no profile refuses.
pub(crate) fn allowed(count: u64) -> io::Result<Flood> {
    let begun = Instant::now();
    let errnos = made(count, || syscalls::call(libc::SYS_getppid, &mut []));
    Ok(Flood { errnos, micros: micros_since(begun)? })
}

fn micros_since(begun: Instant) -> io::Result<u64> {
    u64::try_from(begun.elapsed().as_micros()).map_err(io::Error::other)
}

fn made(count: u64, mut call: impl FnMut() -> io::Result<i64>) -> BTreeMap<i32, u64> {
    let mut errnos = BTreeMap::new();
    let mut made = 0;
    while count == 0 || made < count {
        let errno = call().err().and_then(|error| error.raw_os_error()).unwrap_or(0);
        *errnos.entry(errno).or_default() += 1;
        made += 1;
    }
    errnos
}
