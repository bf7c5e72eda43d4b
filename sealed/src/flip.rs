//! Every way of changing one leaf of a JSON text, for tests that no changed field goes unnoticed.

use serde_json::Value;

/// The texts that differ from `text`, compact JSON, in one member that is no object or list, with that
/// member's name. Everything else keeps its bytes, and a changed digest or id stays well-formed.
pub(crate) fn each_member_changed(text: &str) -> Vec<(String, String)> {
    let mut out = Vec::new();
    walk(&serde_json::from_str(text).unwrap(), text, &mut out);
    out
}

fn walk(value: &Value, text: &str, out: &mut Vec<(String, String)>) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                match changed(value) {
                    None => walk(value, text, out),
                    Some(other) => replace_each(name, value, &other, text, out),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| walk(item, text, out)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// A value of the same form that is another; `None` for what has members of its own.
fn changed(value: &Value) -> Option<Value> {
    match value {
        Value::Bool(yes) => Some(Value::Bool(!yes)),
        Value::Number(number) => Some(Value::from(number.as_i64().unwrap() + 1)),
        Value::String(text) => {
            let mut letters: Vec<char> = text.chars().collect();
            let last = letters.pop().unwrap_or('w');
            letters.push(match last {
                '0'..='8' | 'a'..='e' => char::from(last as u8 + 1),
                '9' | 'f' => '0',
                _ => 'x',
            });
            Some(Value::String(letters.into_iter().collect()))
        }
        Value::Array(items) => {
            let (first, rest) = items.split_first()?;
            Some(std::iter::once(changed(first)?).chain(rest.iter().cloned()).collect())
        }
        Value::Null | Value::Object(_) => None,
    }
}

fn replace_each(name: &str, value: &Value, other: &Value, text: &str, out: &mut Vec<(String, String)>) {
    let (from, to) = (format!("\"{name}\":{value}"), format!("\"{name}\":{other}"));
    let found: Vec<usize> = text.match_indices(&from).map(|(at, _)| at).collect();
    assert!(!found.is_empty(), "{from} stands in the text");
    for at in found {
        let mut changed = text.to_owned();
        changed.replace_range(at..at + from.len(), &to);
        out.push((name.to_owned(), changed));
    }
}
