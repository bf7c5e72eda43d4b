//! Every target in one program, so that a short run links once. `KAIBIAO_FUZZ` names the target; without it the
//! program tells them: name, the most bytes of an input, and folders of the house it starts from beside its own.

#![no_main]
#![expect(clippy::print_stdout, reason = "the list of targets is what it prints")]

use std::sync::LazyLock;

use kaibiao_fuzz::{TARGETS, Target, target};

static CHOSEN: LazyLock<&Target> = LazyLock::new(|| match std::env::var("KAIBIAO_FUZZ") {
    Ok(name) => target(&name),
    Err(_) => {
        for target in TARGETS {
            println!("{} {} {}", target.name, target.bytes_max, target.seeds.join(" "));
        }
        std::process::exit(0);
    }
});

libfuzzer_sys::fuzz_target!(
    init: {
        LazyLock::force(&CHOSEN);
    },
    |data: &[u8]| (CHOSEN.run)(data)
);
