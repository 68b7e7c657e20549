//! The board that is measured: threads as long, and a catalogue as full, as busy ones are.

use anyhow::{Context, Result};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use crate::{
    Visitor,
    http::Form,
    pictures::{self, Picture},
};

/// Replies of the thread that is read.
pub const REPLIES: usize = 100;
/// Threads of the catalogue that is read.
pub const THREADS: usize = 60;
/// Requests at a time while the board is filled.
const AT_ONCE: usize = 8;

const WORDS: &str = "light over ridge before sunrise fog second valley lens worth waiting years phone kind colour paper \
                     marble quarry station night train window rain map north harbour stone bread letter winter glass \
                     새벽 안개 사진 정말 아름답네요 秋の山 写真 ありがとう the of and to in it was that for with on as at by";

/// Some words, different ones for every number and the same for the same.
pub(super) fn sentence(number: usize, words: usize) -> String {
    let all: Vec<&str> = WORDS.split_whitespace().collect();
    let mut state = number.wrapping_mul(2_654_435_761).wrapping_add(97);
    let mut next = || {
        state = state.wrapping_mul(1_103_515_245).wrapping_add(12_345) % (1 << 31);
        all.get((state >> 8) % all.len()).copied().unwrap_or_default()
    };
    (0..words).map(|_| next()).collect::<Vec<_>>().join(" ")
}

/// Makes posts, and answers what they are made of next time.
#[derive(Debug)]
pub struct Writer {
    visitor: Visitor,
    pictures: Vec<Picture>,
}

impl Writer {
    /// Posts to one replica.
    pub fn new(site: &str) -> Result<Self> {
        let pictures = (1..=8).map(|seed| pictures::jpeg(seed, 640, 480)).collect::<Result<_>>()?;
        Ok(Self { visitor: Visitor::new(site)?, pictures })
    }

    fn picture(&self, number: usize) -> Result<&Picture> {
        self.pictures.get(number % self.pictures.len()).context("there are pictures")
    }

    /// Starts a thread.
    pub async fn thread(&self, number: usize) -> Result<i64> {
        let form = Form::thread(&sentence(number, 30)).field("sub", &sentence(number + 7, 4));
        Ok(self.visitor.must_post("b", &form.picture(self.picture(number)?)).await?.no)
    }

    /// Answers in a thread; every fifth answer has a picture, every third quotes.
    pub async fn reply(&self, thread: i64, number: usize) -> Result<i64> {
        let quote = if number.is_multiple_of(3) { format!(">>{thread}\n") } else { String::new() };
        let text =
            format!("{quote}{}\n>{}\n{}", sentence(number, 14), sentence(number + 1, 6), sentence(number + 2, 9));
        let form = Form::reply(thread, &text);
        let form = if number.is_multiple_of(5) { form.picture(self.picture(number)?) } else { form };
        Ok(self.visitor.must_post("b", &form).await?.no)
    }

    /// A thread of the usual length.
    pub async fn long_thread(&self, number: usize) -> Result<i64> {
        let thread = self.thread(number).await?;
        let replies = stream::iter(0..REPLIES).map(|reply| self.reply(thread, reply));
        let _: Vec<i64> = replies.buffer_unordered(AT_ONCE).try_collect().await?;
        Ok(thread)
    }

    /// Threads for the catalogue.
    pub async fn threads(&self) -> Result<()> {
        let threads = stream::iter(0..THREADS).map(|number| self.thread(number));
        let _: Vec<i64> = threads.buffer_unordered(AT_ONCE).try_collect().await?;
        Ok(())
    }
}
