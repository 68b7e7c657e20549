//! Uploading a photograph of 2 MB through the application, against a raw PUT of it to the same S3 server.
//!
//! The raw PUT is the least that any application would have to do: the client sends the bytes straight to the S3
//! server, by a presigned address, and nobody looks at them. Both sides have the client and the S3 server on the
//! same processor; the replica's work on its own processor is what is added.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use aws_sdk_s3::{Client, presigning::PresigningConfig};
use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use reqwest::StatusCode;
use sha2::{Digest as _, Sha256};

use super::{Spread, float, machine::processor_seconds};
use crate::{Form, Stack, Visitor, pictures};

const ROUNDS: usize = 5;
/// Uploads of a round, with several at a time and then one after the other.
const CROWD: usize = 32;
const ALONE: usize = 8;
/// Uploads at a time in a crowd.
const AT_ONCE: usize = 4;
/// All uploads through the application.
pub const TOTAL: usize = ROUNDS * (CROWD + ALONE);

/// What was measured.
#[derive(Debug)]
pub struct Uploads {
    /// Bytes of one picture.
    pub bytes: usize,
    /// Uploads a second through the application, several at a time.
    pub rate: Spread,
    /// Raw PUTs a second.
    pub rate_raw: Spread,
    /// The one by the other, round by round.
    pub rate_ratio: Spread,
    /// Milliseconds for one upload when there is no other.
    pub alone: Spread,
    /// Milliseconds for one raw PUT.
    pub alone_raw: Spread,
    /// The one by the other, round by round.
    pub alone_ratio: Spread,
    /// Milliseconds of the replica's processor time for one upload.
    pub processor: Spread,
}

/// A photograph that can be had any number of times, each time with other bytes and the same picture.
struct Photograph {
    bytes: Bytes,
    /// Where the last, finest coefficients of the first quantization table are: almost nothing that is seen.
    finest: usize,
    made: u32,
}

impl Photograph {
    fn new() -> Result<Self> {
        let bytes = pictures::photograph(1)?.bytes;
        let table = bytes.windows(4).position(|marker| matches!(marker, [0xff, 0xdb, 0, _]));
        // The marker, the length, the number of the table, and 64 bytes.
        let finest = table.context("a JPEG has quantization tables")? + 5 + 64 - 3;
        Ok(Self { bytes, finest, made: 0 })
    }

    fn next(&mut self) -> Result<Bytes> {
        self.made += 1;
        let mut bytes = self.bytes.to_vec();
        let [_, digits @ ..] = self.made.to_be_bytes();
        let places = bytes.get_mut(self.finest..self.finest + 3).context("a table has 64 bytes")?;
        for (place, digit) in places.iter_mut().zip(digits) {
            // Zero is no divisor.
            *place = 1 + digit % 200;
        }
        Ok(bytes.into())
    }

    fn some(&mut self, number: usize) -> Result<Vec<Bytes>> {
        (0..number).map(|_| self.next()).collect()
    }
}

struct Sides<'a> {
    stack: &'a Stack,
    s3: Client,
    client: reqwest::Client,
    visitor: Visitor,
    thread: i64,
}

impl Sides<'_> {
    /// Sends pictures and returns how long each took, in seconds.
    async fn send(&self, ours: bool, pictures: Vec<Bytes>, at_once: usize) -> Result<(f64, Vec<f64>)> {
        let addresses = if ours { vec![String::new(); pictures.len()] } else { self.presign(&pictures).await? };
        let last = pictures.last().cloned().context("there are pictures")?;
        let start = Instant::now();
        let sent = stream::iter(pictures.into_iter().zip(addresses)).map(|(bytes, address)| async move {
            let start = Instant::now();
            let post = if ours { Some(self.upload(bytes).await?) } else { self.put(&address, bytes).await? };
            anyhow::Ok((start.elapsed().as_secs_f64(), post))
        });
        let sent: Vec<(f64, Option<i64>)> = sent.buffered(at_once).try_collect().await?;
        let whole = start.elapsed().as_secs_f64();
        self.check(sent.last().and_then(|(_, post)| *post), &last).await?;
        Ok((whole, sent.into_iter().map(|(seconds, _)| seconds).collect()))
    }

    async fn upload(&self, bytes: Bytes) -> Result<i64> {
        let form = Form::reply(self.thread, "").file("photograph.jpg", "image/jpeg", bytes);
        Ok(self.visitor.must_post("b", &form).await?.no)
    }

    async fn put(&self, address: &str, bytes: Bytes) -> Result<Option<i64>> {
        let answer = self.client.put(address).header("content-type", "image/jpeg").body(bytes).send().await?;
        let status = answer.status();
        answer.bytes().await?;
        ensure!(status == StatusCode::OK, "a raw PUT is answered with {status}");
        Ok(None)
    }

    async fn presign(&self, pictures: &[Bytes]) -> Result<Vec<String>> {
        let mut addresses = Vec::new();
        for bytes in pictures {
            let put = self.s3.put_object().bucket(self.stack.s3.bucket()).key(key(bytes)).content_type("image/jpeg");
            let address = put.presigned(PresigningConfig::expires_in(Duration::from_mins(10))?).await?;
            addresses.push(address.uri().to_owned());
        }
        Ok(addresses)
    }

    /// Makes sure that what was sent is what is stored: as the picture of a post, or as an object of its own.
    async fn check(&self, post: Option<i64>, sent: &Bytes) -> Result<()> {
        let stored = if let Some(no) = post {
            let page = self.visitor.get(&format!("/b/res/{}.html", self.thread)).await?;
            let links = page.attributes(&format!("#p{no} .file a"), "href")?;
            let link = links.first().with_context(|| format!("post {no} shows no picture"))?;
            self.visitor.get(link).await?.expect(StatusCode::OK)?.body.clone()
        } else {
            self.stack.s3.get(&key(sent)).await?
        };
        ensure!(Sha256::digest(&stored) == Sha256::digest(sent), "what is stored is not what was sent");
        Ok(())
    }
}

fn key(bytes: &Bytes) -> String {
    let hash = Sha256::digest(bytes);
    let name = hash.first_chunk().copied().map(uuid::Uuid::from_bytes).unwrap_or_default();
    format!("bench/{name}")
}

/// Measures uploads through the first replica, as replies in a thread.
pub async fn run(stack: &Stack, thread: i64) -> Result<Uploads> {
    let replica = stack.replica(0)?;
    let pid = replica.pid().context("the replica does not run")?;
    let client = reqwest::Client::builder().no_proxy().http1_only().tcp_nodelay(true).build()?;
    let sides = Sides { stack, s3: stack.s3.client(), client, visitor: Visitor::new(&replica.url())?, thread };
    let mut photograph = Photograph::new()?;
    let bytes = photograph.bytes.len();

    let (mut rates, mut rates_raw, mut alone, mut alone_raw) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut processor = Vec::new();
    for round in 0..ROUNDS {
        let order = if round.is_multiple_of(2) { [true, false] } else { [false, true] };
        for ours in order {
            let before = processor_seconds(pid)?;
            let (whole, _) = sides.send(ours, photograph.some(CROWD)?, AT_ONCE).await?;
            let rate = float(u64::try_from(CROWD)?) / whole;
            if ours {
                processor.push((processor_seconds(pid)? - before) * 1e3 / float(u64::try_from(CROWD)?));
                rates.push(rate);
            } else {
                rates_raw.push(rate);
            }
        }
        for ours in order {
            let (_, times) = sides.send(ours, photograph.some(ALONE)?, 1).await?;
            let median = Spread::of(times)?.median * 1e3;
            if ours { alone.push(median) } else { alone_raw.push(median) }
        }
    }
    let ratio = |ours: &[f64], raw: &[f64]| Spread::of(ours.iter().zip(raw).map(|(ours, raw)| ours / raw));
    Ok(Uploads {
        bytes,
        rate_ratio: ratio(&rates, &rates_raw)?,
        alone_ratio: ratio(&alone, &alone_raw)?,
        rate: Spread::of(rates)?,
        rate_raw: Spread::of(rates_raw)?,
        alone: Spread::of(alone)?,
        alone_raw: Spread::of(alone_raw)?,
        processor: Spread::of(processor)?,
    })
}
