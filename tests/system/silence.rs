//! A Postgres host that vanishes without a word: nobody says goodbye, nothing is reset, packets go nowhere. It is not
//! the same as a server that stands still (`outages`): what is silent here is silent for ever, and only a new
//! connection finds the server again.

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, Result, ensure};
use futures_util::future::{join_all, try_join_all};
use reqwest::StatusCode;
use triptych_tests::{Form, Replica, TcpProxy, Visitor, http::JSON};

use crate::{
    board::{find_post, in_time, json, metric, small_picture, text, thread_path, wait_until},
    servers::{Holder, Servers},
};

const CONNECTIONS: usize = 4;

/// A replica with a thread, and the network between it and Postgres.
struct Board {
    servers: Servers,
    network: TcpProxy,
    replica: Replica,
    site: Visitor,
    thread: i64,
    picture: String,
}

impl Board {
    async fn start() -> Result<Self> {
        let servers = Servers::start().await?;
        servers.migrate(&[]).await?;
        let network = TcpProxy::start(servers.postgres.port()).await?;
        let [direct, proxied] = [servers.postgres.port(), network.port()].map(|port| format!(":{port}/"));
        let database = servers.database_url().replace(&direct, &proxied);
        let connections = CONNECTIONS.to_string();
        let values =
            [("TRIPTYCH_DATABASE_URL", database.as_str()), ("TRIPTYCH_DATABASE_CONNECTIONS", connections.as_str())];
        let replica = servers.replica(&values).await?;
        let site = Visitor::new(&replica.url())?;
        let posted = site.must_post("b", &Form::thread("silence").picture(&small_picture(1)?)).await?;
        let document = json(&site.get(&thread_path(&posted, "json")).await?)?;
        let picture = text(find_post(&document, posted.no).context("no opening post")?, "media")?;
        Ok(Self { servers, network, replica, site, thread: posted.no, picture })
    }

    /// The thread as a page.
    fn page(&self) -> String {
        format!("/b/res/{}.html", self.thread)
    }

    /// Makes that many requests hold a connection each, all at the same time, and does something meanwhile. Answers
    /// the statuses.
    async fn occupy(&self, connections: usize, meanwhile: impl AsyncFnOnce() -> Result<()>) -> Result<Vec<StatusCode>> {
        // Whoever asks for a picture looks into this table, and waits.
        let holder = Holder::begin(&self.servers, "lock table attachment in access exclusive mode").await?;
        let all_wait = AtomicBool::new(false);
        let asking = join_all((0..connections).map(async |_| {
            loop {
                let answer = self.site.get(&self.picture).await?;
                // On a slow machine one may be refused before the last one waits: it asks again.
                if all_wait.load(Ordering::Acquire) {
                    return anyhow::Ok(answer);
                }
            }
        }));
        let holding = async {
            self.servers.wait_for_waiting(i64::try_from(connections)?).await?;
            all_wait.store(true, Ordering::Release);
            meanwhile().await?;
            holder.roll_back().await
        };
        let (answers, held) = tokio::join!(asking, holding);
        held?;
        answers.into_iter().map(|answer| Ok(answer?.status)).collect()
    }

    /// Checks that as many connections can be used at once as there ever could.
    async fn has_every_connection(&self) -> Result<()> {
        let statuses = self.occupy(CONNECTIONS, async || Ok(())).await?;
        ensure!(statuses == [StatusCode::OK; CONNECTIONS], "the answers are {statuses:?}");
        Ok(())
    }

    /// Checks that what needs the database is politely refused, or, if it is kept, says of when it is.
    async fn refuses(&self) -> Result<()> {
        let answer = in_time("a page while nobody answers", self.site.accepting(JSON).get(&self.page())).await?;
        if answer.is_older() { answer.expect_older(JSON) } else { answer.expect_polite_refusal(JSON) }
    }

    async fn shows_new_pages(&self) -> Result<bool> {
        let answer = self.site.get(&self.page()).await?;
        Ok(answer.status == StatusCode::OK && !answer.is_older())
    }

    /// Waits for the first page, posts, and finds nothing missing.
    async fn works_again(&self) -> Result<()> {
        wait_until("pages are there again", || self.shows_new_pages()).await?;
        let posted = self.site.must_post("b", &Form::reply(self.thread, "after the silence")).await?;
        let document = json(&self.site.get(&thread_path(&posted, "json")).await?)?;
        ensure!(find_post(&document, posted.no).is_some(), "No.{} is not in its thread", posted.no);
        self.has_every_connection().await
    }
}

#[tokio::test]
async fn connections_that_were_idle_when_the_host_vanished_are_given_up() -> Result<()> {
    let board = Board::start().await?;
    board.has_every_connection().await?;
    board.network.fall_silent();
    board.refuses().await?;
    board.network.come_back();
    board.works_again().await
}

#[tokio::test]
async fn connections_whose_statement_was_never_answered_are_given_up() -> Result<()> {
    let board = Board::start().await?;
    let statuses = board
        .occupy(CONNECTIONS, async || {
            board.network.fall_silent();
            Ok(())
        })
        .await?;
    ensure!(statuses == [StatusCode::SERVICE_UNAVAILABLE; CONNECTIONS], "the answers are {statuses:?}");
    board.network.come_back();
    board.works_again().await
}

/// Whatever a connection is just doing when the host vanishes: being tried, asked, or given back.
#[tokio::test]
async fn under_load_no_connection_is_lost_when_the_host_vanishes() -> Result<()> {
    let board = Board::start().await?;
    let stop = AtomicBool::new(false);
    let reading = (0..2 * CONNECTIONS).map(|_| async {
        let mut answered = 0;
        while !stop.load(Ordering::Acquire) {
            let answer = in_time("a picture", board.site.get(&board.picture)).await?;
            let fine = matches!(answer.status, StatusCode::OK | StatusCode::SERVICE_UNAVAILABLE);
            ensure!(fine, "a picture is answered with {} {}", answer.status, answer.text());
            answered += 1;
        }
        anyhow::Ok(answered)
    });
    let vanishing = async {
        for _ in 0..2 {
            let before = metric(&board.replica, "triptych_http_requests_total").await?;
            wait_until("pictures are read", || async {
                Ok(metric(&board.replica, "triptych_http_requests_total").await? > before + 200.0)
            })
            .await?;
            board.network.fall_silent();
            board.refuses().await?;
            board.network.come_back();
            wait_until("pages are there again", || board.shows_new_pages()).await?;
        }
        anyhow::Ok(())
    };
    let vanishing = async {
        let vanished = vanishing.await;
        // Whatever happened, or the readers would never end.
        stop.store(true, Ordering::Release);
        vanished
    };
    let (read, vanished) = tokio::join!(try_join_all(reading), vanishing);
    vanished?;
    ensure!(read?.into_iter().all(|answered| answered > 0), "a reader was never answered");
    board.works_again().await
}
