//! Event streams: whoever watches is told of every change, when every replica shows it.

mod answers;
mod back;
mod newer;
mod replicas;
mod told;
mod unpublished;

use anyhow::{Context as _, Result, ensure};
use futures_util::future::try_join_all;
use reqwest::StatusCode;
use triptych_tests::{
    Form, Stack, Visitor, Watcher,
    http::JSON,
    pictures,
    watcher::{ThreadEvent, Told},
};

use crate::{
    board::find_post,
    shared::{Shared, number},
};

/// How many threads a board of [`BOARD`] has before the first is archived.
const LIVE_THREADS: usize = 4;
const PASSWORD: &str = "correct horse";

/// Three replicas. Every test has a board of its own.
static BOARD: Shared = Shared::new(|| {
    let slugs = ["told", "atonce", "back", "pruned", "restored", "raw", "asked", "newer"];
    let boards: Vec<_> = slugs.map(|slug| serde_json::json!({"slug": slug, "title": slug})).into();
    Stack::builder()
        .env("TRIPTYCH_BOARDS", &serde_json::json!(boards).to_string())
        .env("TRIPTYCH_THREADS_PER_PAGE", "2")
        .env("TRIPTYCH_PAGES", "2")
});

/// A visitor of each replica.
fn replicas(stack: &Stack) -> Result<[Visitor; 3]> {
    let [one, two, three] = stack.replicas() else { anyhow::bail!("there are not three replicas") };
    Ok([Visitor::new(&one.url())?, Visitor::new(&two.url())?, Visitor::new(&three.url())?])
}

fn of_board(board: &str) -> String {
    format!("/{board}/events")
}

fn of_thread(board: &str, thread: i64) -> String {
    format!("/{board}/res/{thread}/events")
}

async fn new_thread(visitor: &Visitor, board: &str) -> Result<i64> {
    let picture = pictures::png(rand::random(), 40, 30)?;
    Ok(visitor.must_post(board, &Form::thread("watched").field("pwd", PASSWORD).picture(&picture)).await?.no)
}

async fn reply(visitor: &Visitor, board: &str, thread: i64) -> Result<i64> {
    Ok(visitor.must_post(board, &Form::reply(thread, "new").field("pwd", PASSWORD)).await?.no)
}

async fn reply_with_picture(visitor: &Visitor, board: &str, thread: i64) -> Result<i64> {
    let picture = pictures::png(rand::random(), 40, 30)?;
    let form = Form::reply(thread, "new").field("pwd", PASSWORD).picture(&picture);
    Ok(visitor.must_post(board, &form).await?.no)
}

/// Deletes posts of [`PASSWORD`], or only their pictures.
async fn delete(visitor: &Visitor, board: &str, posts: &[i64], only_pictures: bool) -> Result<()> {
    let form = posts.iter().fold(Form::new().field("pwd", PASSWORD), |form, no| form.field("no", &no.to_string()));
    let form = if only_pictures { form.field("file_only", "on") } else { form };
    let answer = visitor.accepting(JSON).submit(&format!("/{board}/delete"), &form).await?;
    answer.expect(StatusCode::OK).map(drop)
}

/// Checks that every replica shows what a stream tells at this moment.
async fn is_shown(replicas: &[Visitor], event: &ThreadEvent) -> Result<()> {
    let path = format!("/{}/res/{}.json", event.board, event.thread);
    let readings = replicas.iter().map(|replica| async {
        let answer = replica.get(&path).await?;
        let place = replica.url(&path);
        if event.gone {
            answer.expect(StatusCode::NOT_FOUND).context(place)?;
            return Ok(());
        }
        let document: serde_json::Value = answer.expect(StatusCode::OK)?.json()?;
        let shows = |no: &i64| find_post(&document, *no).is_some();
        let has_no_picture = |no: &i64| {
            find_post(&document, *no)
                .is_some_and(|post| post.get("filedeleted").is_some() && post.get("media").is_none())
        };
        ensure!(event.posted.iter().all(shows), "{place} does not show yet {event:?}");
        ensure!(!event.deleted.iter().any(shows), "{place} still shows {event:?}");
        ensure!(event.changed.iter().all(has_no_picture), "{place} still has the picture of {event:?}");
        ensure!(!event.archived || number(&document, "/posts/0/archived")? == 1, "{place}: not archived yet");
        anyhow::Ok(())
    });
    try_join_all(readings).await.map(drop)
}

/// Everything that streams have told of a thread, however often they have.
#[derive(Debug, Default, PartialEq, Eq)]
struct Heard {
    posted: std::collections::BTreeSet<i64>,
    deleted: std::collections::BTreeSet<i64>,
}

impl Heard {
    /// Listens until this post was told.
    async fn until(&mut self, watcher: &mut Watcher, no: i64) -> Result<()> {
        while !self.posted.contains(&no) {
            let told = watcher.next().await?;
            match told.with_context(|| format!("the stream ends before No.{no}: {self:?}"))? {
                Told::Thread(event) => {
                    self.posted.extend(event.posted);
                    self.deleted.extend(event.deleted);
                }
                Told::Reload => anyhow::bail!("the client is told to load the page anew before No.{no}: {self:?}"),
            }
        }
        Ok(())
    }
}
