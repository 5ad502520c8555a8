//! Sizes, rates and times, as people read and write them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nearmesh_common::UnixMillis;

const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

/// `1536` is `1.5 KiB`.
pub(super) fn size(bytes: u64) -> String {
    let mut value = bytes as f64;
    let mut unit = 0;
    // 1023.95 would be written as 1024.0.
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

/// `1536` is `1.5 KiB/s`.
pub(super) fn rate(bytes_a_second: u64) -> String {
    format!("{}/s", size(bytes_a_second))
}

/// `0.25` is `0.25 ms`, `123.4` is `123 ms`, unknown is `-`.
pub(super) fn rtt(milliseconds: Option<f64>) -> String {
    match milliseconds {
        None => "-".to_owned(),
        Some(ms) if ms < 10.0 => format!("{ms:.2} ms"),
        Some(ms) => format!("{ms:.0} ms"),
    }
}

/// The two largest units: `2 d 3 h`, `5 min 1 s`, `12 s`; below 10 seconds with a digit more.
pub(super) fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..10 => format!("{:.1} s", duration.as_secs_f64()),
        10..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

/// How long ago a moment was: `12 s ago`.
pub(super) fn ago(moment: UnixMillis) -> String {
    format!("{} ago", duration(now().since(moment)))
}

/// How long it is until a moment: `23 h 59 min`.
pub(super) fn until(moment: UnixMillis) -> String {
    duration(moment.since(now()))
}

/// `a file`, `2 files`.
pub(super) fn files(count: u64) -> String {
    if count == 1 { "1 file".to_owned() } else { format!("{count} files") }
}

/// Reads `500`, `10MiB`, `10M`, `1.5GB`: units with `i`, and single letters, count by 1024, the others by 1000.
pub(super) fn parse_size(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is no size: write 500, 10MiB or 1.5GB");
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: f64 = number.parse().map_err(|_| wrong())?;
    let unit = unit.trim().to_ascii_lowercase();
    let mut letters = unit.chars();
    let power = match letters.next() {
        None | Some('b') => 0,
        Some(letter) => 1 + "kmgtp".find(letter).ok_or_else(wrong)?,
    };
    let base: f64 = match (power, letters.as_str()) {
        (0, "") | (1.., "" | "ib") => 1024.0,
        (1.., "b") => 1000.0,
        _ => return Err(wrong()),
    };
    let bytes = number * base.powi(i32::try_from(power).map_err(|_| wrong())?);
    // Beyond 2^53 a float no longer counts single bytes, and no file is that large.
    if bytes < 9e15 { Ok(bytes.round() as u64) } else { Err(wrong()) }
}

fn now() -> UnixMillis {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMillis(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_written_with_one_digit_and_never_as_1024_of_a_unit() {
        assert_eq!(size(0), "0 B");
        assert_eq!(size(1023), "1023 B");
        assert_eq!(size(1024), "1.0 KiB");
        assert_eq!(size(1024 * 1024 - 1), "1.0 MiB");
        assert_eq!(size(256 * 1024 * 1024), "256.0 MiB");
        assert_eq!(size(u64::MAX), "16384.0 PiB");
    }

    #[test]
    fn sizes_are_read_as_people_write_them() {
        assert_eq!(parse_size("500"), Ok(500));
        assert_eq!(parse_size("500b"), Ok(500));
        assert_eq!(parse_size("10MiB"), Ok(10 << 20));
        assert_eq!(parse_size("10m"), Ok(10 << 20));
        assert_eq!(parse_size("1.5GB"), Ok(1_500_000_000));
        assert_eq!(parse_size("2 kB"), Ok(2000));
        for wrong in ["", "big", "MiB", "-1", "1.2.3", "10XB", "10MiBs", "1bb", "99999PB"] {
            assert!(parse_size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn times_are_written_in_their_two_largest_units() {
        assert_eq!(duration(Duration::from_millis(1234)), "1.2 s");
        assert_eq!(duration(Duration::from_secs(301)), "5 min 1 s");
        assert_eq!(duration(Duration::from_secs(86_400 * 2 + 3 * 3600)), "2 d 3 h");
        assert_eq!(rtt(Some(0.254)), "0.25 ms");
        assert_eq!(rtt(None), "-");
    }
}
