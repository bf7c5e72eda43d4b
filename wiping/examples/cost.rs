//! What wiping costs: CPU time of allocating, touching and freeing blocks, and of a vector that grows, with the system's
//! allocator alone and with wiping. `cargo run --release -p kaibiao-wiping --example cost`

#![expect(unsafe_code, reason = "both allocators are called by hand")]
#![expect(clippy::print_stdout, reason = "it prints its table")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    hint::black_box,
    time::{Duration, Instant},
};

use kaibiao_wiping::Wiping;

const ROUNDS: usize = 7;

/// Nanoseconds a time of `work`, the best of several rounds.
fn nanoseconds(times: u32, mut work: impl FnMut()) -> f64 {
    let round = || {
        let began = Instant::now();
        (0..times).for_each(|_| work());
        began.elapsed()
    };
    let best = std::iter::repeat_with(round).take(ROUNDS).min().unwrap_or(Duration::MAX);
    best.as_nanos() as f64 / f64::from(times)
}

/// A block is asked for, its every page written to, and freed.
fn block(allocator: &impl GlobalAlloc, size: usize) {
    // SAFETY: the block is written within its size and freed once with its layout.
    unsafe {
        let layout = Layout::from_size_align_unchecked(size, 8);
        let block = black_box(allocator.alloc(layout));
        (0..size).step_by(4_096).for_each(|at| block.add(at).write(1));
        allocator.dealloc(black_box(block), layout);
    }
}

/// A block grows by doubling, as a vector does that is filled.
fn growth(allocator: &impl GlobalAlloc, size: usize) {
    // SAFETY: each block is grown once, and the last one freed with its layout.
    unsafe {
        let mut layout = Layout::from_size_align_unchecked(64, 8);
        let mut block = allocator.alloc(layout);
        while layout.size() < size {
            block = black_box(allocator.realloc(block, layout, layout.size() * 2));
            layout = Layout::from_size_align_unchecked(layout.size() * 2, 8);
        }
        allocator.dealloc(block, layout);
    }
}

fn main() {
    println!("{:>10} {:>28} {:>28}", "", "allocate and free, ns", "grow to it by doubling, ns");
    println!(
        "{:>10} {:>9} {:>9} {:>8} {:>9} {:>9} {:>8}",
        "bytes", "system", "wiping", "", "system", "wiping", ""
    );
    for size in [64, 256, 1_024, 4_096, 16_384, 65_536, 262_144, 1_048_576] {
        let times = u32::try_from(100_000_000 / (size + 1_000)).unwrap_or(1);
        let (plain, wiped) =
            (nanoseconds(times, || block(&System, size)), nanoseconds(times, || block(&Wiping, size)));
        let times = times / 4 + 1;
        let (grown, moved) =
            (nanoseconds(times, || growth(&System, size)), nanoseconds(times, || growth(&Wiping, size)));
        println!(
            "{size:>10} {plain:>9.0} {wiped:>9.0} {:>7.2}x {grown:>9.0} {moved:>9.0} {:>7.2}x",
            wiped / plain,
            moved / grown
        );
    }
}
