//! What the web server counts. Nothing here grows with bids handed in more than with pages looked at: before the
//! deadline no number may tell who or how many have handed in.

use std::sync::atomic::{AtomicU64, Ordering};

use actix_web::http::StatusCode;
use std::fmt::Write as _;

/// Counters of the web server.
#[derive(Default)]
pub(crate) struct Meters {
    answered: [AtomicU64; 5],
    signed_in: AtomicU64,
    turned_away: AtomicU64,
    sockets_opened: AtomicU64,
}

impl Meters {
    pub(crate) fn answered(&self, status: StatusCode) {
        if let Some(class) = self.answered.get(usize::from(status.as_u16() / 100).wrapping_sub(1)) {
            class.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn signed_in(&self) {
        self.signed_in.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn turned_away(&self) {
        self.turned_away.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn socket_opened(&self) {
        self.sockets_opened.fetch_add(1, Ordering::Relaxed);
    }

    /// In the OpenMetrics text format, without the end mark; `sessions` and `sockets` are open now.
    pub(crate) fn text(&self, sessions: usize, sockets: usize) -> String {
        let mut text = String::new();
        let mut family = |name: &str, kind: &str, help: &str, samples: &[(&str, u64)]| {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
            let suffix = if kind == "counter" { "_total" } else { "" };
            for (labels, value) in samples {
                let _ = writeln!(text, "{name}{suffix}{labels} {value}");
            }
        };
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let classes =
            ["{class=\"1xx\"}", "{class=\"2xx\"}", "{class=\"3xx\"}", "{class=\"4xx\"}", "{class=\"5xx\"}"];
        let answered: Vec<_> = classes.into_iter().zip(self.answered.iter().map(of)).collect();
        family("kaibiao_http_answers", "counter", "HTTP answers by class of status.", &answered);
        family("kaibiao_sign_ins", "counter", "Sessions opened.", &[("", of(&self.signed_in))]);
        let away = [("", of(&self.turned_away))];
        family("kaibiao_sign_ins_refused", "counter", "Attempts to sign in that were refused.", &away);
        family("kaibiao_sockets_opened", "counter", "WebSockets opened.", &[("", of(&self.sockets_opened))]);
        family("kaibiao_sessions", "gauge", "Sessions open.", &[("", sessions as u64)]);
        family("kaibiao_sockets", "gauge", "WebSockets open.", &[("", sockets as u64)]);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_told_by_name() {
        let meters = Meters::default();
        meters.answered(StatusCode::OK);
        meters.answered(StatusCode::NOT_FOUND);
        meters.socket_opened();
        let text = meters.text(3, 2);
        for line in [
            "kaibiao_http_answers_total{class=\"2xx\"} 1",
            "kaibiao_http_answers_total{class=\"4xx\"} 1",
            "kaibiao_sockets_opened_total 1",
            "kaibiao_sessions 3",
            "kaibiao_sockets 2",
        ] {
            assert!(text.lines().any(|told| told == line), "{line} in\n{text}");
        }
    }
}
