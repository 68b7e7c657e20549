//! What one shared copy of every picture saves.

use super::amounts::{Hundredths, WHOLE, number, share, size};
use crate::domain::report::Storage;

/// How the store would look if each replica had its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Copies {
    pictures: u64,
    bytes: u64,
    /// Bytes that are not stored, because a picture that is posted again is there already.
    saved: u64,
    replicas: u64,
}

impl Copies {
    /// Of what is stored, read by so many replicas.
    #[must_use]
    pub fn of(storage: &Storage, replicas: u32) -> Self {
        let count = |value: i64| u64::try_from(value).unwrap_or_default();
        Self {
            pictures: count(storage.pictures),
            bytes: count(storage.bytes),
            saved: count(storage.attached_bytes.saturating_sub(storage.bytes)),
            replicas: replicas.into(),
        }
    }

    /// `31,070 pictures and their thumbnails`
    #[must_use]
    pub fn pictures_text(&self) -> String {
        match self.pictures {
            1 => "1 picture and its thumbnail".to_owned(),
            pictures => format!("{} pictures and their thumbnails", number(pictures)),
        }
    }

    /// How many replicas, if that is worth a comparison.
    #[must_use]
    pub fn replicas(&self) -> Option<u64> {
        Some(self.replicas).filter(|replicas| *replicas > 1)
    }

    /// What is stored.
    #[must_use]
    pub fn bytes_text(&self) -> String {
        size(self.bytes)
    }

    /// What is not stored twice.
    #[must_use]
    pub fn saved_text(&self) -> String {
        size(self.saved)
    }

    /// What a copy for each would take.
    #[must_use]
    pub fn copies_text(&self) -> String {
        size(self.all())
    }

    /// What is not stored because there is one copy; `None` without anything to compare.
    #[must_use]
    pub fn less(&self) -> Option<String> {
        (self.bytes > 0 && self.replicas > 1).then(|| size(self.all() - self.bytes))
    }

    fn all(&self) -> u64 {
        self.bytes.saturating_mul(self.replicas.max(1))
    }

    /// What the longest bar stands for.
    fn scale(&self) -> u64 {
        self.all().max(self.bytes.saturating_add(self.saved))
    }

    /// Width of one copy.
    #[must_use]
    pub fn width(&self) -> Hundredths {
        share(self.bytes, self.scale())
    }

    /// Width of what is not stored twice, which begins where one copy ends.
    #[must_use]
    pub fn saved_width(&self) -> Hundredths {
        share(self.saved, self.scale())
    }

    /// Where the copy of each replica begins, and its width: a little less, so that one sees them all.
    #[must_use]
    pub fn each(&self) -> Vec<(Hundredths, Hundredths)> {
        const GAP: u64 = 40;
        // More than these could not be told apart.
        let shown = self.replicas.min(40);
        let whole = share(self.all(), self.scale()).min(WHOLE).0;
        let width = whole / shown.max(1);
        let copy = |at: u64| (Hundredths(whole * at / shown.max(1)), Hundredths(width.saturating_sub(GAP)));
        (0..shown).map(copy).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::times::tests::at;
    use super::*;

    fn copies(bytes: i64, attached_bytes: i64, replicas: u32) -> Copies {
        let storage =
            Storage { measured_at: at("2026-11-24T14:19:00Z"), seconds: 0.1, pictures: 7, bytes, attached_bytes };
        Copies::of(&storage, replicas)
    }

    #[test]
    fn three_replicas_would_take_three_times_as_much() {
        let three = copies(48_200_000_000, 57_800_000_000, 3);
        assert_eq!(
            (three.bytes_text(), three.saved_text(), three.copies_text()),
            ("48.2 GB".into(), "9.6 GB".into(), "145 GB".into())
        );
        assert_eq!(three.less().as_deref(), Some("96.4 GB"));
        assert_eq!((three.width().to_string(), three.saved_width().to_string()), ("33.33".into(), "6.63".into()));
        assert_eq!(three.each().iter().map(|(x, _)| x.to_string()).collect::<Vec<_>>(), ["0.00", "33.33", "66.66"]);
    }

    #[test]
    fn nothing_stored_and_nobody_who_reads_it_are_no_trouble() {
        let none = copies(0, 0, 3);
        assert_eq!((none.width().0, none.less()), (0, None));
        let alone = copies(100, 100, 1);
        assert_eq!((alone.replicas(), alone.less(), alone.width().0), (None, None, 10_000));
        assert!(copies(100, 100, 0).each().is_empty());
        let twice = copies(100, 1_000, 2);
        assert_eq!((twice.width().0, twice.saved_width().0), (1_000, 9_000));
        assert!(twice.each().iter().all(|(x, width)| x.0 + width.0 <= 2_000));
        assert_eq!(copies(100, 50, 2).saved_text(), "0 B", "measured in between");
        assert_eq!(copies(i64::MAX, i64::MAX, u32::MAX).each().len(), 40);
    }
}
