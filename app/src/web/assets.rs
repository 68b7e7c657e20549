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
const IMMUTABLE: &str = "public, max-age=31536000, immutable";

/// One file.
#[derive(Debug)]
pub struct Asset {
    /// `style.0123456789ab.css`
    pub name: String,
    stem: &'static str,
    extension: &'static str,
    content: Page,
}

impl Asset {
    fn new(stem: &'static str, extension: &'static str, content_type: &'static str, text: &str) -> Self {
        let hash = Sha256::digest(text.as_bytes());
        let hash = hash.iter().take(6).fold(0_u64, |hash, byte| hash << 8 | u64::from(*byte));
        let name = format!("{stem}.{hash:012x}.{extension}");
        Self { name, stem, extension, content: Page::new(content_type, text.to_owned()) }
    }

    /// `/static/style.0123456789ab.css`
    #[must_use]
    pub fn path(&self) -> String {
        format!("/static/{}", self.name)
    }

    /// Whether this is the name of the same file in another release: everything as in ours but the hash.
    fn is_of_another_release(&self, name: &str) -> bool {
        let hash = name.strip_prefix(self.stem).and_then(|rest| rest.strip_suffix(self.extension));
        let hash = hash.and_then(|rest| rest.strip_prefix('.')?.strip_suffix('.')).unwrap_or_default();
        !hash.is_empty() && hash.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) && name != self.name
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
    let files = &state.assets.files;
    let mut answer = HttpResponse::Ok();
    let file = if let Some(file) = files.iter().find(|file| file.name == *name) {
        answer.insert_header((CACHE_CONTROL, IMMUTABLE)).insert_header((ETAG, format!("\"{}\"", file.name)));
        file
    } else {
        // While one release replaces another, a browser gets a page from a replica of one and asks a replica of the
        // other for its style sheet. A page in the wrong style for a moment is better than one without any; but
        // nobody may keep the wrong content under the right name, or it would stay wrong for a year.
        let missing = || Refusal::not_found("unknown_asset", "There is no such file.");
        let file = files.iter().find(|file| file.is_of_another_release(&name)).ok_or_else(missing)?;
        answer.insert_header((CACHE_CONTROL, "no-store"));
        file
    };
    answer.content_type(file.content.content_type).insert_header((VARY, "Accept-Encoding"));
    let body: &Bytes = if accepts_gzip(&request) {
        answer.insert_header((CONTENT_ENCODING, "gzip"));
        &file.content.gzip
    } else {
        &file.content.plain
    };
    Ok(answer.body(body.clone()))
}

#[cfg(test)]
mod tests {
    use actix_web::App;
    use actix_web::test::{TestRequest, call_service, init_service, read_body};

    use super::*;
    use crate::config::ServeConfig;

    #[actix_web::test]
    async fn another_releases_file_is_ours_and_is_not_kept() {
        let state = web::Data::new(AppState::new(ServeConfig::read(&crate::config::out_of_reach).unwrap()).unwrap());
        let own = state.assets.style.clone();
        let app = init_service(App::new().app_data(state).route("/static/{name}", web::get().to(asset))).await;
        let response = call_service(&app, TestRequest::with_uri(&own).to_request()).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers().get(CACHE_CONTROL).unwrap(), IMMUTABLE);
        assert!(response.headers().contains_key(ETAG));
        let sheet = read_body(response).await;

        let request = TestRequest::with_uri("/static/style.000000000000.css").to_request();
        let response = call_service(&app, request).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers().get(CACHE_CONTROL).unwrap(), "no-store");
        assert!(!response.headers().contains_key(ETAG));
        assert_eq!(read_body(response).await, sheet);

        let request = TestRequest::with_uri("/static/none.000000000000.css").to_request();
        let response = call_service(&app, request).await;
        assert_eq!(response.status(), 404);
        assert_eq!(response.headers().get(CACHE_CONTROL).unwrap(), "no-store");
    }

    #[test]
    fn another_hash_is_another_release_and_nothing_else_is() {
        let assets = Assets::new();
        let is_ours = |name: &str| assets.files.iter().any(|file| file.is_of_another_release(name));
        for name in ["style.000000000000.css", "icon.0123456789ab.svg", "style.0123456789abcdef.css"] {
            assert!(is_ours(name), "{name}");
        }
        let own = assets.style.strip_prefix("/static/").unwrap();
        for name in [
            own,
            "style.css",
            "style..css",
            "style.xyz.css",
            "style.00/../00.css",
            "style.000000000000.svg",
            "none.000000000000.css",
            "mystyle.000000000000.css",
            "style.000000000000.css.gz",
            "",
        ] {
            assert!(!is_ours(name), "{name}");
        }
    }
}
