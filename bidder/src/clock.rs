//! This machine's clock, and times as people read them.

use jiff::{Timestamp, tz::TimeZone};
use kaibiao_protocol::moment::Moment;

/// This machine's time now.
pub fn now() -> Moment {
    Moment(Timestamp::now().as_microsecond())
}

/// A moment as people in China read it: `2026-03-01 09:30:00` (Asia/Shanghai), with milliseconds unless they
/// are zero.
pub fn shown(at: Moment) -> String {
    let Ok(instant) = Timestamp::from_microsecond(at.0) else { return format!("{at:?}") };
    let zoned = instant.to_zoned_datetime(TimeZone::get("Asia/Shanghai").unwrap_or(TimeZone::UTC));
    let form = if at.0 % 1_000_000 == 0 { "%Y-%m-%d %H:%M:%S" } else { "%Y-%m-%d %H:%M:%S%.3f" };
    zoned.strftime(form).to_string()
}

/// A span as people read it: `2 天 03:04:05` and `2 d 03:04:05`; negative spans read as zero.
pub fn shown_span(micros: i64) -> (String, String) {
    let seconds = micros.max(0) / 1_000_000;
    let (days, hours) = (seconds / 86_400, seconds / 3_600 % 24);
    let clock = format!("{hours:02}:{:02}:{:02}", seconds / 60 % 60, seconds % 60);
    if days == 0 {
        (clock.clone(), clock)
    } else {
        (format!("{days} 天 {clock}"), format!("{days} d {clock}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_shown_in_chinese_time() {
        assert_eq!(shown(Moment(1_767_225_600_000_000)), "2026-01-01 08:00:00");
        assert_eq!(shown(Moment(1_767_225_600_250_000)), "2026-01-01 08:00:00.250");
    }

    #[test]
    fn spans_are_shown_in_days_hours_minutes_and_seconds() {
        assert_eq!(shown_span(3_661_000_000).0, "01:01:01");
        assert_eq!(shown_span(2 * 86_400_000_000 + 1_000_000).1, "2 d 00:00:01");
        assert_eq!(shown_span(-5).0, "00:00:00");
    }
}
