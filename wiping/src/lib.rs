//! An allocator that wipes what it frees.
//!
//! Secrets of the house are of types that wipe themselves. But a password also passes through buffers of others: the
//! bytes a socket was read into, a request's body, a header, a text that a parser made. Nobody's `Drop` wipes those, and
//! freed memory keeps what it held until something else is written there, which may be never. So the server and the
//! clients allocate through [`Wiping`]: whatever is freed, or left behind by growing, is zero before it can be given
//! out again. What it costs stands in `docs/decisions/0013-freed-memory-is-wiped.md`.
//!
//! What it cannot do: wipe what is still held, what libraries in C allocate for themselves, and stacks; a thread that
//! has worked with a secret calls [`wipe_stack`] when it is done.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    arch::asm,
    hint::black_box,
    ptr,
};

/// Bytes of stack that [`wipe_stack`] overwrites.
const STACK_BYTES: usize = 32 * 1024;

/// Overwrites what calls made from here before have left on this thread's stack: working copies of keys and passwords in
/// functions that are not ours.
#[inline(never)]
pub fn wipe_stack() {
    let mut below = [0_u8; STACK_BYTES];
    black_box(&mut below);
}

/// The system's allocator, wiping what it gets back.
///
/// ```
/// #[global_allocator]
/// static MEMORY: kaibiao_wiping::Wiping = kaibiao_wiping::Wiping;
/// ```
pub struct Wiping;

#[expect(unsafe_code, reason = "an allocator can be written in no other way")]
// SAFETY: every block comes from `System` with the layout it was asked for and goes back with it; in between only bytes
// within the block are written, and only when it is about to be freed.
unsafe impl GlobalAlloc for Wiping {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the block is the caller's, of this size, and nobody reads it any more.
        unsafe {
            wipe(block, layout.size());
            System.dealloc(block, layout);
        }
    }

    /// Moves by hand what grows: the system's `realloc` would leave the old bytes behind.
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller promises a size that, rounded up to the alignment, does not overflow.
        let wanted = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        // SAFETY: sizes are not zero, by the caller's promise; both blocks hold the bytes copied, and differ.
        unsafe {
            let moved = System.alloc(wanted);
            if !moved.is_null() {
                ptr::copy_nonoverlapping(block, moved, layout.size().min(size));
                self.dealloc(block, layout);
            }
            moved
        }
    }
}

/// Writes zeros that the compiler may not leave out, though nobody reads them.
#[expect(unsafe_code, reason = "an allocator can be written in no other way")]
#[inline]
unsafe fn wipe(block: *mut u8, size: usize) {
    // SAFETY: the caller owns the block of this size. The empty instruction claims to read memory, so that the zeros
    // have to be there before it.
    unsafe {
        ptr::write_bytes(block, 0, size);
        asm!("/* {0} */", in(reg) block, options(nostack, preserves_flags));
    }
}
