//! Whether `docs/api.md` names every word of the wire: whoever adds one writes a sentence about it.

use std::{collections::BTreeSet, fs, path::Path};

use kaibiao_protocol::refusal::RefusalCode;
use serde_json::Value;

/// What the page explains in full; the members of views stand in the schema alone.
const WITH_MEMBERS: [&str; 7] =
    ["Ask", "RoomEvent", "OwnEvent", "UploadVerdict", "Refusal", "ProjectSpec", "LotSpec"];
/// What it explains by the names of its variants.
const BY_VARIANTS: [&str; 11] = [
    "Answer",
    "BackupPolicy",
    "BidStatus",
    "FailureCause",
    "Method",
    "ObjectionKind",
    "PriceKind",
    "ProjectKind",
    "ProjectStatus",
    "StartMode",
    "WindowEnd",
];

fn read(file: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap()
}

/// The page without the recorded conversation, in which every word may be.
pub(crate) fn text() -> String {
    read("docs/api.md").split("<!-- conversation: begin").next().unwrap().to_owned()
}

/// Whether the page has a word as code: alone, or as a member in some JSON.
pub(crate) fn names(page: &str, word: &str) -> bool {
    page.contains(&format!("`{word}`")) || page.contains(&format!("\"{word}\""))
}

/// Every constant of a definition, and the names of its members if `members`.
fn words(schema: &Value, members: bool, found: &mut BTreeSet<String>) {
    match schema {
        Value::Object(fields) => {
            for (key, inner) in fields {
                match (key.as_str(), inner) {
                    ("const", Value::String(word)) => drop(found.insert(word.clone())),
                    ("enum", Value::Array(all)) => {
                        found.extend(all.iter().filter_map(Value::as_str).map(str::to_owned));
                    }
                    ("properties", Value::Object(properties)) => {
                        for (name, property) in properties {
                            if members {
                                found.insert(name.clone());
                            }
                            words(property, members, found);
                        }
                    }
                    _ => words(inner, members, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|inner| words(inner, members, found)),
        _ => {}
    }
}

#[test]
fn every_word_of_the_wire_is_on_its_page() {
    let (page, schema) = (text(), read("docs/schema/kaibiao.schema.json"));
    let schema: Value = serde_json::from_str(&schema).unwrap();
    let mut all = BTreeSet::new();
    for (definitions, members) in [(&WITH_MEMBERS[..], true), (&BY_VARIANTS[..], false)] {
        for name in definitions {
            let definition = &schema["$defs"][name];
            assert!(definition.is_object(), "the schema has no {name}");
            words(definition, members, &mut all);
        }
    }
    assert!(all.len() > 150, "{all:?}");
    let missing: Vec<_> = all.iter().filter(|word| !names(&page, word)).collect();
    assert!(missing.is_empty(), "docs/api.md says nothing of {missing:?}");
}

#[test]
fn every_refusal_has_its_status_on_the_page_once() {
    let page = text();
    let rows = page.lines().filter(|line| {
        let status = line.strip_prefix("| ").and_then(|rest| rest.split_once(" |"));
        status
            .is_some_and(|(status, _)| status.len() == 3 && status.bytes().all(|byte| byte.is_ascii_digit()))
    });
    let rows: Vec<&str> = rows.collect();
    for code in RefusalCode::ALL {
        let code = code.as_str();
        let told = rows.iter().filter(|row| row.contains(&format!("`{code}`"))).count();
        // What is malformed or unknown has several statuses in HTTP, and an interrupted upload is told as busy.
        let most = match code {
            "malformed" => 5,
            "busy" | "unknown" => 2,
            _ => 1,
        };
        assert!((1..=most).contains(&told), "{code} stands in {told} rows");
    }
}
