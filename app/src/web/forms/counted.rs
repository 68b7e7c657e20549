//! A page that is counted in a budget of memory until it is sent.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::body::{BodySize, MessageBody};
use bytes::Bytes;
use tokio::task::JoinHandle;

use crate::memory::Share;

/// What the server gets at a time. It copies what it gets, and takes more when that is sent.
const PIECE: usize = 32 << 10;
/// How long a client may take to read the answer to its form. What it has not read by then is dropped, so that nobody
/// can keep the memory of a budget by not reading.
const LONGEST_SEND: Duration = Duration::from_mins(1);

/// Gives back memory as soon as the page of this answer needs less, and all of it when the page is sent.
pub(super) fn until_sent(answer: HttpResponse, mut memory: Share) -> HttpResponse {
    let (head, body) = answer.into_parts();
    match body.try_into_bytes() {
        Ok(page) => {
            memory.shrink_to(page.len());
            head.set_body(CountedPage::new(page, memory, LONGEST_SEND)).map_into_boxed_body()
        }
        Err(body) => head.set_body(body),
    }
}

struct CountedPage {
    rest: Arc<Mutex<Option<Rest>>>,
    length: usize,
    drops_late: JoinHandle<()>,
}

/// What is not sent yet.
struct Rest {
    // In the order in which they are dropped.
    page: Bytes,
    _memory: Share,
}

impl CountedPage {
    fn new(page: Bytes, memory: Share, longest_send: Duration) -> Self {
        let length = page.len();
        let rest = Arc::new(Mutex::new(Some(Rest { page, _memory: memory })));
        let shared = Arc::clone(&rest);
        let drops_late = tokio::spawn(async move {
            tokio::time::sleep(longest_send).await;
            shared.lock().unwrap_or_else(PoisonError::into_inner).take();
        });
        Self { rest, length, drops_late }
    }
}

impl Drop for CountedPage {
    fn drop(&mut self) {
        self.drops_late.abort();
        self.rest.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

impl MessageBody for CountedPage {
    type Error = io::Error;

    fn size(&self) -> BodySize {
        BodySize::Sized(self.length as u64)
    }

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Bytes, io::Error>>> {
        let mut rest = self.rest.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(Rest { page, .. }) = rest.as_mut() else {
            return Poll::Ready(Some(Err(io::ErrorKind::TimedOut.into())));
        };
        if page.is_empty() {
            return Poll::Ready(None);
        }
        let piece = page.split_to(PIECE.min(page.len()));
        Poll::Ready(Some(Ok(piece)))
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use actix_web::body::to_bytes;
    use futures_util::future::poll_fn;
    use prometheus_client::metrics::gauge::Gauge;

    use super::*;
    use crate::memory::Budget;

    async fn counted(page: &'static str, held: usize) -> (HttpResponse, Gauge) {
        let gauge = Gauge::default();
        let mut memory = Budget::new(1 << 20, gauge.clone()).share(held);
        memory.grow_to(held).await.unwrap();
        (until_sent(HttpResponse::Forbidden().body(page), memory), gauge)
    }

    #[actix_web::test]
    async fn a_page_is_counted_until_it_is_sent() {
        let page: &str = Box::leak("page ".repeat(20_000).into_boxed_str());
        let (answer, gauge) = counted(page, 200_000).await;
        assert_eq!(answer.status(), 403);
        assert_eq!(gauge.get(), 100_000, "no more than there is");
        let mut body = pin!(answer.into_body());
        assert_eq!(body.size(), BodySize::Sized(100_000));
        let first = poll_fn(|context| body.as_mut().poll_next(context)).await.unwrap().unwrap();
        assert_eq!((first.len(), gauge.get()), (PIECE, 100_000));
        let (answer, second_gauge) = counted(page, 10).await;
        assert_eq!(to_bytes(answer.into_body()).await.unwrap(), page);
        assert_eq!(second_gauge.get(), 0);
    }

    #[actix_web::test]
    async fn a_client_that_does_not_read_cannot_keep_the_memory() {
        let gauge = Gauge::default();
        let mut memory = Budget::new(10, gauge.clone()).share(10);
        memory.grow_to(10).await.unwrap();
        let mut body = pin!(CountedPage::new(Bytes::from_static(b"not read"), memory, Duration::from_millis(1)));
        while gauge.get() > 0 {
            tokio::task::yield_now().await;
        }
        let next = poll_fn(|context| body.as_mut().poll_next(context)).await;
        assert!(next.is_some_and(|next| next.is_err()), "the rest is not sent, and not said to be the whole");
    }

    #[actix_web::test]
    async fn a_client_that_goes_away_leaves_nothing() {
        let (answer, gauge) = counted("page", 4).await;
        assert_eq!(gauge.get(), 4);
        drop(answer);
        assert_eq!(gauge.get(), 0);
    }
}
