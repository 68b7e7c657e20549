//! `GET /static/{name}`: style sheet and icon, for a replica without a web server in front.

use actix_web::http::header::{CONTENT_ENCODING, VARY};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, web};

use crate::assets::Asset;
use crate::domain::Refusal;
use crate::error::AppError;
use crate::state::AppState;
use crate::web::http::caching::CachePolicy;
use crate::web::http::conditional::Validators;
use crate::web::http::negotiation::prefers_gzip;

pub(crate) async fn asset(
    request: HttpRequest,
    state: web::Data<AppState>,
    name: web::Path<String>,
) -> Result<HttpResponse, AppError> {
    let files = &state.assets.files;
    let gzip = prefers_gzip(&request);
    let Some(file) = files.iter().find(|file| file.name == *name) else {
        // While one release replaces another, a browser gets a page from a replica of one and asks a replica of the
        // other for its style sheet. A page in the wrong style for a moment is better than one without any; but
        // nobody may keep the wrong content under the right name, or it would stay wrong for a year.
        let file = files.iter().find(|file| file.is_of_another_release(&name)).ok_or(Refusal::UnknownAsset)?;
        let mut answer = HttpResponse::Ok();
        answer.insert_header(CachePolicy::Never.header());
        return Ok(send(answer, file, gzip));
    };
    let (plain, compressed) = (file.name.clone(), format!("{}.gz", file.name));
    let tags = if gzip { [compressed, plain] } else { [plain, compressed] };
    let validators = Validators { tags: &tags, modified: None, date_is_exact: false };
    let matched = validators.matched(&request);
    let mut answer = if matched.is_some() { HttpResponse::NotModified() } else { HttpResponse::Ok() };
    validators.write(&mut answer, matched);
    answer.insert_header(CachePolicy::Immutable.header());
    if matched.is_some() {
        return Ok(answer.insert_header((VARY, "Accept-Encoding")).finish());
    }
    Ok(send(answer, file, gzip))
}

fn send(mut answer: HttpResponseBuilder, file: &Asset, gzip: bool) -> HttpResponse {
    answer.content_type(file.content.content_type).insert_header((VARY, "Accept-Encoding"));
    if gzip {
        answer.insert_header((CONTENT_ENCODING, "gzip")).body(file.content.gzip.clone())
    } else {
        answer.body(file.content.plain.clone())
    }
}

#[cfg(test)]
mod tests {
    use actix_web::App;
    use actix_web::http::header::{CACHE_CONTROL, ETAG, IF_NONE_MATCH};
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
        let (_, immutable) = CachePolicy::Immutable.header();
        assert_eq!(response.headers().get(CACHE_CONTROL).unwrap(), immutable);
        let tag = response.headers().get(ETAG).unwrap().clone();
        let sheet = read_body(response).await;
        let request = TestRequest::with_uri(&own).insert_header((IF_NONE_MATCH, tag.clone())).to_request();
        let response = call_service(&app, request).await;
        assert_eq!(response.status(), 304);
        assert_eq!(response.headers().get(ETAG), Some(&tag));

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
}
