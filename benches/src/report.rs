//! What a bench prints.

use std::io::{self, Write};

use serde_json::{Map, Value, json};

use crate::Machine;

/// Whether a figure is to be at least or at most something.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Wanted {
    /// At least this.
    AtLeast(f64),
    /// At most this.
    AtMost(f64),
}

impl Wanted {
    fn met_by(self, value: f64) -> bool {
        match self {
            Wanted::AtLeast(bound) => value >= bound,
            Wanted::AtMost(bound) => value <= bound,
        }
    }

    fn words(self) -> String {
        match self {
            Wanted::AtLeast(bound) => format!("at least {bound}"),
            Wanted::AtMost(bound) => format!("at most {bound}"),
        }
    }
}

struct Line {
    name: &'static str,
    value: f64,
    unit: &'static str,
    wanted: Option<Wanted>,
}

/// A bench's findings, in the order they were made.
pub struct Report {
    bench: &'static str,
    machine: Machine,
    facts: Vec<(&'static str, String)>,
    lines: Vec<Line>,
}

impl Report {
    /// A report without findings.
    pub fn new(bench: &'static str, machine: Machine) -> Self {
        Self { bench, machine, facts: Vec::new(), lines: Vec::new() }
    }

    /// Something that was not measured: a size, a digest, a seed.
    pub fn fact(&mut self, name: &'static str, value: impl ToString) {
        self.facts.push((name, value.to_string()));
    }

    /// A value that was measured.
    pub fn measured(&mut self, name: &'static str, value: f64, unit: &'static str) {
        self.lines.push(Line { name, value, unit, wanted: None });
    }

    /// A figure the issue asks for.
    pub fn figure(&mut self, name: &'static str, value: f64, unit: &'static str, wanted: Wanted) {
        self.lines.push(Line { name, value, unit, wanted: Some(wanted) });
    }

    /// Whether every figure asked for is reached.
    pub fn reached(&self) -> bool {
        self.lines.iter().all(|line| line.wanted.is_none_or(|wanted| wanted.met_by(line.value)))
    }

    /// Prints it, as JSON or as text.
    ///
    /// # Errors
    /// The output is closed.
    pub fn print(&self, as_json: bool) -> io::Result<()> {
        let mut out = io::stdout().lock();
        if as_json { writeln!(out, "{}", self.json()) } else { out.write_all(self.text().as_bytes()) }
    }

    fn json(&self) -> Value {
        let facts: Map<String, Value> =
            self.facts.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
        let lines: Vec<Value> = self
            .lines
            .iter()
            .map(|line| {
                let mut object = json!({ "name": line.name, "value": line.value, "unit": line.unit });
                if let Some(wanted) = line.wanted {
                    object["wanted"] = json!(wanted.words());
                    object["reached"] = json!(wanted.met_by(line.value));
                }
                object
            })
            .collect();
        json!({
            "bench": self.bench,
            "machine": self.machine,
            "facts": facts,
            "measured": lines,
            "reached": self.reached(),
        })
    }

    fn text(&self) -> String {
        let Machine { processor, cores, memory_mib, kernel, disk, build } = &self.machine;
        let mut text = format!(
            "== {}\n{processor}, {cores} cores, {memory_mib} MiB, Linux {kernel}, {disk}, {build} build\n",
            self.bench
        );
        for (name, value) in &self.facts {
            text.push_str(&format!("{name}: {value}\n"));
        }
        for line in &self.lines {
            let verdict = line.wanted.map_or(String::new(), |wanted| {
                format!(
                    "   ({}: {})",
                    wanted.words(),
                    if wanted.met_by(line.value) { "reached" } else { "NOT REACHED" }
                )
            });
            text.push_str(&format!("{:<44} {:>12} {}{verdict}\n", line.name, shown(line.value), line.unit));
        }
        text
    }
}

/// A number with as many digits as mean something.
fn shown(value: f64) -> String {
    let decimals = match value.abs() {
        large if large >= 1_000.0 => 0,
        middle if middle >= 10.0 => 1,
        _ => 3,
    };
    format!("{value:.decimals$}")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn a_report_tells_what_is_not_reached() {
        let mut report = Report::new("bench", Machine::look(Path::new(".")));
        report.measured("latency", 0.5, "ms");
        report.figure("speed", 12_345.6, "events/s", Wanted::AtLeast(10_000.0));
        assert!(report.reached());
        report.figure("ratio", 2.5, "x", Wanted::AtMost(2.0));
        assert!(!report.reached());
        let text = report.text();
        assert!(text.contains("12346 events/s   (at least 10000: reached)"), "{text}");
        assert!(text.contains("2.500 x   (at most 2: NOT REACHED)"), "{text}");
        assert_eq!(report.json()["measured"][2]["reached"], false);
    }
}
