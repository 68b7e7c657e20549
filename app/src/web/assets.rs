//! Style sheet and icon: built into the binary, named by a hash of their content, never changing under one name.

use std::path::Path;

use actix_web::http::header::{CACHE_CONTROL, CONTENT_ENCODING, ETAG, VARY};
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::negotiate::accepts_gzip;
use crate::domain::Refusal;
use crate::error::AppError;
use crate::live::Page;
use crate::state::AppState;

/// For a year, without asking again: what is under this name stays what it is.
pub(super) const IMMUTABLE: &str = "public, max-age=31536000, immutable";

/// One file.
#[derive(Debug)]
pub struct Asset {
    /// `style.0123456789ab.css`
    pub name: String,
    content: Page,
}

impl Asset {
    fn new(stem: &str, extension: &str, content_type: &'static str, text: &str) -> Self {
        let hash = Sha256::digest(text.as_bytes());
        let hash = hash.iter().take(6).fold(0_u64, |hash, byte| hash << 8 | u64::from(*byte));
        Self { name: format!("{stem}.{hash:012x}.{extension}"), content: Page::new(content_type, text.to_owned()) }
    }

    /// `/static/style.0123456789ab.css`
    #[must_use]
    pub fn path(&self) -> String {
        format!("/static/{}", self.name)
    }
}

/// All files, with their addresses at hand for the templates.
#[derive(Debug)]
pub struct Assets {
    /// Address of the style sheet.
    pub style: String,
    /// Address of the icon.
    pub icon: String,
    files: Vec<Asset>,
}

impl Default for Assets {
    fn default() -> Self {
        Self::new()
    }
}

impl Assets {
    /// Hashes and compresses what is built in; about a millisecond.
    #[must_use]
    pub fn new() -> Self {
        let style = Asset::new("style", "css", "text/css; charset=utf-8", include_str!("../../static/style.css"));
        let icon = Asset::new("icon", "svg", "image/svg+xml", include_str!("../../static/icon.svg"));
        Self { style: style.path(), icon: icon.path(), files: vec![style, icon] }
    }

    /// Writes every file, and a compressed twin beside it, for a web server to serve.
    pub fn export(&self, folder: &Path) -> std::io::Result<()> {
        std::fs::create_dir_all(folder)?;
        for file in &self.files {
            std::fs::write(folder.join(&file.name), &file.content.plain)?;
            std::fs::write(folder.join(format!("{}.gz", file.name)), &file.content.gzip)?;
        }
        Ok(())
    }
}

pub(super) async fn asset(
    request: HttpRequest,
    state: web::Data<AppState>,
    name: web::Path<String>,
) -> Result<HttpResponse, AppError> {
    let missing = || Refusal::not_found("unknown_asset", "There is no such file.");
    let file = state.assets.files.iter().find(|file| file.name == *name).ok_or_else(missing)?;
    let mut answer = HttpResponse::Ok();
    answer
        .content_type(file.content.content_type)
        .insert_header((CACHE_CONTROL, IMMUTABLE))
        .insert_header((VARY, "Accept-Encoding"));
    answer.insert_header((ETAG, format!("\"{}\"", file.name)));
    let body: &Bytes = if accepts_gzip(&request) {
        answer.insert_header((CONTENT_ENCODING, "gzip"));
        &file.content.gzip
    } else {
        &file.content.plain
    };
    Ok(answer.body(body.clone()))
}
