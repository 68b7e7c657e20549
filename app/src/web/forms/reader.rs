//! Reads a form: within limits, with memory for everything that is kept, and to its end even when something is wrong.
//!
//! The texts that were typed have to come back to whoever typed them. They may stand behind the file that is too large,
//! and are worth something even if the form breaks off.

use actix_web::http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use actix_web::{HttpMessage as _, HttpRequest, web};
use futures_util::StreamExt as _;

use super::body::{Body, Fault, leave_unread};
use super::files::Files;
use super::form::Form;
use super::multipart;
use super::texts::{IncomingText, MOST_FIELDS, Texts};
use crate::domain::{PostLimits, Refusal};
use crate::state::AppState;
use crate::trace::waits::{self, Wait};
use crate::web::http::negotiation::header;

/// How much is read and thrown away behind the limit before the connection is given up.
const SURPLUS_BYTES: usize = 8 << 20;

/// Reads a form of either encoding. Never fails: what is wrong is in [`Form::problem`].
pub(crate) async fn read(request: &HttpRequest, state: &AppState, payload: web::Payload) -> Form {
    let _waiting = waits::begin(Wait::Body);
    let mut form = Form::default();
    let limits = &state.config.posts;
    let announced = header(request, CONTENT_LENGTH).parse::<usize>().ok();
    let mut body = Body::new(payload, state.config.form_timeout, state.config.body_bytes() + SURPLUS_BYTES);
    let mut texts = Texts::new(&state.text_memory, limits, announced);
    let mut files = Files::new(&state.upload_memory, limits, announced);
    if announced.is_some_and(|announced| announced > state.config.body_bytes()) {
        form.refuse(too_large(limits));
    }
    // Nobody unpacks it, and so nobody can be made to unpack more than was sent.
    if !matches!(header(request, CONTENT_ENCODING), "" | "identity") {
        form.refuse(Refusal::UnsupportedEncoding);
    }
    let content_type = request.content_type();
    let read = if content_type.eq_ignore_ascii_case("multipart/form-data") {
        multipart::read(&mut form, &mut texts, &mut files, limits, request.headers(), body.clone()).await
    } else if content_type.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        read_urlencoded(&mut form, &mut texts, &mut body).await;
        Ok(())
    } else {
        Err(Refusal::UnsupportedForm)
    };
    // What the parser says of a body that broke off is not why it broke off.
    let problem = body.fault().map(|fault| refusal(fault, limits)).or(read.err());
    if let Some(problem) = problem {
        form.cut(problem);
    }
    if form.problem.is_some() {
        drop(files);
        body.discard().await;
    } else if !form.uploads.is_empty() {
        form.upload_memory = Some(files.into_share());
    }
    form.text_memory = Some(texts.into_share());
    if body.fault().is_some() {
        leave_unread(request, body);
    }
    form
}

async fn read_urlencoded(form: &mut Form, texts: &mut Texts<'_>, body: &mut Body) {
    let mut encoded = IncomingText::default();
    while let Some(Ok(chunk)) = body.next().await {
        if let Err(refusal) = texts.add_encoded(&mut encoded, &chunk).await {
            form.cut(refusal);
        }
    }
    let (fields, outcome) = texts.decode(encoded, body.fault().is_none(), MOST_FIELDS).await;
    form.fields = fields;
    if let Err(refusal) = outcome {
        form.cut(refusal);
    }
}

fn refusal(fault: Fault, limits: &PostLimits) -> Refusal {
    match fault {
        Fault::TooSlow { limit } => Refusal::FormTooSlow { seconds: limit.as_secs() },
        Fault::TooLarge => too_large(limits),
        Fault::Broken { cause } => Refusal::IncompleteForm { cause },
    }
}

/// The whole post is too large.
fn too_large(limits: &PostLimits) -> Refusal {
    Refusal::PostTooLarge { files: limits.files, file_bytes: limits.file_bytes }
}
