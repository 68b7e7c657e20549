//! Deleting: who may, what goes, what stays, and what every replica shows afterwards.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use futures_util::future;
use reqwest::{Method, StatusCode, header};
use serde_json::Value;
use sqlx::{Connection as _, PgConnection};
use tokio::sync::RwLock;
use triptych_tests::{
    Answer, Form, Stack, Visitor,
    http::{JSON, Posted},
    pictures,
};

use crate::board::objects;
use crate::shared::{
    Shared, at, check_error_page, check_problem, count, document, everywhere, list, new_thread, number, text,
};

/// Three replicas, behind an nginx that asks soon whether a picture is still there.
static BOARD: Shared = Shared::new(|| Stack::builder().picture_validity(Duration::from_secs(1)));
/// Without grace the collector takes what is on its way to be posted, so nobody posts while it runs.
static COLLECTING: RwLock<()> = RwLock::const_new(());

const PASSWORD: &str = "correct horse";

fn deletion(posts: &[i64], password: Option<&str>) -> Form {
    let form = posts.iter().fold(Form::new(), |form, no| form.field("no", &no.to_string()));
    match password {
        Some(password) => form.field("pwd", password),
        None => form,
    }
}

async fn delete(visitor: &Visitor, board: &str, form: &Form) -> Result<Answer> {
    visitor.accepting(JSON).submit(&format!("/{board}/delete"), form).await
}

/// A reply that can be deleted with [`PASSWORD`].
async fn reply(visitor: &Visitor, thread: i64, comment: &str) -> Result<Posted> {
    visitor.must_post("b", &Form::reply(thread, comment).field("pwd", PASSWORD)).await
}

/// A thread with a picture that can be deleted with [`PASSWORD`].
async fn thread(visitor: &Visitor, comment: &str) -> Result<Posted> {
    let form = Form::thread(comment).field("pwd", PASSWORD).picture(&pictures::png(rand::random(), 60, 40)?);
    visitor.must_post("b", &form).await
}

/// The posts of a thread as every replica and nginx show them, which must be the same.
async fn posts_everywhere(stack: &Stack, visitor: &Visitor, thread: i64) -> Result<Vec<Value>> {
    let mut seen: Option<Vec<Value>> = None;
    for answer in everywhere(stack, visitor, &format!("/b/res/{thread}.json")).await? {
        answer.expect(StatusCode::OK)?;
        let posts = list(&answer.json()?, "/posts")?.to_vec();
        if let Some(before) = &seen {
            ensure!(*before == posts, "one replica shows {before:#?}, another {posts:#?}");
        }
        seen = Some(posts);
    }
    seen.context("there is no replica")
}

fn numbers(posts: &[Value]) -> Result<Vec<i64>> {
    posts.iter().map(|post| number(post, "/no")).collect()
}

/// The tags of what shows a thread, on every replica.
async fn tags(stack: &Stack, visitor: &Visitor, thread: i64) -> Result<Vec<String>> {
    let mut tags = Vec::new();
    for path in [format!("/b/res/{thread}.html"), "/b/".into(), "/b/catalog.json".into(), "/".into()] {
        for answer in everywhere(stack, visitor, &path).await? {
            answer.expect(StatusCode::OK).with_context(|| path.clone())?;
            tags.push(format!("{path} {}", answer.header("ETag")));
        }
    }
    Ok(tags)
}

fn all_differ(before: &[String], after: &[String]) -> Result<()> {
    ensure!(before.len() == after.len() && !before.is_empty(), "{before:?} {after:?}");
    let same: Vec<_> = before.iter().zip(after).filter(|(before, after)| before == after).collect();
    ensure!(same.is_empty(), "these did not change: {same:?}");
    Ok(())
}

/// What is counted and what is there, as one line for each thing in which they differ.
async fn miscounted(database: &mut PgConnection) -> Result<Vec<String>> {
    let threads = sqlx::query_scalar(
        "select format('thread %s: %s replies and %s pictures counted, %s and %s there',
                       state.thread_no, state.replies, state.pictures, there.replies, there.pictures)
         from thread_state state
         cross join lateral (
             select count(distinct post.no) - 1 as replies, count(attachment.blob_id) as pictures
             from post left join attachment on attachment.post_no = post.no where post.thread_no = state.thread_no
         ) there
         where (state.replies, state.pictures) is distinct from (there.replies, there.pictures)",
    );
    let boards = sqlx::query_scalar(
        "select format('board %s: %s threads, %s posts, %s pictures counted, %s, %s, %s there', state.board_id,
                       state.threads, state.posts, state.pictures, there.threads, there.posts, there.pictures)
         from board_state state
         cross join lateral (
             select count(distinct thread.no) as threads, count(distinct post.no) as posts,
                    count(attachment.blob_id) as pictures
             from thread join post on post.thread_no = thread.no left join attachment on attachment.post_no = post.no
             where thread.board_id = state.board_id
         ) there
         where (state.threads, state.posts, state.pictures)
               is distinct from (there.threads, there.posts, there.pictures)",
    );
    let mut wrong: Vec<String> = threads.fetch_all(&mut *database).await?;
    wrong.extend(boards.fetch_all(&mut *database).await?);
    Ok(wrong)
}

#[tokio::test]
async fn who_knows_the_password_deletes_and_nobody_else() -> Result<()> {
    let _posting = COLLECTING.read().await;
    let stack = BOARD.get().await?;
    let visitor = Visitor::new(&stack.url())?;
    let thread = thread(&visitor, "passwords").await?;
    let kept = reply(&visitor, thread.no, "stays").await?;
    let gone = reply(&visitor, thread.no, "goes").await?;
    let without = visitor.must_post("b", &Form::reply(thread.no, "posted by a program without a password")).await?;

    let untouched = tags(stack, &visitor, thread.no).await?;
    for (what, posts, password) in [
        ("a wrong password", vec![gone.no], Some("incorrect horse")),
        ("no password", vec![gone.no], None),
        ("an empty password", vec![gone.no], Some("")),
        ("a password in capitals", vec![gone.no], Some("CORRECT HORSE")),
        ("an empty password for a post that has none", vec![without.no], Some("")),
        ("no password for a post that has none", vec![without.no], None),
        ("one right post and one of somebody else", vec![gone.no, without.no], Some(PASSWORD)),
    ] {
        let form = deletion(&posts, password);
        let answer = delete(&visitor, "b", &form).await?;
        check_problem(&answer, 403, "wrong_password").with_context(|| what.to_owned())?;
        let page = visitor.submit("/b/delete", &form).await?;
        check_error_page(&page, 403).with_context(|| what.to_owned())?;
    }
    assert_eq!(tags(stack, &visitor, thread.no).await?, untouched, "a refused deletion has changed a version");

    let answer = delete(&visitor, "b", &deletion(&[gone.no], Some(PASSWORD))).await?;
    let told: Value = answer.expect(StatusCode::OK)?.json()?;
    assert_eq!(told, serde_json::json!({"board": "b", "no": [gone.no], "file_only": false}));
    assert_eq!(numbers(&posts_everywhere(stack, &visitor, thread.no).await?)?, [thread.no, kept.no, without.no]);
    all_differ(&untouched, &tags(stack, &visitor, thread.no).await?)?;
    let again = delete(&visitor, "b", &deletion(&[gone.no], Some(PASSWORD))).await?;
    check_problem(&again, 404, "unknown_post")?;

    // A browser is sent back to the thread.
    let page = visitor.submit("/b/delete", &deletion(&[kept.no], Some(PASSWORD))).await?;
    page.expect(StatusCode::SEE_OTHER)?;
    assert_eq!(page.header("Location"), format!("/b/res/{}.html", thread.no));
    assert_eq!(numbers(&posts_everywhere(stack, &visitor, thread.no).await?)?, [thread.no, without.no]);
    Ok(())
}

#[tokio::test]
async fn a_browser_deletes_by_its_cookie_what_it_posted_and_nothing_else() -> Result<()> {
    let _posting = COLLECTING.read().await;
    let stack = BOARD.get().await?;
    let visitor = Visitor::new(&stack.url())?;
    let thread = thread(&visitor, "cookies").await?;
    let browse = async |cookie: &str, path: &str, form: &Form| {
        let request = visitor.request(Method::POST, path).multipart(form.multipart()?);
        let request = if cookie.is_empty() { request } else { request.header(header::COOKIE, cookie) };
        visitor.send(request).await
    };
    let post = async |cookie: &str| {
        let answer = browse(cookie, "/b/post", &Form::reply(thread.no, "by a browser").field("pwd", "")).await?;
        answer.expect(StatusCode::SEE_OTHER)?;
        let (_, no) = answer.header("Location").split_once('#').context("no number in Location")?;
        anyhow::Ok((no.parse::<i64>()?, answer.header("Set-Cookie").to_owned()))
    };
    let (first, set) = post("").await?;
    let attributes: BTreeSet<String> = set.split("; ").skip(1).map(str::to_lowercase).collect();
    for attribute in ["httponly", "samesite=strict", "path=/"] {
        assert!(attributes.contains(attribute), "{attribute} is missing in {set:?}");
    }
    let cookie = set.split(';').next().context("no cookie")?;
    let (second, set_again) = post(cookie).await?;
    assert_eq!(set_again, "", "the cookie is set once");
    let (other, other_set) = post("").await?;
    let other_cookie = other_set.split(';').next().context("no other cookie")?;
    assert_ne!(cookie, other_cookie, "two browsers have one password");

    for (what, cookie, posts) in [
        ("the cookie of another browser", other_cookie, vec![first]),
        ("no cookie", "", vec![first]),
        ("an own post and one of another browser", cookie, vec![first, other]),
    ] {
        let page = browse(cookie, "/b/delete", &deletion(&posts, Some(""))).await?;
        check_error_page(&page, 403).with_context(|| what.to_owned())?;
    }
    assert_eq!(
        numbers(&posts_everywhere(stack, &visitor, thread.no).await?)?,
        [thread.no, first, second, other],
        "a refused deletion has deleted"
    );
    browse(cookie, "/b/delete", &deletion(&[first, second], Some(""))).await?.expect(StatusCode::SEE_OTHER)?;
    assert_eq!(numbers(&posts_everywhere(stack, &visitor, thread.no).await?)?, [thread.no, other]);
    Ok(())
}

#[tokio::test]
async fn the_database_does_not_tell_which_posts_have_one_password() -> Result<()> {
    const POSTS: i64 = 5;
    let _posting = COLLECTING.read().await;
    let stack = BOARD.get().await?;
    let visitor = Visitor::new(&stack.url())?;
    let thread = thread(&visitor, "one password").await?;
    for _ in 0..POSTS {
        reply(&visitor, thread.no, "one password").await?;
    }
    let mut database = stack.database().await?;
    let hashes: i64 = sqlx::query_scalar("select count(distinct password_hash) from post where thread_no = $1")
        .bind(i32::try_from(thread.no)?)
        .fetch_one(&mut database)
        .await?;
    assert_eq!(hashes, POSTS + 1, "different hashes of one password in a thread with {POSTS} replies");
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_deleted_is_refused() -> Result<()> {
    let _posting = COLLECTING.read().await;
    let stack = BOARD.get().await?;
    let visitor = Visitor::new(&stack.url())?;
    let thread = thread(&visitor, "not to be deleted").await?;
    for (what, board, form, status, code) in [
        ("no posts", "b", deletion(&[], Some(PASSWORD)), 422, "no_posts_chosen"),
        ("another board", "art", deletion(&[thread.no], Some(PASSWORD)), 404, "unknown_post"),
        ("an unknown post", "b", deletion(&[2_147_483_000], Some(PASSWORD)), 404, "unknown_post"),
        (
            "a known and an unknown post",
            "b",
            deletion(&[thread.no, 2_147_483_000], Some(PASSWORD)),
            404,
            "unknown_post",
        ),
        ("a number that is none", "b", deletion(&[], Some(PASSWORD)).field("no", "1 or 2"), 422, "bad_post_number"),
        ("a number that is too large", "b", deletion(&[99_999_999_999], Some(PASSWORD)), 422, "bad_post_number"),
        ("NUL for a number", "b", deletion(&[], Some(PASSWORD)).field("no", "\0"), 422, "bad_post_number"),
        ("an unknown board", "nosuch", deletion(&[thread.no], Some(PASSWORD)), 404, "unknown_board"),
    ] {
        let answer = delete(&visitor, board, &form).await?;
        check_problem(&answer, status, code).with_context(|| what.to_owned())?;
    }
    let many: Vec<i64> = (thread.no..=thread.no + 100).collect();
    check_problem(&tick(&visitor.accepting(JSON), &many).await?, 422, "no_posts_chosen").context("101 posts")?;
    assert_eq!(numbers(&posts_everywhere(stack, &visitor, thread.no).await?)?, [thread.no]);
    Ok(())
}

/// Sends the form of a page, as a browser does, with these boxes ticked.
async fn tick(visitor: &Visitor, posts: &[i64]) -> Result<Answer> {
    let ticked = posts.iter().map(|no| format!("no={no}")).collect::<Vec<_>>().join("&");
    let request = visitor.request(Method::POST, "/b/delete");
    let request = request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
    visitor.send(request.body(format!("{ticked}&pwd=correct+horse"))).await
}

#[tokio::test]
async fn sixty_ticked_posts_are_deleted_at_once() -> Result<()> {
    let _posting = COLLECTING.read().await;
    let stack = BOARD.get().await?;
    let visitor = Visitor::new(&stack.url())?;
    let thread = thread(&visitor, "sixty replies").await?;
    let mut replies = Vec::new();
    for number in 0..60 {
        replies.push(reply(&visitor, thread.no, &format!("reply {number}")).await?.no);
    }
    let page = tick(&visitor, &replies).await?;
    page.expect(StatusCode::SEE_OTHER)?;
    assert_eq!(numbers(&posts_everywhere(stack, &visitor, thread.no).await?)?, [thread.no]);
    Ok(())
}

#[tokio::test]
async fn a_deleted_picture_leaves_its_post_and_is_gone_from_every_replica() -> Result<()> {
    let _posting = COLLECTING.read().await;
    let stack = BOARD.get().await?;
    let visitor = Visitor::new(&stack.url())?;
    let opening = thread(&visitor, "pictures").await?;
    let (own, shared) = (pictures::png(rand::random(), 90, 60)?, pictures::jpeg(rand::random(), 90, 60)?);
    let form = Form::reply(opening.no, "two pictures").field("pwd", PASSWORD).picture(&own).picture(&shared);
    let both = visitor.must_post("b", &form).await?;
    let other = visitor.must_post("b", &Form::reply(opening.no, "the same").picture(&shared)).await?;
    let before = posts_everywhere(stack, &visitor, opening.no).await?;
    let path = |post: usize, file: &str| -> Result<String> {
        let post = before.get(post).context("no such post")?;
        Ok(text(post, file)?.to_owned())
    };
    let (own_media, own_thumb) = (path(1, "/media")?, path(1, "/thumb")?);
    let (shared_media, shared_thumb) = (path(1, "/extra_files/0/media")?, path(1, "/extra_files/0/thumb")?);
    assert_eq!(shared_media, path(2, "/media")?, "the same picture is stored twice");
    let tim = number(before.get(1).context("no post")?, "/tim")?;
    assert_eq!(before.first().map(|opening| number(opening, "/images")).transpose()?, Some(3));

    let tags_before = tags(stack, &visitor, opening.no).await?;
    let form = deletion(&[both.no], Some(PASSWORD)).field("file_only", "on");
    let told: Value = delete(&visitor, "b", &form).await?.expect(StatusCode::OK)?.json()?;
    assert_eq!(at(&told, "/file_only")?, &Value::Bool(true));
    all_differ(&tags_before, &tags(stack, &visitor, opening.no).await?)?;

    let after = posts_everywhere(stack, &visitor, opening.no).await?;
    assert_eq!(numbers(&after)?, [opening.no, both.no, other.no]);
    let left = after.get(1).context("no post")?;
    assert_eq!(number(left, "/filedeleted")?, 1);
    for field in ["tim", "ext", "filename", "fsize", "md5", "w", "h", "tn_w", "tn_h", "media", "thumb", "extra_files"] {
        assert!(left.get(field).is_none(), "{field} is still there: {left:#}");
    }
    assert_eq!(after.first().map(|opening| number(opening, "/images")).transpose()?, Some(1));
    for page in everywhere(stack, &visitor, &format!("/b/res/{}.html", opening.no)).await? {
        assert_eq!(page.texts(&format!("#p{} .cover", both.no))?, ["File deleted", "File deleted"]);
        assert_eq!(page.count(&format!("#p{} img", both.no))?, 0);
        assert_eq!(page.count(&format!("#p{} img", other.no))?, 1);
    }
    for replica in stack.replicas() {
        let visitor = visitor.at(&replica.url());
        for path in [&own_media, &own_thumb, &format!("/b/src/{tim}.png"), &format!("/b/thumb/{tim}.jpg")] {
            let answer = visitor.get(path).await?;
            assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path} on {}", replica.name());
            assert!(!answer.header("Cache-Control").contains("immutable"), "{path}: {:?}", answer.headers);
        }
        for path in [&shared_media, &shared_thumb] {
            visitor.get(path).await?.expect(StatusCode::OK).with_context(|| format!("{path} hangs on another post"))?;
        }
    }
    let mut database = stack.database().await?;
    assert_eq!(miscounted(&mut database).await?, Vec::<String>::new());
    Ok(())
}

#[tokio::test]
async fn a_deleted_picture_is_gone_from_nginx_and_back_at_once_when_it_is_posted_again() -> Result<()> {
    let _posting = COLLECTING.read().await;
    let stack = BOARD.get().await?;
    let visitor = Visitor::new(&stack.url())?;
    let picture = pictures::png(rand::random(), 90, 60)?;
    let form = Form::thread("shown and deleted").field("pwd", PASSWORD).picture(&picture);
    let posted = visitor.must_post("b", &form).await?;
    let document = document(&visitor, &format!("/b/res/{}.json", posted.no)).await?;
    let paths = [text(&document, "/posts/0/media")?, text(&document, "/posts/0/thumb")?];
    for path in paths.iter().chain(&paths) {
        visitor.get(path).await?.expect(StatusCode::OK)?;
    }
    delete(&visitor, "b", &deletion(&[posted.no], Some(PASSWORD))).await?.expect(StatusCode::OK)?;

    for path in paths {
        let gone = async {
            while visitor.get(path).await?.status != StatusCode::NOT_FOUND {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            anyhow::Ok(())
        };
        tokio::time::timeout(Duration::from_secs(30), gone).await.context("nginx shows it for ever")??;
        // Many at a time, for longer than nginx shows what it has: nobody is shown it again.
        let readers = (0..6).map(|_| async {
            let start = Instant::now();
            while start.elapsed() < Duration::from_millis(1500) {
                let answer = visitor.get(path).await?;
                check_error_page(&answer, 404).with_context(|| format!("{path} after it was gone"))?;
            }
            anyhow::Ok(())
        });
        future::try_join_all(readers).await?;
    }
    // The same bytes are the same picture, at the same address.
    visitor.must_post("b", &Form::thread("shown again").picture(&picture)).await?;
    for path in paths {
        visitor.get(path).await?.expect(StatusCode::OK).with_context(|| format!("{path}, posted again"))?;
    }
    Ok(())
}

#[tokio::test]
async fn a_thread_goes_with_its_replies_and_links_to_it_stay_harmless() -> Result<()> {
    let _posting = COLLECTING.read().await;
    let stack = BOARD.get().await?;
    let visitor = Visitor::new(&stack.url())?;
    let doomed = thread(&visitor, "doomed").await?;
    let in_doomed = visitor
        .must_post("b", &Form::reply(doomed.no, "of somebody else").picture(&pictures::png(rand::random(), 50, 50)?))
        .await?;
    let quoting = thread(&visitor, &format!("see >>{} and >>{}", doomed.no, in_doomed.no)).await?;
    let quoted = reply(&visitor, quoting.no, "quoted").await?;
    let back = reply(&visitor, quoting.no, &format!(">>{}", quoted.no)).await?;

    let tags_before = tags(stack, &visitor, quoting.no).await?;
    let page = visitor.submit("/b/delete", &deletion(&[doomed.no], Some(PASSWORD))).await?;
    page.expect(StatusCode::SEE_OTHER)?;
    assert_eq!(page.header("Location"), "/b/");
    let board_tags = |tags: &[String]| tags.iter().filter(|tag| !tag.contains("/res/")).cloned().collect::<Vec<_>>();
    all_differ(&board_tags(&tags_before), &board_tags(&tags(stack, &visitor, quoting.no).await?))?;
    for path in [
        format!("/b/res/{}.html", doomed.no),
        format!("/b/res/{}.json", doomed.no),
        format!("/b/res/{}.html", in_doomed.no),
    ] {
        for answer in everywhere(stack, &visitor, &path).await? {
            assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
        }
    }
    for path in ["/b/threads.json", "/b/catalog.json", "/b/0.json", "/b/archive.json"] {
        for answer in everywhere(stack, &visitor, path).await? {
            let there = answer.text().contains(&format!("\"no\":{},", doomed.no));
            assert!(!there, "{path} still lists {}", doomed.no);
        }
    }
    // The links were made when the posts were there, and now lead to a page that says so.
    for page in everywhere(stack, &visitor, &format!("/b/res/{}.html", quoting.no)).await? {
        page.expect(StatusCode::OK)?;
        for link in page.attributes(&format!("#p{} a.quotelink", quoting.no), "href")? {
            if link.starts_with('/') {
                check_error_page(&visitor.get(link.split('#').next().unwrap_or_default()).await?, 404)?;
            }
        }
    }

    // The quoted reply has a back-link; when the quoting post goes, so does the link.
    let backlinks = async || {
        let page = visitor.get(&format!("/b/res/{}.html", quoting.no)).await?;
        page.texts(&format!("#p{} .back .quotelink", quoted.no))
    };
    assert_eq!(backlinks().await?, [format!(">>{}", back.no)]);
    delete(&visitor, "b", &deletion(&[back.no], Some(PASSWORD))).await?.expect(StatusCode::OK)?;
    assert_eq!(backlinks().await?, Vec::<String>::new());
    let posts = posts_everywhere(stack, &visitor, quoting.no).await?;
    assert_eq!(posts.first().map(|opening| number(opening, "/replies")).transpose()?, Some(1));
    // To quote what is gone is to write a number.
    let late = reply(&visitor, quoting.no, &format!(">>{} is gone", back.no)).await?;
    let posts = posts_everywhere(stack, &visitor, quoting.no).await?;
    let html = text(posts.last().context("no post")?, "/com")?;
    assert_eq!(html, format!("&gt;&gt;{} is gone", back.no), "post {}", late.no);
    Ok(())
}

#[tokio::test]
async fn several_posts_go_together_or_not_at_all() -> Result<()> {
    let _posting = COLLECTING.read().await;
    let stack = BOARD.get().await?;
    let visitor = Visitor::new(&stack.url())?;
    let (one, two) = (thread(&visitor, "one").await?, thread(&visitor, "two").await?);
    let in_one = [reply(&visitor, one.no, "a").await?.no, reply(&visitor, one.no, "b").await?.no];
    let in_two = reply(&visitor, two.no, "c").await?.no;
    let foreign = visitor.must_post("b", &Form::reply(two.no, "d").field("pwd", "of somebody else")).await?.no;

    let all = [in_one[0], in_one[1], in_two, foreign];
    check_problem(&delete(&visitor, "b", &deletion(&all, Some(PASSWORD))).await?, 403, "wrong_password")?;
    assert_eq!(numbers(&posts_everywhere(stack, &visitor, one.no).await?)?, [one.no, in_one[0], in_one[1]]);
    assert_eq!(numbers(&posts_everywhere(stack, &visitor, two.no).await?)?, [two.no, in_two, foreign]);

    let own = [in_one[0], in_one[1], in_two, in_two];
    delete(&visitor, "b", &deletion(&own, Some(PASSWORD))).await?.expect(StatusCode::OK)?;
    assert_eq!(numbers(&posts_everywhere(stack, &visitor, one.no).await?)?, [one.no]);
    assert_eq!(numbers(&posts_everywhere(stack, &visitor, two.no).await?)?, [two.no, foreign]);
    let mut database = stack.database().await?;
    assert_eq!(miscounted(&mut database).await?, Vec::<String>::new());
    Ok(())
}

#[tokio::test]
async fn the_collector_removes_what_nobody_refers_to_and_nothing_else() -> Result<()> {
    let stack = BOARD.get().await?;
    let visitor = Visitor::new(&stack.url())?;
    let _alone = COLLECTING.write().await;
    let (own, shared) = (pictures::png(rand::random(), 90, 60)?, pictures::jpeg(rand::random(), 90, 60)?);
    let kept = visitor.must_post("b", &Form::thread("kept").picture(&shared)).await?;
    let form = Form::thread("gone").field("pwd", PASSWORD).picture(&own).picture(&shared);
    let gone = visitor.must_post("b", &form).await?;
    let orphan = format!("original/{}", uuid::Uuid::now_v7());
    stack.s3.put(&orphan, "an upload that was cut off").await?;
    delete(&visitor, "b", &deletion(&[gone.no], Some(PASSWORD))).await?.expect(StatusCode::OK)?;

    let mut database = stack.database().await?;
    let referred = async |database: &mut PgConnection| -> Result<BTreeSet<String>> {
        let query = "select distinct blob_id::text from attachment where blob_id is not null";
        let ids: Vec<String> = sqlx::query_scalar(query).fetch_all(database).await?;
        Ok(ids.into_iter().collect())
    };
    let before = objects(&stack.s3).await?;
    let needed = referred(&mut database).await?;
    assert!(before.iter().any(|key| !needed.iter().any(|id| key.contains(id))), "there is nothing to remove");
    let of_needed: Vec<String> =
        before.iter().filter(|key| needed.iter().any(|id| key.contains(id.as_str()))).cloned().collect();

    let printed = stack.run(&["gc", "--no-grace"]).await?;
    let after = objects(&stack.s3).await?;
    assert_eq!(after, of_needed, "gc says {printed}");
    assert_eq!(after.len(), needed.len() * 2, "an original and a thumbnail each: {after:?}");
    assert!(!after.contains(&orphan), "the orphan is still there");
    let blobs = count(&mut database, "select count(*) from blob").await?;
    assert_eq!(usize::try_from(blobs)?, needed.len(), "rows of blobs without a post");
    let page = document(&visitor, &format!("/b/res/{}.json", kept.no)).await?;
    for path in [text(&page, "/posts/0/media")?, text(&page, "/posts/0/thumb")?] {
        for answer in everywhere(stack, &visitor, path).await? {
            answer.expect(StatusCode::OK).with_context(|| format!("{path} after gc"))?;
        }
    }

    // Once more changes nothing, and the same picture can be posted again.
    stack.run(&["gc", "--no-grace"]).await?;
    assert_eq!(objects(&stack.s3).await?, after);
    let again = visitor.must_post("b", &Form::thread("again").picture(&own)).await?;
    let page = document(&visitor, &format!("/b/res/{}.json", again.no)).await?;
    visitor.get(text(&page, "/posts/0/media")?).await?.expect(StatusCode::OK)?;
    Ok(())
}

#[tokio::test]
async fn the_collector_comes_back_for_what_it_had_to_leave() -> Result<()> {
    let stack = BOARD.get().await?;
    let visitor = Visitor::new(&stack.url())?;
    let _alone = COLLECTING.write().await;
    let mut database = stack.database().await?;
    // What other tests have deleted.
    stack.run(&["gc", "--no-grace"]).await?;
    let left = async |database: &mut PgConnection| -> Result<Vec<Vec<u8>>> {
        let unused = "select sha256 from blob where not exists (select from attachment where blob_id = blob.id)";
        Ok(sqlx::query_scalar(unused).fetch_all(database).await?)
    };
    let (again, held) = (pictures::png(rand::random(), 70, 50)?, pictures::png(rand::random(), 70, 50)?);
    let thread = thread(&visitor, "comes back").await?;
    let post = async |picture| {
        let form = Form::reply(thread.no, "a picture").field("pwd", PASSWORD).picture(picture);
        anyhow::Ok(visitor.must_post("b", &form).await?.no)
    };
    let [first, second] = [post(&again).await?, post(&held).await?];
    let form = deletion(&[first, second], Some(PASSWORD)).field("file_only", "on");
    delete(&visitor, "b", &form).await?.expect(StatusCode::OK)?;

    // One is posted again, the other is just being taken up by somebody else, who then thinks better of it.
    let third = post(&again).await?;
    let mut taking_up = stack.database().await?;
    let mut transaction = taking_up.begin().await?;
    sqlx::query("select from blob where not exists (select from attachment where blob_id = blob.id) for key share")
        .fetch_all(&mut *transaction)
        .await?;
    stack.run(&["gc", "--no-grace"]).await?;
    let unused = left(&mut database).await?;
    assert_eq!(unused.len(), 1, "blobs that are unused and held");
    transaction.rollback().await?;
    let page = document(&visitor, &format!("/b/res/{}.json", thread.no)).await?;
    let shown = list(&page, "/posts")?.iter().find(|post| number(post, "/no").is_ok_and(|no| no == third));
    visitor.get(text(shown.context("no third post")?, "/media")?).await?.expect(StatusCode::OK)?;

    delete(&visitor, "b", &deletion(&[third], Some(PASSWORD))).await?.expect(StatusCode::OK)?;
    stack.run(&["gc", "--no-grace"]).await?;
    assert_eq!(left(&mut database).await?, Vec::<Vec<u8>>::new(), "blobs that are unused");
    assert_eq!(count(&mut database, "select count(*) from released_blob").await?, 0, "blobs that are still looked at");
    Ok(())
}

#[tokio::test]
async fn deletions_and_replies_at_once_end_with_right_numbers() -> Result<()> {
    let _posting = COLLECTING.read().await;
    let stack = BOARD.get().await?;
    let visitor = Visitor::new(&stack.url())?.accepting(JSON);
    let mut threads = Vec::new();
    for number in 0..4 {
        threads.push(thread(&visitor, &format!("busy {number}")).await?.no);
    }
    let mut replies: Vec<i64> = Vec::new();
    for number in 0..40 {
        let thread = threads[number % threads.len()];
        replies.push(reply(&visitor, thread, &format!("reply {number}")).await?.no);
    }
    let picture = pictures::png(rand::random(), 40, 40)?;
    for round in 0..4_usize {
        // Ten deletions of posts in several threads, and ten replies that quote those very posts from elsewhere.
        let victims: Vec<Vec<i64>> = (0..10)
            .map(|at| {
                let from = (round * 10 + at) % replies.len();
                [from, (from + 13) % replies.len(), (from + 26) % replies.len()].map(|at| replies[at]).to_vec()
            })
            .collect();
        let deleting = victims.iter().enumerate().map(|(at, posts)| {
            let form = deletion(posts, Some(PASSWORD));
            let form = if at % 3 == 2 { form.field("file_only", "on") } else { form };
            let site = stack.replicas()[at % 3].url();
            async move { visitor_at(&site)?.submit("/b/delete", &form).await }
        });
        let replying = victims.iter().enumerate().map(|(at, posts)| {
            let quotes = posts.iter().rev().map(|no| format!(">>{no}")).collect::<Vec<_>>().join(" ");
            let form = Form::reply(threads[(at + round) % threads.len()], &quotes).field("pwd", PASSWORD);
            let form = if at % 2 == 0 { form.picture(&picture) } else { form };
            let site = stack.replicas()[(at + 1) % 3].url();
            async move { visitor_at(&site)?.post("b", &form).await }
        });
        let (deletions, answers) = future::join(future::join_all(deleting), future::join_all(replying)).await;
        for answer in deletions {
            let answer = answer?;
            let fine = matches!(answer.status.as_u16(), 200 | 404);
            ensure!(fine, "round {round}: a deletion is answered with {} {}", answer.status, answer.text());
        }
        for answer in answers {
            let answer = answer?;
            ensure!(
                answer.status == StatusCode::CREATED,
                "round {round}: a reply is answered with {} {}",
                answer.status,
                answer.text()
            );
            replies.push(answer.json::<Posted>()?.no);
        }
    }
    // A whole thread goes while others reply to it and delete in it.
    let victim = threads[0];
    let racing = (0..20_usize).map(|at| {
        let site = stack.replicas()[at % 3].url();
        async move {
            let visitor = visitor_at(&site)?;
            match at % 5 {
                0 => visitor.submit("/b/delete", &deletion(&[victim], Some(PASSWORD))).await,
                _ => visitor.post("b", &Form::reply(victim, "too late?")).await,
            }
        }
    });
    for answer in future::join_all(racing).await {
        let answer = answer?;
        let fine = matches!(answer.status.as_u16(), 200 | 201 | 404);
        ensure!(fine, "while the thread goes: {} {}", answer.status, answer.text());
    }
    let mut database = stack.database().await?;
    assert_eq!(miscounted(&mut database).await?, Vec::<String>::new());
    for thread in threads.iter().skip(1) {
        let posts = posts_everywhere(stack, &visitor, *thread).await?;
        let told = posts.first().map(|opening| number(opening, "/replies")).transpose()?;
        assert_eq!(told, Some(i64::try_from(posts.len())? - 1), "thread {thread}");
    }
    for answer in everywhere(stack, &visitor, &format!("/b/res/{victim}.json")).await? {
        assert_eq!(answer.status, StatusCode::NOT_FOUND);
    }
    new_thread(&visitor, "b", "and the board goes on").await?;
    Ok(())
}

fn visitor_at(site: &str) -> Result<Visitor> {
    Ok(Visitor::new(site)?.accepting(JSON))
}
