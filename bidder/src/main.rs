//! The commands of a supplier: `kaibiao-bid`.

fn main() -> std::process::ExitCode {
    kaibiao_bidder::command::main()
}
