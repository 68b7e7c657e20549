//! A post that is sent twice exists once: by a double click, by a retry to another replica, after a crash.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use anyhow::{Context as _, Result};
use futures_util::future::join_all;
use reqwest::{Method, StatusCode};
use triptych_tests::{
    Form, Visitor,
    http::{JSON, Posted},
};

use crate::board::{Board, objects, small_picture, text};

/// A board with a thread to answer, and everywhere that forms can be sent to.
async fn setup() -> Result<(Board, Vec<Visitor>, i64)> {
    let board = Board::start().await?;
    let sites = board.sites()?;
    let thread = board.thread("b").await?;
    Ok((board, sites, thread))
}

#[tokio::test]
async fn a_form_that_is_sent_again_is_the_same_post() -> Result<()> {
    let (board, sites, thread) = setup().await?;
    let forms = [
        Form::reply(thread, "again, in words").field("key", "form-1"),
        Form::reply(thread, "again, with a picture").field("key", "form-2").picture(&small_picture(2)?),
        Form::thread("again, a thread").field("key", "form-3").picture(&small_picture(3)?),
    ];
    for form in &forms {
        let mut answers = Vec::new();
        // To the same one first, then to everybody.
        for site in sites.iter().take(1).chain(&sites) {
            answers.push(site.must_post("b", form).await?);
        }
        let first = answers.first().context("no answers")?.clone();
        assert_eq!(answers, vec![first.clone(); 1 + sites.len()], "the answers to one form");
        // A browser is sent to the same place.
        for site in &sites {
            let answer = site.post("b", form).await?;
            assert_eq!(answer.expect(StatusCode::SEE_OTHER)?.header("Location"), first.url);
        }
    }
    assert_eq!(board.count("select count(*) from post").await?, 4, "posts: the first thread and one for each form");
    assert_eq!(board.count("select count(*) from blob").await?, 3, "pictures");
    assert_eq!(objects(&board.s3).await?.len(), 6, "objects");
    board.nothing_is_half_done().await
}

#[tokio::test]
async fn a_form_that_is_sent_ten_times_at_once_is_one_post() -> Result<()> {
    const ROUNDS: usize = 10;
    const COPIES: usize = 10;
    let (board, sites, thread) = setup().await?;
    let mut answered = 0;
    for round in 0..ROUNDS {
        let form = Form::reply(thread, &format!("round {round}")).field("key", &format!("round-{round}"));
        let form = if round % 2 == 0 { form.picture(&small_picture(u64::try_from(round)? + 10)?) } else { form };
        let copies = (0..COPIES).zip(sites.iter().cycle()).map(|(_, site)| site.accepting(JSON));
        let copies = copies.map(|site| {
            let form = form.clone();
            async move { site.post("b", &form).await }
        });
        let mut numbers = BTreeSet::new();
        for answer in join_all(copies).await {
            let answer = answer?;
            answer.expect(StatusCode::CREATED).with_context(|| format!("round {round}"))?;
            numbers.insert(answer.json::<Posted>()?.no);
            answered += 1;
        }
        assert_eq!(numbers.len(), 1, "posts of round {round}: {numbers:?}");
        assert_eq!(board.posts_saying(&format!("round {round}")).await?, 1, "rows of round {round}");
    }
    assert_eq!(answered, ROUNDS * COPIES, "answers");
    assert_eq!(board.count("select count(*) from blob").await?, i64::try_from(ROUNDS / 2 + 1)?, "pictures");
    assert_eq!(objects(&board.s3).await?.len(), ROUNDS + 2, "objects: those of the lost attempts were taken back");
    board.nothing_is_half_done().await
}

#[tokio::test]
async fn what_differs_is_another_post() -> Result<()> {
    let (board, sites, thread) = setup().await?;
    let (through_nginx, replica) = (sites.first().context("no sites")?, sites.get(1).context("no replicas")?);
    let reply = |comment: &str| Form::reply(thread, comment).field("key", "one key");
    let first = replica.must_post("b", &reply("as it was")).await?;

    // The same key with other content: words, name, subject, picture, file name, thread.
    let picture = small_picture(20)?;
    let renamed = Form::reply(thread, "as it was").field("key", "one key");
    let renamed = renamed.file("other.jpg", picture.declared, picture.bytes.clone());
    let others = [
        reply("as it was not"),
        reply("as it was").field("name", "Somebody"),
        reply("as it was").field("sub", "A subject"),
        reply("as it was").field("email", "sage"),
        reply("as it was").picture(&picture),
        reply("as it was").picture(&picture).field("spoiler", "on"),
        reply("as it was").picture(&small_picture(21)?),
        renamed,
        Form::reply(board.thread("b").await?, "as it was").field("key", "one key"),
    ];
    let mut numbers = BTreeSet::from([first.no]);
    for other in &others {
        numbers.insert(replica.must_post("b", other).await?.no);
    }
    assert_eq!(numbers.len(), others.len() + 1, "different contents with one key");

    // The same form from other addresses, straight and through nginx: the page with its key is shared by all.
    for (site, last) in [(replica.url(""), 2), (through_nginx.url(""), 3), (through_nginx.url(""), 4)] {
        let somebody = Visitor::from_address(&site, IpAddr::V4(Ipv4Addr::new(127, 0, 0, last)))?;
        let (one, again) =
            (somebody.must_post("b", &reply("as it was")).await?, somebody.must_post("b", &reply("as it was")).await?);
        assert_eq!(one, again, "the same form from 127.0.0.{last}");
        assert!(numbers.insert(one.no), "the form from 127.0.0.{last} became somebody else's post");
    }
    // One person, once straight and once through nginx, is one person.
    let somebody = Visitor::from_address(&replica.url(""), IpAddr::V4(Ipv4Addr::new(127, 0, 0, 3)))?;
    assert!(!numbers.insert(somebody.must_post("b", &reply("as it was")).await?.no), "127.0.0.3 posted this before");

    // Without a key nobody can know that it is the same.
    let bare = Form::reply(thread, "no key");
    let (one, other) = (replica.must_post("b", &bare).await?, replica.must_post("b", &bare).await?);
    assert_ne!(one.no, other.no, "two posts without a key");
    board.nothing_is_half_done().await
}

#[tokio::test]
async fn programs_can_send_the_key_as_a_header() -> Result<()> {
    let (board, sites, thread) = setup().await?;
    let boundary = "program";
    let body = |comment: &str| {
        format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"resto\"\r\n\r\n{thread}\r\n\
             --{boundary}\r\nContent-Disposition: form-data; name=\"com\"\r\n\r\n{comment}\r\n--{boundary}--\r\n"
        )
    };
    let mut posted = Vec::new();
    for key in ["key-a", "key-a", "key-b", "key-b"] {
        for site in &sites {
            let site = site.accepting(JSON);
            let request = site
                .request(Method::POST, "/b/post")
                .header("Idempotency-Key", key)
                .header("Content-Type", format!("multipart/form-data; boundary={boundary}"))
                .body(body("from a program"));
            let answer = site.send(request).await?;
            posted.push((key, answer.expect(StatusCode::CREATED)?.json::<Posted>()?.no));
        }
    }
    assert_eq!(posted.len(), 4 * sites.len(), "answers");
    assert_eq!(posted.iter().collect::<BTreeSet<_>>().len(), 2, "posts of two keys: {posted:?}");
    assert_eq!(board.posts_saying("from a program").await?, 2, "rows");
    Ok(())
}

#[tokio::test]
async fn a_form_that_is_sent_again_after_its_post_was_deleted_makes_no_other() -> Result<()> {
    let (board, sites, thread) = setup().await?;
    let (site, other) = (sites.first().context("no sites")?, sites.last().context("no sites")?);
    let reply = Form::reply(thread, "a reply, soon gone").field("key", "reply").field("pwd", "let me delete");
    let opening = Form::thread("a thread, soon gone").field("key", "thread").field("pwd", "let me delete");
    let opening = opening.picture(&small_picture(30)?);
    for (comment, form) in [("a reply, soon gone", reply), ("a thread, soon gone", opening)] {
        let posted = site.must_post("b", &form).await?;
        let deletion = Form::new().field("no", &posted.no.to_string()).field("pwd", "let me delete");
        site.accepting(JSON).submit("/b/delete", &deletion).await?.expect(StatusCode::OK)?;
        for site in [site, other] {
            let answer = site.accepting(JSON).post("b", &form).await?;
            let problem: serde_json::Value = answer.expect(StatusCode::NOT_FOUND)?.json()?;
            assert_eq!(text(&problem, "code")?, "post_deleted", "{problem}");
            // A browser gets the form back, to send what is in it anew.
            let page = site.post("b", &form).await?;
            let typed = page.expect(StatusCode::NOT_FOUND)?.texts("textarea[name=com]")?;
            assert!(typed.iter().any(|typed| typed.trim() == comment), "the form holds {typed:?}, not {comment:?}");
        }
        assert_eq!(board.posts_saying(comment).await?, 0, "posts that say {comment:?}");
    }
    assert_eq!(board.count("select count(*) from post").await?, 1, "posts: the thread that was there before");
    Ok(())
}

#[tokio::test]
async fn a_form_that_is_sent_again_after_a_crash_is_the_same_post() -> Result<()> {
    const ROUNDS: u64 = 8;
    let (board, _, thread) = setup().await?;
    let (doomed, other) = (board.replica(0)?, board.replica(1)?);
    let mut answered_before = 0;
    for round in 0..ROUNDS {
        let comment = format!("crash {round}");
        let form = Form::reply(thread, &comment).field("key", &comment).picture(&small_picture(round + 40)?);
        // The replica is killed at any moment from before the form arrives to after it was answered.
        let visitor = Visitor::new(&doomed.url())?;
        let post = visitor.must_post("b", &form);
        let (first, killed) = if round == 0 {
            (post.await, doomed.kill())
        } else {
            let moment = Duration::from_millis(rand::random_range(0..60));
            tokio::join!(post, async {
                tokio::time::sleep(moment).await;
                doomed.kill()
            })
        };
        killed?;
        let again = Visitor::new(&other.url())?.must_post("b", &form).await?;
        if let Ok(first) = first {
            assert_eq!(first, again, "the answers before and after the crash");
            answered_before += 1;
        }
        assert_eq!(board.posts_saying(&comment).await?, 1, "posts of round {round}");
        doomed.start()?;
        doomed.wait_ready().await?;
        let after = Visitor::new(&doomed.url())?.must_post("b", &form).await?;
        assert_eq!(after, again, "the answer of the replica that is back");
    }
    assert!(answered_before >= 1, "the first form was to be answered before the crash");
    assert_eq!(board.count("select count(*) from attachment").await?, i64::try_from(ROUNDS)? + 1, "pictures on posts");
    board.keys_of_rows().await?;
    board.nothing_is_half_done().await
}
