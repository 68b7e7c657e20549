//! The board as it is seen from outside: through the Ingress, and at each pod by its own address.
//!
//! Knows paths and documents; what belongs in them is in the books of the [`Ledger`].

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use hyper::StatusCode;

use super::{
    client::{Ask, Client},
    kubectl::Pod,
    ledger::{Compared, Ledger, Shown, hash},
};
use crate::{
    http::{Answer, JSON, Posted},
    pictures::{self, Picture},
};

/// Where everything is posted.
pub(crate) const SLUG: &str = "b";
/// Far longer than a pod needs to reach Postgres again.
const OLDER_LIMIT: Duration = Duration::from_mins(1);
/// Requests at a time when much is read.
const LANES: usize = 8;
/// More than this of what is wrong helps nobody.
const MOST_WRONG: usize = 20;

/// The board in the namespace under test.
#[derive(Debug, Clone)]
pub(crate) struct Board {
    /// Where the Ingress listens, as `address:port`.
    pub(super) ingress: String,
    /// What a browser says as `Host`.
    pub(super) host: String,
    /// Where `kubectl proxy` listens.
    proxy: String,
    namespace: String,
    pub(crate) ledger: Arc<Ledger>,
    /// Makes comments and pictures unlike those of every other run.
    seed: Arc<AtomicU64>,
}

/// What was found when the books were compared with the board.
#[derive(Debug, Default)]
pub(crate) struct Verified {
    pub(crate) posts: usize,
    pub(crate) unacknowledged: usize,
    pub(crate) pictures: usize,
    pub(crate) pods: usize,
}

impl fmt::Display for Verified {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { posts, unacknowledged, pictures, pods } = self;
        write!(formatter, "all {posts} posts at each of {pods} pods, once, and {pictures} pictures")?;
        if *unacknowledged > 0 {
            write!(formatter, "; {unacknowledged} that nobody was told of")?;
        }
        Ok(())
    }
}

impl Board {
    pub(crate) fn new(ingress: &str, host: &str, proxy: &str, namespace: &str) -> Self {
        Self {
            ingress: ingress.to_owned(),
            host: host.to_owned(),
            proxy: proxy.to_owned(),
            namespace: namespace.to_owned(),
            ledger: Arc::default(),
            // 32 bits of chance, and room for as many pictures.
            seed: Arc::new(AtomicU64::new(u64::from(rand::random::<u32>()) << 32)),
        }
    }

    /// A visitor who comes through the Ingress.
    pub(crate) fn visitor(&self) -> Client {
        Client::new(&self.ingress, &self.host)
    }

    /// Somebody who asks one pod, past Services and Ingress.
    pub(crate) fn at(&self, pod: &Pod) -> Client {
        let prefix = format!("/api/v1/namespaces/{}/pods/{}:8080/proxy", self.namespace, pod.name);
        Client::under(&self.proxy, &self.proxy, &prefix)
    }

    /// A number that was not given out before, in this run or another.
    pub(crate) fn fresh(&self) -> u64 {
        self.seed.fetch_add(1, Ordering::Relaxed)
    }

    /// A small picture that nobody else has.
    pub(crate) fn picture(&self) -> Result<Picture> {
        pictures::jpeg(self.fresh(), 96, 72)
    }

    /// Makes a thread through the Ingress.
    pub(crate) async fn thread(&self, client: &mut Client, purpose: &str) -> Result<i64> {
        let comment = format!("{purpose} {}", self.fresh());
        let picture = self.picture()?;
        let ask = Ask::form(&format!("/{SLUG}/post"), JSON, &[("com", &comment)], &[&picture]);
        let posted: Posted = client.must(&ask, StatusCode::CREATED).await.context("cannot make a thread")?.json()?;
        self.ledger.sent(posted.no, &comment, Some(hash(&picture.bytes)));
        self.ledger.acknowledged(&comment, posted.no);
        Ok(posted.no)
    }

    /// Compares threads with the books at every one of these pods, and fetches every picture they show: the originals
    /// byte by byte, and the thumbnails.
    pub(crate) async fn verify(&self, threads: &[i64], pods: &[Pod]) -> Result<Verified> {
        ensure!(!pods.is_empty(), "there is no pod to ask");
        let asked = pods.iter().flat_map(|pod| threads.iter().map(move |thread| (pod, *thread)));
        let compared: Vec<(String, Compared)> = stream::iter(asked)
            .map(|(pod, thread)| async move {
                let answer = self.as_it_is(pod, &Ask::json(&thread_path(thread, "json"))).await?;
                ensure!(answer.header("X-Served-By") == pod.name, "not {} has answered", pod.name);
                anyhow::Ok((pod.name.clone(), self.ledger.compare(thread, &answer.json()?)))
            })
            .buffer_unordered(LANES)
            .try_collect()
            .await?;
        let (mut wrong, mut shown) = (Vec::new(), BTreeMap::new());
        let mut verified = Verified { pods: pods.len(), ..Verified::default() };
        for (pod, compared) in compared {
            wrong.extend(compared.wrong.into_iter().map(|wrong| format!("{pod}: {wrong}")));
            verified.posts += compared.found;
            verified.unacknowledged += compared.unacknowledged;
            shown.extend(compared.pictures.into_iter().map(|shown| (shown.media.clone(), shown)));
        }
        // Every pod has shown the same, or something is wrong.
        verified.posts /= pods.len();
        verified.unacknowledged /= pods.len();
        verified.pictures = shown.len();
        let lanes = shown.into_values().zip(pods.iter().cycle()).collect::<Vec<_>>();
        let chunk = lanes.len().div_ceil(LANES).max(1);
        let missing: Vec<Vec<String>> = stream::iter(lanes.chunks(chunk))
            .map(|pictures| self.fetch(pictures))
            .buffer_unordered(LANES)
            .try_collect()
            .await?;
        wrong.extend(missing.into_iter().flatten());
        let all = wrong.len();
        wrong.truncate(MOST_WRONG);
        ensure!(wrong.is_empty(), "{all} things are wrong:\n  {}", wrong.join("\n  "));
        Ok(verified)
    }

    /// What a pod shows once it reaches Postgres.
    async fn as_it_is(&self, pod: &Pod, ask: &Ask) -> Result<Answer> {
        let (mut client, start) = (self.at(pod), Instant::now());
        loop {
            let answer = client.must(ask, StatusCode::OK).await?;
            if !answer.is_older() {
                return Ok(answer);
            }
            ensure!(start.elapsed() < OLDER_LIMIT, "{} still shows {} as it was", pod.name, ask.path);
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Fetches pictures one after the other; answers what is wrong with them.
    async fn fetch(&self, pictures: &[(Shown, &Pod)]) -> Result<Vec<String>> {
        let mut clients: BTreeMap<&str, Client> = BTreeMap::new();
        let mut wrong = Vec::new();
        for (Shown { no, media, thumb, hash: expected }, pod) in pictures {
            let client = clients.entry(&pod.name).or_insert_with(|| self.at(pod));
            for path in [media, thumb] {
                match client.must(&Ask::picture(path), StatusCode::OK).await {
                    Ok(answer) if path == media && expected.is_some_and(|hash| hash != self::hash(&answer.body)) => {
                        wrong.push(format!("{path} of No.{no} is not what was uploaded"));
                    }
                    Ok(answer) if answer.body.is_empty() => wrong.push(format!("{path} of No.{no} is empty")),
                    Ok(_) => {}
                    Err(failure) => wrong.push(format!("No.{no}: {failure}")),
                }
            }
        }
        Ok(wrong)
    }
}

/// The path of a thread.
pub(crate) fn thread_path(thread: i64, extension: &str) -> String {
    format!("/{SLUG}/res/{thread}.{extension}")
}

/// The number of a post that was accepted, from an answer to a program or to a browser.
pub(crate) fn accepted(answer: &Answer) -> Result<i64> {
    match answer.status {
        StatusCode::CREATED => Ok(answer.json::<Posted>()?.no),
        StatusCode::SEE_OTHER => {
            let location = answer.header("Location");
            let no = location.rsplit_once('#').and_then(|(_, no)| no.parse().ok());
            no.with_context(|| format!("the browser is sent to {location:?}"))
        }
        status => bail!("{status}"),
    }
}
