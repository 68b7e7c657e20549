//! Everything that requests share, built once per process.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
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

/// Room for a few hundred forms without pictures.
const TEXT_MEMORY_KIBIBYTES: usize = 16 << 10;

/// The build, and every setting that a page or document shows.
fn face(config: &ServeConfig) -> String {
    let mut hasher = DefaultHasher::new();
    env!("TRIPTYCH_BUILD").hash(&mut hasher);
    format!("{:?} {:?} {:?}", config.title, config.posts, config.boards).hash(&mut hasher);
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
    /// The same for forms that are too small to hold a picture of any size.
    pub text_memory: Arc<Semaphore>,
    /// Tells how pages of this replica look from how those of another build or with other settings do.
    pub face: String,
    /// The main runtime, which ends last: connections to Postgres and S3 are opened on it.
    pub runtime: Handle,
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
            text_memory: Arc::new(Semaphore::new(TEXT_MEMORY_KIBIBYTES)),
            face: face(&config),
            runtime: Handle::current(),
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
