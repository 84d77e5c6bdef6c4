//! `containerd-shim-palisade-v1`: the shim, and behind the argument `runtime` the embedded OCI runtime.

use std::env;
use std::process::ExitCode;

use dlmalloc::GlobalDlmalloc;
use palisade::{bootstrap, runtime};

/// musl's allocator takes a fifth of a create's time: specifications are thousands of short strings.
#[global_allocator]
static ALLOCATOR: GlobalDlmalloc = GlobalDlmalloc;

fn main() -> ExitCode {
    let mut args = env::args_os();
    let program = args.next().unwrap_or_default();
    let mut args = args.peekable();
    if runtime::is_runtime_name(&program) {
        return runtime::embedded::run(args);
    }
    if args.next_if(|first| first == runtime::RUNTIME_ARGUMENT).is_some() {
        return runtime::embedded::run(args);
    }
    bootstrap::run(args)
}
