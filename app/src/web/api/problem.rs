//! Errors for programs: problem details, RFC 9457.

use actix_web::http::header::CONTENT_TYPE;
use actix_web::{HttpResponse, ResponseError as _};
use serde::Serialize;

use super::cors;
use crate::error::AppError;
use crate::web::status::head;
use crate::web::words;

#[derive(Debug, Serialize)]
struct Problem<'a> {
    r#type: &'static str,
    title: &'a str,
    status: u16,
    detail: &'a str,
    code: &'a str,
    request_id: &'a str,
}

pub(crate) fn answer(error: &AppError, request_id: &str) -> HttpResponse {
    let status = error.status_code().as_u16();
    let problem = Problem {
        r#type: "about:blank",
        title: words::title(error, status),
        status,
        detail: &words::detail(error),
        code: error.code(),
        request_id,
    };
    let body = serde_json::to_string(&problem).unwrap_or_default();
    cors::open(head(error).insert_header((CONTENT_TYPE, "application/problem+json")).body(body))
}
