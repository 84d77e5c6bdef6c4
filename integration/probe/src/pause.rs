//! The process of a pod's sandbox container: reaps what is re-parented to it and ends on SIGTERM or SIGINT.
#![allow(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut signals: libc::sigset_t = {
        // SAFETY: sigset_t is plain data for which all zeros is a value; sigemptyset then initialises it.
        unsafe { std::mem::zeroed() }
    };
    // SAFETY: `signals` is a live, exclusively borrowed sigset_t, and the signal numbers are constants that the kernel knows.
    unsafe {
        libc::sigemptyset(&raw mut signals);
        for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGCHLD] {
            libc::sigaddset(&raw mut signals, signal);
        }
        libc::sigprocmask(libc::SIG_BLOCK, &raw const signals, std::ptr::null_mut());
    }
    loop {
        // SAFETY: `signals` is initialised; a null siginfo pointer is allowed by sigwaitinfo(2).
        match unsafe { libc::sigwaitinfo(&raw const signals, std::ptr::null_mut()) } {
            libc::SIGCHLD => reap(),
            libc::SIGTERM | libc::SIGINT => return ExitCode::SUCCESS,
            _ => {}
        }
    }
}

fn reap() {
    // SAFETY: a null status pointer is allowed by waitpid(2).
    while unsafe { libc::waitpid(-1, std::ptr::null_mut(), libc::WNOHANG) } > 0 {}
}
