//! TypeScript types from JSON Schema: just the shapes that our Rust types give.

use std::fmt::Write as _;

use serde_json::{Map, Value};

/// A module that exports every definition.
pub(crate) fn module(definitions: &Map<String, Value>) -> String {
    let mut out = String::from(
        "// Made from the Rust types of kaibiao-protocol; a test keeps it true. Do not edit.\n\
         // Moments are microseconds since 1970 in UTC; amounts are strings in yuan with two decimals.\n",
    );
    for (name, schema) in definitions {
        out.push('\n');
        comment(&mut out, schema, "");
        let shape = shape(schema, "");
        let gap = if shape.starts_with('\n') { "" } else { " " };
        writeln!(out, "export type {name} ={gap}{shape};").unwrap();
    }
    out
}

fn comment(out: &mut String, schema: &Value, indent: &str) {
    let Some(text) = schema["description"].as_str() else { return };
    let text = text.replace("*/", "* /");
    let mut lines = text.lines();
    match (lines.next(), lines.next()) {
        (Some(only), None) => writeln!(out, "{indent}/** {only} */").unwrap(),
        _ => {
            writeln!(out, "{indent}/**").unwrap();
            for line in text.lines() {
                writeln!(out, "{}", format!("{indent} * {line}").trim_end()).unwrap();
            }
            writeln!(out, "{indent} */").unwrap();
        }
    }
}

fn shape(schema: &Value, indent: &str) -> String {
    if let Some(target) = schema["$ref"].as_str() {
        return target.rsplit('/').next().unwrap().to_owned();
    }
    for key in ["oneOf", "anyOf"] {
        if let Some(choices) = schema[key].as_array() {
            let inner = format!("{indent}  ");
            let rest = without(schema, key);
            let mut made: Vec<String> = Vec::new();
            for choice in choices {
                let one = shape(choice, &inner);
                if !made.contains(&one) {
                    made.push(one);
                }
            }
            let union = if made.len() == 1 || made.iter().all(|one| one.len() < 12) {
                made.join(" | ")
            } else {
                made.iter().map(|one| format!("\n{inner}| {one}")).collect()
            };
            // An enum inside a struct: the struct's own fields stand beside the choice.
            return if rest["properties"].is_object() {
                format!("{} & ({union})", object(&rest, indent))
            } else {
                union
            };
        }
    }
    if let Some(value) = schema.get("const") {
        return value.to_string();
    }
    if let Some(values) = schema["enum"].as_array() {
        return values.iter().map(Value::to_string).collect::<Vec<_>>().join(" | ");
    }
    match &schema["type"] {
        Value::Array(kinds) => kinds
            .iter()
            .map(|kind| {
                let mut one = schema.clone();
                one["type"] = kind.clone();
                shape(&one, indent)
            })
            .collect::<Vec<_>>()
            .join(" | "),
        Value::String(kind) => match kind.as_str() {
            "string" => "string".into(),
            "integer" | "number" => "number".into(),
            "boolean" => "boolean".into(),
            "null" => "null".into(),
            "array" => array(schema, indent),
            "object" => object(schema, indent),
            other => panic!("no TypeScript for the type {other}"),
        },
        _ => panic!("no TypeScript for {schema}"),
    }
}

fn without(schema: &Value, key: &str) -> Value {
    let mut rest = schema.clone();
    if let Some(fields) = rest.as_object_mut() {
        fields.remove(key);
    }
    rest
}

fn array(schema: &Value, indent: &str) -> String {
    if let Some(items) = schema["prefixItems"].as_array() {
        return format!("[{}]", items.iter().map(|item| shape(item, indent)).collect::<Vec<_>>().join(", "));
    }
    let item = shape(&schema["items"], indent);
    if item.contains(['|', '&']) { format!("({item})[]") } else { format!("{item}[]") }
}

fn object(schema: &Value, indent: &str) -> String {
    let Some(fields) = schema["properties"].as_object() else {
        return match (&schema["additionalProperties"], &schema["patternProperties"]) {
            (_, Value::Object(patterns)) if patterns.len() == 1 => {
                let item = patterns.values().next().unwrap();
                format!("{{ [key: string]: {} }}", shape(item, indent))
            }
            (item @ Value::Object(_), _) => format!("{{ [key: string]: {} }}", shape(item, indent)),
            _ => "Record<string, never>".into(),
        };
    };
    let required: Vec<&str> =
        schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let inner = format!("{indent}  ");
    let mut out = String::from("{\n");
    for (name, field) in fields {
        comment(&mut out, field, &inner);
        let mark = if required.contains(&name.as_str()) { "" } else { "?" };
        writeln!(out, "{inner}{name}{mark}: {};", shape(field, &inner)).unwrap();
    }
    out.push_str(indent);
    out.push('}');
    out
}
