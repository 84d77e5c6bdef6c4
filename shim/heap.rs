//! The heap: dlmalloc, which can give back what is not used.
//!
//! The crate's own global allocator can't be asked for that, so it stands here once more, with the one call that it lacks.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout};
use std::sync::{Mutex, MutexGuard, PoisonError};

use dlmalloc::Dlmalloc;

static POOL: Mutex<Dlmalloc> = Mutex::new(Dlmalloc::new());

/// The allocator of the shim's binary. musl's takes a fifth of a create's time: specifications are thousands of short strings.
#[derive(Debug, Clone, Copy)]
pub struct Heap;

impl Heap {
    /// Gives the kernel back what is free at the end of the pool and in blocks without anything in use.
    pub(crate) fn trim() {
        // JUSTIFICATION: dlmalloc has no safe interface.
        // SAFETY: the pool is locked; trimming moves and frees nothing that is in use.
        unsafe { pool().trim(0) };
    }
}

/// A panic while it is held would have ended the process.
fn pool() -> MutexGuard<'static, Dlmalloc> {
    POOL.lock().unwrap_or_else(PoisonError::into_inner)
}

// JUSTIFICATION: a global allocator can't be written otherwise.
// SAFETY: every call goes to one pool under its lock, with size and alignment as they came; dlmalloc keeps the contract of GlobalAlloc for them. The
// lock does not allocate.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's layout has a size, and dlmalloc takes every alignment.
        unsafe { pool().malloc(layout.size(), layout.align()) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: by the caller's contract this pool gave `memory` for this layout.
        unsafe { pool().free(memory, layout.size(), layout.align()) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as for `alloc`.
        unsafe { pool().calloc(layout.size(), layout.align()) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as for `dealloc`; the new size is not zero by the caller's contract.
        unsafe { pool().realloc(memory, layout.size(), layout.align(), size) }
    }
}
