//! `?after=N` of a thread: what is newer than what the reader has.

use anyhow::{Context as _, Result, ensure};
use reqwest::{Method, StatusCode};
use scraper::{Html, Selector};
use triptych_tests::{Answer, Form, Visitor, http::JSON};

use super::{BOARD, delete, new_thread, replicas, reply, reply_with_picture};
use crate::{
    board::posts,
    shared::{check_error_page, check_problem, everywhere, number, without_token},
};

const SLUG: &str = "newer";

fn numbers(answer: &Answer) -> Result<Vec<i64>> {
    posts(&answer.expect(StatusCode::OK)?.json()?).into_iter().map(|post| number(post, "/no")).collect()
}

/// The posts in a piece of a page: number and markup.
fn articles(html: &Html) -> Result<Vec<(i64, String)>> {
    let selector = Selector::parse("article.post").map_err(|error| anyhow::anyhow!("{error}"))?;
    let found = html.select(&selector).map(|article| {
        let id = article.attr("id").and_then(|id| id.strip_prefix('p')).context("a post without a number")?;
        // Only the first pictures of a whole page are loaded before anybody gets there.
        Ok((id.parse()?, article.html().replace("loading=\"eager\"", "loading=\"lazy\"")))
    });
    found.collect()
}

#[tokio::test]
async fn it_has_only_newer_posts_the_same_for_everybody() -> Result<()> {
    let stack = BOARD.get().await?;
    let visitor = Visitor::new(&stack.url())?;
    let thread = new_thread(&visitor, SLUG).await?;
    let mut replies = vec![reply(&visitor, SLUG, thread).await?, reply_with_picture(&visitor, SLUG, thread).await?];
    for quoted in [thread, replies[1]] {
        replies.push(visitor.must_post(SLUG, &Form::reply(thread, &format!(">>{quoted}\n>quoted"))).await?.no);
    }
    let deleted = reply(&visitor, SLUG, thread).await?;
    delete(&visitor, SLUG, &[deleted], false).await?;
    let page = visitor.get(&format!("/{SLUG}/res/{thread}.html")).await?;
    let whole = articles(&page.expect(StatusCode::OK)?.page())?;
    let last = *replies.last().context("no replies")?;
    for after in [0, thread, replies[0], replies[2], last - 1, last, deleted, deleted + 1_000_000] {
        let newer: Vec<i64> = replies.iter().copied().filter(|no| *no > after).collect();
        let paths = ["json", "html"].map(|kind| format!("/{SLUG}/res/{thread}.{kind}?after={after}"));
        for path in &paths {
            let answers = everywhere(stack, &visitor, path).await?;
            let first = answers.first().context("no replicas")?;
            for answer in &answers {
                answer.expect(StatusCode::OK)?;
                assert_eq!(answer.body, first.body, "{path}");
                assert_eq!(answer.header("ETag"), first.header("ETag"), "{path}");
                assert!(answer.headers.get("Set-Cookie").map(without_token).is_none(), "{path} is the same for all");
            }
            assert!(!first.header("ETag").is_empty() && !first.header("Last-Modified").is_empty());
            if path.contains(".json") {
                assert_eq!(numbers(first)?, newer, "{path}");
                assert_eq!(first.header("Access-Control-Allow-Origin"), "*");
            } else {
                let shown = articles(&Html::parse_fragment(&first.text()))?;
                let wanted: Vec<_> = whole.iter().filter(|(no, _)| newer.contains(no)).cloned().collect();
                assert_eq!(shown, wanted, "{path}: as on the page");
                assert!(!first.text().contains("<html"), "{path} is a piece of a page");
            }
        }
    }
    // Some clients ask for it at the other path.
    let answer = visitor.get(&format!("/{SLUG}/thread/{thread}.json?after={}", replies[2])).await?;
    assert_eq!(numbers(&answer)?, [last]);
    Ok(())
}

#[tokio::test]
async fn its_tag_is_good_until_the_thread_changes() -> Result<()> {
    let stack = BOARD.get().await?;
    let visitors = replicas(stack)?;
    let thread = new_thread(&visitors[0], SLUG).await?;
    let first = reply(&visitors[0], SLUG, thread).await?;
    for kind in ["json", "html"] {
        let path = format!("/{SLUG}/res/{thread}.{kind}?after={thread}");
        let whole = visitors[0].get(&format!("/{SLUG}/res/{thread}.{kind}")).await?;
        let before = visitors[0].get(&path).await?;
        let tag = before.header("ETag");
        let ask = async |visitor: &Visitor| {
            visitor.send(visitor.request(Method::GET, &path).header("If-None-Match", tag)).await
        };
        for visitor in &visitors {
            ask(visitor).await?.expect(StatusCode::NOT_MODIFIED)?;
            let head = visitor.head(&path).await?;
            assert_eq!((head.status, head.header("ETag")), (StatusCode::OK, tag));
        }
        let no = reply(&visitors[1], SLUG, thread).await?;
        for visitor in &visitors {
            let now = ask(visitor).await?;
            let text = now.expect(StatusCode::OK)?.text();
            ensure!(text.contains(&no.to_string()) && text.contains(&first.to_string()), "{text}");
        }
        assert!(before.body.len() < whole.body.len(), "less is sent than the whole thread");
    }
    Ok(())
}

#[tokio::test]
async fn nonsense_and_unknown_threads_are_refused() -> Result<()> {
    let stack = BOARD.get().await?;
    let [visitor, ..] = replicas(stack)?;
    let thread = new_thread(&visitor, SLUG).await?;
    let bad = ["x", "-1", "", "1e3", "%201", "99999999999", "1.5"];
    let path = |thread: i64, kind: &str, after: &str| format!("/{SLUG}/res/{thread}.{kind}?after={after}");
    for after in bad {
        let answer = visitor.accepting(JSON).get(&path(thread, "json", after)).await?;
        check_problem(&answer, 422, "bad_post_number").with_context(|| format!("after={after}"))?;
        check_error_page(&visitor.get(&path(thread, "html", after)).await?, 422)?;
    }
    for kind in ["json", "html"] {
        let twice = visitor.accepting(JSON).get(&path(thread, kind, "1&after=2")).await?;
        assert!(twice.status.is_client_error(), "{}", twice.status);
    }
    let missing = i64::from(i32::MAX);
    check_problem(&visitor.accepting(JSON).get(&path(missing, "json", "1")).await?, 404, "unknown_thread")?;
    check_error_page(&visitor.get(&path(missing, "html", "1")).await?, 404)
}
