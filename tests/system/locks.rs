//! Who waits for a lock decides by what is there when the wait is over, not by what was there when it began. Each test
//! is two transactions: one holds the lock and changes something, and the other waits for it.

use anyhow::{Context as _, Result, ensure};
use futures_util::future::try_join_all;
use reqwest::StatusCode;
use tokio::sync::{Mutex, MutexGuard, OnceCell};
use triptych_tests::{Answer, Form, Replica, Visitor, http::JSON};
use uuid::Uuid;

use crate::{
    board::{find_post, json, small_picture, text, thread_path},
    servers::{Holder, Servers, refused},
};

const PASSWORD: &str = "correct horse";
/// Live threads that a board keeps.
const KEPT: i64 = 2;
/// A board for each test that changes one.
const BOARDS: [&str; 5] = ["b", "archive", "full", "shut", "doors"];

struct Board {
    servers: Servers,
    replica: Replica,
}

static BOARD: OnceCell<Board> = OnceCell::const_new();
/// Whoever waits for a lock here waits for the one test that runs.
static TURN: Mutex<()> = Mutex::const_new(());

/// The list of boards, with some of them locked.
fn boards(locked: &[&str]) -> String {
    let boards = BOARDS.map(|slug| serde_json::json!({"slug": slug, "title": slug, "locked": locked.contains(&slug)}));
    serde_json::json!(boards).to_string()
}

/// The board when it is this test's turn, and a visitor who asks for JSON.
async fn board() -> Result<(&'static Board, Visitor, MutexGuard<'static, ()>)> {
    let turn = TURN.lock().await;
    let board = BOARD
        .get_or_try_init(|| async {
            let servers = Servers::start().await?;
            servers.migrate(&[("TRIPTYCH_BOARDS", &boards(&[]))]).await?;
            let kept = KEPT.to_string();
            let replica = servers.replica(&[("TRIPTYCH_PAGES", "1"), ("TRIPTYCH_THREADS_PER_PAGE", &kept)]).await?;
            anyhow::Ok(Board { servers, replica })
        })
        .await?;
    Ok((board, Visitor::new(&board.replica.url())?.accepting(JSON), turn))
}

/// A thread that can be deleted with [`PASSWORD`].
async fn thread(site: &Visitor, slug: &str) -> Result<i64> {
    let form = Form::thread("a thread to answer").field("pwd", PASSWORD).picture(&small_picture(rand::random())?);
    Ok(site.must_post(slug, &form).await?.no)
}

async fn reply(site: &Visitor, thread: i64) -> Result<i64> {
    Ok(site.must_post("b", &Form::reply(thread, "a reply").field("pwd", PASSWORD)).await?.no)
}

async fn delete<const POSTS: usize>(site: &Visitor, posts: [i64; POSTS]) -> Result<Answer> {
    let form = posts.iter().fold(Form::new(), |form, no| form.field("no", &no.to_string()));
    site.submit("/b/delete", &form.field("pwd", PASSWORD)).await
}

/// The stored picture of a post.
async fn blob(board: &Board, post: i64) -> Result<Uuid> {
    let blob = sqlx::query_scalar("select blob_id from attachment where post_no = $1").bind(i32::try_from(post)?);
    Ok(blob.fetch_one(&mut board.servers.connect().await?).await?)
}

impl Board {
    async fn hold(&self, sql: &str) -> Result<Holder> {
        Holder::begin(&self.servers, sql).await
    }

    async fn posts_in(&self, thread: i64) -> Result<i64> {
        self.servers.count(&format!("select count(*) from post where thread_no = {thread}")).await
    }
}

#[tokio::test]
async fn a_reply_that_waits_while_its_thread_is_archived_does_not_enter_it() -> Result<()> {
    let (board, site, _turn) = board().await?;
    let oldest = thread(&site, "archive").await?;
    for _ in 1..KEPT {
        thread(&site, "archive").await?;
    }
    // One thread more: it archives the oldest, and is kept from ending.
    let holder = board.hold(&format!("select from bump where thread_no = {oldest} for update")).await?;
    let form = Form::thread("one more").picture(&small_picture(rand::random())?);
    let late = Form::reply(oldest, "too late").picture(&small_picture(rand::random())?);
    let replying = async {
        board.servers.wait_for_waiting(1).await?;
        tokio::try_join!(site.post("archive", &late), holder.roll_back_when(&board.servers, 2))
    };
    let (_, (answer, ())) = tokio::try_join!(site.must_post("archive", &form), replying)?;
    refused(&answer, 403, "thread_archived")?;
    assert_eq!(board.posts_in(oldest).await?, 1, "posts in the archived thread");
    Ok(())
}

#[tokio::test]
async fn a_reply_that_waits_while_its_thread_is_locked_does_not_enter_it() -> Result<()> {
    let (board, site, _turn) = board().await?;
    let thread = thread(&site, "b").await?;
    let lock = format!(
        "select from thread_state where thread_no = {thread} for update;
         update thread set locked = true where no = {thread}"
    );
    let holder = board.hold(&lock).await?;
    // The same form twice: the second waits for the first, and is told the same for itself.
    let form = Form::reply(thread, "too late").field("key", "waiting for a locked thread");
    let sending = async { tokio::try_join!(site.post("b", &form), site.post("b", &form)) };
    let ((one, other), ()) = tokio::try_join!(sending, holder.commit_when(&board.servers, 2))?;
    refused(&one, 403, "thread_locked")?;
    refused(&other, 403, "thread_locked")?;
    assert_eq!(board.posts_in(thread).await?, 1, "posts in the locked thread");
    Ok(())
}

#[tokio::test]
async fn a_post_that_waits_while_its_board_is_locked_is_refused() -> Result<()> {
    let (board, site, _turn) = board().await?;
    let thread = thread(&site, "shut").await?;
    let lock = "select from board_state join board on id = board_id where slug = 'shut' for update of board_state;
                update board set locked = true where slug = 'shut'";
    let holder = board.hold(lock).await?;
    let form = Form::reply(thread, "too late");
    let (answer, ()) = tokio::try_join!(site.post("shut", &form), holder.commit_when(&board.servers, 1))?;
    refused(&answer, 403, "board_locked")?;
    assert_eq!(board.posts_in(thread).await?, 1, "posts on the locked board");
    Ok(())
}

#[tokio::test]
async fn once_a_board_is_locked_no_post_on_it_is_still_on_its_way() -> Result<()> {
    let (board, site, _turn) = board().await?;
    let oldest = thread(&site, "doors").await?;
    for _ in 1..KEPT {
        thread(&site, "doors").await?;
    }
    let holder = board.hold(&format!("select from bump where thread_no = {oldest} for update")).await?;
    let form = Form::thread("just in time").picture(&small_picture(rand::random())?);
    let locking = async {
        board.servers.wait_for_waiting(1).await?;
        let locked = boards(&["shut", "doors"]);
        let values = [("TRIPTYCH_BOARDS", locked.as_str())];
        let mut migrating = std::pin::pin!(board.servers.migrate(&values));
        tokio::select! {
            done = &mut migrating => anyhow::bail!("the board was locked while a post was on its way: {done:?}"),
            waiting = board.servers.wait_for_waiting(2) => waiting?,
        }
        holder.roll_back().await?;
        migrating.await
    };
    tokio::try_join!(site.must_post("doors", &form), locking)?;
    refused(&site.post("doors", &form).await?, 403, "board_locked")
}

#[tokio::test]
async fn of_threads_that_are_made_at_once_each_counts_the_others() -> Result<()> {
    let (board, site, _turn) = board().await?;
    let of_board = "(select id from board where slug = 'full')";
    let holder = board.hold(&format!("select from board_state where board_id = {of_board} for update")).await?;
    let making = try_join_all((0..KEPT + 2).map(|_| thread(&site, "full")));
    tokio::try_join!(making, holder.roll_back_when(&board.servers, KEPT + 2))?;
    let live = board.servers.count(&format!("select count(*) from bump where board_id = {of_board}")).await?;
    assert_eq!(live, KEPT, "live threads of {}", KEPT + 2);
    Ok(())
}

#[tokio::test]
async fn a_deletion_that_waits_while_a_post_goes_deletes_nothing() -> Result<()> {
    let (board, site, _turn) = board().await?;
    let thread = thread(&site, "b").await?;
    let (kept, gone) = (reply(&site, thread).await?, reply(&site, thread).await?);
    let delete_one = format!(
        "select from thread_state where thread_no = {thread} for update;
         delete from post where no = {gone};
         update thread_state set replies = replies - 1 where thread_no = {thread}"
    );
    let holder = board.hold(&delete_one).await?;
    let (answer, ()) = tokio::try_join!(delete(&site, [kept, gone]), holder.commit_when(&board.servers, 1))?;
    refused(&answer, 404, "unknown_post")?;
    assert_eq!(board.posts_in(thread).await?, 2, "posts: all or nothing");

    // A whole thread that two delete at once.
    let holder = board.hold(&format!("delete from thread where no = {thread}")).await?;
    let (answer, ()) = tokio::try_join!(delete(&site, [thread]), holder.commit_when(&board.servers, 1))?;
    refused(&answer, 404, "unknown_post")
}

#[tokio::test]
async fn a_post_that_quotes_what_is_being_deleted_is_made_and_quotes_nothing() -> Result<()> {
    let (board, site, _turn) = board().await?;
    let thread = thread(&site, "b").await?;
    let quoted = reply(&site, thread).await?;
    let holder = board.hold(&format!("delete from post where no = {quoted}")).await?;
    let form = Form::reply(thread, &format!(">>{quoted}"));
    let (posted, ()) = tokio::try_join!(site.must_post("b", &form), holder.commit_when(&board.servers, 1))?;
    let made = format!("select count(*) from quote where from_no = {}", posted.no);
    assert_eq!(board.servers.count(&made).await?, 0, "quotes of what is gone");
    Ok(())
}

#[tokio::test]
async fn a_picture_that_is_just_being_collected_is_stored_anew() -> Result<()> {
    let (board, site, _turn) = board().await?;
    let thread = thread(&site, "b").await?;
    let form = Form::reply(thread, "with a picture").field("pwd", PASSWORD);
    let form = form.picture(&small_picture(rand::random())?);
    for collected in [false, true] {
        let before = site.must_post("b", &form).await?.no;
        let id = blob(board, before).await?;
        delete(&site, [before]).await?.expect(StatusCode::OK)?;

        let mut holder = board.hold(&format!("select from blob where id = '{id}' for update")).await?;
        let collecting = async {
            board.servers.wait_for_waiting(1).await?;
            if collected {
                holder.run(&format!("delete from blob where id = '{id}'")).await?;
            }
            holder.commit().await
        };
        let (posted, ()) = tokio::try_join!(site.must_post("b", &form), collecting)?;
        assert_eq!(blob(board, posted.no).await? == id, !collected, "the picture is the one that was there");
        let document = json(&site.get(&thread_path(&posted, "json")).await?)?;
        let media = text(find_post(&document, posted.no).context("the post is not there")?, "media")?;
        site.get(&media).await?.expect(StatusCode::OK)?;
        delete(&site, [posted.no]).await?.expect(StatusCode::OK)?;
    }
    Ok(())
}

#[tokio::test]
async fn a_picture_that_is_just_taken_up_again_is_not_collected() -> Result<()> {
    let (board, site, _turn) = board().await?;
    let thread = thread(&site, "b").await?;
    let form = Form::reply(thread, "with a picture").field("pwd", PASSWORD);
    let posted = site.must_post("b", &form.picture(&small_picture(rand::random())?)).await?.no;
    let id = blob(board, posted).await?;
    delete(&site, [posted]).await?.expect(StatusCode::OK)?;
    let rows = format!("select count(*) from blob where id = '{id}'");

    // As a post does that carries the same picture.
    let holder = board.hold(&format!("select from blob where id = '{id}' for key share")).await?;
    board.servers.run(&["gc", "--no-grace"], &[]).await?;
    assert_eq!(board.servers.count(&rows).await?, 1, "rows of a picture that is taken up");
    holder.roll_back().await?;
    board.servers.run(&["gc", "--no-grace"], &[]).await?;
    assert_eq!(board.servers.count(&rows).await?, 0, "rows of a picture that nobody wants");
    Ok(())
}

#[tokio::test]
async fn a_form_that_waits_for_the_same_form_is_answered_by_what_became_of_it() -> Result<()> {
    let (board, site, _turn) = board().await?;
    let thread = thread(&site, "b").await?;
    let form = Form::reply(thread, "sent twice").field("key", "a form that waits");
    let first = site.must_post("b", &form).await?;
    let digest = sqlx::query_scalar("select encode(digest, 'hex') from submission where post_no = $1");
    let digest = digest.bind(i32::try_from(first.no)?).fetch_one(&mut board.servers.connect().await?).await;
    let digest: String = digest.context("the form was not remembered")?;
    let forget = format!("delete from submission where digest = '\\x{digest}'");
    let claim = format!("insert into submission (digest, post_no) values ('\\x{digest}', {})", first.no);

    // Somebody else is just making the same post, and fails.
    board.servers.execute(&forget).await?;
    let holder = board.hold(&claim).await?;
    let (made, ()) = tokio::try_join!(site.must_post("b", &form), holder.roll_back_when(&board.servers, 1))?;
    ensure!(made.no != first.no, "the post was not made although nobody else made it");

    // Once more, and it is made.
    board.servers.execute(&forget).await?;
    let holder = board.hold(&claim).await?;
    let (made, ()) = tokio::try_join!(site.must_post("b", &form), holder.commit_when(&board.servers, 1))?;
    assert_eq!(made, first, "the post that somebody else made");
    assert_eq!(board.posts_in(thread).await?, 3, "posts: the opening one and two");
    Ok(())
}

#[tokio::test]
async fn boards_that_somebody_else_just_made_are_brought_up_to_date() -> Result<()> {
    let (board, _site, _turn) = board().await?;
    let make = "select from site_state for update;
                with made as (
                    insert into board (slug, title, description, position, locked)
                    values ('late', 'As it was', '', 99, false) returning id
                ) insert into board_state (board_id) select id from made";
    let holder = board.hold(make).await?;
    let values = [("TRIPTYCH_BOARDS", r#"[{"slug": "late", "title": "As it is"}]"#)];
    tokio::try_join!(board.servers.migrate(&values), holder.commit_when(&board.servers, 1))?;
    let late = "select count(*) from board where slug = 'late' and title = 'As it is' and position = 0";
    assert_eq!(board.servers.count(late).await?, 1, "boards");
    Ok(())
}
