//! Reads a form: within limits, hashing files as they arrive, and to its end even when something is wrong with it.
//!
//! To its end, because an answer that is sent while the body is still coming is lost on the way (the proxy or the
//! browser sees a broken connection), and because the text that was typed may stand behind the file that is too
//! large, and has to come back to whoever typed it.

use std::time::Duration;

use actix_multipart::{Field, Multipart, MultipartError};
use actix_web::error::PayloadError;
use actix_web::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use actix_web::{HttpRequest, web};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use sha2::{Digest, Sha256};
use tokio::sync::OwnedSemaphorePermit;

use crate::domain::Refusal;
use crate::domain::submission::display_file_name;
use crate::error::AppError;
use crate::service::posting::Upload;
use crate::state::AppState;
use crate::web::http::negotiation::header;

/// Time for the whole body. The proxy in front has it complete before it sends the first byte.
const DEADLINE: Duration = Duration::from_mins(2);
/// How long a post waits for memory when too many are on their way.
const MEMORY_WAIT: Duration = Duration::from_secs(2);
/// A body that is no larger holds text, or hardly more.
const SMALL_BYTES: usize = 64 << 10;
/// Text of all fields together, in bytes. What is longer than a limit has to fit in here to be sent back.
const TEXT_BYTES: usize = 2 << 20;
/// How much of that a long field leaves to the short ones behind it.
const TEXT_RESERVE: usize = 16 << 10;
/// Fields that are no files: the hundred posts of a deletion, and a few that clients send and that mean nothing to us.
const TEXT_PARTS: usize = 120;
/// Files that are counted before nobody can have meant it.
const FILE_PARTS: usize = 40;
/// How much is read and thrown away behind the limit before the connection is given up.
const SURPLUS_BYTES: usize = 8 << 20;

/// What a form held.
#[derive(Debug, Default)]
pub(crate) struct Form {
    fields: Vec<(String, String)>,
    /// The files, in order, as far as they are within limits.
    pub(crate) uploads: Vec<Upload>,
    /// The first thing that was wrong; everything else was read nevertheless.
    pub(crate) problem: Option<AppError>,
    /// To be held for as long as the uploads are.
    pub(crate) memory: Option<OwnedSemaphorePermit>,
}

impl Form {
    /// The first field of this name; empty when there is none.
    pub(crate) fn field(&self, name: &str) -> &str {
        self.fields.iter().find(|(field, _)| field == name).map_or("", |(_, value)| value)
    }

    /// Every field of this name.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.fields.iter().filter(move |(field, _)| field == name).map(|(_, value)| value.as_str())
    }

    /// Whether a box was ticked.
    pub(crate) fn ticked(&self, name: &str) -> bool {
        !matches!(self.field(name), "" | "0" | "false" | "off")
    }

    fn refuse(&mut self, problem: impl Into<AppError>) {
        self.problem.get_or_insert(problem.into());
    }
}

/// Reads a form of either encoding. Never fails: what is wrong is in [`Form::problem`].
pub(crate) async fn read(request: &HttpRequest, state: &AppState, payload: web::Payload) -> Form {
    let mut form = Form::default();
    let length = header(request, CONTENT_LENGTH).parse::<usize>().ok();
    let limit = state.config.body_bytes();
    let size = length.unwrap_or(limit).min(limit);
    let kib = u32::try_from(size / 1024 + 1).unwrap_or(u32::MAX);
    // Texts have a budget of their own: they go through while pictures wait for a store that does not answer.
    let budget = if size <= SMALL_BYTES { &state.text_memory } else { &state.upload_memory };
    let memory = std::sync::Arc::clone(budget).acquire_many_owned(kib);
    match tokio::time::timeout(MEMORY_WAIT, memory).await {
        Ok(Ok(permit)) => form.memory = Some(permit),
        Ok(Err(_)) | Err(_) => form.refuse(Refusal::Busy),
    }
    if length.is_some_and(|length| length > limit) {
        form.refuse(too_large(state));
    }
    // Nobody unpacks it, and so nobody can be made to unpack more than was sent.
    if !matches!(header(request, CONTENT_ENCODING), "" | "identity") {
        form.refuse(Refusal::UnsupportedEncoding);
    }
    let reading = async {
        if header(request, CONTENT_TYPE).starts_with("application/x-www-form-urlencoded") {
            read_urlencoded(&mut form, payload).await;
        } else {
            read_multipart(&mut form, request, state, payload).await;
        }
    };
    if tokio::time::timeout(DEADLINE, reading).await.is_err() {
        form.refuse(Refusal::FormTooSlow { seconds: DEADLINE.as_secs() });
    }
    form
}

async fn read_urlencoded(form: &mut Form, mut payload: web::Payload) {
    let mut body = BytesMut::new();
    while let Some(chunk) = payload.next().await {
        match chunk {
            Ok(chunk) if body.len() + chunk.len() <= TEXT_BYTES => body.extend_from_slice(&chunk),
            Ok(_) => return form.refuse(Refusal::TextTooLarge),
            Err(error) => return form.refuse(broken(&error)),
        }
    }
    for (name, value) in url::form_urlencoded::parse(&body) {
        if form.fields.len() == TEXT_PARTS {
            return form.refuse(Refusal::TooManyFields { most: TEXT_PARTS });
        }
        form.fields.push((name.into_owned(), value.into_owned()));
    }
}

async fn read_multipart(form: &mut Form, request: &HttpRequest, state: &AppState, payload: web::Payload) {
    let mut parts = Multipart::new(request.headers(), payload);
    let mut reader = MultipartReader { state, files: 0, texts: 0, text_bytes: 0, body_bytes: 0 };
    while let Some(part) = parts.next().await {
        let read = match part {
            Ok(part) => reader.part(form, part).await,
            Err(error) => Err(malformed(&error)),
        };
        // Here the rest cannot be made sense of, or is not worth reading.
        if let Err(problem) = read {
            form.refuse(problem);
            break;
        }
    }
}

/// Where the reading of one form stands.
struct MultipartReader<'a> {
    state: &'a AppState,
    files: usize,
    texts: usize,
    text_bytes: usize,
    body_bytes: usize,
}

impl MultipartReader<'_> {
    async fn part(&mut self, form: &mut Form, mut part: Field) -> Result<(), AppError> {
        let disposition = part.content_disposition().cloned();
        let file_name = disposition.as_ref().and_then(|disposition| disposition.get_filename().map(str::to_owned));
        let name = part.name().unwrap_or_default().to_owned();
        match file_name {
            Some(file_name) => self.file(form, &mut part, &file_name).await,
            None => self.text(form, &mut part, name).await,
        }
    }

    async fn text(&mut self, form: &mut Form, part: &mut Field, name: String) -> Result<(), AppError> {
        self.texts += 1;
        if self.texts > TEXT_PARTS {
            return Err(Refusal::TooManyFields { most: TEXT_PARTS }.into());
        }
        let mut text = BytesMut::new();
        let (mut whole, mut ended) = (true, Ok(()));
        loop {
            match self.chunk(part).await {
                Ok(Some(chunk)) => whole &= self.keep_text(&mut text, &chunk),
                Ok(None) => break,
                // What has come so far is shown in the form again.
                Err(problem) => {
                    ended = Err(problem);
                    break;
                }
            }
        }
        if !whole {
            form.refuse(Refusal::TextTooLarge);
        }
        let text = String::from_utf8(text.into()).unwrap_or_else(|error| {
            if whole && ended.is_ok() {
                form.refuse(Refusal::NotUtf8);
            }
            String::from_utf8_lossy(error.as_bytes()).into_owned()
        });
        form.fields.push((name, text));
        ended
    }

    /// Adds to the text of a field as much as there is room for. Answers whether that was all of it.
    fn keep_text(&mut self, text: &mut BytesMut, chunk: &[u8]) -> bool {
        let is_short = text.len() + chunk.len() <= TEXT_RESERVE / 4;
        let room = (TEXT_BYTES - if is_short { 0 } else { TEXT_RESERVE }).saturating_sub(self.text_bytes);
        let kept = chunk.get(..room.min(chunk.len())).unwrap_or_default();
        text.extend_from_slice(kept);
        self.text_bytes += kept.len();
        kept.len() == chunk.len()
    }

    async fn file(&mut self, form: &mut Form, part: &mut Field, file_name: &str) -> Result<(), AppError> {
        let limits = &self.state.config.posts;
        let (mut bytes, mut sha256, mut size) = (BytesMut::new(), Sha256::new(), 0_usize);
        while let Some(chunk) = self.chunk(part).await? {
            size += chunk.len();
            // Once something is wrong, nothing more is kept: the post will be refused.
            if size <= limits.file_bytes && self.files < limits.files && form.problem.is_none() {
                sha256.update(&chunk);
                bytes.extend_from_slice(&chunk);
            }
        }
        // Browsers send an empty, nameless file where none was chosen.
        if size == 0 && file_name.is_empty() {
            return Ok(());
        }
        self.files += 1;
        let file_name = display_file_name(file_name);
        if self.files > limits.files {
            form.refuse(Refusal::TooManyFiles { most: limits.files });
            // Beyond any honest mistake.
            if self.files > limits.files + FILE_PARTS {
                return Err(Refusal::TooManyParts.into());
            }
        } else if size > limits.file_bytes {
            form.refuse(Refusal::FileTooLarge { file_name, bytes: size, most: limits.file_bytes });
        } else {
            form.uploads.push(Upload { file_name, bytes: bytes.freeze(), sha256: sha256.finalize().into() });
        }
        Ok(())
    }

    async fn chunk(&mut self, part: &mut Field) -> Result<Option<Bytes>, AppError> {
        let Some(chunk) = part.next().await.transpose().map_err(|error| malformed(&error))? else { return Ok(None) };
        self.body_bytes += chunk.len();
        if self.body_bytes > self.state.config.body_bytes() + SURPLUS_BYTES {
            return Err(too_large(self.state).into());
        }
        Ok(Some(chunk))
    }
}

/// The whole post is too large.
fn too_large(state: &AppState) -> Refusal {
    let limits = &state.config.posts;
    Refusal::PostTooLarge { files: limits.files, file_bytes: limits.file_bytes }
}

fn malformed(error: &MultipartError) -> AppError {
    match error {
        MultipartError::Payload(error) => broken(error).into(),
        error => Refusal::MalformedForm { cause: error.to_string() }.into(),
    }
}

fn broken(error: &PayloadError) -> Refusal {
    Refusal::IncompleteForm { cause: error.to_string() }
}
