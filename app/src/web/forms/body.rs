//! The body of a form on its way in: not too slow, not without end, and its end is known.
//!
//! A body is read to its end even when the form is refused already, because an answer that is sent while the body is
//! still coming is lost on the way: the proxy or the browser sees a broken connection. The exceptions are bodies that
//! are too slow or much too large. The connection ends with their answer, see [`UnreadBody`].

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::ServiceResponse;
use actix_web::error::PayloadError;
use actix_web::http::ConnectionType;
use actix_web::{HttpMessage as _, HttpRequest, web};
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use tokio::time::Sleep;

use super::pace::{Pace, TooSlow};

/// The stream of a body. Clones are the same stream: what a parser leaves behind can be read by somebody else.
#[derive(Clone)]
pub(super) struct Body(Rc<RefCell<Incoming>>);

struct Incoming {
    payload: web::Payload,
    /// Bytes that may still come.
    room: usize,
    pace: Pace,
    timer: Pin<Box<Sleep>>,
    limit: Duration,
    fault: Option<Fault>,
}

/// Why a body was not read to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// It arrives too slowly.
    TooSlow {
        /// The time that a whole body has.
        limit: Duration,
    },
    /// It is larger than anything that is worth reading.
    TooLarge,
    /// The connection broke, or what comes is not HTTP.
    Broken {
        /// In the words of the server.
        cause: String,
    },
}

impl Body {
    /// A body that may take so long and have so many bytes.
    pub(super) fn new(payload: web::Payload, limit: Duration, most: usize) -> Self {
        Self(Rc::new(RefCell::new(Incoming {
            payload,
            room: most,
            pace: Pace::new(limit),
            timer: Box::pin(tokio::time::sleep(limit)),
            limit,
            fault: None,
        })))
    }

    pub(super) fn fault(&self) -> Option<Fault> {
        self.0.borrow().fault.clone()
    }

    /// Reads what is left and throws it away.
    pub(super) async fn discard(&mut self) {
        while let Some(Ok(_)) = self.next().await {}
    }
}

impl Stream for Body {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut incoming = self.0.borrow_mut();
        if incoming.fault.is_some() {
            return Poll::Ready(None);
        }
        let next = ready!(incoming.poll_next(context));
        Poll::Ready(next.map(|next| {
            next.map_err(|fault| {
                // Who reads looks at the fault, and not at what the parser makes of this.
                incoming.fault = Some(fault);
                PayloadError::Io(io::Error::other("the body is not read any further"))
            })
        }))
    }
}

impl Incoming {
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Fault>>> {
        let limit = self.limit;
        let too_slow = |TooSlow| Fault::TooSlow { limit };
        if let Poll::Ready(next) = self.payload.poll_next_unpin(context) {
            let checked = next.map(|chunk| {
                let chunk = chunk.map_err(|error| Fault::Broken { cause: error.to_string() })?;
                self.pace.received(chunk.len(), Instant::now()).map_err(too_slow)?;
                self.room = self.room.checked_sub(chunk.len()).ok_or(Fault::TooLarge)?;
                Ok(chunk)
            });
            return Poll::Ready(checked);
        }
        loop {
            match self.pace.waits(Instant::now()) {
                Ok(until) => self.timer.as_mut().reset(until.into()),
                Err(slow) => return Poll::Ready(Some(Err(too_slow(slow)))),
            }
            ready!(self.timer.as_mut().poll(context));
        }
    }
}

/// A body that was not read to its end, put among the extensions of its request.
///
/// The server closes a connection after an answer whose request has not been read, but only as long as the unread body
/// exists: otherwise it goes on reading a chunked one for ever.
struct UnreadBody(Body);

/// Leaves a body that was not read to its end for [`close_if_unread`].
pub(super) fn leave_unread(request: &HttpRequest, body: Body) {
    request.extensions_mut().insert(UnreadBody(body));
}

/// Ends the connection of a request whose body was not read to its end.
pub(crate) fn close_if_unread(response: ServiceResponse) -> ServiceResponse {
    let Some(UnreadBody(unread)) = response.request().extensions_mut().remove() else { return response };
    let mut response = response.map_body(|_, body| BoxBody::new(WithUnread { body, _unread: unread }));
    response.response_mut().head_mut().set_connection_type(ConnectionType::Close);
    response
}

/// An answer that keeps the body of its request.
struct WithUnread {
    body: BoxBody,
    _unread: Body,
}

impl MessageBody for WithUnread {
    type Error = <BoxBody as MessageBody>::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.get_mut().body).poll_next(context)
    }
}
