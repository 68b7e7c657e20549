//! Speed and size, measured against what they could be, and what they cost on a large board against a small one.
//!
//! Ratios within one run, never bare times: a round measures ours and the reference one right after the other, the
//! next round in the other order, and the median of the rounds counts. Nothing fails because a number is bad; it
//! fails when something was not measured correctly (bytes that differ, an answer that is an error). Only how pages are kept
//! fresh, and who is told, has no reference: statements are counted there, and waiting that is meant to be is timed.
//!
//! Who runs where: everything that answers a request runs on CPU 0 (the replica *and* Postgres, or the nginx that
//! it is compared to), everything that asks runs on CPU 1 (wrk, this process, and the S3 server in it). So what the feed asks
//! is paid for by our side.

pub mod content;
pub mod freshness;
pub mod growth;
pub mod load;
pub mod machine;
pub mod metering;
pub mod reads;
pub mod reference;
pub mod start;
pub mod streams;
pub mod table;
pub mod uploads;

use anyhow::{Result, ensure};

/// The processor of everything that answers.
pub const SERVER_CPU: u8 = 0;
/// The processor of everything that asks.
pub const LOAD_CPU: u8 = 1;

/// The middle of some numbers, the smallest and the largest.
#[derive(Debug, Clone, Copy)]
pub struct Spread {
    /// The median.
    pub median: f64,
    /// The smallest.
    pub least: f64,
    /// The largest.
    pub most: f64,
}

impl Spread {
    /// Of at least one number.
    pub fn of(numbers: impl IntoIterator<Item = f64>) -> Result<Self> {
        let mut numbers: Vec<f64> = numbers.into_iter().collect();
        numbers.sort_by(f64::total_cmp);
        let at = |place: usize| numbers.get(place).copied().unwrap_or_default();
        ensure!(!numbers.is_empty(), "nothing was measured");
        let (half, last) = (numbers.len() / 2, numbers.len() - 1);
        let median = if numbers.len().is_multiple_of(2) { f64::midpoint(at(half - 1), at(half)) } else { at(half) };
        Ok(Self { median, least: at(0), most: at(last) })
    }
}

/// Counts are far below the point where a float is not exact.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "no count here comes near 2^52")]
pub fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_numbers() {
        let spread = |numbers: &[f64]| Spread::of(numbers.iter().copied()).map(|s| (s.least, s.median, s.most)).ok();
        assert_eq!(spread(&[3.0, 1.0, 2.0]), Some((1.0, 2.0, 3.0)));
        assert_eq!(spread(&[4.0, 1.0]), Some((1.0, 2.5, 4.0)));
        assert_eq!(spread(&[]), None);
    }
}
