//! The load of many suppliers: `kaibiao-sim`.

use std::process::ExitCode;

fn main() -> ExitCode {
    kaibiao_simulator::command::main()
}
