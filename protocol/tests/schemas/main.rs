//! The wire's schemas are made from the Rust types and checked in under `docs/schema/`: this test fails when
//! they drift. `KAIBIAO_BLESS=1 cargo test -p kaibiao-protocol --test schemas` writes them anew.

#![expect(clippy::unwrap_used, reason = "a generator of test data that cannot go on is to panic")]

mod asyncapi;
mod typescript;

use std::{fs, path::PathBuf};

use kaibiao_protocol::{
    evaluation::{Case, Evaluation},
    frame::{Notice, Request, Response},
    project::ProjectSpec,
    record::OpeningRecord,
    refusal::Refusal,
    view::UploadVerdict,
};
use schemars::{
    SchemaGenerator,
    generate::{Contract, SchemaSettings},
};
use serde_json::{Map, Value, json};

/// Every type of the wire by name, as JSON Schema 2020-12.
fn definitions() -> Map<String, Value> {
    let mut settings = SchemaSettings::draft2020_12();
    settings.contract = Contract::Deserialize;
    let mut generator = SchemaGenerator::new(settings);
    generator.subschema_for::<Request>();
    generator.subschema_for::<Response>();
    generator.subschema_for::<Notice>();
    generator.subschema_for::<Refusal>();
    generator.subschema_for::<UploadVerdict>();
    generator.subschema_for::<ProjectSpec>();
    generator.subschema_for::<OpeningRecord>();
    generator.take_definitions(true).into_iter().collect()
}

fn json_schema() -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "kaibiao",
        "description": "The frames and files of kaibiao. A client sends Request, the server sends Response and Notice.",
        "$defs": definitions(),
    })
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap() + "\n"
}

fn check(name: &str, made: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/schema").join(name);
    if std::env::var_os("KAIBIAO_BLESS").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, made).unwrap();
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == made,
        "docs/schema/{name} does not fit the Rust types any more; if the change of the wire is meant, run \
         KAIBIAO_BLESS=1 cargo test -p kaibiao-protocol --test schemas, and note it in CHANGELOG.md"
    );
}

#[test]
fn the_json_schema_fits_the_types() {
    check("kaibiao.schema.json", &pretty(&json_schema()));
}

/// A case and its evaluation, `docs/formats/case.md`.
#[test]
fn the_schema_of_a_case_fits_the_types() {
    let mut settings = SchemaSettings::draft2020_12();
    settings.contract = Contract::Deserialize;
    let mut generator = SchemaGenerator::new(settings);
    let (case, evaluation) = (generator.subschema_for::<Case>(), generator.subschema_for::<Evaluation>());
    let schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "kaibiao case",
        "description": "What kaibiao evaluate reads (Case) and prints with --json (Evaluation).",
        "oneOf": [case, evaluation],
        "$defs": generator.take_definitions(true),
    });
    check("case.schema.json", &pretty(&schema));
}

#[test]
fn the_asyncapi_document_fits_the_types() {
    check("asyncapi.json", &pretty(&asyncapi::document(definitions())));
}

#[test]
fn the_typescript_types_fit_the_types() {
    check("kaibiao.ts", &typescript::module(&definitions()));
}

#[test]
fn every_reference_of_the_schema_leads_somewhere() {
    fn references(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(fields) => {
                for (key, inner) in fields {
                    match (key.as_str(), inner) {
                        ("$ref", Value::String(target)) => found.push(target.clone()),
                        _ => references(inner, found),
                    }
                }
            }
            Value::Array(items) => items.iter().for_each(|inner| references(inner, found)),
            _ => {}
        }
    }
    let schema = json_schema();
    let mut found = Vec::new();
    references(&schema, &mut found);
    assert!(!found.is_empty());
    for target in found {
        assert!(schema.pointer(target.trim_start_matches('#')).is_some(), "{target}");
    }
}
