//! Everything that requests share, built once per process.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::task::TaskTracker;

use crate::assets::Assets;
use crate::config::ServeConfig;
use crate::db::feed::application_name;
use crate::db::{self, PgPool};
use crate::freshness::CommitWait;
use crate::hashing::KeyedHasher;
use crate::lifecycle::Lifecycle;
use crate::live::{BoardDirectory, Feed, FeedConfig, PageCache, Reports, Streams, Versions};
use crate::media;
use crate::memory::Budget;
use crate::metrics::Metrics;
use crate::service::posting::{PictureStorage, Posting};
use crate::store::Store;
use crate::trace::{TraceCounters, Traces};
use crate::traffic::Meter;

/// For texts that are being posted: room for thousands of usual length, and for twenty of those that are as long as they
/// can be and consist of quotation marks, which HTML writes with five bytes.
const TEXT_MEMORY_BYTES: usize = 16 << 20;

/// Of the build, and of every setting that a page or document shows.
fn fingerprint(config: &ServeConfig) -> String {
    let mut hasher = DefaultHasher::new();
    env!("TRIPTYCH_BUILD").hash(&mut hasher);
    format!("{:?} {:?} {:?} {:?}", config.title, config.posts, config.boards, config.traffic.is_public)
        .hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

/// The parts of a replica.
#[derive(Debug)]
pub struct AppState {
    /// As it was read.
    pub config: ServeConfig,
    /// Postgres.
    pub pool: PgPool,
    /// The blob store.
    pub store: Store,
    /// Keyed hashes.
    pub hasher: KeyedHasher,
    /// Version checks.
    pub versions: Versions,
    /// The boards.
    pub boards: BoardDirectory,
    /// Rendered pages.
    pub pages: PageCache,
    /// What is told of the traffic.
    pub reports: Reports,
    /// Event streams.
    pub streams: Streams,
    /// How long a change waits before anybody is told that it was made.
    pub commit_wait: CommitWait,
    /// Makes posts.
    pub posting: Posting,
    /// Memory for the files of forms that arrive and of posts that are made.
    pub upload_memory: Budget,
    /// Memory for the texts of forms. A budget of its own, so that texts go through while pictures wait for a store that
    /// does not answer.
    pub text_memory: Budget,
    /// Tells how pages of this replica look from how those of another build or with other settings do.
    pub fingerprint: String,
    /// The main runtime, which ends last: connections to Postgres and S3 are opened on it.
    pub runtime: Handle,
    /// Style sheet and icon.
    pub assets: Assets,
    /// Counters.
    pub metrics: Metrics,
    /// Which requests are recorded, and where they are sent.
    pub traces: Traces,
    /// What visitors send and receive.
    pub traffic: Meter,
    /// Ready, draining or stopping.
    pub lifecycle: Lifecycle,
    /// Posts that are being made.
    pub tasks: TaskTracker,
}

impl AppState {
    /// Builds everything; nothing is connected yet. Has to be called inside of the runtime on which posts are made.
    pub fn new(config: ServeConfig) -> Result<Self, db::Error> {
        let name = application_name(config.feed_interval);
        let pool = db::pool(&config.database.url, config.database.connections, &name)?;
        let store = Store::new(&config.store);
        let hasher = KeyedHasher::new(&config.secret);
        let (tasks, lifecycle) = (TaskTracker::new(), Lifecycle::default());
        let connections = usize::try_from(config.database.connections).unwrap_or(usize::MAX);
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let metrics = Metrics::default();
        let feed_config = FeedConfig {
            database: config.database.url.clone(),
            interval: config.feed_interval,
            stale_if_error: config.stale_if_error,
        };
        let counters =
            TraceCounters { exported: metrics.traces_exported.clone(), dropped: metrics.traces_dropped.clone() };
        let (to_streams, updates) = mpsc::unbounded_channel();
        let feed = Feed::start(feed_config, &lifecycle, to_streams);
        let commit_wait = CommitWait::of(config.feed_interval);
        let streams = Streams::start(
            pool.clone(),
            feed.clone(),
            commit_wait,
            config.streams,
            metrics.event_streams.clone(),
            &lifecycle,
            updates,
        );
        let decoding = Arc::new(media::Pool::new(config.pictures, config.decoders.unwrap_or(cores)));
        let posting = Posting {
            pool: pool.clone(),
            pictures: PictureStorage::new(pool.clone(), store.clone(), lifecycle.clone(), decoding),
            hasher: hasher.clone(),
            limits: config.boards,
            runtime: Handle::current(),
            tasks: tasks.clone(),
            commit_wait,
            writers: Arc::new(Semaphore::new((connections / 2).max(1))),
        };
        Ok(Self {
            versions: Versions::start(pool.clone(), feed, &lifecycle),
            boards: BoardDirectory::new(pool.clone()),
            pages: PageCache::new(config.page_cache_bytes, config.stale_if_error, cores, Handle::current()),
            reports: Reports::new(pool.clone(), lifecycle.clone(), Handle::current()),
            upload_memory: Budget::new(config.upload_memory_bytes, metrics.upload_memory.clone()),
            text_memory: Budget::new(TEXT_MEMORY_BYTES, metrics.text_memory.clone()),
            fingerprint: fingerprint(&config),
            runtime: Handle::current(),
            assets: Assets::new(),
            commit_wait,
            streams,
            traces: Traces::start(&config.trace, &config.replica, &lifecycle, counters),
            metrics,
            traffic: Meter::default(),
            lifecycle,
            config,
            pool,
            store,
            hasher,
            posting,
            tasks,
        })
    }
}
