//! The commands of a supplier: `kaibiao-bid`.

/// PINs, passwords and keys pass through buffers that are not of our making.
#[global_allocator]
static MEMORY: kaibiao_wiping::Wiping = kaibiao_wiping::Wiping;

fn main() -> std::process::ExitCode {
    kaibiao_bidder::command::main()
}
