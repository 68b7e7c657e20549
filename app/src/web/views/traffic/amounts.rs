//! Bytes and numbers of requests as people read them, 1 kB being 1,000 bytes, and parts of a whole.

use std::fmt;

use crate::web::views::text;

/// What bytes are told in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unit {
    /// Bytes.
    B,
    /// Thousands.
    KB,
    /// Millions.
    MB,
    /// Milliards.
    GB,
    /// Thousands of those.
    TB,
    /// Millions of those.
    PB,
}

impl Unit {
    const ALL: [Self; 6] = [Self::B, Self::KB, Self::MB, Self::GB, Self::TB, Self::PB];

    /// As it is written behind a number.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::B => "B",
            Self::KB => "kB",
            Self::MB => "MB",
            Self::GB => "GB",
            Self::TB => "TB",
            Self::PB => "PB",
        }
    }

    /// Bytes in one.
    const fn bytes(self) -> u64 {
        1000_u64.pow(self as u32)
    }

    /// The largest unit in which this many bytes are at least so many.
    fn with_at_least(bytes: u64, least: u64) -> Self {
        let fits = |unit: &Self| bytes / unit.bytes() >= least;
        Self::ALL.into_iter().rev().find(fits).unwrap_or(Self::B)
    }

    /// The largest unit of which this many bytes are at least one.
    #[must_use]
    pub fn of(bytes: u64) -> Self {
        Self::with_at_least(bytes, 1)
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// A number with a comma between thousands.
#[must_use]
pub fn number(value: u64) -> String {
    text::number(i64::try_from(value).unwrap_or(i64::MAX))
}

/// A number of units, rounded to so many decimals.
fn decimal(value: u64, unit: u64, decimals: u32) -> String {
    let scale = 10_u128.pow(decimals);
    let unit = u128::from(unit.max(1));
    let rounded = (u128::from(value) * scale + unit / 2) / unit;
    let whole = number(u64::try_from(rounded / scale).unwrap_or(u64::MAX));
    match usize::try_from(decimals) {
        Ok(width) if width > 0 => format!("{whole}.{:0width$}", rounded % scale),
        _ => whole,
    }
}

/// A number of units, which are at least one, with three digits at the most: `1.62`, `21.9`, `144`, `2`.
fn three_digits(value: u64, unit: u64) -> String {
    let decimals = match value / unit.max(1) {
        0..10 => 2,
        10..100 => 1,
        _ => 0,
    };
    without_zeros(&decimal(value, unit, decimals))
}

fn without_zeros(told: &str) -> String {
    if told.contains('.') { told.trim_end_matches('0').trim_end_matches('.').to_owned() } else { told.to_owned() }
}

/// A number of a unit, with two decimals at the most: `0.5`, `20`.
#[must_use]
pub fn in_unit(bytes: u64, unit: Unit) -> String {
    without_zeros(&decimal(bytes, unit.bytes(), 2))
}

/// Bytes with three digits at the most, and their unit.
#[must_use]
pub fn size_parts(bytes: u64) -> (String, Unit) {
    let unit = Unit::of(bytes);
    // 999,600 bytes are 1 MB, not 1,000 kB.
    let rounded_up = Unit::of(bytes.saturating_add(unit.bytes() / 2));
    let unit = unit.max(rounded_up);
    (three_digits(bytes, unit.bytes()), unit)
}

/// Bytes with three digits at the most: `1.62 TB`.
#[must_use]
pub fn size(bytes: u64) -> String {
    let (number, unit) = size_parts(bytes);
    format!("{number} {unit}")
}

/// A number of requests, large ones with three digits: `712,200`, or `32.6` and `million`.
#[must_use]
pub fn count_parts(value: u64) -> (String, &'static str) {
    const MILLION: u64 = 1_000_000;
    match value {
        0..MILLION => (number(value), ""),
        MILLION..999_500_000 => (three_digits(value, MILLION), "million"),
        _ => (three_digits(value, 1000 * MILLION), "billion"),
    }
}

/// How the numbers of one column are written: all in one unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    /// The unit.
    pub unit: Unit,
    decimals: u32,
}

impl Column {
    /// For a column whose largest number, the sum aside, is this one.
    #[must_use]
    pub fn for_largest(bytes: u64) -> Self {
        // With less than two of a unit, what is small beside it would not be seen at all.
        let unit = Unit::with_at_least(bytes, 2);
        let decimals = match bytes / unit.bytes() {
            _ if unit == Unit::B => 0,
            0..20 => 2,
            _ => 1,
        };
        Self { unit, decimals }
    }

    /// A number of the column.
    #[must_use]
    pub fn show(self, bytes: u64) -> String {
        let least = self.unit.bytes() / 10_u64.pow(self.decimals);
        if bytes > 0 && bytes < least.div_ceil(2) {
            return format!("< {}", decimal(least, self.unit.bytes(), self.decimals));
        }
        decimal(bytes, self.unit.bytes(), self.decimals)
    }
}

/// A length in hundredths, of a pixel or of a percent, as SVG wants it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Hundredths(pub u64);

impl fmt::Display for Hundredths {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{:02}", self.0 / 100, self.0 % 100)
    }
}

/// So much of a length as a part is of the whole; nothing of nothing.
#[must_use]
pub fn part_of(length: Hundredths, part: u64, whole: u64) -> Hundredths {
    let scaled = u128::from(length.0) * u128::from(part) / u128::from(whole.max(1));
    Hundredths(u64::try_from(scaled).unwrap_or(u64::MAX))
}

/// All of it, in percent.
pub const WHOLE: Hundredths = Hundredths(10_000);

/// In percent, for a bar: never more than all of it.
#[must_use]
pub fn share(part: u64, whole: u64) -> Hundredths {
    part_of(WHOLE, part, whole).min(WHOLE)
}

/// In percent with one decimal, cut off, so that 100 says that nothing is missing: `97.3`.
#[must_use]
pub fn tenths_of_percent(part: u64, whole: u64) -> String {
    let Hundredths(percent) = part_of(WHOLE, part, whole);
    format!("{}.{}", number(percent / 100), percent / 10 % 10)
}

/// In percent with one decimal, rounded, for parts that are compared with each other: `33.5`.
#[must_use]
pub fn nearest_tenth_of_percent(part: u64, whole: u64) -> String {
    let Hundredths(percent) = part_of(WHOLE, part, whole);
    let tenths = (percent + 5) / 10;
    format!("{}.{}", number(tenths / 10), tenths % 10)
}

/// In whole percent, cut off: `66 %`; `less than 1 %`.
#[must_use]
pub fn percent(part: u64, whole: u64) -> String {
    match part_of(WHOLE, part, whole).0 / 100 {
        0 if part > 0 => "less than 1 %".to_owned(),
        whole_percent => format!("{} %", number(whole_percent)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_three_digits_at_the_most() {
        for (bytes, told) in [
            (0, "0 B"),
            (1, "1 B"),
            (999, "999 B"),
            (1_000, "1 kB"),
            (1_004, "1 kB"),
            (1_005, "1.01 kB"),
            (99_949, "99.9 kB"),
            (999_499, "999 kB"),
            (999_500, "1 MB"),
            (1_618_000_000_000, "1.62 TB"),
            (21_930_000_000, "21.9 GB"),
            (144_600_000_000, "145 GB"),
            (2_000_000_000_000, "2 TB"),
            (u64::MAX, "18,447 PB"),
        ] {
            assert_eq!(size(bytes), told);
        }
    }

    #[test]
    fn numbers_of_requests_are_short() {
        for (value, told) in [
            (0, ("0", "")),
            (712_200, ("712,200", "")),
            (1_000_000, ("1", "million")),
            (32_567_610, ("32.6", "million")),
            (999_400_000, ("999", "million")),
            (999_500_000, ("1", "billion")),
            (4_210_000_000, ("4.21", "billion")),
        ] {
            assert_eq!(count_parts(value), (told.0.to_owned(), told.1));
        }
    }

    #[test]
    fn a_column_has_one_unit_and_hides_nothing() {
        let column = Column::for_largest(1_182_400_000_000);
        assert_eq!(column.unit, Unit::GB);
        for (bytes, told) in [
            (1_182_400_000_000, "1,182.4"),
            (314_600_000_000, "314.6"),
            (50_000_000, "0.1"),
            (49_999_999, "< 0.1"),
            (1, "< 0.1"),
            (0, "0.0"),
        ] {
            assert_eq!(column.show(bytes), told);
        }
        assert_eq!(Column::for_largest(3_200_000).show(40_000), "0.04");
        assert_eq!(Column::for_largest(1_090_000_000).show(540_000_000), "540.0");
        assert_eq!((Column::for_largest(0).unit, Column::for_largest(0).show(0)), (Unit::B, "0".to_owned()));
        assert_eq!(Column::for_largest(1_999).show(1_999), "1,999");
        assert_eq!(Column::for_largest(u64::MAX).unit, Unit::PB);
    }

    #[test]
    fn parts_of_nothing_are_nothing_and_no_part_is_more_than_all() {
        assert_eq!(share(0, 0).to_string(), "0.00");
        assert_eq!(share(1, 3).to_string(), "33.33");
        assert_eq!(share(5, 3).to_string(), "100.00");
        assert_eq!(share(u64::MAX, u64::MAX).to_string(), "100.00");
        assert_eq!(tenths_of_percent(9_999, 10_000), "99.9");
        assert_eq!(tenths_of_percent(7, 7), "100.0");
        assert_eq!(nearest_tenth_of_percent(1, 3), "33.3");
        assert_eq!(nearest_tenth_of_percent(2, 3), "66.7");
        assert_eq!(percent(1, 1_000), "less than 1 %");
        assert_eq!(percent(0, 1_000), "0 %");
        assert_eq!(percent(5, 2), "250 %");
    }
}
