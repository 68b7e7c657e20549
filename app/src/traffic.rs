//! Traffic in memory: what passed since it was last asked. Must not know HTTP or SQL.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::domain::BoardId;
use crate::domain::traffic::{Amount, Sum, TrafficKind};

/// Adds up what passes. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Meter(Arc<Mutex<Sums>>);

/// By board, then by the place of the kind in [`TrafficKind::ALL`]: a request of a known board costs no allocation.
type Sums = HashMap<Option<BoardId>, [Amount; TrafficKind::ALL.len()]>;

impl Meter {
    /// Counts.
    pub fn add(&self, kind: TrafficKind, board: Option<BoardId>, amount: Amount) {
        let mut sums = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_board = sums.entry(board).or_default();
        if let Some(sum) = of_board.get_mut(kind as usize) {
            *sum += amount;
        }
    }

    /// What was counted since the last time.
    #[must_use]
    pub fn take(&self) -> Vec<Sum> {
        let sums = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let of_board = |(board, amounts): (Option<BoardId>, [Amount; TrafficKind::ALL.len()])| {
            let sums = TrafficKind::ALL.into_iter().zip(amounts);
            sums.map(move |(kind, amount)| Sum { kind, board, amount }).filter(|sum| !sum.amount.is_nothing())
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
