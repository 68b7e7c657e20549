//! Bodies of requests that are too large.

use std::convert::Infallible;

use anyhow::Result;
use reqwest::{Method, StatusCode};
use triptych_tests::Form;

use super::stub::setup;

#[tokio::test]
async fn a_body_beyond_the_limit_gets_the_boards_own_page() -> Result<()> {
    let board = setup().await?;
    let below = Form::new().file("a.bin", "application/octet-stream", vec![0; 90_000]);
    board.visitor.post("b", &below).await?.expect(StatusCode::OK)?;
    let above = Form::new().file("a.bin", "application/octet-stream", vec![0; 200_000]);
    let answer = board.visitor.post("b", &above).await?;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(answer.text(), "too large, says the board (GET)");

    let chunks = futures_util::stream::iter((0..30).map(|_| Ok::<_, Infallible>(vec![0_u8; 10_000])));
    let chunked = board.visitor.request(Method::POST, "/b/post").body(reqwest::Body::wrap_stream(chunks));
    let answer = board.visitor.send(chunked).await?;
    assert_eq!(
        (answer.status, answer.text().as_str()),
        (StatusCode::PAYLOAD_TOO_LARGE, "too large, says the board (GET)")
    );
    board.visitor.get("/error/too-large").await?.expect(StatusCode::NOT_FOUND)?;
    Ok(())
}
