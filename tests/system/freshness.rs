//! Promise 2: what was acknowledged is visible everywhere. Every reading after an answer shows the post, on every
//! replica and through nginx, in every form that there is; and no "not modified" is ever wrong.

use std::{
    collections::BTreeSet,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use futures_util::future::{join_all, try_join_all};
use reqwest::{Method, StatusCode, header::HeaderMap};
use triptych_tests::{Answer, Form, Visitor, http::Posted};

use crate::board::{Board, LIMIT, SLUGS, find_post, json, number, posts, small_picture, text, thread_path};
use crate::shared::without_token;

const POSTERS: usize = 4;
const POSTS_EACH: usize = 50;
/// Thread as page and JSON, index as page and JSON, catalogue as page and JSON, `threads.json`.
const VIEWS: usize = 7;

/// What one poster has found.
#[derive(Default)]
struct Found {
    readings: usize,
    pictures: usize,
    stale: Vec<String>,
}

impl Found {
    fn look(&mut self, visitor: &Visitor, path: &str, posted: &Posted, shown: bool) {
        self.readings += 1;
        if !shown {
            self.stale.push(format!("No.{} is not on {}", posted.no, visitor.url(path)));
        }
    }
}

/// Reads every view of one site right after a post was acknowledged.
async fn read_everything(visitor: &Visitor, posted: &Posted, comment: &str, replies: i64) -> Result<Found> {
    let mut found = Found::default();
    let (slug, no) = (&posted.board, posted.no);
    let thread = if posted.resto == 0 { no } else { posted.resto };
    let on_page = |answer: &Answer| {
        let page = answer.text();
        page.contains(&format!("id=\"p{no}\"")) && page.contains(comment)
    };
    let says = |post: Option<&serde_json::Value>| {
        post.is_some_and(|post| text(post, "com").is_ok_and(|text| text.contains(comment)))
    };

    let path = thread_path(posted, "html");
    let answer = visitor.get(&path).await?;
    found.look(visitor, &path, posted, on_page(answer.expect(StatusCode::OK)?));

    let path = thread_path(posted, "json");
    let document = json(&visitor.get(&path).await?)?;
    let counted = find_post(&document, thread).and_then(|opening| number(opening, "replies"));
    found.look(visitor, &path, posted, says(find_post(&document, no)) && counted == Some(replies));

    let path = format!("/{slug}/");
    let answer = visitor.get(&path).await?;
    found.look(visitor, &path, posted, on_page(answer.expect(StatusCode::OK)?));

    let path = format!("/{slug}/0.json");
    let document = json(&visitor.get(&path).await?)?;
    found.look(visitor, &path, posted, says(find_post(&document, no)));

    let path = format!("/{slug}/catalog.html");
    let answer = visitor.get(&path).await?;
    answer.expect(StatusCode::OK)?;
    let page = answer.text();
    let link = format!("href=\"/{slug}/res/{thread}.html\"");
    let tile = page.split("<li class=\"tile\">").find(|tile| tile.contains(&link)).unwrap_or_default();
    let shown = tile.contains(&format!(">{replies} {}<", if replies == 1 { "reply" } else { "replies" }));
    found.look(visitor, &path, posted, shown);

    let path = format!("/{slug}/catalog.json");
    let document = json(&visitor.get(&path).await?)?;
    let counted = find_post(&document, thread).and_then(|opening| number(opening, "replies"));
    found.look(visitor, &path, posted, says(find_post(&document, no)) && counted == Some(replies));

    let path = format!("/{slug}/threads.json");
    let document = json(&visitor.get(&path).await?)?;
    let counted = find_post(&document, thread).and_then(|listed| number(listed, "replies"));
    found.look(visitor, &path, posted, counted == Some(replies));
    Ok(found)
}

/// One of several who post at the same time, each to threads of its own on boards that all share.
async fn post_and_read(board: &Board, poster: usize) -> Result<Found> {
    let sites = board.sites()?;
    let mut found = Found::default();
    let mut threads: Vec<(&str, i64, i64)> = Vec::new();
    for turn in 0..POSTS_EACH {
        let site = sites.get((turn + poster) % sites.len()).context("no sites")?;
        let comment = format!("freshly-said-{poster}-{turn}.");
        let opens = turn % 10 == 0;
        let pictured = opens || turn % 5 == 2;
        let mut form = Form::new().field("com", &comment);
        if pictured {
            form = form.picture(&small_picture(u64::try_from(poster * 1000 + turn)?)?);
        }
        if turn % 7 == 3 {
            form = form.field("email", "sage");
        }
        let (made, replies) = if opens {
            let slug = SLUGS.get((turn / 10 + poster) % SLUGS.len()).context("no boards")?;
            let made = site.must_post(slug, &form).await?;
            threads.push((slug, made.no, 0));
            (made, 0)
        } else {
            let chosen = turn % threads.len();
            let (slug, thread, replies) = threads.get_mut(chosen).context("no threads")?;
            let made = site.must_post(slug, &form.field("resto", &thread.to_string())).await?;
            *replies += 1;
            (made, *replies)
        };
        let readings = sites.iter().map(|site| read_everything(site, &made, &comment, replies));
        for read in try_join_all(readings).await? {
            found.readings += read.readings;
            found.stale.extend(read.stale);
        }
        if pictured {
            let loads = sites.iter().map(|site| board.loads_pictures(site, &made));
            found.pictures += try_join_all(loads).await?.into_iter().sum::<usize>();
        }
    }
    Ok(found)
}

#[tokio::test]
async fn two_hundred_posts_are_seen_at_once_everywhere() -> Result<()> {
    let board = Board::start().await?;
    let found = try_join_all((0..POSTERS).map(|poster| post_and_read(&board, poster))).await?;
    let stale: Vec<&String> = found.iter().flat_map(|found| &found.stale).collect();
    assert!(stale.is_empty(), "{} stale readings, 0 were expected: {stale:#?}", stale.len());

    let sites = board.sites()?.len();
    let readings: usize = found.iter().map(|found| found.readings).sum();
    assert_eq!(readings, POSTERS * POSTS_EACH * VIEWS * sites, "readings");
    let with_picture = (0..POSTS_EACH).filter(|turn| turn % 10 == 0 || turn % 5 == 2).count();
    let pictures: usize = found.iter().map(|found| found.pictures).sum();
    assert_eq!(pictures, POSTERS * with_picture * 2 * sites, "pictures and thumbnails that were loaded at once");
    assert_eq!(board.count("select count(*) from post").await?, i64::try_from(POSTERS * POSTS_EACH)?, "posts");
    board.nothing_is_half_done().await
}

/// What was acknowledged so far.
#[derive(Default)]
struct Acknowledged {
    posts: Mutex<BTreeSet<i64>>,
    done: AtomicBool,
}

impl Acknowledged {
    fn add(&self, no: i64) {
        self.posts.lock().unwrap_or_else(PoisonError::into_inner).insert(no);
    }

    fn now(&self) -> BTreeSet<i64> {
        self.posts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Reads one thread over and over; answers what was missing of all that had been acknowledged before each reading.
async fn keep_reading(
    visitor: Visitor,
    slug: &str,
    thread: i64,
    acknowledged: &Acknowledged,
    readings: &AtomicUsize,
) -> Result<Vec<String>> {
    let mut stale = Vec::new();
    let mut last = false;
    for turn in 0.. {
        let expected = acknowledged.now();
        match turn % 3 {
            0 => {
                let document = json(&visitor.get(&format!("/{slug}/res/{thread}.json")).await?)?;
                let shown: BTreeSet<i64> = posts(&document).into_iter().filter_map(|post| number(post, "no")).collect();
                stale.extend(expected.difference(&shown).map(|no| format!("{no} in {}", visitor.url("json"))));
            }
            1 => {
                let page = visitor.get(&format!("/{slug}/res/{thread}.html")).await?;
                let page = page.expect(StatusCode::OK)?.text();
                let missing = expected.iter().filter(|no| !page.contains(&format!("id=\"p{no}\"")));
                stale.extend(missing.map(|no| format!("{no} on {}", visitor.url("page"))));
            }
            _ => {
                let document = json(&visitor.get(&format!("/{slug}/0.json")).await?)?;
                let counted = find_post(&document, thread).and_then(|opening| number(opening, "replies"));
                if counted.is_none_or(|counted| counted < i64::try_from(expected.len()).unwrap_or(i64::MAX)) {
                    stale.push(format!("{counted:?} of {} in {}", expected.len(), visitor.url("index")));
                }
            }
        }
        readings.fetch_add(1, Ordering::Relaxed);
        // All three kinds are read once more after the last post.
        if last && turn % 3 == 2 {
            break;
        }
        last = last || (acknowledged.done.load(Ordering::Acquire) && turn % 3 == 2);
    }
    Ok(stale)
}

#[tokio::test]
async fn a_crowd_of_readers_never_sees_less_than_was_acknowledged() -> Result<()> {
    const READERS: usize = 50;
    const POSTS: usize = 40;
    let board = Board::start().await?;
    let slug = "b";
    let thread = board.thread(slug).await?;
    let sites = board.sites()?;
    let (acknowledged, readings) = (Acknowledged::default(), AtomicUsize::new(0));

    let posting = async {
        let posters = (0..2).map(|poster| {
            let (sites, acknowledged) = (&sites, &acknowledged);
            async move {
                for turn in 0..POSTS / 2 {
                    let site = sites.get((turn + poster) % sites.len()).context("no sites")?;
                    let form = Form::reply(thread, &format!("from {poster}, {turn}"));
                    acknowledged.add(site.must_post(slug, &form).await?.no);
                }
                anyhow::Ok(())
            }
        });
        let posted = try_join_all(posters).await;
        acknowledged.done.store(true, Ordering::Release);
        posted
    };
    let reading = try_join_all((0..READERS).map(|reader| {
        let (sites, acknowledged, readings) = (&sites, &acknowledged, &readings);
        async move {
            let visitor = sites.get(reader % sites.len()).context("no sites")?.clone();
            keep_reading(visitor, slug, thread, acknowledged, readings).await
        }
    }));
    let (posted, stale) = tokio::join!(posting, reading);
    posted?;
    let stale: Vec<String> = stale?.into_iter().flatten().collect();
    let readings = readings.into_inner();
    assert!(stale.is_empty(), "{} of {readings} readings were stale, 0 were expected: {stale:#?}", stale.len());
    assert_eq!(acknowledged.now().len(), POSTS, "posts");
    assert!(readings >= READERS * 6, "{readings} readings; each reader was to read everything twice");
    Ok(())
}

/// Every page and document that changes with a reply.
fn views(slug: &str, thread: i64) -> Vec<String> {
    vec![
        "/".into(),
        format!("/{slug}/"),
        format!("/{slug}/catalog.html"),
        format!("/{slug}/res/{thread}.html"),
        format!("/{slug}/0.json"),
        format!("/{slug}/catalog.json"),
        format!("/{slug}/threads.json"),
        format!("/{slug}/res/{thread}.json"),
    ]
}

async fn ask_with(visitor: &Visitor, path: &str, name: &str, value: &str) -> Result<Answer> {
    visitor.send(visitor.request(Method::GET, path).header(name, value)).await
}

#[tokio::test]
async fn a_tag_is_good_on_every_replica_until_the_next_post_and_never_after() -> Result<()> {
    const ROUNDS: usize = 8;
    let board = Board::start().await?;
    let slug = "art";
    let thread = board.thread(slug).await?;
    let views = views(slug, thread);
    let sites = board.sites()?;
    let (mut unchanged, mut changed, mut old) = (0, 0, Vec::new());
    for round in 0..ROUNDS {
        let giver = sites.get(round % sites.len()).context("no sites")?;
        let mut tags = Vec::new();
        for path in &views {
            let answer = giver.get(path).await?;
            let tag = answer.expect(StatusCode::OK)?.header("ETag").to_owned();
            ensure!(!tag.is_empty(), "{path} has no tag");
            tags.push((path, tag));
        }
        for site in &sites {
            for (path, tag) in &tags {
                let answer = ask_with(site, path, "If-None-Match", tag).await?;
                answer.expect(StatusCode::NOT_MODIFIED).with_context(|| site.url(path))?;
                assert!(answer.body.is_empty(), "a 304 has a body");
                assert_eq!(answer.header("ETag"), tag, "the tag of {}", site.url(path));
                unchanged += 1;
            }
        }
        let poster = sites.get((round + 1) % sites.len()).context("no sites")?;
        poster.must_post(slug, &Form::reply(thread, &format!("round {round}"))).await?;
        old.extend(tags);
        for site in &sites {
            for (path, tag) in &old {
                let answer = ask_with(site, path, "If-None-Match", tag).await?;
                answer.expect(StatusCode::OK).with_context(|| format!("{} with the old tag {tag}", site.url(path)))?;
                assert_ne!(answer.header("ETag"), tag, "{} has changed", site.url(path));
                changed += 1;
            }
        }
    }
    assert_eq!(unchanged, ROUNDS * views.len() * sites.len(), "answers that nothing had changed");
    assert_eq!(changed, (1..=ROUNDS).sum::<usize>() * views.len() * sites.len(), "answers with what is new");
    Ok(())
}

#[tokio::test]
async fn a_date_never_hides_a_post_even_when_many_come_within_a_second() -> Result<()> {
    const ROUNDS: usize = 25;
    let board = Board::start().await?;
    let slug = "photo";
    let thread = board.thread(slug).await?;
    let views = views(slug, thread);
    let sites = board.sites()?;
    let mut told: BTreeSet<(usize, String)> = BTreeSet::new();
    let mut asked = 0;
    for round in 0..ROUNDS {
        let giver = sites.get(round % sites.len()).context("no sites")?;
        let answers = try_join_all(views.iter().map(|path| giver.get(path))).await?;
        for (view, answer) in answers.iter().enumerate() {
            let date = answer.expect(StatusCode::OK)?.header("Last-Modified").to_owned();
            ensure!(!date.is_empty(), "{:?} has no date", views.get(view));
            told.insert((view, date));
        }
        let poster = sites.get((round + 1) % sites.len()).context("no sites")?;
        poster.must_post(slug, &Form::reply(thread, &format!("round {round}"))).await?;
        // Every date that anybody was told before this post.
        let questions = sites.iter().flat_map(|site| told.iter().map(move |(view, date)| (site, view, date)));
        let answers = questions.map(|(site, view, date)| {
            let path = views.get(*view).map(String::as_str).unwrap_or_default();
            async move { (path, date, ask_with(site, path, "If-Modified-Since", date).await) }
        });
        for (path, date, answer) in join_all(answers).await {
            answer?.expect(StatusCode::OK).with_context(|| format!("{path} since {date}, after post {round}"))?;
            asked += 1;
        }
    }
    assert!(asked >= ROUNDS * views.len() * sites.len(), "{asked} questions");

    // Once nothing has come for a while, the date does tell that nothing is new; on every replica, until the next post.
    let (first, path) = (sites.first().context("no sites")?, format!("/{slug}/res/{thread}.html"));
    let start = Instant::now();
    let settled = loop {
        let date = first.get(&path).await?.header("Last-Modified").to_owned();
        if ask_with(first, &path, "If-Modified-Since", &date).await?.status == StatusCode::NOT_MODIFIED {
            break date;
        }
        ensure!(start.elapsed() < LIMIT, "no date is answered with 304 within {LIMIT:?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    for site in &sites {
        ask_with(site, &path, "If-Modified-Since", &settled).await?.expect(StatusCode::NOT_MODIFIED)?;
    }
    let posted = first.must_post(slug, &Form::reply(thread, "after the silence")).await?;
    for site in &sites {
        let answer = ask_with(site, &path, "If-Modified-Since", &settled).await?;
        answer.expect(StatusCode::OK).with_context(|| format!("{} since {settled}", site.url(&path)))?;
        assert!(answer.text().contains(&format!("id=\"p{}\"", posted.no)), "the post is not on {}", site.url(&path));
    }
    Ok(())
}

/// The headers of an answer without those that differ from one request to the next.
fn lasting(headers: &HeaderMap) -> Vec<(String, String)> {
    let passing = ["date", "x-request-id", "x-cache-status", "connection", "keep-alive"];
    let mut lasting: Vec<(String, String)> = headers
        .iter()
        .filter(|(name, _)| !passing.contains(&name.as_str()))
        .map(|(name, value)| (name.to_string(), without_token(value)))
        .collect();
    lasting.sort();
    lasting
}

#[tokio::test]
async fn asking_for_the_head_gives_the_headers_of_the_whole() -> Result<()> {
    let board = Board::start().await?;
    let slug = "b";
    let thread = board.thread(slug).await?;
    let mut paths = views(slug, thread);
    let document = json(&Visitor::new(&board.url())?.get(&format!("/{slug}/res/{thread}.json")).await?)?;
    let opening = find_post(&document, thread).context("no opening post")?;
    paths.extend([text(opening, "media")?, text(opening, "thumb")?]);
    paths.extend(["/boards.json".into(), "/nothing/here".into(), format!("/{slug}/res/999999.html")]);
    let mut compared = 0;
    for replica in board.replicas() {
        let visitor = Visitor::new(&replica.url())?;
        for path in &paths {
            for coding in ["identity", "gzip"] {
                let ask = |method| visitor.send(visitor.request(method, path).header("Accept-Encoding", coding));
                let (whole, head) = (ask(Method::GET).await?, ask(Method::HEAD).await?);
                assert!(head.body.is_empty(), "HEAD {path} has a body");
                assert_eq!(head.status, whole.status, "HEAD {path}");
                assert_eq!(lasting(&head.headers), lasting(&whole.headers), "HEAD {path} ({coding})");
                compared += 1;
            }
        }
    }
    assert_eq!(compared, board.replicas().len() * paths.len() * 2, "comparisons");
    Ok(())
}
