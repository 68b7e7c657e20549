//! What was counted and has not been handed on: sums by hour, and the batch of which nobody knows whether it counts already.

use std::collections::BTreeMap;

use chrono::{DateTime, SubsecRound as _, Timelike as _, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::domain::BoardId;
use crate::domain::traffic::{Batch, Source, Sum, Tier};

/// After so many times without anything to hand on, an empty batch says that somebody still counts.
const SILENT_ROUNDS: u32 = 6;

/// Makes batches of sums.
#[derive(Debug, Serialize, Deserialize)]
pub struct Ledger<B = BoardId> {
    source: Source,
    number: i64,
    until: DateTime<Utc>,
    /// By hour.
    waiting: BTreeMap<DateTime<Utc>, Vec<Sum<B>>>,
    lost: Option<(DateTime<Utc>, DateTime<Utc>)>,
    on_its_way: Option<Batch<B>>,
    silent_rounds: u32,
    ended: bool,
}

impl<B: Clone + PartialEq> Ledger<B> {
    /// Of one start of a program.
    #[must_use]
    pub fn new(tier: Tier, replica: String, now: DateTime<Utc>) -> Self {
        let source = Source { tier, replica, run: Uuid::now_v7(), since: now };
        Self {
            source,
            number: 0,
            until: now,
            waiting: BTreeMap::new(),
            lost: None,
            on_its_way: None,
            silent_rounds: 0,
            ended: false,
        }
    }

    /// Who hands on.
    #[must_use]
    pub const fn source(&self) -> &Source {
        &self.source
    }

    /// Until when everything was counted.
    #[must_use]
    pub const fn until(&self) -> DateTime<Utc> {
        self.until
    }

    /// Adds what was counted since the last time.
    pub fn add(&mut self, sums: Vec<Sum<B>>, now: DateTime<Utc>) {
        self.until = now;
        self.silent_rounds += 1;
        if sums.is_empty() {
            return;
        }
        let of_hour = self.waiting.entry(hour(now)).or_default();
        for sum in sums {
            match of_hour.iter_mut().find(|known| (known.kind, &known.board) == (sum.kind, &sum.board)) {
                Some(known) => known.amount += sum.amount,
                None => of_hour.push(sum),
            }
        }
    }

    /// Notes that something was not counted between two times.
    pub fn lose(&mut self, since: DateTime<Utc>, until: DateTime<Utc>) {
        let since = self.lost.map_or(since, |(first, _)| first);
        self.lost = Some((since, until));
    }

    /// The batch to hand on now: the one of which nobody knows whether it has counted, or a new one, if there is something to
    /// say. `ends`: nothing will be counted after this. If something is all the same, that is another run.
    pub fn next(&mut self, ends: bool) -> Option<Batch<B>> {
        if self.ended && !ends && self.on_its_way.is_none() {
            (self.source.run, self.source.since) = (Uuid::now_v7(), self.until);
            (self.number, self.ended) = (0, false);
        }
        let has_news = !self.waiting.is_empty() || self.lost.is_some() || self.silent_rounds >= SILENT_ROUNDS;
        if self.on_its_way.is_none() && !self.ended && (ends || has_news) {
            self.number += 1;
            self.ended = ends;
            let waiting = std::mem::take(&mut self.waiting);
            let sums = waiting.into_iter().flat_map(|(hour, sums)| sums.into_iter().map(move |sum| (hour, sum)));
            let (number, until, lost) = (self.number, self.until, self.lost.take());
            self.on_its_way = Some(Batch { number, until, lost, last: ends, sums: sums.collect() });
        }
        self.on_its_way.clone()
    }

    /// The batch that was handed on counts, or never will.
    pub fn handed_on(&mut self) {
        self.on_its_way = None;
        self.silent_rounds = 0;
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

    fn begun(time: &str) -> Ledger {
        Ledger::new(Tier::App, "a".to_owned(), at(time))
    }

    fn pages<B>(requests: u64) -> Vec<Sum<B>> {
        let amount = Amount { requests, ..Amount::default() };
        vec![Sum { kind: TrafficKind::Page, board: None, amount }]
    }

    fn requests<B>(batch: &Batch<B>) -> Vec<(String, u64)> {
        batch.sums.iter().map(|(hour, sum)| (hour.format("%H:%M").to_string(), sum.amount.requests)).collect()
    }

    #[test]
    fn a_batch_that_may_have_counted_stays_as_it_is_and_what_comes_later_is_another() {
        let mut ledger = begun("2026-11-27T10:59:40Z");
        assert_eq!(ledger.next(false), None, "nothing to say");
        ledger.add(pages(3), at("2026-11-27T10:59:50Z"));
        let first = ledger.next(false).unwrap();
        assert_eq!((first.number, requests(&first)), (1, vec![("10:00".to_owned(), 3)]));
        ledger.add(pages(4), at("2026-11-27T10:59:59Z"));
        ledger.add(pages(5), at("2026-11-27T11:00:09Z"));
        ledger.add(pages(6), at("2026-11-27T11:00:19Z"));
        assert_eq!(ledger.next(false), Some(first), "nobody knows whether it has counted");
        ledger.handed_on();
        let second = ledger.next(false).unwrap();
        assert_eq!((second.number, second.until), (2, at("2026-11-27T11:00:19Z")));
        assert_eq!(requests(&second), [("10:00".to_owned(), 4), ("11:00".to_owned(), 11)]);
    }

    #[test]
    fn whoever_counts_nothing_says_now_and_then_that_it_still_counts() {
        let mut ledger = begun("2026-11-27T10:00:00Z");
        for round in 1..SILENT_ROUNDS {
            ledger.add(Vec::new(), at("2026-11-27T10:01:00Z"));
            assert_eq!(ledger.next(false), None, "{round}");
        }
        ledger.add(Vec::new(), at("2026-11-27T10:01:00Z"));
        assert_eq!(ledger.next(false).map(|batch| batch.sums.len()), Some(0));
        ledger.handed_on();
        assert_eq!(ledger.next(false), None);
    }

    #[test]
    fn what_was_lost_is_told_from_the_first_to_the_last_time() {
        let mut ledger = begun("2026-11-27T10:00:00Z");
        ledger.lose(at("2026-11-27T10:00:10Z"), at("2026-11-27T10:00:20Z"));
        ledger.lose(at("2026-11-27T10:00:20Z"), at("2026-11-27T10:00:30Z"));
        let lost = ledger.next(false).unwrap().lost;
        assert_eq!(lost, Some((at("2026-11-27T10:00:10Z"), at("2026-11-27T10:00:30Z"))));
    }

    #[test]
    fn the_last_batch_says_so_and_comes_after_one_that_waits() {
        let mut ledger = begun("2026-11-27T10:00:00Z");
        ledger.add(pages(1), at("2026-11-27T10:00:10Z"));
        assert!(!ledger.next(false).unwrap().last);
        ledger.add(pages(2), at("2026-11-27T10:00:12Z"));
        assert!(!ledger.next(true).unwrap().last);
        ledger.handed_on();
        let last = ledger.next(true).unwrap();
        assert!(last.last && last.sums.len() == 1);
        ledger.handed_on();
        assert_eq!(ledger.next(true), None);
    }

    #[test]
    fn whoever_goes_on_after_an_end_hands_that_on_first_and_then_begins_another_run() {
        let mut ledger = Ledger::<String>::new(Tier::Web, "a".to_owned(), at("2026-11-27T10:00:00Z"));
        ledger.add(pages(1), at("2026-11-27T10:00:10Z"));
        let last = ledger.next(true).unwrap();
        let kept = serde_json::to_string(&ledger).unwrap();
        let mut ledger: Ledger<String> = serde_json::from_str(&kept).unwrap();
        let run = ledger.source().run;
        ledger.add(pages(2), at("2026-11-27T10:00:20Z"));
        assert_eq!(ledger.next(false), Some(last), "nobody knows whether it has counted");
        assert_eq!(ledger.source().run, run);
        ledger.handed_on();
        let next = ledger.next(false).unwrap();
        assert_eq!((next.number, next.last, requests(&next)), (1, false, vec![("10:00".to_owned(), 2)]));
        assert!(ledger.source().run > run);
    }
}
