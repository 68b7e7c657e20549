//! `triptych smoke`, which `helm test` runs: passes on a board that is well, says what is not, and never leaves its
//! post behind.

use std::time::Duration;

use anyhow::{Context as _, Result};
use triptych_tests::{Stack, Visitor};

use crate::board::{Board, objects};

/// The command's arguments on this stack, with the address of one replica for all of them.
fn arguments(board: &Board, pods: &str) -> Vec<String> {
    ["smoke", "--app", &board.url(), "--pods", pods, "--web", &board.url()].map(str::to_owned).to_vec()
}

async fn smoke(board: &Board, pods: &str) -> Result<String> {
    let arguments = arguments(board, pods);
    board.run(&arguments.iter().map(String::as_str).collect::<Vec<_>>()).await
}

/// What a run posts is gone, pictures and all that hangs on them included.
async fn nothing_is_left(board: &Board) -> Result<()> {
    assert_eq!(board.count("select count(*) from post").await?, 0, "posts");
    board.run(&["gc", "--no-grace"]).await?;
    assert!(objects(&board.s3).await?.is_empty(), "objects");
    Ok(())
}

#[tokio::test]
async fn a_board_that_is_well_passes_and_shows_nothing_of_it_afterwards() -> Result<()> {
    // The first board is locked: it is for the second to take the post.
    let boards = r#"[{"slug":"a","title":"Shut","locked":true},{"slug":"b","title":"Open"}]"#;
    let stack = Stack::builder().env("TRIPTYCH_DRAIN_DELAY", "0s").env("TRIPTYCH_BOARDS", boards);
    let board = Board::with(stack).await?;
    for replica in board.replicas() {
        let told = smoke(&board, &replica.address()).await?;
        let steps = ["/a/ is locked", "posted /b/res/", "thread and picture from", "style sheet", "deleted", "gone"];
        for step in steps {
            assert!(told.contains(step), "{step:?} is not in:\n{told}");
        }
        assert!(told.contains(&format!("from {} ({})", replica.address(), replica.name())), "{told}");
    }
    assert_eq!(board.count("select count(*) from submission").await?, 3, "posts that were made");
    nothing_is_left(&board).await
}

#[tokio::test]
async fn a_replica_that_does_not_answer_is_named_and_the_post_is_deleted() -> Result<()> {
    let board = Board::start().await?;
    let [gone, ..] = board.replicas() else { anyhow::bail!("there are no replicas") };
    gone.terminate().await?;
    let told = smoke(&board, &gone.address()).await.err().context("a replica that is gone was not missed")?;
    let told = format!("{told:#}");
    assert!(told.contains("exit status: 1"), "{told}");
    assert!(told.contains(&format!("GET http://{}/b/res/", gone.address())), "{told}");
    assert!(told.contains("deleted /b/res/"), "{told}");
    nothing_is_left(&board).await
}

#[tokio::test]
async fn a_name_that_nobody_has_is_told_before_anything_is_posted() -> Result<()> {
    let board = Board::start().await?;
    let told = smoke(&board, "no-such-name.invalid:8080").await.err().context("a name that nobody has was accepted")?;
    let told = format!("{told:#}");
    assert!(told.contains("no-such-name.invalid:8080 (--pods) cannot be resolved"), "{told}");
    assert_eq!(board.count("select count(*) from submission").await?, 0, "nothing was posted");
    let visitor = Visitor::new(&board.url())?;
    assert_eq!(visitor.get("/b/").await?.status, 200);
    Ok(())
}

#[tokio::test]
async fn a_network_that_comes_a_moment_later_is_waited_for() -> Result<()> {
    let board = Board::start().await?;
    board.nginx.stop(Duration::from_secs(5)).await?;
    let address = board.replica(0)?.address();
    let (told, ()) = tokio::try_join!(smoke(&board, &address), async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        board.nginx.start().await
    })?;
    assert!(told.contains("gone"), "{told}");
    nothing_is_left(&board).await
}
