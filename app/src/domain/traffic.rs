//! Traffic: what visitors send and receive, counted once, where it passes; and how those who count hand it on.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::BoardId;

/// What a request was for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TrafficKind {
    /// Pages that people read, their redirects, and forms other than posts.
    Page,
    /// Documents that programs read.
    Api,
    /// Event streams.
    Events,
    /// Pictures in full size.
    Picture,
    /// Thumbnails.
    Thumbnail,
    /// Style sheet and icon.
    Asset,
    /// Posts, with or without pictures.
    Upload,
    /// Whatever was answered with an error, or not answered because the visitor went away.
    Refused,
}

impl TrafficKind {
    /// All kinds, in the order of their declaration.
    pub const ALL: [Self; 8] =
        [Self::Page, Self::Api, Self::Events, Self::Picture, Self::Thumbnail, Self::Asset, Self::Upload, Self::Refused];

    /// The name in the database, in documents and in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Page => "page",
            Self::Api => "api",
            Self::Events => "events",
            Self::Picture => "picture",
            Self::Thumbnail => "thumbnail",
            Self::Asset => "asset",
            Self::Upload => "upload",
            Self::Refused => "refused",
        }
    }

    /// The kind with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// Which of the two kinds of servers has answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tier {
    /// nginx: what does not change.
    Web,
    /// A replica: what has to be computed.
    App,
}

impl Tier {
    /// Both tiers, from the outside to the inside.
    pub const ALL: [Self; 2] = [Self::Web, Self::App];

    /// The name in the database, in documents and in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Web => "web",
            Self::App => "app",
        }
    }

    /// The tier with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|tier| tier.name() == name)
    }
}

/// How much passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Amount {
    /// Requests.
    pub requests: u64,
    /// Bytes that visitors sent.
    pub bytes_in: u64,
    /// Bytes that visitors received.
    pub bytes_out: u64,
    /// Requests for which web had to ask app, because its cache did not have the answer.
    pub fetched: u64,
}

impl Amount {
    /// Whether nothing passed.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

impl std::ops::AddAssign for Amount {
    fn add_assign(&mut self, other: Self) {
        self.requests = self.requests.saturating_add(other.requests);
        self.bytes_in = self.bytes_in.saturating_add(other.bytes_in);
        self.bytes_out = self.bytes_out.saturating_add(other.bytes_out);
        self.fetched = self.fetched.saturating_add(other.fetched);
    }
}

impl std::iter::Sum for Amount {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::default(), |mut sum, amount| {
            sum += amount;
            sum
        })
    }
}

/// What passed, of which kind, and on which board if on one. A replica names boards by their ids, the meter beside nginx by
/// their slugs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sum<B = BoardId> {
    /// Which.
    pub kind: TrafficKind,
    /// The board, if it was about one.
    pub board: Option<B>,
    /// How much.
    pub amount: Amount,
}

/// Who hands in sums.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// The tier.
    pub tier: Tier,
    /// The name of the replica.
    pub replica: String,
    /// One start of the program; a later one is greater.
    pub run: Uuid,
    /// When it began to count.
    pub since: DateTime<Utc>,
}

/// Sums that count together, and once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Batch<B = BoardId> {
    /// Grows by one with every batch of a run; the first is 1.
    pub number: i64,
    /// Everything until then has been counted,
    pub until: DateTime<Utc>,
    /// but for something between these two times.
    pub lost: Option<(DateTime<Utc>, DateTime<Utc>)>,
    /// Nothing comes after it.
    pub last: bool,
    /// What passed, each with the hour in which it did.
    pub sums: Vec<(DateTime<Utc>, Sum<B>)>,
}
