//! HTTP: routes, what is read from a request, and what is sent back.
//!
//! Must not know SQL, and decides nothing that two replicas could see differently: that is `service`'s and the
//! database's business.

mod after;
mod answer;
mod api;
mod cookies;
mod events;
mod forms;
mod health;
mod http;
mod layers;
mod lookup;
mod media;
mod pages;
mod status;
pub mod sums;
mod traffic;
pub mod views;
mod words;

use actix_web::dev::{HttpServiceFactory, ServiceFactory, ServiceRequest, ServiceResponse};
use actix_web::guard::{Any, Get, Head, Options, Post};
use actix_web::middleware::from_fn;
use actix_web::{App, FromRequest, Handler, HttpMessage as _, HttpRequest, Responder, Route, Scope, web};

use crate::domain::Refusal;
use crate::error::AppError;
use crate::state::AppState;
use layers::panics::Surviving;

/// The application, as the server and every test build it.
pub fn app(
    state: web::Data<AppState>,
) -> App<
    impl ServiceFactory<
        ServiceRequest,
        Config = (),
        Response = ServiceResponse<actix_web::body::BoxBody>,
        Error = actix_web::Error,
        InitError = (),
    >,
> {
    App::new().app_data(state).configure(routes).default_service(web::to(nothing_here)).wrap(from_fn(layers::around))
}

/// Every route. They are tried one after the other, and the first that matches answers.
fn routes(routes: &mut web::ServiceConfig) {
    routes
        .service(readable("/livez", health::live))
        .service(readable("/readyz", health::ready))
        .service(readable("/error/too-large", pages::error::too_large))
        .service(readable("/static/{name}", media::assets::asset))
        .service(readable("/media/{id}.{extension}", media::pictures::original))
        .service(readable("/thumb/{id}.{extension}", media::pictures::thumbnail))
        .service(readable("/", pages::home::home))
        .service(shared("/boards.json", api::boards))
        .service(readable("/traffic", pages::traffic::of_all))
        .service(shared("/traffic.json", api::traffic::json_of_all))
        .service(shared("/traffic.csv", api::traffic::csv_of_all))
        .service(of_a_board());
}

/// The routes below a board, those first that are asked for most.
fn of_a_board() -> Scope {
    web::scope("/{board:[a-z0-9]{1,16}}")
        .service(readable("/res/{no:[0-9]+}.html", pages::thread::thread))
        .service(readable("/", pages::index::first))
        .service(readable("/catalog.html", pages::catalog::catalog))
        .service(writable("/post", forms::posting::post))
        .service(writable("/delete", forms::deleting::delete))
        .service(shared("/events", events::of_board))
        .service(shared("/res/{no:[0-9]+}/events", events::of_thread))
        .service(shared("/threads.json", api::threads))
        .service(shared("/catalog.json", api::catalog))
        .service(shared("/archive.json", api::archive))
        .service(readable("/traffic.html", pages::traffic::of_board))
        .service(shared("/traffic.json", api::traffic::json_of_board))
        .service(shared("/traffic.csv", api::traffic::csv_of_board))
        .service(readable("", pages::index::moved))
        .service(readable("/index.html", pages::index::moved))
        .service(readable("/catalog", pages::catalog::moved))
        .service(shared("/res/{no:[0-9]+}.json", api::thread))
        .service(shared("/thread/{no:[0-9]+}.json", api::thread))
        .service(shared("/{page:[0-9]+}.json", api::index))
        .service(readable("/{page:[0-9]+}.html", pages::index::later))
        .service(readable("/thread/{no:[0-9]+}", pages::thread::moved))
        .service(shared("/src/{tim:[0-9]+}.{extension:[a-z]+}", api::legacy_files::original))
        .service(shared("/thumb/{tim:[0-9]+}.{extension:[a-z]+}", api::legacy_files::thumbnail))
        .service(shared("/{tim:[0-9]+}.{extension:jpg|png|gif|webp}", api::legacy_files::original))
        .service(shared("/{tim:[0-9]+}s.jpg", api::legacy_files::thumbnail))
}

/// Answers `GET` and `HEAD`.
fn readable<F, Args>(path: &str, handler: F) -> impl HttpServiceFactory + use<F, Args>
where
    F: Handler<Args, Output: Responder + 'static>,
    Args: FromRequest + 'static,
{
    web::resource(path).route(reading().to(Surviving(handler))).default_service(web::to(only_reading))
}

/// The same, for pages of other sites as well.
fn shared<F, Args>(path: &str, handler: F) -> impl HttpServiceFactory + use<F, Args>
where
    F: Handler<Args, Output: Responder + 'static>,
    Args: FromRequest + 'static,
{
    web::resource(path)
        .route(reading().to(Surviving(handler)))
        .route(web::route().guard(Options()).to(api::cors::preflight))
        .default_service(web::to(only_sharing))
}

/// Answers `POST`.
fn writable<F, Args>(path: &str, handler: F) -> impl HttpServiceFactory + use<F, Args>
where
    F: Handler<Args, Output: Responder + 'static>,
    Args: FromRequest + 'static,
{
    web::resource(path).route(web::route().guard(Post()).to(Surviving(handler))).default_service(web::to(only_writing))
}

fn reading() -> Route {
    web::route().guard(Any(Get()).or(Head()))
}

async fn nothing_here() -> Result<&'static str, AppError> {
    Err(Refusal::NothingHere.into())
}

async fn only_reading(request: HttpRequest) -> Result<&'static str, AppError> {
    wrong_method(&request, "GET, HEAD")
}

async fn only_sharing(request: HttpRequest) -> Result<&'static str, AppError> {
    wrong_method(&request, "GET, HEAD, OPTIONS")
}

async fn only_writing(request: HttpRequest) -> Result<&'static str, AppError> {
    wrong_method(&request, "POST")
}

/// Leaves the methods that are possible for [`layers`] to name in the header `Allow`.
fn wrong_method(request: &HttpRequest, allowed: &'static str) -> Result<&'static str, AppError> {
    request.extensions_mut().insert(layers::AllowedMethods(allowed));
    Err(Refusal::MethodNotAllowed { method: request.method().to_string() }.into())
}
