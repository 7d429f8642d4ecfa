//! Bodies that nobody read to the end. The server would go on reading a chunked one for as long as its sender likes, on a connection
//! that has long been answered; while somebody still holds the body, it closes instead.

use std::{
    cell::RefCell,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use actix_web::{
    HttpMessage, HttpResponse,
    body::{BodySize, BoxBody, MessageBody},
    dev::{Payload, ServiceRequest},
    error::PayloadError,
    http::header::TRANSFER_ENCODING,
    web::Bytes,
};
use futures_util::{Stream, StreamExt};

/// A hold on the body of a request.
pub(super) struct Unread(Rc<RefCell<Held>>);

struct Held {
    payload: Payload,
    ended: bool,
}

impl Unread {
    /// Takes hold of a body whose length nobody announced. The handler reads it all the same.
    pub(super) fn of(request: &mut ServiceRequest) -> Option<Unread> {
        request.headers().get(&TRANSFER_ENCODING)?;
        let held = Rc::new(RefCell::new(Held {
            payload: request.take_payload(),
            ended: false,
        }));
        request.set_payload(Payload::Stream {
            payload: Box::pin(Shared(held.clone())),
        });
        Some(Unread(held))
    }

    /// Keeps hold until the answer is out, unless the body was read to its end: then the connection can be used again.
    pub(super) fn until_answered(self, response: HttpResponse) -> HttpResponse {
        if self.0.borrow().ended {
            return response;
        }
        response.map_body(|_, body| BoxBody::new(Holding { body, _held: self.0 }))
    }
}

struct Shared(Rc<RefCell<Held>>);

impl Stream for Shared {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut held = self.0.borrow_mut();
        let next = held.payload.poll_next_unpin(cx);
        if matches!(next, Poll::Ready(None)) {
            held.ended = true;
        }
        next
    }
}

struct Holding {
    body: BoxBody,
    _held: Rc<RefCell<Held>>,
}

impl MessageBody for Holding {
    type Error = Box<dyn std::error::Error>;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.body).poll_next(cx)
    }
}
