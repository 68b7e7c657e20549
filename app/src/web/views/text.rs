//! Numbers, sizes and shortened text, as people read them.

use chrono::{DateTime, Utc};

/// A number with a comma between thousands: `48,225`.
#[must_use]
pub fn number(value: impl Into<i64>) -> String {
    let value: i64 = value.into();
    let digits = value.unsigned_abs().to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3 + 1);
    if value < 0 {
        grouped.push('-');
    }
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// A number and what it counts: `1 reply`, `23 replies`.
#[must_use]
pub fn count(value: impl Into<i64>, one: &str, many: &str) -> String {
    let value: i64 = value.into();
    let noun = if value == 1 { one } else { many };
    format!("{} {noun}", number(value))
}

/// Like [`count`], with the number in words up to twelve: `Six boards`.
#[must_use]
pub fn count_in_words(value: usize, one: &str, many: &str) -> String {
    const WORDS: [&str; 13] =
        ["No", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine", "Ten", "Eleven", "Twelve"];
    let noun = if value == 1 { one } else { many };
    match WORDS.get(value) {
        Some(word) => format!("{word} {noun}"),
        None => count(i64::try_from(value).unwrap_or(i64::MAX), one, many),
    }
}

/// A size in the units that image boards use, 1 KB being 1024 bytes: `820 KB`, `1.9 MB`.
#[must_use]
pub fn size(bytes: impl Into<i64>) -> String {
    const KB: i64 = 1024;
    const MB: i64 = 1024 * KB;
    let bytes: i64 = bytes.into();
    if bytes < KB {
        return format!("{bytes} B");
    }
    let kilobytes = bytes.saturating_add(KB / 2) / KB;
    if kilobytes < 1000 {
        return format!("{kilobytes} KB");
    }
    let tenths = bytes.saturating_mul(10).saturating_add(MB / 2) / MB;
    match tenths % 10 {
        0 => format!("{} MB", number(tenths / 10)),
        rest => format!("{}.{rest} MB", number(tenths / 10)),
    }
}

/// One line of at most `limit` characters, cut between words where that is possible.
#[must_use]
pub fn excerpt(text: &str, limit: usize) -> String {
    let mut line = String::new();
    let mut length = 0;
    for word in text.split_whitespace() {
        let width = word.chars().count();
        let gap = usize::from(length > 0);
        if length + gap + width > limit {
            // A long word is cut where little else would be left; scripts without spaces are one long word.
            if length < limit / 2 {
                line.extend((gap == 1).then_some(' '));
                line.extend(word.chars().take(limit - length - gap));
            }
            line.push('…');
            return line;
        }
        if gap == 1 {
            line.push(' ');
        }
        line.push_str(word);
        length += gap + width;
    }
    line
}

/// A moment as pages show it: `22 Nov 2026, 06:41`. Always UTC; the footer says so.
#[must_use]
pub fn moment(at: &DateTime<Utc>) -> String {
    at.format("%-d %b %Y, %H:%M").to_string()
}

/// A moment for `title`: `Sunday, 22 November 2026, 06:41:07 UTC`.
#[must_use]
pub fn moment_in_full(at: &DateTime<Utc>) -> String {
    at.format("%A, %-d %B %Y, %H:%M:%S UTC").to_string()
}

/// A moment for `datetime`: `2026-11-22T06:41:07Z`.
#[must_use]
pub fn moment_for_machines(at: &DateTime<Utc>) -> String {
    at.format("%Y-%m-%dT%H:%M:%SZ").to_string()
}
