//! A panic is an answer like any other error, and costs one request.

use std::panic::AssertUnwindSafe;
use std::thread;

use actix_web::Handler;
use futures_util::FutureExt as _;
use futures_util::future::{CatchUnwind, Map};

use crate::error::AppError;

/// A handler whose panics are errors. Stands around handlers and not around everything, because only there the request,
/// which an answer needs, is not lost with what panics.
#[derive(Clone)]
pub(crate) struct Surviving<H>(pub(crate) H);

impl<H, Args> Handler<Args> for Surviving<H>
where
    H: Handler<Args>,
{
    type Output = Result<H::Output, AppError>;
    type Future = Map<CatchUnwind<AssertUnwindSafe<H::Future>>, fn(thread::Result<H::Output>) -> Self::Output>;

    fn call(&self, args: Args) -> Self::Future {
        let handled = AssertUnwindSafe(self.0.call(args)).catch_unwind();
        handled.map(|outcome| outcome.map_err(|_| AppError::Internal("the handler panicked".to_owned())))
    }
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{ACCEPT, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
    use actix_web::middleware::from_fn;
    use actix_web::test::{TestRequest, call_service, init_service, read_body};
    use actix_web::{App, web};

    use super::*;
    use crate::config::ServeConfig;
    use crate::state::AppState;
    use crate::web::layers;

    async fn defective() -> &'static str {
        panic!("a defect")
    }

    #[actix_web::test]
    async fn a_panic_is_an_answer_like_any_other_error() {
        let state = web::Data::new(AppState::new(ServeConfig::read(&crate::config::out_of_reach).unwrap()).unwrap());
        let route = web::resource("/defect").route(web::get().to(Surviving(defective)));
        let app = init_service(App::new().app_data(state.clone()).service(route).wrap(from_fn(layers::around))).await;
        for (accept, content_type) in [("text/html", "text/html"), ("application/json", "application/problem+json")] {
            let request = TestRequest::with_uri("/defect").insert_header((ACCEPT, accept)).to_request();
            let response = call_service(&app, request).await;
            assert_eq!(response.status(), 500);
            assert!(response.headers().get(CONTENT_TYPE).unwrap().to_str().unwrap().starts_with(content_type));
            assert!(response.headers().contains_key(CONTENT_SECURITY_POLICY));
            let id = response.headers().get("x-request-id").unwrap().to_str().unwrap().to_owned();
            let body = String::from_utf8(read_body(response).await.to_vec()).unwrap();
            assert!(body.contains(&id), "the number that is in the log is in the answer:\n{body}");
            assert!(!body.contains("a defect"), "what went wrong is not");
        }
        assert_eq!(state.metrics.in_flight.get(), 0);
    }
}
