//! Hands on what the replica has counted, every few seconds and once more at its end.

use std::collections::BTreeMap;
use std::time::Duration;

use actix_web::web;
use chrono::{DateTime, SubsecRound as _, Timelike as _, Utc};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::db::traffic::{Batch, Source};
use crate::domain::traffic::{Sum, Tier};
use crate::service::traffic;
use crate::state::AppState;

/// What a replica that is killed loses at the most.
const INTERVAL: Duration = Duration::from_secs(10);
/// Every so many times it says that it still counts, even if nothing passed.
const SILENT_ROUNDS: u32 = 6;

/// Does so until the replica ends.
pub(super) async fn hand_on(state: web::Data<AppState>, stopping: CancellationToken) {
    let mut ledger = Ledger::new(state.config.replica.clone(), Utc::now());
    let mut silent = 0;
    loop {
        let ends = stopping.run_until_cancelled(tokio::time::sleep(INTERVAL)).await.is_none();
        ledger.add(state.traffic.take(), Utc::now());
        silent += 1;
        while let Some(batch) = ledger.next(ends, silent >= SILENT_ROUNDS) {
            match traffic::count(&state.pool, &ledger.source, &batch).await {
                Ok(_) => {
                    ledger.handed_on();
                    silent = 0;
                }
                Err(error) => {
                    // It may have counted all the same: the same batch is sent again.
                    tracing::warn!(%error, "traffic is added up in memory until the next time");
                    break;
                }
            }
        }
        if ends {
            return;
        }
    }
}

/// What was counted and has not been handed on.
#[derive(Debug)]
struct Ledger {
    source: Source,
    number: i64,
    until: DateTime<Utc>,
    /// By hour.
    waiting: BTreeMap<DateTime<Utc>, Vec<Sum>>,
    on_its_way: Option<Batch>,
    ended: bool,
}

impl Ledger {
    fn new(replica: String, now: DateTime<Utc>) -> Self {
        let source = Source { tier: Tier::App, replica, run: Uuid::now_v7(), since: now };
        Self { source, number: 0, until: now, waiting: BTreeMap::new(), on_its_way: None, ended: false }
    }

    fn add(&mut self, sums: Vec<Sum>, now: DateTime<Utc>) {
        self.until = now;
        if !sums.is_empty() {
            let of_hour = self.waiting.entry(hour(now)).or_default();
            for sum in sums {
                match of_hour.iter_mut().find(|known| (known.kind, known.board) == (sum.kind, sum.board)) {
                    Some(known) => known.amount += sum.amount,
                    None => of_hour.push(sum),
                }
            }
        }
    }

    /// The batch to hand on now: the one that nobody knows of whether it has counted, or a new one, if there is something to
    /// say.
    fn next(&mut self, ends: bool, say_something: bool) -> Option<Batch> {
        if self.on_its_way.is_none() && !self.ended && (ends || say_something || !self.waiting.is_empty()) {
            self.number += 1;
            self.ended = ends;
            let waiting = std::mem::take(&mut self.waiting);
            let sums = waiting.into_iter().flat_map(|(hour, sums)| sums.into_iter().map(move |sum| (hour, sum)));
            self.on_its_way = Some(Batch { number: self.number, until: self.until, last: ends, sums: sums.collect() });
        }
        self.on_its_way.clone()
    }

    fn handed_on(&mut self) {
        self.on_its_way = None;
    }
}

fn hour(at: DateTime<Utc>) -> DateTime<Utc> {
    at.with_minute(0).and_then(|at| at.with_second(0)).unwrap_or(at).trunc_subsecs(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::traffic::{Amount, TrafficKind};

    fn at(time: &str) -> DateTime<Utc> {
        time.parse().unwrap()
    }

    fn pages(requests: u64) -> Vec<Sum> {
        let amount = Amount { requests, ..Amount::default() };
        vec![Sum { kind: TrafficKind::Page, board: None, amount }]
    }

    fn requests(batch: &Batch) -> Vec<(String, u64)> {
        batch.sums.iter().map(|(hour, sum)| (hour.format("%H:%M").to_string(), sum.amount.requests)).collect()
    }

    #[test]
    fn a_batch_that_may_have_counted_stays_as_it_is_and_what_comes_later_is_another() {
        let mut ledger = Ledger::new("a".to_owned(), at("2026-11-27T10:59:40Z"));
        assert_eq!(ledger.next(false, false), None, "nothing to say");
        ledger.add(pages(3), at("2026-11-27T10:59:50Z"));
        let first = ledger.next(false, false).unwrap();
        assert_eq!((first.number, requests(&first)), (1, vec![("10:00".to_owned(), 3)]));
        ledger.add(pages(4), at("2026-11-27T10:59:59Z"));
        ledger.add(pages(5), at("2026-11-27T11:00:09Z"));
        ledger.add(pages(6), at("2026-11-27T11:00:19Z"));
        assert_eq!(ledger.next(false, false), Some(first), "nobody knows whether it has counted");
        ledger.handed_on();
        let second = ledger.next(false, false).unwrap();
        assert_eq!((second.number, second.until), (2, at("2026-11-27T11:00:19Z")));
        assert_eq!(requests(&second), [("10:00".to_owned(), 4), ("11:00".to_owned(), 11)]);
        ledger.handed_on();
        assert_eq!(ledger.next(false, false), None);
        assert_eq!(ledger.next(false, true).map(|batch| batch.sums.len()), Some(0), "it still counts");
    }

    #[test]
    fn the_last_batch_says_so_and_comes_after_one_that_waits() {
        let mut ledger = Ledger::new("a".to_owned(), at("2026-11-27T10:00:00Z"));
        ledger.add(pages(1), at("2026-11-27T10:00:10Z"));
        assert!(!ledger.next(false, false).unwrap().last);
        ledger.add(pages(2), at("2026-11-27T10:00:12Z"));
        assert!(!ledger.next(true, false).unwrap().last);
        ledger.handed_on();
        let last = ledger.next(true, false).unwrap();
        assert!(last.last && last.sums.len() == 1);
        ledger.handed_on();
        assert_eq!(ledger.next(true, true), None);
    }
}
