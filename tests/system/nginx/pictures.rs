//! The cache of pictures, and files of our own.

use std::time::Duration;

use anyhow::{Context as _, Result};
use reqwest::{Method, StatusCode};
use triptych_tests::{Answer, Visitor, http::JSON, ports};

use super::stub::{CACHED, setup, setup_with};

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
    assert_eq!(second.header("Cache-Control"), CACHED, "what the replica says about keeping it");
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
        let answer = board.visitor.get("/media/missing.jpg").await?;
        answer.expect(StatusCode::NOT_FOUND)?;
        assert_eq!(answer.header("X-Request-Id"), "0123", "the number that the replica has given to it");
        assert_eq!(answer.header("Cache-Control"), "no-store");
    }
    assert_eq!(board.known.asked(), 3);
    // Nor is there anything left of it: wrong addresses must not drive pictures out of the cache.
    board.known.fail(true);
    board.visitor.get("/media/missing.jpg").await?.expect(StatusCode::SERVICE_UNAVAILABLE)?;
    Ok(())
}

/// Asks until a picture is gone. The time that it takes is nginx's; nothing is decided by it.
async fn until_gone(visitor: &Visitor, path: &str) -> Result<()> {
    let asking = async {
        while visitor.get(path).await?.status != StatusCode::NOT_FOUND {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(Duration::from_secs(30), asking).await.context("nginx shows it for ever")?
}

#[tokio::test]
async fn a_deleted_picture_is_gone_for_good_once_nginx_has_heard_of_it() -> Result<()> {
    let board = setup_with(|settings| settings.picture_validity = Duration::from_secs(1)).await?;
    let (deleted, other) = ("/media/picture.jpg", "/media/other.jpg");
    for path in [deleted, other, deleted, other] {
        board.visitor.get(path).await?.expect(StatusCode::OK)?;
    }
    board.known.delete(deleted);
    until_gone(&board.visitor, deleted).await?;
    let readers = (0..8).map(|_| async {
        for _ in 0..50 {
            board.visitor.get(deleted).await?.expect(StatusCode::NOT_FOUND).context("one of many readers")?;
        }
        anyhow::Ok(())
    });
    assert_eq!(futures_util::future::try_join_all(readers).await?.len(), 8);

    // In an outage what nginx knows is shown: a picture that it has, and that one is gone.
    let known_in_an_outage = || async {
        let kept = board.visitor.get(other).await?;
        assert!(kept.expect(StatusCode::OK)?.text().starts_with(other), "{}", kept.text());
        assert_eq!(board.visitor.get(deleted).await?.expect(StatusCode::NOT_FOUND)?.text(), "no such picture");
        anyhow::Ok(())
    };
    board.known.fail(true);
    known_in_an_outage().await.context("the replicas answer 503")?;
    let nobody = format!("127.0.0.1:{}", ports::free()?);
    board.nginx.reload(vec![nobody]).await?;
    known_in_an_outage().await.context("no replica answers")?;
    board.nginx.reload(board.replicas.iter().map(|replica| replica.address.clone()).collect()).await?;
    board.known.fail(false);

    board.visitor.get(deleted).await?.expect(StatusCode::NOT_FOUND)?;
    board.known.post_again(deleted);
    let again = board.visitor.get(deleted).await?;
    again.expect(StatusCode::OK).context("the same picture, posted again, is there at once")?;
    assert_eq!(board.visitor.get(deleted).await?.header("X-Cache-Status"), "HIT");
    Ok(())
}

#[tokio::test]
async fn a_part_that_is_not_there_is_no_picture_to_keep() -> Result<()> {
    let board = setup().await?;
    let ask = async |visitor: &Visitor, range: &str| {
        visitor.send(visitor.request(Method::GET, "/media/picture.jpg").header("Range", range)).await
    };
    let kept = |answer: &Answer| answer.headers.get_all("Cache-Control").iter().cloned().collect::<Vec<_>>();
    for round in ["from a replica", "from the cache"] {
        for (visitor, declared) in
            [(&board.visitor, "text/html; charset=utf-8"), (&board.visitor.accepting(JSON), "application/problem+json")]
        {
            for range in ["bytes=100000-", "bytes=100000-100001,200000-", "bytes=x"] {
                let said = || format!("{range} {round}");
                let answer = ask(visitor, range).await?;
                answer.expect(StatusCode::RANGE_NOT_SATISFIABLE).with_context(said)?;
                assert_eq!(kept(&answer), ["no-cache", "no-store"], "{}", said());
                assert_eq!(answer.header("Content-Type"), declared, "{}", said());
                assert!(answer.header("Content-Range").starts_with("bytes */"), "{}: {:?}", said(), answer.headers);
                assert_eq!(answer.header("ETag"), "", "{}", said());
            }
        }
        // Nothing took its place.
        board.visitor.get("/media/picture.jpg").await?.expect(StatusCode::OK)?;
    }
    let asked = board.known.asked();
    assert_eq!(board.visitor.get("/media/picture.jpg").await?.header("X-Cache-Status"), "HIT");
    for (range, status, cached) in [
        ("bytes=0-4", StatusCode::PARTIAL_CONTENT, CACHED),
        ("bytes=0-", StatusCode::PARTIAL_CONTENT, CACHED),
        ("bytes=-5", StatusCode::PARTIAL_CONTENT, CACHED),
        // These might have been behind the end.
        ("bytes=5-9", StatusCode::PARTIAL_CONTENT, "no-cache"),
        ("bytes=5-", StatusCode::PARTIAL_CONTENT, "no-cache"),
        // More than one, or none.
        ("bytes=0-4,6-9", StatusCode::OK, "no-cache"),
        ("lines=5-9", StatusCode::OK, CACHED),
    ] {
        let answer = ask(&board.visitor, range).await?;
        answer.expect(status).with_context(|| range.to_owned())?;
        assert_eq!(kept(&answer), [cached], "{range}");
    }
    assert_eq!(board.known.asked(), asked, "questions to the replicas while nginx had it");
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
