//! Making thumbnails without letting them take the machine: at most so many at a time, a short
//! queue, and a quick "busy" for everybody else.
//!
//! Knows nothing of who asks or what they are told.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::{Inspected, Limits, MediaError, Thumbnail, thumbnail};
use crate::domain::PictureKind;
use crate::trace::waits::{self, Wait};

/// How many may wait for each that is running. A burst of small pictures is through in a moment, and large ones are
/// told to come back by [`LONGEST_WAIT`]; what waits is counted in the memory of uploads already.
const WAITING_PER_PERMIT: usize = 16;
/// After this long in the queue, a visitor is better served by "try again".
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// Bounded decoding on tokio's blocking threads.
///
/// Holds at most `permits` × [`Limits::max_decoded_bytes`] of decoded pictures at any moment.
#[derive(Debug)]
pub struct Pool {
    limits: Limits,
    /// Room to decode.
    running: Arc<Semaphore>,
    /// Room to decode or to wait for it.
    admitted: Arc<Semaphore>,
    longest_wait: Duration,
}

/// Why there is no thumbnail.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PoolError {
    /// The queue is full, or it took too long to come to the front of it. Worth a retry in a
    /// second or two.
    #[error("too many pictures are being decoded")]
    Busy,
    /// The picture cannot be decoded; trying again does not help.
    #[error(transparent)]
    Media(#[from] MediaError),
}

impl Pool {
    /// A pool that decodes `permits` pictures at a time; more than there are cores gain nothing. 0 counts as 1.
    #[must_use]
    pub fn new(limits: Limits, permits: usize) -> Self {
        let permits = permits.clamp(1, Semaphore::MAX_PERMITS / (1 + WAITING_PER_PERMIT));
        Self {
            limits,
            running: Arc::new(Semaphore::new(permits)),
            admitted: Arc::new(Semaphore::new(permits * (1 + WAITING_PER_PERMIT))),
            longest_wait: LONGEST_WAIT,
        }
    }

    /// What a picture may cost.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Makes a thumbnail once it is this picture's turn. Must be called within a tokio runtime.
    ///
    /// Dropping the future gives up the place in the queue; what already runs is finished, and
    /// keeps its permit until then.
    pub async fn thumbnail(&self, picture: Arc<Inspected>) -> Result<Thumbnail, PoolError> {
        let limits = self.limits;
        self.run(picture.kind, move || thumbnail(&picture, &limits)).await
    }

    async fn run<T: Send + 'static>(
        &self,
        kind: PictureKind,
        work: impl FnOnce() -> Result<T, MediaError> + Send + 'static,
    ) -> Result<T, PoolError> {
        let Ok(admitted) = Arc::clone(&self.admitted).try_acquire_owned() else {
            return Err(PoolError::Busy);
        };
        let turn = timeout(self.longest_wait, Arc::clone(&self.running).acquire_owned());
        let Ok(Ok(running)) = waits::until(Wait::DecoderQueue, turn).await else {
            return Err(PoolError::Busy);
        };
        let done = spawn_blocking(move || {
            // Both are given back when the work ends, even by a panic or without anybody waiting.
            let _permits = (running, admitted);
            work()
        });
        match waits::until(Wait::Decoding, done).await {
            Ok(result) => result.map_err(PoolError::Media),
            // The runtime catches what unwinds; the decoders' own panics are caught before.
            Err(error) if error.is_panic() => Err(PoolError::Media(MediaError::DecoderPanicked { kind })),
            // The runtime is shutting down.
            Err(_) => Err(PoolError::Busy),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use futures_util::FutureExt as _;

    use super::*;

    /// One that gives up waiting soon, and has room for one running and two waiting.
    fn impatient() -> Arc<Pool> {
        let mut pool = Pool::new(Limits::default(), 1);
        pool.longest_wait = Duration::from_millis(400);
        pool.admitted = Arc::new(Semaphore::new(3));
        Arc::new(pool)
    }

    #[tokio::test]
    async fn a_panic_becomes_an_error_and_gives_its_permit_back() {
        let pool = impatient();
        for _ in 0..5 {
            let result: Result<(), _> =
                pool.run(PictureKind::Png, || std::panic::resume_unwind(Box::new("a bug"))).await;
            let panicked = MediaError::DecoderPanicked { kind: PictureKind::Png };
            assert_eq!(result, Err(PoolError::Media(panicked)));
        }
        assert_eq!(pool.run(PictureKind::Png, || Ok(7)).await, Ok(7));
    }

    #[tokio::test]
    async fn a_full_queue_is_busy_at_once_and_a_long_one_after_the_wait() {
        let pool = impatient();
        let (finish, finished) = mpsc::channel::<()>();
        let run = |work: Box<dyn FnOnce() -> Result<u8, MediaError> + Send>| {
            let pool = Arc::clone(&pool);
            tokio::spawn(async move { pool.run(PictureKind::Gif, work).await })
        };
        let running = run(Box::new(move || {
            finished.recv().ok();
            Ok(1)
        }));
        while pool.running.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        let waiting = [run(Box::new(|| Ok(2))), run(Box::new(|| Ok(3)))];
        while pool.admitted.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        let refused = pool.run(PictureKind::Gif, || Ok(4)).now_or_never();
        assert_eq!(refused, Some(Err(PoolError::Busy)), "refused without waiting");
        for waiting in waiting {
            assert_eq!(waiting.await.ok(), Some(Err(PoolError::Busy)));
        }
        assert!(finish.send(()).is_ok(), "it still runs");
        assert_eq!(running.await.ok(), Some(Ok(1)));
        assert_eq!(pool.run(PictureKind::Gif, || Ok(5)).await, Ok(5));
    }

    #[tokio::test]
    async fn a_dropped_caller_keeps_the_permit_of_running_work() {
        let pool = impatient();
        let (finish, finished) = mpsc::channel::<()>();
        let caller = {
            let pool = Arc::clone(&pool);
            tokio::spawn(async move {
                pool.run(PictureKind::Gif, move || {
                    finished.recv().ok();
                    Ok(())
                })
                .await
            })
        };
        while pool.running.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        caller.abort();
        assert!(caller.await.is_err_and(|error| error.is_cancelled()));
        assert_eq!(pool.running.available_permits(), 0);
        assert!(finish.send(()).is_ok(), "it still runs");
        assert_eq!(pool.run(PictureKind::Gif, || Ok(6)).await, Ok(6));
    }
}
