//! The house's arrows, its bans, and its absences, read off the dependency graph itself.

use std::{collections::BTreeSet, process::Command};

use serde_json::Value;

/// Our own crates and what each names.
fn graph() -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs where its tests run");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("cargo metadata is JSON")
}

fn package<'a>(graph: &'a Value, name: &str) -> &'a Value {
    let packages = graph["packages"].as_array().expect("there are packages");
    packages.iter().find(|one| one["name"] == name).unwrap_or_else(|| panic!("{name} is in the graph"))
}

/// Direct dependencies of one of our crates, those of its tests apart.
fn needs(graph: &Value, name: &str) -> BTreeSet<String> {
    let all = package(graph, name)["dependencies"].as_array().expect("a package lists what it needs").iter();
    let normal = all.filter(|one| one["kind"].is_null());
    normal.map(|one| one["name"].as_str().expect("a dependency has a name").to_owned()).collect()
}

fn ours(graph: &Value, name: &str) -> Vec<String> {
    needs(graph, name).into_iter().filter(|one| one.starts_with("kaibiao")).collect()
}

#[test]
fn arrows_go_one_way() {
    let graph = graph();
    let arrows: [(&str, &[&str]); 7] = [
        ("kaibiao-wiping", &[]),
        ("kaibiao-protocol", &[]),
        ("kaibiao-sealed", &["kaibiao-protocol"]),
        ("kaibiao-engine", &["kaibiao-protocol"]),
        ("kaibiao-actors", &["kaibiao-engine", "kaibiao-protocol", "kaibiao-sealed", "kaibiao-wiping"]),
        ("kaibiao-bidder", &["kaibiao-protocol", "kaibiao-sealed", "kaibiao-wiping"]),
        (
            "kaibiao-simulator",
            &["kaibiao-actors", "kaibiao-bidder", "kaibiao-engine", "kaibiao-protocol", "kaibiao-sealed"],
        ),
    ];
    for (name, allowed) in arrows {
        for found in ours(&graph, name) {
            assert!(allowed.contains(&found.as_str()), "{name} must not know {found}");
        }
    }
}

#[test]
fn the_engine_needs_nothing_that_has_a_clock_chance_files_or_sockets() {
    // Frames are shared, never copied: `bytestring` is a counted text and nothing else. `sha2` is a pure function, for
    // tickets of a draw that anybody can compute again.
    let allowed = ["kaibiao-protocol", "bytestring", "serde", "serde_json", "sha2", "thiserror", "zeroize"];
    for found in needs(&graph(), "kaibiao-engine") {
        assert!(allowed.contains(&found.as_str()), "the engine must not need {found}");
    }
}

#[test]
fn the_server_has_no_library_of_private_rsa_and_nothing_banned_is_locked() {
    let graph = graph();
    let of_tests_only = ["rsa"];
    for name in ["kaibiao-engine", "kaibiao-actors", "kaibiao-sealed"] {
        for found in needs(&graph, name) {
            assert!(
                !of_tests_only.contains(&found.as_str()),
                "{name} must not need {found}: the token does RSA"
            );
        }
    }
    let locked = include_str!("../Cargo.lock");
    let value = |line: &str, key: &str| {
        line.strip_prefix(key).map(|rest| rest.trim_matches([' ', '=', '"']).to_owned())
    };
    let mut name = String::new();
    for line in locked.lines() {
        if let Some(next) = value(line, "name") {
            name = next;
        }
        let Some(version) = value(line, "version") else { continue };
        let banned = match name.as_str() {
            // Deprecated, unmaintained, or with a standing advisory.
            "actix-web-actors" | "pkcs11" | "openssl" | "native-tls" => true,
            "rsa" => version.starts_with("0.9.") || version.starts_with("0.8."),
            "crossbeam-channel" => ["0.5.11", "0.5.12", "0.5.13", "0.5.14"].contains(&version.as_str()),
            _ => false,
        };
        assert!(!banned, "{name} {version} must not be in the house");
    }
}

#[test]
fn practice_is_in_no_suppliers_client_by_default() {
    let graph = graph();
    for name in ["kaibiao-sealed", "kaibiao-bidder", "kaibiao-actors"] {
        let default = package(&graph, name)["features"]["default"].as_array().cloned().unwrap_or_default();
        assert!(default.is_empty(), "{name} turns on {default:?} by default");
    }
}

#[test]
fn no_shipped_target_turns_on_a_planted_wrong() {
    let graph = graph();
    for package in graph["packages"].as_array().expect("there are packages") {
        let name = package["name"].as_str().expect("a package has a name");
        for (feature, turns_on) in package["features"].as_object().expect("features are a map") {
            let plants = turns_on.as_array().expect("a feature lists what it turns on").iter();
            let plants = plants.filter_map(Value::as_str).any(|one| one.contains("planted"));
            assert!(!plants || feature == "planted", "feature {feature} of {name} plants wrongs");
        }
        for needed in package["dependencies"].as_array().expect("a package lists what it needs") {
            let features = needed["features"].as_array().expect("a dependency lists its features");
            assert!(
                features.iter().all(|one| one != "planted"),
                "{name} plants wrongs in {}",
                needed["name"]
            );
        }
    }
    // The programs that are built and installed are built without naming features.
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    for folder in ["scripts", "deploy"] {
        for file in std::fs::read_dir(root.join(folder)).expect("the folder is there") {
            let path = file.expect("a folder can be listed").path();
            let text = std::fs::read_to_string(&path).expect("scripts are text");
            for line in text.lines().filter(|line| line.contains("planted")) {
                assert!(
                    line.trim_start().starts_with('#')
                        || line.contains("cargo test")
                        || line.contains("cargo clippy"),
                    "{path:?}: {line}"
                );
            }
        }
    }
}
