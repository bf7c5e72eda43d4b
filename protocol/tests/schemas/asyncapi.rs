//! AsyncAPI 3 for the one WebSocket.

use serde_json::{Map, Value, json};

/// The document, with `definitions` as its schemas.
pub(crate) fn document(definitions: Map<String, Value>) -> Value {
    let schemas: Map<String, Value> =
        definitions.into_iter().map(|(name, schema)| (name, moved(schema))).collect();
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "kaibiao",
            "version": "1",
            "description": "One WebSocket, JSON text frames, one object a frame. The client asks; the server answers \
                            with the same id and sends a notice for each event of a subscribed stream. Files go over \
                            HTTP: see api.md.",
            "license": { "name": "Apache-2.0" }
        },
        "defaultContentType": "application/json",
        "channels": {
            "socket": {
                "address": "/api/socket",
                "description": "Wants a session: `Authorization: Bearer SESSION`, or the session's cookie.",
                "messages": {
                    "request": { "$ref": "#/components/messages/request" },
                    "response": { "$ref": "#/components/messages/response" },
                    "notice": { "$ref": "#/components/messages/notice" }
                }
            }
        },
        "operations": {
            "ask": {
                "action": "receive",
                "summary": "The server receives what a client asks and answers each.",
                "channel": { "$ref": "#/channels/socket" },
                "messages": [{ "$ref": "#/channels/socket/messages/request" }],
                "reply": {
                    "channel": { "$ref": "#/channels/socket" },
                    "messages": [{ "$ref": "#/channels/socket/messages/response" }]
                }
            },
            "tell": {
                "action": "send",
                "summary": "The server sends each event of a subscribed stream, numbered without a gap.",
                "channel": { "$ref": "#/channels/socket" },
                "messages": [{ "$ref": "#/channels/socket/messages/notice" }]
            }
        },
        "components": {
            "messages": {
                "request": message("Request", "A question or command."),
                "response": message("Response", "The answer to it: done, or refused with rule and next step."),
                "notice": message("Notice", "An event of a subscribed stream.")
            },
            "schemas": schemas
        }
    })
}

fn message(schema: &str, summary: &str) -> Value {
    json!({
        "name": schema,
        "summary": summary,
        "payload": { "$ref": format!("#/components/schemas/{schema}") }
    })
}

/// The same schema with its references leading into this document.
fn moved(schema: Value) -> Value {
    match schema {
        Value::Object(fields) => Value::Object(
            fields
                .into_iter()
                .map(|(key, inner)| match (key.as_str(), inner) {
                    ("$ref", Value::String(target)) => {
                        (key, Value::String(target.replace("#/$defs/", "#/components/schemas/")))
                    }
                    (_, inner) => (key, moved(inner)),
                })
                .collect(),
        ),
        Value::Array(items) => Value::Array(items.into_iter().map(moved).collect()),
        other => other,
    }
}
