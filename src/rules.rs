//! `kaibiao rules`: the rules that the engine enforces and cites, by key.

use clap::Args;
use kaibiao_engine::rules::{Certainty, Key, Law, Rule, RulePack};
use serde_json::{Value, json};

use crate::outcome::{Failure, Outcome, result};

/// Arguments of `kaibiao rules`.
#[derive(Args)]
pub(crate) struct Rules {
    /// Which pack: `GP` (government procurement) or `CTB` (tendered works), with or without its version.
    #[arg(long, default_value = "GP")]
    pack: String,
}

/// Runs the command.
pub(crate) fn run(arguments: &Rules, json: bool) -> Outcome {
    let named = |pack: &RulePack| {
        let name = pack.name();
        arguments.pack == name || name.split_once('/').is_some_and(|(short, _)| arguments.pack == short)
    };
    let Some(pack) = RulePack::ALL.into_iter().find(named) else {
        let known = RulePack::ALL.map(RulePack::name).join(", ");
        return Err(Failure::Misuse(format!("there is no rule pack {}: {known}", arguments.pack)));
    };
    let laws: Vec<Law> =
        Rule::ALL.into_iter().filter(|rule| *rule != Rule::House).map(|rule| pack.law(rule)).collect();
    let rules: Vec<Value> = laws.iter().map(as_json).collect();
    let mut text = format!("{}\n", pack.name());
    for law in &laws {
        let keys: Vec<String> =
            law.keys.iter().map(|key| format!("{} [{}]", key.article(), letter(*key))).collect();
        text += &format!("  {}\n    {}\n", keys.join(", "), law.sentence);
    }
    text += "[L] the statute's text was read, [Q] a quotation was read, [M] from memory: data that a project may set";
    result(json, &json!({ "pack": pack.name(), "rules": rules }), &text)
}

fn as_json(law: &Law) -> Value {
    let keys: Vec<Value> =
        law.keys.iter().map(|key| json!({ "article": key.article(), "certainty": letter(*key) })).collect();
    json!({ "keys": keys, "sentence": law.sentence })
}

/// How surely a key is known, as in the list of rules.
fn letter(key: Key) -> &'static str {
    match key.certainty() {
        Certainty::Text => "L",
        Certainty::Quotation => "Q",
        Certainty::Memory => "M",
    }
}
