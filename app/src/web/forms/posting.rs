//! `POST /{board}/post`

use actix_web::http::header::{ACCEPT_LANGUAGE, HeaderName, LOCATION, USER_AGENT};
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;

use super::counted;
use super::form::Form;
use super::reader;
use crate::domain::{Destination, Draft, PostNo, PostText, Refusal};
use crate::error::AppError;
use crate::metrics::PostLabels;
use crate::service::posting::{Posted, Submission};
use crate::state::AppState;
use crate::web::cookies;
use crate::web::http::caching::CachePolicy;
use crate::web::http::negotiation::{header, wants_json};
use crate::web::http::{client_address, origin};
use crate::web::layers::errors;
use crate::web::lookup;
use crate::web::pages::error::{self, RefusedPost};

/// The most bytes that a password or a key may have.
const SHORT_TEXT: usize = 200;

/// A post that was made, or had been before.
struct Made {
    posted: Posted,
    /// What deletes it, for a browser that does not keep this password yet.
    new_password: Option<String>,
}

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
    let done = match &destination {
        Ok(destination) => submit(&request, &state, &slug, &mut form, &draft, *destination).await,
        Err(refusal) => Err(refusal.clone().into()),
    };
    count(&state, &slug, &done);
    match done {
        Ok(made) => {
            let Posted { no, thread, repeated } = made.posted;
            tracing::info!(board = *slug, no = no.0, thread = thread.0, repeated, "posted");
            Ok(answer(&request, &state, &slug, &made))
        }
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
) -> Result<Made, AppError> {
    origin::check(request, state.config.public_url.as_ref())?;
    if let Some(problem) = form.problem.take() {
        return Err(problem);
    }
    let board = lookup::board(state, slug).await?.board()?.clone();
    let text = PostText::new(draft, &state.config.posts)?;
    let held = held_password(request, form);
    if held.as_ref().is_some_and(|(password, _)| password.len() > SHORT_TEXT) {
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
    let mut submission = Submission {
        board,
        destination,
        text,
        password: String::new(),
        spoiler: draft.spoiler,
        uploads: std::mem::take(&mut form.uploads),
        key: key(request, form),
        address: client_address::of(request, &state.config.trusted_proxies),
        memory: form.upload_memory.take(),
    };
    let (password, is_new) = held.unwrap_or_else(|| {
        // Tells newcomers behind one address apart, as far as that is possible without a cookie.
        let browser = [header(request, USER_AGENT), header(request, ACCEPT_LANGUAGE)];
        (state.posting.made_up_password(&submission, browser), true)
    });
    submission.password.clone_from(&password);
    let posted = state.posting.post(submission).await?;
    Ok(Made { posted, new_password: is_new.then_some(password) })
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

/// The password that deletes the post, and whether the browser is to be told to keep it. What was typed wins over what
/// this browser keeps, and a program that sends neither gets none. `None`: a browser that keeps nothing, because it takes
/// no cookies or has kept the page itself for longer than the token that came with it.
fn held_password(request: &HttpRequest, form: &Form) -> Option<(String, bool)> {
    let typed = form.field("pwd");
    if !typed.is_empty() || wants_json(request) {
        return Some((typed.to_owned(), false));
    }
    let kept = cookies::password(request).map(|password| (password.to_owned(), false));
    kept.or_else(|| cookies::token(request).map(|token| (token.to_owned(), true)))
}

fn answer(request: &HttpRequest, state: &AppState, slug: &str, made: &Made) -> HttpResponse {
    let posted = made.posted;
    let url = format!("/{slug}/res/{}.html#{}", posted.thread, posted.no);
    let mut answer = if wants_json(request) { HttpResponse::Created() } else { HttpResponse::SeeOther() };
    answer.insert_header((LOCATION, url.as_str())).insert_header(CachePolicy::Never.header());
    if let Some(password) = &made.new_password {
        cookies::keep_password(&mut answer, password, state.config.public_url.as_ref());
    }
    if wants_json(request) {
        let resto = if posted.no == posted.thread { 0 } else { posted.thread.0 };
        answer.json(PostedDocument { board: slug, no: posted.no, resto, url: &url })
    } else {
        answer.finish()
    }
}

fn count(state: &AppState, slug: &str, done: &Result<Made, AppError>) {
    let outcome = match done {
        Ok(Made { posted: Posted { repeated: true, .. }, .. }) => "repeated",
        Ok(_) => "created",
        Err(error) => error.code(),
    };
    // A name that is no board's must not become a series.
    let board = if state.boards.last_known().find(slug).is_ok() { slug } else { "" };
    let labels = PostLabels { board: board.to_owned(), outcome: outcome.to_owned() };
    state.metrics.posts.get_or_create(&labels).inc();
}
