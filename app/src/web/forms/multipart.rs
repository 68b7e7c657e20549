//! The parts of a form in `multipart/form-data` (RFC 7578).

use actix_multipart::{Field, Multipart, MultipartError};
use actix_web::http::header::HeaderMap;
use bytes::Bytes;
use futures_util::StreamExt as _;

use super::body::Body;
use super::files::{Files, IncomingFile};
use super::form::Form;
use super::texts::{IncomingText, MOST_FIELDS, Texts};
use crate::domain::submission::display_file_name;
use crate::domain::{PostLimits, Refusal};

/// Files that are counted before nobody can have meant it.
const FILE_PARTS: usize = 40;
/// No field that means anything has a longer name.
const LONGEST_NAME: usize = 100;

/// Reads all parts into a form.
///
/// # Errors
/// What comes next cannot be made sense of, or is not worth reading. What was read before is in the form.
pub(super) async fn read(
    form: &mut Form,
    texts: &mut Texts<'_>,
    files: &mut Files,
    limits: &PostLimits,
    headers: &HeaderMap,
    body: Body,
) -> Result<(), Refusal> {
    let mut parts = Multipart::new(headers, body);
    let mut reader = PartReader { form, texts, files, limits, files_seen: 0, texts_seen: 0 };
    while let Some(part) = parts.next().await {
        let mut part = part.map_err(|error| malformed(&error))?;
        let file_name = part.content_disposition().and_then(|disposition| disposition.get_filename());
        match file_name.map(str::to_owned) {
            Some(file_name) => reader.file(&mut part, &file_name).await?,
            None => reader.text(&mut part).await?,
        }
    }
    Ok(())
}

/// Where the reading of one form stands.
struct PartReader<'a, 'b> {
    form: &'a mut Form,
    texts: &'a mut Texts<'b>,
    files: &'a mut Files,
    limits: &'a PostLimits,
    files_seen: usize,
    texts_seen: usize,
}

impl PartReader<'_, '_> {
    async fn text(&mut self, part: &mut Field) -> Result<(), Refusal> {
        self.texts_seen += 1;
        if self.texts_seen > MOST_FIELDS {
            return Err(Refusal::TooManyFields { most: MOST_FIELDS });
        }
        let name = part.name().filter(|name| name.len() <= LONGEST_NAME).unwrap_or_default().to_owned();
        let mut text = IncomingText::default();
        let ended = loop {
            match chunk(part).await {
                Ok(Some(chunk)) => {
                    if let Err(refusal) = self.texts.add(&mut text, &chunk).await {
                        self.cut(refusal);
                    }
                }
                Ok(None) => break Ok(()),
                // What has come so far is shown in the form again.
                Err(problem) => break Err(problem),
            }
        };
        let (text, outcome) = self.texts.finish(text, ended.is_ok()).await;
        if let Err(refusal) = outcome {
            self.cut(refusal);
        }
        self.form.fields.push((name, text));
        ended
    }

    async fn file(&mut self, part: &mut Field, file_name: &str) -> Result<(), Refusal> {
        let is_one_too_many = self.files_seen >= self.limits.files;
        let (mut file, mut size) = (Some(IncomingFile::default()), 0_usize);
        while let Some(chunk) = chunk(part).await? {
            size += chunk.len();
            let Some(incoming) = &mut file else { continue };
            if is_one_too_many || size > self.limits.file_bytes || self.form.problem.is_some() {
                // The post will be refused: nothing more is kept, and nothing of what was.
                file = None;
                self.give_up_files();
            } else if self.files.add(incoming, &chunk).await.is_err() {
                file = None;
                self.form.refuse(Refusal::Busy);
                self.give_up_files();
            }
        }
        // Browsers send an empty, nameless file where none was chosen.
        if size == 0 && file_name.is_empty() {
            return Ok(());
        }
        self.files_seen += 1;
        if is_one_too_many {
            self.form.refuse(Refusal::TooManyFiles { most: self.limits.files });
            // Beyond any honest mistake.
            if self.files_seen > self.limits.files + FILE_PARTS {
                return Err(Refusal::TooManyParts);
            }
        } else if size > self.limits.file_bytes {
            let (file_name, most) = (display_file_name(file_name), self.limits.file_bytes);
            self.form.refuse(Refusal::FileTooLarge { file_name, bytes: size, most });
        } else if let Some(file) = file.filter(|_| self.form.problem.is_none()) {
            self.form.uploads.push(self.files.finish(file, file_name));
        }
        Ok(())
    }

    fn cut(&mut self, refusal: Refusal) {
        self.form.cut(refusal);
        self.give_up_files();
    }

    fn give_up_files(&mut self) {
        self.form.uploads.clear();
        self.files.give_up();
    }
}

/// The next bytes of a part.
async fn chunk(part: &mut Field) -> Result<Option<Bytes>, Refusal> {
    part.next().await.transpose().map_err(|error| malformed(&error))
}

fn malformed(error: &MultipartError) -> Refusal {
    Refusal::MalformedForm { cause: error.to_string() }
}
