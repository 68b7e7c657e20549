//! The cache of pictures, and files of our own.

use anyhow::{Context as _, Result};
use reqwest::{Method, StatusCode};
use triptych_tests::http::JSON;

use super::stub::setup;

#[tokio::test]
async fn a_picture_is_asked_for_once_whatever_follows_its_name() -> Result<()> {
    let board = setup().await?;
    let ask = |query: &'static str| {
        let request = board.visitor.request(Method::GET, &format!("/media/picture.jpg{query}"));
        board.visitor.send(request.header("Cookie", "secret=1").header("Authorization", "Basic eDp5"))
    };
    let first = ask("?first").await?;
    assert_eq!(first.header("X-Cache-Status"), "MISS");
    assert_eq!(first.header("X-Served-By"), "", "the next visitor is not served by that replica");
    assert_eq!(first.header("Set-Cookie"), "");
    assert!(!first.text().contains("first"), "a query reaches the cached picture: {}", first.text());
    assert!(!first.text().contains("secret") && !first.text().contains("eDp5"), "{}", first.text());

    let second = ask("?second").await?;
    assert_eq!(second.header("X-Cache-Status"), "HIT");
    assert_eq!(second.header("Cache-Control"), "public, max-age=31536000, immutable");
    assert_eq!(second.body, first.body);
    assert_eq!(board.visitor.head("/media/picture.jpg").await?.status, StatusCode::OK);

    let range = board.visitor.request(Method::GET, "/media/picture.jpg").header("Range", "bytes=1-5");
    let range = board.visitor.send(range).await?;
    assert_eq!((range.status, range.body.len()), (StatusCode::PARTIAL_CONTENT, 5));
    let same = board.visitor.request(Method::GET, "/media/picture.jpg").header("If-None-Match", "\"picture\"");
    assert_eq!(board.visitor.send(same).await?.status, StatusCode::NOT_MODIFIED);
    assert_eq!(board.known.asked(), 1);
    Ok(())
}

#[tokio::test]
async fn a_crowd_at_a_new_picture_is_one_question_to_one_replica() -> Result<()> {
    let board = setup().await?;
    let crowd = (0..30).map(|_| board.visitor.get("/media/new.jpg"));
    for answer in futures_util::future::join_all(crowd).await {
        answer?.expect(StatusCode::OK)?;
    }
    assert_eq!(board.known.asked(), 1);
    Ok(())
}

#[tokio::test]
async fn a_missing_picture_is_asked_for_every_time() -> Result<()> {
    let board = setup().await?;
    for _ in 0..3 {
        board.visitor.get("/media/missing.jpg").await?.expect(StatusCode::NOT_FOUND)?;
    }
    assert_eq!(board.known.asked(), 3);
    Ok(())
}

#[tokio::test]
async fn pictures_can_only_be_read() -> Result<()> {
    let board = setup().await?;
    let whole = board.visitor.get("/media/picture.jpg").await?;
    let mut asked = 1;
    for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS] {
        for length in [0, 10, 90_000] {
            let visitor = board.visitor.accepting(JSON);
            let request = visitor.request(method.clone(), "/media/picture.jpg").body(vec![b'x'; length]);
            let answer = visitor.send(request).await?;
            answer.expect(StatusCode::METHOD_NOT_ALLOWED).with_context(|| format!("{method} with {length} bytes"))?;
            assert_eq!(answer.header("Allow"), "GET, HEAD");
            // A replica says so, in the form that was asked for; nginx neither keeps the answer nor gives another.
            assert_eq!(answer.text(), format!("for {JSON}: not {method}"));
            asked += 1;
            let again = board.visitor.get("/media/picture.jpg").await?;
            assert_eq!((again.header("X-Cache-Status"), &again.body), ("HIT", &whole.body), "after {method}");
        }
    }
    let large = board.visitor.request(Method::POST, "/media/picture.jpg").body(vec![b'x'; 200_000]);
    let large = board.visitor.send(large).await?;
    assert_eq!(large.expect(StatusCode::PAYLOAD_TOO_LARGE)?.text(), "too large, says the board (GET)");
    assert_eq!(board.known.asked(), asked + 1, "questions to the replicas");
    Ok(())
}

#[tokio::test]
async fn assets_come_from_files_and_unknown_ones_from_a_replica() -> Result<()> {
    let board = setup().await?;
    let asset = board.visitor.get("/static/board.0a1b.css").await?;
    assert_eq!((asset.status, asset.text().as_str()), (StatusCode::OK, "body{}"));
    assert_eq!(asset.header("Content-Type"), "text/css; charset=utf-8");
    assert_eq!(asset.header("Cache-Control"), "public, max-age=31536000, immutable");
    assert_eq!(asset.header("X-Served-By"), "");
    // All of it, whatever part is wanted: then no part can be missing.
    let part = board.visitor.request(Method::GET, "/static/board.0a1b.css").header("Range", "bytes=999-");
    assert_eq!(board.visitor.send(part).await?.expect(StatusCode::OK)?.text(), "body{}");
    // Whatever else is done with one, a replica says that it cannot be.
    for method in [Method::POST, Method::PUT, Method::DELETE] {
        let answer = board.visitor.send(board.visitor.request(method.clone(), "/static/board.0a1b.css")).await?;
        assert!(answer.text().starts_with(&format!("{method} /static/board.0a1b.css")), "{method}: {}", answer.text());
    }
    let other = board.visitor.get("/static/board.9f9f.css").await?;
    assert_ne!(other.header("X-Served-By"), "");
    assert_eq!(other.header("Cache-Control"), "");
    Ok(())
}
