//! `POST /traffic` on the private port: sums of a meter beside nginx. Signed with the secret of the site, safe to repeat.

use actix_web::http::header::HeaderValue;
use actix_web::{HttpRequest, HttpResponse, web};
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::domain::traffic::{Batch, Source, Tier};
use crate::error::AppError;
use crate::hashing::{KeyedHasher, equal};
use crate::service::traffic;
use crate::state::AppState;

/// The header with the signature of the body.
pub const SIGNATURE: &str = "x-signature";
/// Bytes of a body, at the most.
pub const MOST_BYTES: usize = 1 << 20;
/// Hours and kinds and boards, at the most.
const MOST_SUMS: usize = 10_000;
/// How long a meter may have waited for a replica to take its sums.
const LONGEST_WAIT: TimeDelta = TimeDelta::days(2);
/// How far a clock may be ahead of ours.
const CLOCK_SKEW: TimeDelta = TimeDelta::minutes(5);
/// What one batch may count at the most, of anything: a petabyte.
const MOST: u64 = 1_000_000_000_000_000;

/// What is handed on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Handed {
    /// By whom.
    pub source: Source,
    /// What; boards by their slugs.
    pub batch: Batch<String>,
}

/// The signature of a body, in hexadecimal.
#[must_use]
pub fn signature(hasher: &KeyedHasher, body: &[u8]) -> String {
    use std::fmt::Write as _;
    hasher.sums(body).iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Counts sums, once.
pub async fn take(request: HttpRequest, state: web::Data<AppState>, body: web::Bytes) -> HttpResponse {
    let signed = request.headers().get(SIGNATURE).map(HeaderValue::as_bytes).unwrap_or_default();
    if !equal(signed, signature(&state.hasher, &body).as_bytes()) {
        return HttpResponse::Unauthorized()
            .body("The signature is wrong: is the secret of the meter that of the replicas?\n");
    }
    let Handed { source, batch } = match serde_json::from_slice(&body) {
        Ok(handed) => handed,
        Err(error) => return HttpResponse::BadRequest().body(format!("The sums cannot be read: {error}\n")),
    };
    if let Err(reason) = check(&source, &batch, Utc::now()) {
        return HttpResponse::UnprocessableEntity().body(format!("The sums do not count: {reason}\n"));
    }
    let pool = state.pool.clone();
    // On the runtime that ends last, like everything that opens a connection.
    let counted = state.runtime.spawn(async move { traffic::count_by_slug(&pool, &source, batch).await }).await;
    match counted.unwrap_or_else(|error| Err(AppError::Internal(format!("counting sums: {error}")))) {
        Ok(true) => HttpResponse::Ok().body("counted\n"),
        Ok(false) => HttpResponse::Ok().body("counted before\n"),
        Err(error) => {
            tracing::warn!(%error, "sums of a meter cannot be counted now");
            HttpResponse::ServiceUnavailable().body("The database does not answer; hand the same sums on again.\n")
        }
    }
}

fn check(source: &Source, batch: &Batch<String>, now: DateTime<Utc>) -> Result<(), &'static str> {
    let is_name = |text: &str| text.chars().all(|letter| letter.is_ascii_alphanumeric() || "-._".contains(letter));
    let is_past = |time: DateTime<Utc>| time <= now + CLOCK_SKEW;
    let is_recent = |time: DateTime<Utc>| is_past(time) && time >= now - LONGEST_WAIT;
    if source.tier != Tier::Web {
        return Err("a meter counts for the tier web");
    }
    if source.replica.is_empty() || source.replica.len() > 253 || !is_name(&source.replica) {
        return Err("the name of the replica is not that of a host");
    }
    if batch.number < 1 || batch.sums.len() > MOST_SUMS {
        return Err("batches are numbered from 1, and have 10,000 sums at the most");
    }
    if !is_past(source.since) || !is_recent(batch.until) || batch.lost.is_some_and(|(since, until)| since > until) {
        return Err("a time is in the future, or more than two days ago");
    }
    for (hour, sum) in &batch.sums {
        if !is_recent(*hour) {
            return Err("an hour is in the future, or more than two days ago");
        }
        let amount = sum.amount;
        if [amount.requests, amount.bytes_in, amount.bytes_out, amount.fetched].iter().any(|number| *number > MOST) {
            return Err("a number is larger than anything that can pass in a batch");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::domain::traffic::{Amount, Sum, TrafficKind};

    fn at(time: &str) -> DateTime<Utc> {
        time.parse().unwrap()
    }

    fn handed() -> (Source, Batch<String>) {
        let since = at("2026-11-27T08:00:00Z");
        let source = Source { tier: Tier::Web, replica: "web-1".to_owned(), run: Uuid::nil(), since };
        let amount = Amount { requests: 1, bytes_in: 2, bytes_out: 3, fetched: 0 };
        let sum = Sum { kind: TrafficKind::Picture, board: Some("b".to_owned()), amount };
        let sums = vec![(at("2026-11-27T10:00:00Z"), sum)];
        (source, Batch { number: 1, until: at("2026-11-27T10:05:00Z"), lost: None, last: false, sums })
    }

    #[test]
    fn sums_of_another_time_tier_or_size_do_not_count() {
        let now = at("2026-11-27T10:05:10Z");
        let refused = |change: fn(&mut Source, &mut Batch<String>)| {
            let (mut source, mut batch) = handed();
            change(&mut source, &mut batch);
            check(&source, &batch, now).is_err()
        };
        assert!(!refused(|_, _| {}));
        assert!(refused(|source, _| source.tier = Tier::App));
        assert!(refused(|source, _| source.replica = "a b".to_owned()));
        assert!(refused(|source, _| source.replica = String::new()));
        assert!(refused(|source, _| source.since = at("2026-11-27T11:00:00Z")));
        assert!(refused(|_, batch| batch.number = 0));
        assert!(refused(|_, batch| batch.until = at("2026-11-27T11:00:00Z")));
        assert!(refused(|_, batch| batch.sums[0].0 = at("2026-11-24T10:00:00Z")));
        assert!(refused(|_, batch| batch.sums[0].0 = at("2026-11-27T11:00:00Z")));
        assert!(refused(|_, batch| batch.sums[0].1.amount.bytes_out = u64::MAX));
        assert!(refused(|_, batch| batch.lost = Some((at("2026-11-27T10:00:00Z"), at("2026-11-27T09:00:00Z")))));
    }
}
