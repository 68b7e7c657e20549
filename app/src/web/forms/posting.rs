//! `POST /{board}/post`

use actix_web::cookie::time::Duration;
use actix_web::cookie::{Cookie, SameSite};
use actix_web::http::header::{HeaderName, LOCATION};
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use uuid::Uuid;

use super::counted;
use super::form::Form;
use super::reader;
use crate::domain::{Destination, Draft, PostNo, PostText, Refusal};
use crate::error::AppError;
use crate::metrics::PostLabels;
use crate::service::posting::{Posted, Submission};
use crate::state::AppState;
use crate::web::http::caching::CachePolicy;
use crate::web::http::negotiation::{header, wants_json};
use crate::web::http::{client_address, origin};
use crate::web::layers::errors;
use crate::web::lookup;
use crate::web::pages::error::{self, RefusedPost};

/// Holds the password of everything that one browser posts without naming one.
pub(crate) const PASSWORD_COOKIE: &str = "triptych_password";
/// The most bytes that a password or a key may have.
const SHORT_TEXT: usize = 200;

/// What a program gets.
#[derive(Debug, Serialize)]
struct PostedDocument<'a> {
    board: &'a str,
    no: PostNo,
    resto: i32,
    url: &'a str,
}

pub(crate) async fn post(
    request: HttpRequest,
    state: web::Data<AppState>,
    slug: web::Path<String>,
    payload: web::Payload,
) -> Result<HttpResponse, AppError> {
    let mut form = reader::read(&request, &state, payload).await;
    let draft = Draft {
        name: form.take("name"),
        email: form.take("email"),
        subject: form.take("sub"),
        comment: form.take("com"),
        spoiler: form.ticked("spoiler"),
        missing: form.missing,
    };
    let destination = destination(&form);
    let (password, is_new) = password(&request, &form);
    let done = match &destination {
        Ok(destination) => submit(&request, &state, &slug, &mut form, &draft, *destination, (&password, is_new)).await,
        Err(refusal) => Err(refusal.clone().into()),
    };
    count(&state, &slug, &done);
    if let Ok(Posted { no, thread, repeated }) = done {
        tracing::info!(board = *slug, no = no.0, thread = thread.0, repeated, "posted");
    }
    match done {
        Ok(posted) => Ok(answer(&request, &state, &slug, posted, is_new.then_some(password))),
        Err(error) if wants_json(&request) => Err(error),
        Err(error) => {
            let thread = match destination {
                Ok(Destination::Reply(no)) => Some(no),
                Ok(Destination::NewThread) | Err(_) => None,
            };
            let key = form.field("key").parse().ok();
            let refused = RefusedPost { slug: &slug, thread, draft: &draft, key };
            errors::log(&error);
            let page = error::answer(&request, &state, &error, Some(&refused));
            Ok(match form.text_memory.take() {
                Some(memory) => counted::until_sent(page, memory),
                None => page,
            })
        }
    }
}

async fn submit(
    request: &HttpRequest,
    state: &AppState,
    slug: &str,
    form: &mut Form,
    draft: &Draft,
    destination: Destination,
    (password, password_is_new): (&str, bool),
) -> Result<Posted, AppError> {
    origin::check(request, state.config.public_url.as_ref())?;
    if let Some(problem) = form.problem.take() {
        return Err(problem);
    }
    // A board that is known stays known; whether it may be posted on is for the transaction to say.
    let known = state.boards.last_known().find(slug).cloned();
    let board = match known {
        Ok(board) => board,
        Err(_) => lookup::board(state, slug).await?.0,
    };
    let text = PostText::new(draft, &state.config.posts)?;
    if password.len() > SHORT_TEXT {
        return Err(Refusal::PasswordTooLong { most: SHORT_TEXT }.into());
    }
    match destination {
        Destination::NewThread if form.uploads.is_empty() => {
            return Err(Refusal::PictureRequired.into());
        }
        Destination::Reply(_) if form.uploads.is_empty() && text.comment.is_empty() => {
            return Err(Refusal::EmptyReply.into());
        }
        _ => {}
    }
    let submission = Submission {
        board,
        destination,
        text,
        password: password.to_owned(),
        password_is_new,
        spoiler: draft.spoiler,
        uploads: std::mem::take(&mut form.uploads),
        key: key(request, form),
        address: client_address::of(request, &state.config.trusted_proxies),
        memory: form.upload_memory.take(),
    };
    state.posting.post(submission).await
}

/// `resto`: absent, empty or 0 opens a thread.
fn destination(form: &Form) -> Result<Destination, Refusal> {
    match form.field("resto").trim() {
        "" | "0" => Ok(Destination::NewThread),
        number => match number.parse() {
            Ok(no) if no > 0 => Ok(Destination::Reply(PostNo(no))),
            _ => Err(Refusal::BadThreadNumber),
        },
    }
}

/// From the form, or, for programs, from the header of the IETF draft `httpapi-idempotency-key-header`.
fn key(request: &HttpRequest, form: &Form) -> Option<String> {
    let from_header = header(request, HeaderName::from_static("idempotency-key"));
    [form.field("key"), from_header]
        .into_iter()
        .find(|key| !key.is_empty() && key.len() <= SHORT_TEXT)
        .map(str::to_owned)
}

/// The password that deletes the post, and whether it was made up just now. One that was typed wins over the one
/// that this browser has; a program that sends neither gets none.
fn password(request: &HttpRequest, form: &Form) -> (String, bool) {
    let typed = form.field("pwd");
    if !typed.is_empty() || wants_json(request) {
        return (typed.to_owned(), false);
    }
    match request.cookie(PASSWORD_COOKIE) {
        Some(cookie) if (8..=SHORT_TEXT).contains(&cookie.value().len()) => (cookie.value().to_owned(), false),
        _ => (Uuid::new_v4().simple().to_string(), true),
    }
}

fn answer(
    request: &HttpRequest,
    state: &AppState,
    slug: &str,
    posted: Posted,
    new_password: Option<String>,
) -> HttpResponse {
    let url = format!("/{slug}/res/{}.html#{}", posted.thread, posted.no);
    let mut answer = if wants_json(request) { HttpResponse::Created() } else { HttpResponse::SeeOther() };
    answer.insert_header((LOCATION, url.as_str())).insert_header(CachePolicy::Never.header());
    if let Some(password) = new_password {
        let secure = state.config.public_url.as_ref().is_some_and(|url| url.scheme() == "https");
        answer.cookie(
            Cookie::build(PASSWORD_COOKIE, password)
                .path("/")
                .http_only(true)
                // Another site cannot make a browser delete with it.
                .same_site(SameSite::Strict)
                .secure(secure)
                .max_age(Duration::days(365))
                .finish(),
        );
    }
    if wants_json(request) {
        let resto = if posted.no == posted.thread { 0 } else { posted.thread.0 };
        answer.json(PostedDocument { board: slug, no: posted.no, resto, url: &url })
    } else {
        answer.finish()
    }
}

fn count(state: &AppState, slug: &str, done: &Result<Posted, AppError>) {
    let outcome = match done {
        Ok(Posted { repeated: true, .. }) => "repeated",
        Ok(_) => "created",
        Err(error) => error.code(),
    };
    // A name that is no board's must not become a series.
    let board = if state.boards.last_known().find(slug).is_ok() { slug } else { "" };
    let labels = PostLabels { board: board.to_owned(), outcome: outcome.to_owned() };
    state.metrics.posts.get_or_create(&labels).inc();
}
