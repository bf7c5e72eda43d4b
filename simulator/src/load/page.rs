//! The report as one HTML page with plots; it loads nothing from anywhere.

use std::fmt::Write as _;

use super::{deadline::DeadlineReport, meters::Latency, report::Report};

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 180.0;
const BARS: usize = 60;

/// The page.
pub(super) fn page(report: &Report) -> String {
    let mut body = String::new();
    let verdict = if report.lost + report.doubled + report.strangers + report.wrong_verdicts == 0 {
        "<p class=good>No bid was lost or doubled, and every verdict is the stamp rule's.</p>"
    } else {
        "<p class=bad>Bids were lost, doubled or judged wrongly: see the table.</p>"
    };
    let _ = write!(
        body,
        "<h1>kaibiao: load of {} suppliers</h1>{verdict}<table>\
         <tr><th>lots<td>{}<th>MiB a bid<td>{}<th>arrivals<td>{}<th>seed<td>{}\
         <tr><th>received<td>{}<th>unsealed<td>{}<th>lost<td>{}<th>doubled<td>{}\
         <tr><th>strangers<td>{}<th>wrong verdicts<td>{}<th>memory before<td>{}<th>memory at most<td>{}</table>",
        report.suppliers,
        report.lots,
        report.bid_mb,
        report.arrivals,
        report.seed,
        report.received,
        report.unsealed,
        report.lost,
        report.doubled,
        report.strangers,
        report.wrong_verdicts,
        mib(report.server_memory_before),
        mib(report.server_memory_peak),
    );
    let _ = write!(body, "<h2>Receipts by time before the deadline</h2>{}", stamps(&report.stamps_ms));
    body.push_str(
        "<h2>Latency by step</h2><table><tr><th>step<th>count<th>p50 ms<th>p90 ms<th>p99 ms<th>max ms",
    );
    for one in &report.latencies {
        let _ = write!(
            body,
            "<tr><th>{}<td>{}<td>{:.1}<td>{:.1}<td>{:.1}<td>{:.1}",
            name(one),
            one.count,
            one.p50_ms,
            one.p90_ms,
            one.p99_ms,
            one.max_ms
        );
    }
    body.push_str("</table>");
    for one in &report.latencies {
        let _ = write!(body, "<h3>{}</h3>{}", name(one), curve(&one.curve_ms));
    }
    if !report.refusals.is_empty() {
        body.push_str("<h2>Refusals</h2><table>");
        for (code, count) in &report.refusals {
            let _ = write!(body, "<tr><th>{}<td>{count}", escaped(code));
        }
        body.push_str("</table>");
    }
    if !report.faults.is_empty() {
        body.push_str("<h2>Faults</h2><table>");
        for (what, count) in &report.faults {
            let _ = write!(body, "<tr><th>{}<td>{count}", escaped(what));
        }
        body.push_str("</table>");
    }
    whole(&body)
}

/// The page of the deadline second.
pub(super) fn deadline_page(report: &DeadlineReport) -> String {
    let mut body = String::new();
    let verdict = if report.holds() {
        "<p class=good>Everybody has the signed verdict that the stamp rule gives.</p>"
    } else {
        "<p class=bad>Verdicts are missing or wrong: see the table.</p>"
    };
    let _ = write!(
        body,
        "<h1>kaibiao: {} last bytes in the last second</h1>{verdict}<table>\
         <tr><th>projects<td>{}<th>bytes<td>{}<th>KiB in the second<td>{}<th>seed<td>{}\
         <tr><th>without<td>{}<th>wrong<td>{}<th>memory before<td>{}<th>memory at most<td>{}</table><table>",
        report.suppliers,
        report.projects,
        report.bytes,
        report.last_kb,
        report.seed,
        report.without,
        report.wrong,
        mib(report.server_memory_before),
        mib(report.server_memory_peak),
    );
    for (name, count) in report.verdicts.iter().chain(&report.faults) {
        let _ = write!(body, "<tr><th>{}<td>{count}", escaped(name));
    }
    let _ = write!(
        body,
        "</table><h2>From the last byte to the verdict</h2><table><tr><th>p50<th>p95<th>p99<th>max<th>bare writer<th>p99 / bare\
         <tr><td>{:.0} ms<td>{:.0} ms<td>{:.0} ms<td>{:.0} ms<td>{:.0} ms<td>{:.2}</table>{}",
        report.p50_ms,
        report.p95_ms,
        report.p99_ms,
        report.max_ms,
        report.bare_ms,
        report.p99_in_bare,
        curve(&report.curve_ms)
    );
    let _ = write!(
        body,
        "<h2>How many had sent their last byte and had no verdict yet</h2>{}<h2>Stamps by time from the deadline</h2>{}",
        depths(&report.queue),
        stamps(&report.stamps_ms)
    );
    whole(&body)
}

/// A queue's depth over time.
fn depths(queue: &[(i64, u32)]) -> String {
    let (Some((first, _)), Some((last, _))) = (queue.first(), queue.last()) else {
        return "<p>None.</p>".to_owned();
    };
    let span = (last - first).max(1) as f64;
    let most = queue.iter().map(|(_, depth)| *depth).max().unwrap_or(1).max(1);
    let x = |ms: i64| (ms - first) as f64 * WIDTH / span;
    let line: Vec<String> = queue
        .iter()
        .map(|(ms, depth)| {
            let high = f64::from(*depth) / f64::from(most) * (HEIGHT - 35.0);
            format!("{:.1},{:.1}", x(*ms), HEIGHT - 15.0 - high)
        })
        .collect();
    format!(
        "<svg viewBox='0 0 {WIDTH} {HEIGHT}' width={WIDTH} height={HEIGHT}>\
         <line x1={0:.1} x2={0:.1} y1=0 y2={HEIGHT} stroke=#a11 stroke-dasharray=4 />\
         <polyline points='{1}' fill=none stroke=#1b6ec2 stroke-width=1.5 />\
         <text x=4 y=14>{most} waiting</text><text x=4 y={2}>{first} ms</text>\
         <text x={3} y={2} text-anchor=end>{last} ms; the deadline is dashed</text></svg>",
        x(0),
        line.join(" "),
        HEIGHT - 3.0,
        WIDTH - 4.0
    )
}

fn whole(body: &str) -> String {
    format!(
        "<!doctype html><html lang=en><meta charset=utf-8><title>kaibiao load</title><style>\
         body{{font:14px/1.5 system-ui,sans-serif;max-width:760px;margin:2em auto;padding:0 1em;color:#222}}\
         table{{border-collapse:collapse;margin:1em 0}}td,th{{border:1px solid #ccc;padding:.2em .7em;text-align:right}}\
         th{{background:#f4f4f4;font-weight:600}}svg{{background:#fafafa;border:1px solid #ddd}}text{{font-size:11px;fill:#555}}\
         .good{{color:#176117}}.bad{{color:#a11;font-weight:bold}}</style>{body}</html>\n"
    )
}

fn name(latency: &Latency) -> String {
    serde_json::to_value(latency.step)
        .ok()
        .and_then(|step| step.as_str().map(str::to_owned))
        .unwrap_or_default()
}

/// Percentiles from left to right, milliseconds upwards.
fn curve(points: &[f64]) -> String {
    let most = points.last().copied().unwrap_or(0.0).max(0.001);
    let place = |(hundredth, ms): (usize, &f64)| {
        let x = hundredth as f64 * WIDTH / 100.0;
        format!("{x:.1},{:.1}", HEIGHT - ms / most * (HEIGHT - 20.0))
    };
    let line: Vec<String> = points.iter().enumerate().map(place).collect();
    format!(
        "<svg viewBox='0 0 {WIDTH} {HEIGHT}' width={WIDTH} height={HEIGHT}>\
         <polyline points='{}' fill=none stroke=#1b6ec2 stroke-width=1.5 />\
         <text x=4 y=14>{most:.1} ms</text><text x={} y={} text-anchor=end>100 %</text></svg>",
        line.join(" "),
        WIDTH - 4.0,
        HEIGHT - 4.0
    )
}

/// How many receipts were stamped in each slice of time.
fn stamps(stamps_ms: &[i64]) -> String {
    let (Some(first), Some(last)) = (stamps_ms.first(), stamps_ms.last()) else {
        return "<p>None.</p>".to_owned();
    };
    let span = (last - first).max(1);
    let mut slices = [0_u32; BARS];
    for stamp in stamps_ms {
        let slice = usize::try_from((stamp - first) * (BARS as i64 - 1) / span).unwrap_or(0);
        slices[slice.min(BARS - 1)] += 1;
    }
    let most = slices.iter().copied().max().unwrap_or(1).max(1);
    let wide = WIDTH / BARS as f64;
    let mut bars = String::new();
    for (no, count) in slices.iter().enumerate() {
        let high = f64::from(*count) / f64::from(most) * (HEIGHT - 30.0);
        let _ = write!(
            bars,
            "<rect x={:.1} y={:.1} width={:.1} height={high:.1} fill=#1b6ec2 />",
            no as f64 * wide,
            HEIGHT - 15.0 - high,
            wide - 1.0
        );
    }
    format!(
        "<svg viewBox='0 0 {WIDTH} {HEIGHT}' width={WIDTH} height={HEIGHT}>{bars}\
         <text x=4 y=14>{most} a slice</text><text x=4 y={0}>{first} ms</text>\
         <text x={1} y={0} text-anchor=end>{last} ms</text></svg>",
        HEIGHT - 3.0,
        WIDTH - 4.0
    )
}

fn mib(bytes: Option<u64>) -> String {
    bytes.map_or_else(|| "?".to_owned(), |bytes| format!("{} MiB", bytes >> 20))
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
