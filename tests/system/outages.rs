//! Promise 6: while Postgres or the S3 server is away everybody is told so politely, nothing is half done, and
//! everything works again without a restart.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use futures_util::future::{join_all, try_join_all};
use reqwest::StatusCode;
use triptych_tests::{
    Answer, Form, Visitor,
    http::{HTML, JSON, Posted},
};

use crate::board::{Board, find_post, json, small_picture, text, thread_path, wait_until};

/// How long what is stopped stays away.
const OUTAGE: Duration = Duration::from_secs(5);

/// Nobody waits longer than this for being told to come back.
const PATIENCE: Duration = Duration::from_secs(30);

/// Fails instead of hanging.
async fn in_time<T>(what: &str, work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::time::timeout(PATIENCE, work)
        .await
        .with_context(|| format!("this takes longer than {PATIENCE:?}: {what}"))?
}

fn pids(board: &Board) -> Vec<Option<i32>> {
    board.replicas().iter().map(|replica| replica.pid()).collect()
}

/// Checks that a probe answers as it should whatever is away.
async fn is_alive_and_ready(board: &Board) -> Result<()> {
    for replica in board.replicas() {
        let visitor = Visitor::new(&replica.url())?;
        for path in ["/livez", "/readyz"] {
            visitor.get(path).await?.expect(StatusCode::OK).with_context(|| format!("{path} of {}", replica.name()))?;
        }
    }
    Ok(())
}

/// A refused post as a page has what was typed in its form.
fn has_what_was_typed(answer: &Answer, comment: &str) -> Result<()> {
    let typed = answer.texts("textarea[name=com]")?;
    ensure!(typed.iter().any(|typed| typed.trim() == comment), "the comment is not in the form: {typed:?}");
    for (name, value) in [("name", "Somebody"), ("sub", "A subject")] {
        let typed = answer.attributes(&format!("input[name={name}]"), "value")?;
        ensure!(typed == [value], "the field {name} holds {typed:?}, not {value:?}");
    }
    Ok(())
}

/// How many answers of each kind there were in an outage.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct InOutage {
    refused: usize,
    older: usize,
}

impl std::ops::Add for InOutage {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { refused: self.refused + other.refused, older: self.older + other.older }
    }
}

/// Everything that needs the database is refused politely, in the form that was asked for, or is a page that says of when
/// it is.
async fn answers_politely(site: &Visitor, slug: &str, thread: i64, comment: &str) -> Result<InOutage> {
    let mut answers = InOutage::default();
    let pages = [
        (HTML, "/".to_owned()),
        (HTML, format!("/{slug}/")),
        (HTML, format!("/{slug}/catalog.html")),
        (HTML, format!("/{slug}/res/{thread}.html")),
        (JSON, format!("/{slug}/res/{thread}.json")),
        (JSON, format!("/{slug}/catalog.json")),
        (JSON, "/boards.json".to_owned()),
    ];
    let reading = pages.iter().map(|(accept, path)| async move {
        let answer = in_time("a page in an outage", site.accepting(accept).get(path)).await?;
        let checked =
            if answer.is_older() { answer.expect_older(accept) } else { answer.expect_polite_refusal(accept) };
        checked.with_context(|| site.url(path))?;
        anyhow::Ok(answer.is_older())
    });
    for is_older in try_join_all(reading).await? {
        if is_older {
            answers.older += 1;
        } else {
            answers.refused += 1;
        }
    }
    let form = Form::reply(thread, comment).field("name", "Somebody").field("sub", "A subject");
    for form in [form.clone(), form.picture(&small_picture(1)?)] {
        for accept in [HTML, JSON] {
            let answer = in_time("a post in an outage", site.accepting(accept).post(slug, &form)).await?;
            answer.expect_polite_refusal(accept).with_context(|| format!("a post to {}", site.url("")))?;
            if accept == HTML {
                has_what_was_typed(&answer, comment)?;
            }
            answers.refused += 1;
        }
    }
    Ok(answers)
}

/// Waits until every site answers again, and posts everywhere.
async fn works_everywhere(board: &Board, sites: &[Visitor], thread: i64, comment: &str) -> Result<Vec<Posted>> {
    // All of them first: what one site is sent may be answered by the replica of another.
    for site in sites {
        wait_until("pages are there again", || async {
            let page = site.get(&format!("/b/res/{thread}.html")).await?;
            Ok(page.status == StatusCode::OK && !page.is_older())
        })
        .await?;
    }
    let mut made = Vec::new();
    for (number, site) in (0_u64..).zip(sites) {
        let seed = rand::random_range(1_000_000..1_000_000_000) + number;
        let form = Form::reply(thread, comment).picture(&small_picture(seed)?);
        let posted = site.must_post("b", &form).await?;
        for reader in sites {
            board.loads_pictures(reader, &posted).await?;
        }
        made.push(posted);
    }
    Ok(made)
}

#[tokio::test]
async fn without_postgres_everybody_is_told_so_and_everything_comes_back_by_itself() -> Result<()> {
    let board = Board::start().await?;
    let thread = board.thread("b").await?;
    let sites = board.sites()?;
    // What is in memory can be shown, if it says so. Only this page is.
    let page = format!("/b/res/{thread}.html");
    read_from_all(&board, &page).await?;
    let (before, objects) = (pids(&board), board.s3.keys("").await?);
    for (outage, comment) in ["stopped in good order", "killed"].into_iter().enumerate() {
        let posts = board.count("select count(*) from post").await?;
        match outage {
            0 => board.postgres.stop().await?,
            _ => board.postgres.kill()?,
        }
        let start = Instant::now();
        let (mut rounds, mut answers) = (0, InOutage::default());
        while rounds == 0 || start.elapsed() < OUTAGE {
            let asking = sites.iter().map(|site| answers_politely(site, "b", thread, comment));
            answers = try_join_all(asking).await?.into_iter().fold(answers, |sum, of_site| sum + of_site);
            is_alive_and_ready(&board).await?;
            rounds += 1;
        }
        let asked = rounds * sites.len();
        assert_eq!(answers.refused + answers.older, asked * 11, "answers while Postgres was {comment}");
        assert!(answers.older >= asked, "{answers:?} while Postgres was {comment}: every replica kept the page");
        board.postgres.start().await?;
        assert_eq!(board.posts_saying(comment).await?, 0, "posts of those who were told to come back");
        assert_eq!(board.count("select count(*) from post").await?, posts, "posts");
        assert_eq!(works_everywhere(&board, &sites, thread, "after it").await?.len(), sites.len(), "posts after it");
        read_from_all(&board, &page).await?;
    }
    assert_eq!(pids(&board), before, "no replica was restarted");
    let made = 2 * sites.len();
    assert_eq!(board.s3.keys("").await?.len(), objects.len() + 2 * made, "objects: none of the refused posts");
    is_alive_and_ready(&board).await?;
    board.keys_of_rows().await?;
    board.nothing_is_half_done().await?;

    let secrets = ["TRIPTYCH_SECRET", "TRIPTYCH_S3_SECRET_ACCESS_KEY", "TRIPTYCH_DATABASE_URL"];
    for (name, value) in board.environment().iter().filter(|(name, _)| secrets.contains(&name.as_str())) {
        // Of the address of the database, the password.
        let secret = value.split("://").last().and_then(|rest| rest.split('@').next()).unwrap_or(value);
        let secret = secret.rsplit(':').next().unwrap_or(secret);
        for replica in board.replicas() {
            assert!(!replica.log().contains(secret), "the log of {} tells {name}", replica.name());
        }
    }
    Ok(())
}

/// Makes every replica keep a page.
async fn read_from_all(board: &Board, path: &str) -> Result<()> {
    for replica in board.replicas() {
        let answer = Visitor::new(&replica.url())?.get(path).await?;
        answer.expect(StatusCode::OK)?;
        ensure!(!answer.is_older(), "{path} of {} is old", replica.name());
    }
    Ok(())
}

/// Sends a form until it is accepted, as a patient visitor does.
async fn insist(site: &Visitor, form: &Form) -> Result<Posted> {
    let start = Instant::now();
    for tries in 1.. {
        let answer = in_time("a post in an outage", site.accepting(JSON).post("b", form)).await?;
        if answer.status == StatusCode::CREATED {
            return answer.json();
        }
        answer.expect_polite_refusal(JSON)?;
        ensure!(start.elapsed() < crate::board::LIMIT, "the post is still refused after {tries} times");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    unreachable!("the loop ends by returning")
}

#[tokio::test]
async fn posts_that_run_into_an_outage_exist_once_when_they_are_sent_again() -> Result<()> {
    const SENDERS: usize = 6;
    const EACH: usize = 12;
    let board = Board::start().await?;
    let thread = board.thread("b").await?;
    let sites = board.sites()?;
    let sending = join_all((0..SENDERS).map(|sender| {
        let site = sites.get(sender % sites.len()).cloned();
        async move {
            let site = site.context("no sites")?;
            let mut posts = Vec::new();
            for turn in 0..EACH {
                let comment = format!("insisted {sender} {turn}");
                let form = Form::reply(thread, &comment).field("key", &comment);
                let form = if turn % 3 == 0 {
                    form.picture(&small_picture(u64::try_from(sender * 100 + turn)? + 5000)?)
                } else {
                    form
                };
                posts.push((insist(&site, &form).await?, form, comment));
            }
            anyhow::Ok(posts)
        }
    }));
    // Killed in the middle of it, and again.
    let crashing = async {
        for after in [5_i64, 30] {
            wait_until("posts are made", || async { Ok(board.count("select count(*) from post").await? > after) })
                .await?;
            board.postgres.kill()?;
            board.postgres.start().await?;
        }
        anyhow::Ok(())
    };
    let (sent, crashed) = tokio::join!(sending, crashing);
    crashed?;
    let mut made = 0;
    for sender in sent {
        for (posted, form, comment) in sender? {
            let reader = sites.get(made % sites.len()).context("no sites")?;
            // Whether or not it was sent again in the outage, it is now.
            assert_eq!(reader.must_post("b", &form).await?, posted, "the answer to {comment:?}, sent again");
            assert_eq!(board.posts_saying(&comment).await?, 1, "posts that say {comment:?}");
            let document = json(&reader.get(&thread_path(&posted, "json")).await?)?;
            assert!(find_post(&document, posted.no).is_some(), "No.{} was acknowledged and is lost", posted.no);
            made += 1;
        }
    }
    assert_eq!(made, SENDERS * EACH, "posts");
    board.keys_of_rows().await?;
    board.nothing_is_half_done().await
}

#[tokio::test]
async fn while_postgres_hangs_everybody_is_told_so_and_everything_comes_back_by_itself() -> Result<()> {
    const COMMENT: &str = "while it hangs";
    let board = Board::start().await?;
    let thread = board.thread("b").await?;
    let sites = board.sites()?;
    let opening = json(&sites.first().context("no sites")?.get(&format!("/b/res/{thread}.json")).await?)?;
    let opening = find_post(&opening, thread).context("no opening post")?;
    let pictures = [text(opening, "media")?, text(opening, "thumb")?];
    // Connections that are in use when it stands still.
    read_from_all(&board, &format!("/b/res/{thread}.html")).await?;
    let (before, posts) = (pids(&board), board.count("select count(*) from post").await?);
    let objects = board.s3.keys("").await?;

    let hanging = board.postgres.pause()?;
    let asking = sites.iter().map(|site| answers_politely(site, "b", thread, COMMENT));
    let answers = try_join_all(asking).await?.into_iter().fold(InOutage::default(), |sum, of_site| sum + of_site);
    // The replica whose document was read for the pictures keeps that too.
    assert_eq!(answers.refused + answers.older, sites.len() * 11, "answers while Postgres hung");
    assert!(answers.older >= sites.len(), "{answers:?}: every replica kept the page of the thread");
    // nginx has neither picture yet.
    let loading = sites.iter().flat_map(|site| pictures.iter().map(move |path| (site, path)));
    let loading = loading.map(|(site, path)| async move {
        let answer = in_time("a picture in an outage", site.accepting(HTML).get(path)).await?;
        answer.expect_polite_refusal(HTML).with_context(|| site.url(path))
    });
    assert_eq!(try_join_all(loading).await?.len(), sites.len() * 2, "pictures that were refused");
    in_time("the probes in an outage", is_alive_and_ready(&board)).await?;
    drop(hanging);

    assert_eq!(works_everywhere(&board, &sites, thread, "after it").await?.len(), sites.len(), "posts after it");
    for (site, path) in sites.iter().flat_map(|site| pictures.iter().map(move |path| (site, path))) {
        site.get(path).await?.expect(StatusCode::OK).with_context(|| site.url(path))?;
    }
    assert_eq!(board.posts_saying(COMMENT).await?, 0, "posts of those who were told to come back");
    let made = posts + i64::try_from(sites.len())?;
    assert_eq!(board.count("select count(*) from post").await?, made, "posts");
    assert_eq!(board.s3.keys("").await?.len(), objects.len() + 2 * sites.len(), "objects: none of the refused posts");
    assert_eq!(pids(&board), before, "no replica was restarted");
    is_alive_and_ready(&board).await?;
    board.keys_of_rows().await?;
    board.nothing_is_half_done().await
}

#[tokio::test]
async fn a_replica_that_starts_in_an_outage_becomes_ready_when_it_is_over() -> Result<()> {
    let board = Board::start().await?;
    let thread = board.thread("b").await?;
    let late = board.replica(2)?;
    late.terminate().await?;
    board.postgres.stop().await?;
    late.start()?;
    let visitor = Visitor::new(&late.url())?;
    wait_until("the replica listens", || async { Ok(visitor.get("/livez").await.is_ok()) }).await?;
    for _ in 0..20 {
        visitor.get("/livez").await?.expect(StatusCode::OK)?;
        let ready = visitor.get("/readyz").await?;
        ready.expect(StatusCode::SERVICE_UNAVAILABLE)?;
        assert!(!ready.text().trim().is_empty(), "readiness does not say why not");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    visitor.get(&format!("/b/res/{thread}.html")).await?.expect_polite_refusal(HTML)?;
    let pid = late.pid();
    board.postgres.start().await?;
    late.wait_ready().await?;
    assert_eq!(late.pid(), pid, "it was not restarted");
    let posted = visitor.must_post("b", &Form::reply(thread, "from the late one")).await?;
    let document = json(&visitor.get(&thread_path(&posted, "json")).await?)?;
    assert!(find_post(&document, posted.no).is_some(), "No.{} is not in its thread", posted.no);
    Ok(())
}

#[tokio::test]
async fn without_the_picture_store_texts_are_posted_and_pictures_are_told_to_come_back() -> Result<()> {
    let board = Board::start().await?;
    let thread = board.thread("b").await?;
    let sites = board.sites()?;
    let nginx = sites.first().context("no sites")?;
    let opening = json(&nginx.get(&format!("/b/res/{thread}.json")).await?)?;
    let opening = find_post(&opening, thread).context("no opening post")?;
    let (cached, uncached) = (text(opening, "media")?, text(opening, "thumb")?);
    let picture = nginx.get(&cached).await?;
    picture.expect(StatusCode::OK)?;
    let (before, blobs) = (pids(&board), board.count("select count(*) from blob").await?);
    let objects = board.s3.keys("").await?;

    board.s3.stop().await?;
    let start = Instant::now();
    let (mut texts, mut refused) = (0, 0);
    while texts == 0 || start.elapsed() < OUTAGE {
        let round = sites.iter().map(|site| async move {
            let posted = site.must_post("b", &Form::reply(thread, "words only")).await?;
            let page = site.get(&thread_path(&posted, "html")).await?;
            let shown = page.expect(StatusCode::OK)?.text().contains(&format!("id=\"p{}\"", posted.no));
            ensure!(shown, "No.{} is not on {}", posted.no, site.url(""));
            let form = Form::reply(thread, "with a picture").field("name", "Somebody").field("sub", "A subject");
            let seed = rand::random_range(1_000_000..1_000_000_000);
            let form = form.picture(&small_picture(seed)?);
            for accept in [HTML, JSON] {
                let answer = in_time("an upload in an outage", site.accepting(accept).post("b", &form)).await?;
                answer.expect_polite_refusal(accept).with_context(|| format!("an upload to {}", site.url("")))?;
                if accept == HTML {
                    has_what_was_typed(&answer, "with a picture")?;
                }
            }
            anyhow::Ok(2)
        });
        let round = try_join_all(round).await?;
        texts += round.len();
        refused += round.into_iter().sum::<usize>();
        let kept = nginx.get(&cached).await?;
        kept.expect(StatusCode::OK).context("a picture that nginx has")?;
        assert_eq!(kept.body, picture.body, "the picture that nginx has");
        for site in &sites {
            let missing = in_time("a picture in an outage", site.accepting(HTML).get(&uncached)).await?;
            missing.expect_polite_refusal(HTML).context("a picture that nobody has")?;
        }
        is_alive_and_ready(&board).await?;
    }
    assert_eq!(refused, 2 * texts, "uploads that were refused");
    assert_eq!(board.posts_saying("words only").await?, i64::try_from(texts)?, "posts with words only");
    assert_eq!(board.posts_saying("with a picture").await?, 0, "posts without their picture");
    assert_eq!(board.count("select count(*) from blob").await?, blobs, "rows of pictures");

    board.s3.start().await?;
    nginx.get(&uncached).await?.expect(StatusCode::OK).context("a picture that nobody had")?;
    assert_eq!(works_everywhere(&board, &sites, thread, "after it").await?.len(), sites.len(), "posts after it");
    assert_eq!(board.s3.keys("").await?.len(), objects.len() + 2 * sites.len(), "objects");
    assert_eq!(pids(&board), before, "no replica was restarted");
    board.keys_of_rows().await?;
    board.nothing_is_half_done().await
}

#[tokio::test]
async fn a_replica_that_stands_still_makes_nobody_stale_nor_is_it_when_it_goes_on() -> Result<()> {
    const POSTS: usize = 10;
    let board = Board::start().await?;
    let thread = board.thread("b").await?;
    let (still, others) = board.replicas().split_first().context("no replicas")?;
    let frozen = Visitor::new(&still.url())?;
    frozen.get(&format!("/b/res/{thread}.html")).await?.expect(StatusCode::OK)?;
    let others: Vec<Visitor> = others.iter().map(|replica| Visitor::new(&replica.url())).collect::<Result<_>>()?;

    still.pause()?;
    let mut made = Vec::new();
    for turn in 0..POSTS {
        let site = others.get(turn % others.len()).context("no others")?;
        let form =
            Form::reply(thread, &format!("meanwhile {turn}")).picture(&small_picture(u64::try_from(turn)? + 60)?);
        let posted = site.must_post("b", &form).await?;
        for reader in &others {
            let document = json(&reader.get(&thread_path(&posted, "json")).await?)?;
            assert!(find_post(&document, posted.no).is_some(), "No.{} is not on {}", posted.no, reader.url(""));
        }
        made.push(posted);
    }
    // Asked while it stands still, answered when it goes on.
    let path = format!("/b/res/{thread}.json");
    let (asked, resumed) = tokio::join!(frozen.get(&path), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        still.resume()
    });
    resumed?;
    for document in [json(&asked?)?, json(&frozen.get(&path).await?)?] {
        for posted in &made {
            assert!(find_post(&document, posted.no).is_some(), "No.{} is not on the one that stood still", posted.no);
        }
    }
    assert_eq!(made.len(), POSTS, "posts");
    frozen.must_post("b", &Form::reply(thread, "awake")).await?;
    Ok(())
}

#[tokio::test]
async fn a_replica_that_freezes_in_the_middle_of_posts_blocks_the_others_for_seconds_only() -> Result<()> {
    let board = Board::start().await?;
    let thread = board.thread("b").await?;
    let (still, other) = (board.replica(0)?, board.replica(1)?);
    let (frozen, awake) = (Visitor::new(&still.url())?, Visitor::new(&other.url())?);
    let posting = (0..4).map(|sender| {
        let frozen = &frozen;
        async move {
            let mut made = Vec::new();
            for turn in 0..10 {
                let comment = format!("frozen {sender} {turn}");
                made.push(insist(frozen, &Form::reply(thread, &comment).field("key", &comment)).await?);
            }
            anyhow::Ok(made)
        }
    });
    let freezing = async {
        wait_until("posts are made", || async { Ok(board.count("select count(*) from post").await? > 5) }).await?;
        still.pause()?;
        // A lock that the frozen one holds is taken from it after a while; reading needs no lock at all.
        let mut read = 0;
        for turn in 0..5 {
            let comment = format!("awake {turn}");
            awake.get(&format!("/b/res/{thread}.html")).await?.expect(StatusCode::OK)?;
            let posted = insist(&awake, &Form::reply(thread, &comment).field("key", &comment)).await?;
            let document = json(&awake.get(&thread_path(&posted, "json")).await?)?;
            ensure!(find_post(&document, posted.no).is_some(), "No.{} is not in its thread", posted.no);
            read += 1;
        }
        still.resume()?;
        anyhow::Ok(read)
    };
    let (made, read) = tokio::join!(try_join_all(posting), freezing);
    assert_eq!(read?, 5, "posts while one replica stood still");
    let made: Vec<Posted> = made.with_context(|| board.complaints())?.into_iter().flatten().collect();
    assert_eq!(made.len(), 40, "posts through the one that stood still");
    for site in board.sites()? {
        let document = json(&site.get(&format!("/b/res/{thread}.json")).await?)?;
        let lost: Vec<_> = made.iter().filter(|posted| find_post(&document, posted.no).is_none()).collect();
        assert!(lost.is_empty(), "acknowledged posts that are lost: {lost:?}");
    }
    assert_eq!(board.count("select count(*) from post").await?, 46, "posts: each of them once");
    board.nothing_is_half_done().await
}
