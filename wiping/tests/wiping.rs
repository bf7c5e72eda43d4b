//! What is freed holds nothing of what was in it.

#![expect(unsafe_code, reason = "only the allocator itself sees freed memory")]

use std::alloc::{GlobalAlloc, Layout, System};

use kaibiao_wiping::Wiping;

/// Freed blocks of glibc keep their bytes but the first few words, in which it keeps its lists.
const BOOKKEEPING: usize = 32;

fn left_in_freed(free: impl FnOnce(*mut u8, Layout)) -> usize {
    let layout = Layout::from_size_align(4_000, 16).expect("a size and a power of two");
    // SAFETY: the block is written within its size, freed once, and then allocated again: the system's allocator gives
    // the block freed last for the same size out again.
    unsafe {
        let block = Wiping.alloc(layout);
        // Seen by somebody, or the compiler leaves them out: nobody reads what is freed.
        (0..layout.size()).for_each(|at| block.add(at).write_volatile(0xa5));
        free(block, layout);
        let again = System.alloc(layout);
        assert_eq!(again, block, "the control needs the very block that was freed");
        let left = (BOOKKEEPING..layout.size()).filter(|at| again.add(*at).read() == 0xa5).count();
        System.dealloc(again, layout);
        left
    }
}

#[test]
fn what_is_freed_is_zero_and_without_wiping_it_would_not_be() {
    // SAFETY: each block is freed once, with its layout.
    assert_eq!(left_in_freed(|block, layout| unsafe { Wiping.dealloc(block, layout) }), 0);
    // SAFETY: both allocators are the system's.
    assert!(left_in_freed(|block, layout| unsafe { System.dealloc(block, layout) }) > 3_000, "the control");
}

#[test]
fn what_grows_leaves_nothing_behind_and_keeps_its_bytes() {
    let left = left_in_freed(|block, layout| {
        // SAFETY: the block is grown once and the grown one is freed.
        unsafe {
            let grown = Wiping.realloc(block, layout, 40_000);
            assert!((0..layout.size()).all(|at| grown.add(at).read() == 0xa5));
            Wiping.dealloc(grown, Layout::from_size_align(40_000, 16).expect("a size and a power of two"));
        }
    });
    assert_eq!(left, 0);
}
