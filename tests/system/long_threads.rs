//! Long threads end: the limit of replies is exact over all replicas, and however long a thread is, no page and no
//! document grows with it.

use anyhow::{Context as _, Result, ensure};
use futures_util::future::join_all;
use reqwest::StatusCode;
use serde_json::Value;
use triptych_tests::{
    Answer, Form, Replica, Stack, Visitor,
    http::{HTML, JSON},
    pictures, replica,
    scratch::Scratch,
};

use crate::{
    board::find_post,
    overload::memory,
    shared::{Shared, check_error_page, check_problem, document, everywhere, list, new_thread, number, sites},
};

/// Replies that a thread takes here.
const LIMIT: i64 = 10;
/// Replies of a thread that are shown, whatever the limit is.
const MOST_SHOWN: i64 = 5_000;

/// Three replicas with short threads.
static BOARD: Shared = Shared::new(|| {
    Stack::builder()
        .env("TRIPTYCH_REPLY_LIMIT", &LIMIT.to_string())
        .env("TRIPTYCH_BUMP_LIMIT", "4")
        .env("TRIPTYCH_DRAIN_DELAY", "0s")
});

async fn reply(visitor: &Visitor, thread: i64, comment: &str) -> Result<Answer> {
    visitor.accepting(JSON).post("b", &Form::reply(thread, comment).field("pwd", "a password")).await
}

/// Replies until a thread is full, and answers the number of the last reply.
async fn fill(visitor: &Visitor, thread: i64) -> Result<i64> {
    let mut last = 0;
    for turn in 0..LIMIT {
        let answer = reply(visitor, thread, &format!("reply {turn}")).await?;
        last = number(&answer.expect(StatusCode::CREATED)?.json()?, "/no")?;
    }
    Ok(last)
}

/// A thread in the JSON documents: its own, the catalogue's and the index's.
async fn documents_of(visitor: &Visitor, thread: i64) -> Result<Vec<Value>> {
    let mut found = Vec::new();
    for path in [format!("/b/res/{thread}.json"), "/b/catalog.json".into(), "/b/0.json".into()] {
        let document = document(visitor, &path).await?;
        found.push(find_post(&document, thread).with_context(|| format!("No.{thread} is not in {path}"))?.clone());
    }
    Ok(found)
}

/// Checks what every replica shows of a thread with so many replies: that it takes more, or that it is full.
async fn check_shown(stack: &Stack, visitor: &Visitor, thread: i64, replies: i64) -> Result<()> {
    let is_full = replies >= LIMIT;
    for site in sites(stack) {
        let visitor = visitor.at(&site);
        for opening in documents_of(&visitor, thread).await? {
            let told = ["/replies", "/closed", "/locked"].map(|field| number(&opening, field).unwrap_or(-1));
            let closed = i64::from(is_full);
            ensure!(told == [replies, closed, closed], "{site}: replies, closed and locked are {told:?}");
        }
        let page = visitor.get(&format!("/b/res/{thread}.html")).await?;
        ensure!(page.count("form#post")? == usize::from(!is_full), "{site}: a form with {replies} replies");
        let counts = page.texts("nav.end span")?.concat();
        ensure!(counts == format!("{replies} of {LIMIT} replies, 1 picture."), "{site}: the footer says {counts:?}");
        let badges = page.texts(".op .badge")?;
        ensure!(badges == if is_full { vec!["Full"] } else { vec![] }, "{site}: the badges are {badges:?}");
        let note = page.texts("#post")?.concat();
        let wanted = match LIMIT - replies {
            0 => "This thread is full. It can be read, but takes no more replies.".to_owned(),
            1 => "This thread takes 1 more reply.".to_owned(),
            left => format!("This thread takes {left} more replies."),
        };
        ensure!(note.contains(&wanted), "{site}: not {wanted:?} but {note:?}");
        let index = visitor.get("/b/").await?;
        let link = index.texts(&format!("#p{thread} a.open"))?.concat();
        ensure!(link.starts_with(if is_full { "Open" } else { "Reply" }), "{site}: the index says {link:?}");
        let catalogue = visitor.get("/b/catalog.html").await?.text();
        let tile = catalogue.split("<li class=\"tile\">").find(|tile| tile.contains(&format!("/b/res/{thread}.html")));
        let tile = tile.with_context(|| format!("No.{thread} is not in the catalogue"))?;
        ensure!(tile.contains(">Full<") == is_full, "{site}: a tile with {replies} replies: {tile}");
    }
    Ok(())
}

#[tokio::test]
async fn of_many_replies_at_once_exactly_as_many_enter_as_there_is_room_for() -> Result<()> {
    const AT_ONCE: usize = 24;
    let stack = BOARD.get().await?;
    let visitor = Visitor::new(&stack.url())?;
    let thread = new_thread(&visitor, "b", "to be filled").await?.no;
    for turn in 0..3 {
        reply(&visitor, thread, &format!("early {turn}")).await?.expect(StatusCode::CREATED)?;
    }
    check_shown(stack, &visitor, thread, 3).await?;

    let sites = sites(stack);
    let posting = (0..AT_ONCE).map(|turn| {
        let visitor = visitor.at(&sites[turn % sites.len()]);
        async move { reply(&visitor, thread, &format!("one of many, {turn}")).await }
    });
    let mut entered = 3;
    for answer in join_all(posting).await {
        let answer = answer?;
        if answer.status == StatusCode::CREATED {
            entered += 1;
        } else {
            check_problem(&answer, 403, "thread_full")?;
        }
    }
    assert_eq!(entered, LIMIT, "replies that entered the thread");
    check_shown(stack, &visitor, thread, LIMIT).await?;

    // Whoever is late is told why, and gets back what was typed.
    let form = Form::reply(thread, "too late\n>but not lost").picture(&pictures::png(rand::random(), 30, 20)?);
    let refused = visitor.accepting(HTML).post("b", &form).await?;
    check_error_page(&refused, 403)?;
    let told = refused.texts(".sorry")?.concat();
    assert!(told.contains("This thread is full: 10 is the most replies that a thread can have."), "{told}");
    assert_eq!(refused.texts("textarea[name=com]")?, ["too late\n>but not lost"]);
    Ok(())
}

#[tokio::test]
async fn the_last_reply_sent_twice_is_one_reply_and_no_refusal() -> Result<()> {
    let stack = BOARD.get().await?;
    let visitor = Visitor::new(&stack.url())?;
    let thread = new_thread(&visitor, "b", "a double click at the end").await?.no;
    for turn in 1..LIMIT {
        reply(&visitor, thread, &format!("reply {turn}")).await?.expect(StatusCode::CREATED)?;
    }
    let form = Form::reply(thread, "the last one").field("key", "the key of a form");
    let sites = sites(stack);
    let sent = join_all((0..8).map(|turn| {
        let visitor = visitor.at(&sites[turn % sites.len()]);
        let form = &form;
        async move { visitor.must_post("b", form).await }
    }));
    let mut numbers: Vec<i64> = sent.await.into_iter().map(|posted| Ok(posted?.no)).collect::<Result<_>>()?;
    numbers.push(visitor.must_post("b", &form).await.context("once more, after the thread was full")?.no);
    numbers.dedup();
    assert_eq!(numbers.len(), 1, "one post: {numbers:?}");
    check_shown(stack, &visitor, thread, LIMIT).await
}

#[tokio::test]
async fn a_full_thread_opens_when_a_reply_is_deleted_or_the_limit_is_raised() -> Result<()> {
    let stack = BOARD.get().await?;
    let visitor = Visitor::new(&stack.url())?;
    let thread = new_thread(&visitor, "b", "full and not full").await?.no;
    let last = fill(&visitor, thread).await?;
    check_shown(stack, &visitor, thread, LIMIT).await?;

    let form = Form::new().field("no", &last.to_string()).field("pwd", "a password");
    visitor.accepting(JSON).submit("/b/delete", &form).await?.expect(StatusCode::OK)?;
    check_shown(stack, &visitor, thread, LIMIT - 1).await?;
    reply(&visitor, thread, "in its place").await?.expect(StatusCode::CREATED)?;
    check_problem(&reply(&visitor, thread, "one too many").await?, 403, "thread_full")?;
    check_shown(stack, &visitor, thread, LIMIT).await?;

    // A replica with a higher limit: nothing has to be mended for it.
    let mut environment = stack.environment().clone();
    environment.push(("TRIPTYCH_REPLY_LIMIT".into(), (LIMIT + 1).to_string()));
    let scratch = Scratch::new("raised")?;
    let raised = Replica::new("raised", &replica::binary()?, &environment, scratch.path())?;
    raised.start()?;
    raised.wait_ready().await?;
    let there = visitor.at(&raised.url());
    let opening = documents_of(&there, thread).await?;
    assert!(opening.iter().all(|opening| number(opening, "/closed").is_ok_and(|closed| closed == 0)), "{opening:#?}");
    reply(&there, thread, "under the higher limit").await?.expect(StatusCode::CREATED)?;
    check_problem(&reply(&there, thread, "beyond it as well").await?, 403, "thread_full")?;
    raised.terminate().await?;

    // Back under the lower one it has more than it may have.
    check_problem(&reply(&visitor, thread, "one too many").await?, 403, "thread_full")?;
    for page in everywhere(stack, &visitor, &format!("/b/res/{thread}.html")).await? {
        assert_eq!(page.texts("nav.end span")?, ["11 replies, 1 picture."]);
        assert_eq!(page.texts(".op .badge")?, ["Full"]);
    }
    Ok(())
}

/// Gives a thread many replies as they would have been made before there was a limit. Each quotes the opening post.
async fn lengthen(stack: &Stack, thread: i64, replies: i64, html: &str) -> Result<()> {
    let mut database = stack.database().await?;
    let thread = i32::try_from(thread)?;
    let insert = "with added as (
            insert into post (thread_no, sage, comment, html, address_hash)
            select $1, false, 'long', $3, decode(md5((number % 100)::text), 'hex') from generate_series(1, $2) as number
            returning no
        )
        insert into quote (from_no, to_no) select no, $1 from added";
    let replies = i32::try_from(replies)?;
    sqlx::query(insert).bind(thread).bind(replies).bind(html).execute(&mut database).await?;
    // By itself, because everybody who posts needs these rows.
    let count = "with counted as (
            update thread_state set version = version + 1, changed_at = clock_timestamp(), replies = replies + $2
            where thread_no = $1 returning board_id
        )
        update board_state set version = version + 1, changed_at = clock_timestamp(), posts = posts + $2
        where board_id in (select board_id from counted)";
    sqlx::query(count).bind(thread).bind(replies).execute(&mut database).await?;
    Ok(())
}

#[tokio::test]
async fn fifty_thousand_replies_are_more_than_any_page_shows() -> Result<()> {
    const REPLIES: i64 = 50_000;
    /// Half as much again is what a replica uses that shows them all to one reader.
    const MOST_MEMORY: usize = 96 << 20;
    let stack = BOARD.get().await?;
    let replica = stack.replica(0)?;
    let visitor = Visitor::new(&replica.url())?;
    let thread = new_thread(&visitor, "b", "endless").await?.no;
    lengthen(stack, thread, REPLIES, "a reply of the usual length, which is some seventy bytes and no more").await?;

    let path = format!("/b/res/{thread}.html");
    let page = visitor.get(&path).await?;
    let text = page.expect(StatusCode::OK)?.text();
    let count = |what: &str| i64::try_from(text.matches(what).count());
    assert_eq!(count("<article")?, MOST_SHOWN + 1, "the opening post and the newest replies");
    assert!(text.contains("45,000 replies are not shown."), "the page does not say that replies are missing");
    assert!(text.contains("This thread is full."), "a thread that is longer than the limit is full");
    // The opening post is quoted by every reply that is shown.
    assert_eq!(count("class=\"quotelink\"")?, MOST_SHOWN, "back-links");
    let document = document(&visitor, &format!("/b/res/{thread}.json")).await?;
    let posts = list(&document, "/posts")?;
    assert_eq!(i64::try_from(posts.len())?, MOST_SHOWN + 1);
    let opening = posts.first().context("no opening post")?;
    let told = ["/no", "/replies", "/omitted_posts", "/closed", "/unique_ips"];
    let told: Vec<i64> = told.iter().map(|field| number(opening, field)).collect::<Result<_>>()?;
    assert_eq!(told, [thread, REPLIES, REPLIES - MOST_SHOWN, 1, 101]);
    let last = number(posts.last().context("no posts")?, "/no")?;
    assert!(text.contains(&format!("id=\"p{last}\"")), "the newest reply is not shown");
    check_problem(&reply(&visitor, thread, "one more").await?, 403, "thread_full")?;

    let index = visitor.get("/b/").await?;
    assert_eq!(index.count(&format!("#p{thread} .back a"))?, 5, "back-links from replies that the index shows");
    for path in ["/b/catalog.html", "/b/catalog.json", "/b/threads.json", "/b/0.json", "/"] {
        let answer = visitor.get(path).await?;
        let length = answer.expect(StatusCode::OK)?.body.len();
        ensure!(length < 1 << 20, "{path} has {length} bytes");
    }
    let peak = memory(replica, "VmHWM")?;
    assert!(peak < MOST_MEMORY, "the replica has used {} MiB", peak >> 20);
    Ok(())
}

#[tokio::test]
async fn replies_full_of_markup_fill_a_page_sooner() -> Result<()> {
    const REPLIES: i64 = 300;
    let stack = BOARD.get().await?;
    let visitor = Visitor::new(&stack.replica(1)?.url())?;
    let thread = new_thread(&visitor, "b", "nothing but markup").await?.no;
    // What five thousand characters can become.
    let html = "<span class=\"quote\">&gt;</span><br>".repeat(2_500);
    lengthen(stack, thread, REPLIES, &html).await?;
    let page = visitor.get(&format!("/b/res/{thread}.html")).await?;
    let (text, length) = (page.expect(StatusCode::OK)?.text(), page.body.len());
    let shown = i64::try_from(text.matches("<article").count())? - 1;
    assert_eq!(shown, i64::try_from((8 << 20) / html.len())?, "the newest replies that eight mebibytes hold");
    assert!(length < 9 << 20, "{length} bytes");
    assert!(text.contains(&format!("{} replies are not shown.", REPLIES - shown)));
    let document = document(&visitor, "/b/catalog.json").await?;
    let opening = find_post(&document, thread).context("the thread is not in the catalogue")?;
    assert_eq!((list(opening, "/last_replies")?.len(), number(opening, "/omitted_posts")?), (0, REPLIES));
    Ok(())
}
