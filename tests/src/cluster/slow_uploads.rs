//! Posts with a picture on a slow line: begun before something happens to the board, and complete only when it is over.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result, ensure};
use tokio::{sync::watch, task::JoinSet};

use super::{
    board::{Board, SLUG},
    client::Ask,
    ledger::hash,
};
use crate::{
    http::{JSON, Posted},
    raw_form::RAW_FORM,
    wire::Wire,
};

/// How many at a time.
const NUMBER: usize = 4;
/// Between two pieces of a body; far less than any proxy waits.
const PAUSE: Duration = Duration::from_secs(2);
/// Of a body of some kilobytes, so that it takes as long as it is wanted to.
const PIECE: usize = 16;

/// Uploads that are on their way. Dropping this breaks them off.
#[derive(Debug)]
pub(crate) struct SlowUploads {
    finish: watch::Sender<bool>,
    uploads: JoinSet<Result<()>>,
}

impl SlowUploads {
    /// Begins them; a part of each body was sent when this returns.
    pub(crate) async fn begin(board: &Board, purpose: &str) -> Result<Self> {
        let thread = board.thread(&mut board.visitor(), purpose).await?;
        let (finish, finished) = watch::channel(false);
        let (begun, mut all_begun) = watch::channel(0);
        let (begun, mut uploads) = (Arc::new(begun), JoinSet::new());
        for _ in 0..NUMBER {
            let comment = format!("{purpose}, slowly {}", board.fresh());
            uploads.spawn(upload(board.clone(), thread, comment, Arc::clone(&begun), finished.clone()));
        }
        tokio::select! {
            begun = all_begun.wait_for(|begun| *begun == NUMBER) => { begun.context("an upload ended")?; }
            Some(ended) = uploads.join_next() => { ended??; }
        }
        Ok(Self { finish, uploads })
    }

    /// Sends the rest of them; all of them have to be answered well. Says how many there were.
    pub(crate) async fn finish(mut self) -> Result<usize> {
        self.finish.send_replace(true);
        while let Some(done) = self.uploads.join_next().await {
            done??;
        }
        Ok(NUMBER)
    }
}

async fn upload(
    board: Board,
    thread: i64,
    comment: String,
    begun: Arc<watch::Sender<usize>>,
    mut finished: watch::Receiver<bool>,
) -> Result<()> {
    let picture = board.picture()?;
    let resto = thread.to_string();
    let form = Ask::form(&format!("/{SLUG}/post"), JSON, &[("resto", &resto), ("com", &comment)], &[&picture]);
    board.ledger.sent(thread, &comment, Some(hash(&picture.bytes)));
    let mut wire = board.wire().await?;
    let body = form.body();
    let length = body.len().to_string();
    let origin = board.origin();
    let headers = [("accept", JSON), ("origin", &origin), ("content-type", RAW_FORM), ("content-length", &length)];
    wire.begin("POST", &form.path, &headers).await?;
    let mut pieces = body.chunks(PIECE);
    wire.send(pieces.next().unwrap_or_default()).await?;
    begun.send_modify(|begun| *begun += 1);
    while tokio::time::timeout(PAUSE, finished.wait_for(|finished| *finished)).await.is_err() {
        let piece = pieces.next().filter(|_| pieces.len() > 0).context("the body is too short to be sent so slowly")?;
        wire.send(piece).await.context("a slow upload was broken off")?;
    }
    for piece in pieces {
        wire.send(piece).await.context("a slow upload was broken off")?;
    }
    let answer = wire.answer("POST").await.context("a slow upload was not answered")?;
    let text = String::from_utf8_lossy(&answer.body);
    ensure!(answer.status == 201, "a slow upload was answered {}: {text}", answer.status);
    let posted: Posted = serde_json::from_slice(&answer.body).with_context(|| format!("an answer of {text}"))?;
    board.ledger.acknowledged(&comment, posted.no);
    Ok(())
}

impl Board {
    /// A connection through the Ingress on which bytes are sent one by one.
    async fn wire(&self) -> Result<Wire> {
        Wire::connect_as(&self.ingress, &self.host).await
    }

    fn origin(&self) -> String {
        format!("http://{}", self.host)
    }
}
