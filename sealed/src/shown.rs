//! Moments as people read them: Beijing time, which has been UTC+8 without exception since 1991.
//!
//! Signed texts carry a moment twice, as UTC microseconds and in this form. The second is derived from the
//! first without a time zone database, so that a text is the same wherever it is made.

use kaibiao_protocol::{moment::Moment, project::ProjectKind};

const MICROS_A_SECOND: i64 = 1_000_000;
const SECONDS_A_DAY: i64 = 86_400;
const BEIJING_SECONDS: i64 = 8 * 3_600;

/// The moment in Beijing time, such as `2026-07-19 15:30:20.000000 +08:00`. Every moment has a form; years
/// outside 0 to 9999 have more than four characters.
pub fn beijing(at: Moment) -> String {
    // Split before adding: the ends of the range must not overflow.
    let (seconds, micros) = (at.0.div_euclid(MICROS_A_SECOND), at.0.rem_euclid(MICROS_A_SECOND));
    let local = seconds + BEIJING_SECONDS;
    let (days, second) = (local.div_euclid(SECONDS_A_DAY), local.rem_euclid(SECONDS_A_DAY));
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.{micros:06} +08:00")
}

/// A title as papers show it: an exercise says so (B1).
pub(crate) fn titled(title: &str, kind: ProjectKind) -> String {
    match kind {
        ProjectKind::Real => title.to_owned(),
        ProjectKind::Exercise => format!("{title}（演练）"),
    }
}

/// Year, month and day of a day counted from 1970-01-01, in the Gregorian calendar.
fn civil(days: i64) -> (i64, i64, i64) {
    // Counted from 0000-03-01, so that a leap day is the last day of its year; an era is 400 years.
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_shown_in_beijing_time() {
        for (micros, text) in [
            (0, "1970-01-01 08:00:00.000000 +08:00"),
            (1_563_521_420_000_001, "2019-07-19 15:30:20.000001 +08:00"),
            (1_582_991_999_999_999, "2020-02-29 23:59:59.999999 +08:00"),
            (1_582_992_000_000_000, "2020-03-01 00:00:00.000000 +08:00"),
            (1_767_196_799_999_999, "2025-12-31 23:59:59.999999 +08:00"),
            (1_767_196_800_000_000, "2026-01-01 00:00:00.000000 +08:00"),
            (4_107_513_600_000_000, "2100-03-01 00:00:00.000000 +08:00"),
            (-28_800_000_001, "1969-12-31 23:59:59.999999 +08:00"),
        ] {
            assert_eq!(beijing(Moment(micros)), text);
        }
    }

    #[test]
    fn the_ends_of_time_have_a_form_too() {
        assert!(!beijing(Moment(i64::MIN)).is_empty());
        assert!(!beijing(Moment(i64::MAX)).is_empty());
    }
}
