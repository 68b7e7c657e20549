//! `GET /traffic` and `GET /{board}/traffic.html`

use actix_web::{HttpRequest, HttpResponse, web};

use super::{html, layout};
use crate::error::AppError;
use crate::state::AppState;
use crate::web::traffic::{self, DaysQuery};
use crate::web::views::TrafficPage;

type State = web::Data<AppState>;
type Answer = Result<HttpResponse, AppError>;

pub(crate) async fn of_all(request: HttpRequest, state: State, query: web::Query<DaysQuery>) -> Answer {
    page(&request, &state, None, &query).await
}

pub(crate) async fn of_board(
    request: HttpRequest,
    state: State,
    slug: web::Path<String>,
    query: web::Query<DaysQuery>,
) -> Answer {
    page(&request, &state, Some(slug.into_inner()), &query).await
}

async fn page(request: &HttpRequest, state: &State, slug: Option<String>, query: &DaysQuery) -> Answer {
    let asked = traffic::find(state, slug, query).await?;
    let for_page = state.clone();
    traffic::answer(request, state, asked, move |asked| {
        html(&TrafficPage {
            layout: layout(&for_page, &asked.boards),
            board: asked.board()?,
            report: &asked.report,
            monthly_budget: for_page.config.traffic.monthly_budget,
        })
    })
    .await
}
