//! What is told of the traffic: a report of some days.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::BoardId;
use super::traffic::{Amount, Tier, TrafficKind};

/// By which length of time sums are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Period {
    /// An hour.
    Hour,
    /// A day, from midnight UTC.
    Day,
}

impl Period {
    /// The name in the database.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
        }
    }
}

/// A time in which somebody did not count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// The tier.
    pub tier: Tier,
    /// The replica.
    pub replica: String,
    /// From then
    pub since: DateTime<Utc>,
    /// until then; `None`: it still does not.
    pub until: Option<DateTime<Utc>>,
}

/// What is stored.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Storage {
    /// When that was measured.
    pub measured_at: DateTime<Utc>,
    /// How long it took.
    pub seconds: f64,
    /// Pictures, each with its thumbnail.
    pub pictures: i64,
    /// Bytes of all objects.
    pub bytes: i64,
    /// Bytes that they would take if every post had a copy of its own.
    pub attached_bytes: i64,
}

/// The longest time that a report looks back, in days.
pub const MOST_DAYS: u16 = 366;

/// What passed on some days, and what is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// How many days, the one on which it was made being the last.
    pub days: u16,
    /// Its first moment.
    pub from: DateTime<Utc>,
    /// When it was made.
    pub until: DateTime<Utc>,
    /// By which length of time `periods` are told.
    pub period: Period,
    /// Each period of that time, without those in which nothing passed.
    pub periods: BTreeMap<DateTime<Utc>, BTreeMap<TrafficKind, Amount>>,
    /// By tier and kind.
    pub by_tier_and_kind: Vec<(Tier, TrafficKind, Amount)>,
    /// By board, the one with most bytes first; `None`: about no board.
    pub by_board: Vec<(Option<BoardId>, Amount)>,
    /// By replica; empty in the report of one board.
    pub by_replica: Vec<(Tier, String, Amount)>,
    /// What passed in the same time before.
    pub before: Amount,
    /// What has passed in this month.
    pub month: Amount,
    /// When somebody did not count.
    pub gaps: Vec<Gap>,
    /// The day on which counting began.
    pub first: Option<DateTime<Utc>>,
    /// What is stored, if that was measured.
    pub storage: Option<Storage>,
    /// Replicas of app that count at this moment.
    pub replicas: u32,
}

impl Report {
    /// Everything together.
    #[must_use]
    pub fn totals(&self) -> Amount {
        self.by_tier_and_kind.iter().map(|(.., amount)| *amount).sum()
    }

    /// What was of one kind.
    #[must_use]
    pub fn of_kind(&self, wanted: TrafficKind) -> Amount {
        self.by_tier_and_kind.iter().filter(|(_, kind, _)| *kind == wanted).map(|(.., amount)| *amount).sum()
    }

    /// What passed in one tier.
    #[must_use]
    pub fn of_tier(&self, wanted: Tier) -> Amount {
        self.by_tier_and_kind.iter().filter(|(tier, ..)| *tier == wanted).map(|(.., amount)| *amount).sum()
    }

    /// Pictures and thumbnails that web has sent, of which `fetched` were not in its cache.
    #[must_use]
    pub fn pictures_of_web(&self) -> Amount {
        let wanted = |tier, kind| tier == Tier::Web && matches!(kind, TrafficKind::Picture | TrafficKind::Thumbnail);
        self.by_tier_and_kind.iter().filter(|(tier, kind, _)| wanted(*tier, *kind)).map(|(.., amount)| *amount).sum()
    }
}
