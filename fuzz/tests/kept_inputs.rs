//! Every input that is kept, replayed: what drawing began from, what reached something of its own, and what once broke
//! something.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{fs, path::Path};

use kaibiao_fuzz::{TARGETS, house};

fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut files: Vec<_> =
        entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_file()).collect();
    files.sort();
    files
}

#[test]
fn every_kept_input_holds() {
    for target in TARGETS {
        let own = ["corpus", "found"].map(|kind| house().join("fuzz").join(kind).join(target.name));
        let of_the_house = target.seeds.iter().map(|folder| house().join(folder));
        let kept: Vec<_> = own.into_iter().chain(of_the_house).flat_map(|folder| files(&folder)).collect();
        assert!(!kept.is_empty(), "{} starts from nothing", target.name);
        for file in kept {
            // Told when it fails, and only then.
            println!("{} of {}", file.display(), target.name);
            (target.run)(&fs::read(&file).unwrap());
        }
    }
}

#[test]
fn every_target_has_its_program_and_every_folder_its_target() {
    let names: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
    for name in &names {
        let program = fs::read_to_string(house().join(format!("fuzz/fuzz_targets/{name}.rs"))).unwrap();
        assert!(program.contains(&format!("run(\"{name}\", data)")), "{name}");
    }
    for kind in ["corpus", "found"] {
        for folder in fs::read_dir(house().join("fuzz").join(kind)).unwrap() {
            let name = folder.unwrap().file_name().into_string().unwrap();
            assert!(names.contains(&name.as_str()), "fuzz/{kind}/{name} belongs to no target");
        }
    }
}

/// What is kept must stay small: it is in everybody's copy of the house.
#[test]
fn what_is_kept_is_small() {
    let sizes = TARGETS
        .iter()
        .flat_map(|target| ["corpus", "found"].map(|kind| house().join("fuzz").join(kind).join(target.name)));
    let bytes: u64 =
        sizes.flat_map(|folder| files(&folder)).map(|file| fs::metadata(file).unwrap().len()).sum();
    assert!(bytes < 1_000_000, "{bytes} bytes");
}
