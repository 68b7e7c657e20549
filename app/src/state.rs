//! Everything that requests share, built once per process.

use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use crate::config::ServeConfig;
use crate::db::{self, PgPool};
use crate::lifecycle::Readiness;
use crate::live::{BoardDirectory, Pages, Versions};
use crate::media;
use crate::metrics::Metrics;
use crate::secret::Keyed;
use crate::service::posting::{PictureStorage, Posting};
use crate::store::Store;
use crate::web::assets::Assets;

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
    pub keyed: Keyed,
    /// Version checks.
    pub versions: Versions,
    /// The boards.
    pub boards: BoardDirectory,
    /// Rendered pages.
    pub pages: Pages,
    /// Makes posts.
    pub posting: Posting,
    /// A permit a kibibyte of upload that may be in memory.
    pub upload_memory: Arc<Semaphore>,
    /// Style sheet and icon.
    pub assets: Assets,
    /// Counters.
    pub metrics: Metrics,
    /// Ready or draining.
    pub readiness: Readiness,
    /// Posts that are being made.
    pub tasks: TaskTracker,
}

impl AppState {
    /// Builds everything; nothing is connected yet. Has to be called inside of the runtime on which posts are made.
    pub fn new(config: ServeConfig) -> Result<Self, db::Error> {
        let pool = db::pool(&config.database.url, config.database.connections)?;
        let store = Store::new(&config.store);
        let keyed = Keyed::new(&config.secret);
        let tasks = TaskTracker::new();
        let connections = usize::try_from(config.database.connections).unwrap_or(usize::MAX);
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let decoding = Arc::new(media::Pool::new(config.pictures, cores));
        let posting = Posting {
            pool: pool.clone(),
            pictures: PictureStorage::new(pool.clone(), store.clone(), decoding),
            keyed: keyed.clone(),
            limits: config.boards,
            runtime: Handle::current(),
            tasks: tasks.clone(),
            writers: Arc::new(Semaphore::new((connections / 2).max(1))),
        };
        Ok(Self {
            versions: Versions::start(pool.clone()),
            boards: BoardDirectory::new(pool.clone()),
            pages: Pages::new(config.page_cache_bytes),
            upload_memory: Arc::new(Semaphore::new(config.upload_memory_bytes / 1024)),
            assets: Assets::new(),
            metrics: Metrics::default(),
            readiness: Readiness::default(),
            config,
            pool,
            store,
            keyed,
            posting,
            tasks,
        })
    }
}
