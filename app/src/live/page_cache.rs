//! Rendered pages, one entry per page, each as it was at one version.
//!
//! A page is loaded, rendered and compressed once for all who ask for it at a version: loading on the main runtime,
//! rendering on threads of its own, as many at a time as there are cores, so that no page keeps a worker from answering.
//! What was loaded waits in memory for a core, so only a few times as many pages are loaded at a time.
//! What is loaded tells its version from inside its own snapshot, so one version never names two contents. The pages
//! that were used least recently fall out. Must not know what the pages show.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};
use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tracing::Instrument as _;

use crate::db;
use crate::db::versions::{Stamp, Version};
use crate::domain::{BoardId, PostNo, Refusal};
use crate::error::AppError;
use crate::representation::Representation;
use crate::trace::waits::{self, Wait};

/// Enough to keep every core busy while others wait for the database.
const CONTENTS_PER_CORE: usize = 4;

/// Parts of pages get this part of the memory.
const PARTS_SHARE: u64 = 8;

/// How long a page is kept that nobody asks for.
const IDLE: Duration = Duration::from_mins(5);

/// Which page.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum PageKey {
    /// `/`
    Home,
    /// `/{board}/`, `/{board}/2.html`
    Index(BoardId, u32),
    /// `/{board}/catalog.html`, by the value of `sort`.
    Catalog(BoardId, &'static str),
    /// `/{board}/res/{no}.html`
    Thread(PostNo),
    /// `/boards.json`
    BoardsJson,
    /// `/{board}/threads.json`
    ThreadsJson(BoardId),
    /// `/{board}/catalog.json`
    CatalogJson(BoardId),
    /// `/{board}/0.json`
    IndexJson(BoardId, u32),
    /// `/{board}/archive.json`
    ArchiveJson(BoardId),
    /// `/{board}/res/{no}.json`
    ThreadJson(PostNo),
    /// `/{board}/res/{no}.html?after={no}`
    NewPosts(PostNo, PostNo),
    /// `/{board}/res/{no}.json?after={no}`
    NewPostsJson(PostNo, PostNo),
}

impl PageKey {
    /// Whether it is a part of a page: anybody can ask for any number of them, which must not push whole pages out.
    const fn is_part(&self) -> bool {
        matches!(self, Self::NewPosts(..) | Self::NewPostsJson(..))
    }
}

/// A page as it was at one version.
#[derive(Debug)]
pub struct KeptPage {
    /// The version, read in the snapshot that the page was made of.
    pub version: Version,
    /// What is sent.
    pub body: Representation,
}

type Outcome = Result<Arc<KeptPage>, AppError>;
type Rendering = Shared<BoxFuture<'static, Outcome>>;

/// Keeps pages. Cheap to clone.
#[derive(Debug, Clone)]
pub struct PageCache {
    pages: Cache<PageKey, Arc<KeptPage>>,
    parts: Cache<PageKey, Arc<KeptPage>>,
    /// What is being rendered, and for which version it was asked.
    renderings: Arc<Mutex<HashMap<(PageKey, Stamp), Rendering>>>,
    /// A permit per page whose content may be in memory.
    contents: Arc<Semaphore>,
    /// A permit per core.
    cores: Arc<Semaphore>,
    runtime: Handle,
}

impl PageCache {
    /// Keeps up to this many bytes, and what nobody asks for not much longer than it may be shown in an outage. Loads pages
    /// on `runtime`.
    #[must_use]
    pub fn new(bytes: u64, longest_outage: Duration, cores: usize, runtime: Handle) -> Self {
        let cache = |bytes| {
            Cache::builder()
                .max_capacity(bytes)
                .eviction_policy(EvictionPolicy::lru())
                .weigher(|_, page: &Arc<KeptPage>| weight(&page.body))
                .time_to_idle(longest_outage + IDLE)
                .build()
        };
        let parts = bytes / PARTS_SHARE;
        let cores = cores.max(1);
        Self {
            pages: cache(bytes - parts),
            parts: cache(parts),
            renderings: Arc::default(),
            contents: Arc::new(Semaphore::new(cores * CONTENTS_PER_CORE)),
            cores: Arc::new(Semaphore::new(cores)),
            runtime,
        }
    }

    fn cache(&self, key: &PageKey) -> &Cache<PageKey, Arc<KeptPage>> {
        if key.is_part() { &self.parts } else { &self.pages }
    }

    /// The page at exactly this version, if it is kept.
    #[must_use]
    pub fn kept(&self, key: &PageKey, version: &Version) -> Option<Arc<KeptPage>> {
        self.cache(key).get(key).filter(|page| page.version.stamp() == version.stamp())
    }

    /// The page at this version or a later one, rendered now if it is not kept.
    ///
    /// # Errors
    /// What `load` or `render` ended with, for everybody who waited for it.
    pub async fn get<T, F>(
        &self,
        key: PageKey,
        version: &Version,
        load: impl FnOnce() -> F,
        render: impl FnOnce(&Version, T) -> Result<Representation, AppError> + Send + 'static,
    ) -> Outcome
    where
        T: Send + 'static,
        F: Future<Output = Result<(Version, T), AppError>> + Send + 'static,
    {
        if let Some(page) = self.kept(&key, version) {
            return Ok(page);
        }
        // Whoever asks for the same version may share a rendering that was asked for it: its snapshot is of a moment
        // after that version was seen. One that was asked for an earlier version may have an older snapshot.
        let asked = (key, version.stamp());
        let rendering = {
            let mut renderings = self.renderings.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(rendering) = renderings.get(&asked) {
                rendering.clone()
            } else {
                let rendering = self.start(asked.clone(), load(), render);
                renderings.insert(asked, rendering.clone());
                rendering
            }
        };
        waits::until(Wait::Page, rendering).await
    }

    fn start<T: Send + 'static>(
        &self,
        asked: (PageKey, Stamp),
        load: impl Future<Output = Result<(Version, T), AppError>> + Send + 'static,
        render: impl FnOnce(&Version, T) -> Result<Representation, AppError> + Send + 'static,
    ) -> Rendering {
        let this = self.clone();
        // A task of its own: it goes on when the request that started it goes away, because others may wait for it.
        let task = self.runtime.spawn(
            waits::carried(async move {
                let ended = Ended { renderings: &this.renderings, asked: &asked };
                let outcome = this.render(|| load, render).await.map(Arc::new);
                if let Ok(page) = &outcome {
                    this.cache(&asked.0).insert(asked.0.clone(), Arc::clone(page));
                }
                drop(ended);
                outcome
            })
            .in_current_span(),
        );
        let ended = async { task.await.unwrap_or_else(|error| Err(AppError::Internal(format!("rendering: {error}")))) };
        ended.boxed().shared()
    }

    /// Loads and renders a page for one request, and keeps nothing.
    ///
    /// # Errors
    /// What `load` or `render` ended with.
    pub async fn render<T, F>(
        &self,
        load: impl FnOnce() -> F,
        render: impl FnOnce(&Version, T) -> Result<Representation, AppError> + Send + 'static,
    ) -> Result<KeptPage, AppError>
    where
        T: Send + 'static,
        F: Future<Output = Result<(Version, T), AppError>> + Send + 'static,
    {
        let turn = tokio::time::timeout(db::LONGEST, Arc::clone(&self.contents).acquire_owned()).await;
        let Ok(Ok(turn)) = turn else { return Err(Refusal::TooManyReaders.into()) };
        // Boxed, because what loads holds a lot and most requests never come here.
        let (version, content) = Box::pin(load()).await?;
        let core = Arc::clone(&self.cores).acquire_owned().await;
        let rendered = self.runtime.spawn_blocking(move || {
            // Given back when the work has ended, also if nobody waits for it any more.
            let _permits = (turn, core);
            render(&version, content).map(|body| KeptPage { version, body })
        });
        rendered.await.unwrap_or_else(|error| Err(AppError::Internal(format!("rendering: {error}"))))
    }
}

/// Takes a rendering off the list when it has ended, also by a panic: the next request tries again.
struct Ended<'a> {
    renderings: &'a Mutex<HashMap<(PageKey, Stamp), Rendering>>,
    asked: &'a (PageKey, Stamp),
}

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.renderings.lock().unwrap_or_else(PoisonError::into_inner).remove(self.asked);
    }
}

/// What a page takes of the capacity, its entry included.
fn weight(page: &Representation) -> u32 {
    u32::try_from(page.size() + 256).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use chrono::DateTime;
    use tokio::sync::Notify;

    use super::*;
    use crate::db::versions::SiteStamp;

    fn cache() -> PageCache {
        PageCache::new(1 << 20, Duration::ZERO, 2, Handle::current())
    }

    fn version(number: i64) -> Version {
        Version { site: SiteStamp::default(), number, changed_at: DateTime::UNIX_EPOCH, settled: true, board: None }
    }

    #[expect(clippy::unnecessary_wraps, reason = "the signature of every rendering")]
    fn text(_: &Version, text: String) -> Result<Representation, AppError> {
        Ok(Representation::new("text/plain", text))
    }

    /// Asks for the page of thread 1 at a version, which is loaded as `loaded`.
    async fn get(cache: &PageCache, asked: i64, loaded: i64, loads: &Arc<AtomicUsize>) -> Outcome {
        let loads = Arc::clone(loads);
        let load = move || async move {
            loads.fetch_add(1, Ordering::Relaxed);
            Ok((version(loaded), format!("version {loaded}")))
        };
        cache.get(PageKey::Thread(PostNo(1)), &version(asked), load, text).await
    }

    #[tokio::test]
    async fn a_page_is_kept_for_its_version_and_replaced_by_the_next() {
        let (cache, loads) = (cache(), Arc::default());
        for (asked, loaded, expected_loads) in [(1, 1, 1), (1, 1, 1), (2, 2, 2), (2, 2, 2)] {
            let page = get(&cache, asked, loaded, &loads).await.unwrap();
            assert_eq!(page.body.plain, format!("version {loaded}"));
            assert_eq!(loads.load(Ordering::Relaxed), expected_loads);
        }
        cache.pages.run_pending_tasks();
        assert_eq!(cache.pages.entry_count(), 1);
    }

    #[tokio::test]
    async fn a_page_that_changed_while_it_was_loaded_is_kept_as_what_it_is() {
        let (cache, loads) = (cache(), Arc::default());
        assert_eq!(get(&cache, 1, 2, &loads).await.unwrap().version.number, 2);
        assert_eq!(get(&cache, 2, 9, &loads).await.unwrap().version.number, 2, "kept as version 2");
    }

    #[tokio::test]
    async fn all_who_wait_for_a_version_share_one_rendering_even_if_the_first_goes_away() {
        let cache = cache();
        let (loads, go) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
        let ask = || {
            let (cache, loads, go) = (cache.clone(), Arc::clone(&loads), Arc::clone(&go));
            tokio::spawn(async move {
                let load = move || async move {
                    loads.fetch_add(1, Ordering::Relaxed);
                    go.notified().await;
                    Ok((version(1), "once".to_owned()))
                };
                cache.get(PageKey::Home, &version(1), load, text).await
            })
        };
        let first = ask();
        while loads.load(Ordering::Relaxed) == 0 {
            tokio::task::yield_now().await;
        }
        let others = [ask(), ask()];
        first.abort();
        go.notify_one();
        for other in others {
            assert_eq!(other.await.unwrap().unwrap().body.plain, "once");
        }
        assert_eq!(loads.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn neither_an_error_nor_a_panic_is_kept() {
        let (cache, loads) = (cache(), Arc::default());
        let refused = || async { Err::<(Version, String), AppError>(Refusal::UnknownPicture.into()) };
        let thread = PageKey::Thread(PostNo(1));
        assert!(cache.get(thread.clone(), &version(1), refused, text).await.is_err());
        let panics = || async { panic!("a defect") };
        assert!(cache.get(thread, &version(1), panics, text).await.is_err());
        assert!(cache.renderings.lock().unwrap().is_empty());
        assert_eq!(get(&cache, 1, 1, &loads).await.unwrap().body.plain, "version 1");
    }

    #[tokio::test]
    async fn only_so_many_contents_wait_in_memory_for_a_core() {
        const PAGES: usize = 20;
        let pages = PageCache::new(1 << 20, Duration::ZERO, 1, Handle::current());
        let (loaded, (block, blocked)) = (Arc::new(AtomicUsize::new(0)), std::sync::mpsc::channel::<()>());
        let blocked = Arc::new(Mutex::new(blocked));
        let rendering = (0..PAGES).map(|_| {
            let (pages, loaded, blocked) = (pages.clone(), Arc::clone(&loaded), Arc::clone(&blocked));
            let load = move || async move {
                loaded.fetch_add(1, Ordering::SeqCst);
                Ok((version(1), ()))
            };
            // Until nobody blocks it any more.
            let render = move |_: &_, ()| {
                let _ = blocked.lock().unwrap_or_else(PoisonError::into_inner).recv();
                Ok(Representation::new("text/plain", String::new()))
            };
            tokio::spawn(async move { pages.render(load, render).await.map(drop) })
        });
        let rendering: Vec<_> = rendering.collect();
        // Every page has had its turns by then to get as far as it gets.
        for _ in 0..PAGES * 10 {
            tokio::task::yield_now().await;
        }
        assert_eq!(loaded.load(Ordering::SeqCst), CONTENTS_PER_CORE);
        drop(block);
        for page in rendering {
            assert!(page.await.is_ok_and(|page| page.is_ok()));
        }
        assert_eq!(loaded.load(Ordering::SeqCst), PAGES);
    }
}
