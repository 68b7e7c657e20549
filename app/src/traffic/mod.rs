//! Traffic in memory: what passed, until it is handed on. Must not know HTTP or SQL.

mod ledger;

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::domain::BoardId;
use crate::domain::traffic::{Amount, Sum, TrafficKind};

pub use ledger::Ledger;

/// How often sums are handed on: what a program that is killed loses at the most.
pub const INTERVAL: Duration = Duration::from_secs(10);

/// Adds up what passes. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Meter<B = BoardId>(Arc<Mutex<Sums<B>>>);

/// By board, then by the place of the kind in [`TrafficKind::ALL`].
type Sums<B> = HashMap<Option<B>, [Amount; TrafficKind::ALL.len()]>;

impl<B> Default for Meter<B> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<B: Eq + Hash + Clone> Meter<B> {
    /// Counts.
    pub fn add(&self, kind: TrafficKind, board: Option<B>, amount: Amount) {
        let mut sums = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_board = sums.entry(board).or_default();
        if let Some(sum) = of_board.get_mut(kind as usize) {
            *sum += amount;
        }
    }

    /// What was counted since the last time.
    #[must_use]
    pub fn take(&self) -> Vec<Sum<B>> {
        let sums = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let of_board = |(board, amounts): (Option<B>, [Amount; TrafficKind::ALL.len()])| {
            let sums = TrafficKind::ALL.into_iter().zip(amounts).filter(|(_, amount)| !amount.is_nothing());
            sums.map(move |(kind, amount)| Sum { kind, board: board.clone(), amount })
        };
        sums.into_iter().flat_map(of_board).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_is_taken_once_by_kind_and_board() {
        let meter = Meter::default();
        let amount = |requests, bytes_in, bytes_out| Amount { requests, bytes_in, bytes_out, fetched: 0 };
        let board = Some(BoardId(7));
        meter.add(TrafficKind::Page, board, amount(1, 100, 2000));
        meter.add(TrafficKind::Page, board, amount(1, 50, 300));
        meter.add(TrafficKind::Refused, None, amount(1, 10, 20));
        let mut sums = meter.take();
        sums.sort_by_key(|sum| sum.kind);
        assert_eq!(
            sums,
            [
                Sum { kind: TrafficKind::Page, board, amount: amount(2, 150, 2300) },
                Sum { kind: TrafficKind::Refused, board: None, amount: amount(1, 10, 20) },
            ]
        );
        assert_eq!(meter.take(), []);
    }

    #[test]
    fn every_kind_has_a_place_of_its_own() {
        for (place, kind) in TrafficKind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, place);
            assert_eq!(TrafficKind::from_name(kind.name()), Some(kind));
        }
    }
}
