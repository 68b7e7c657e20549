//! What it costs nginx that its answers are counted: pictures from its cache, with a meter beside it and without.
//!
//! The meter runs on the processor of nginx, so that what it takes is missing there.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::{
    Spread,
    load::{Seen, Wrk},
};
use crate::{Form, Stack, Visitor, pictures};

const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(3);

/// One row of the table.
#[derive(Debug)]
pub struct Row {
    /// What was read.
    pub what: &'static str,
    /// Bytes of the body.
    pub bytes: usize,
    /// Answers a second with a meter.
    pub counted: Spread,
    /// Answers a second without one.
    pub uncounted: Spread,
    /// The first by the second, round by round.
    pub ratio: Spread,
}

/// Reads a thumbnail and a picture.
pub async fn run(stack: &Stack) -> Result<Vec<Row>> {
    let visitor = Visitor::new(&stack.url())?;
    let posted = visitor.must_post("b", &Form::thread("counted").picture(&pictures::photograph(1)?)).await?;
    let page = visitor.get(&format!("/b/res/{}.html", posted.no)).await?.text();
    let wrk = Wrk::new()?;
    let mut rows = Vec::new();
    for (what, folder) in [("thumbnail", "/thumb/"), ("picture", "/media/")] {
        let (_, rest) = page.split_once(folder).with_context(|| format!("no {folder} in the page"))?;
        let url = format!("{}{folder}{}", stack.url(), rest.split_once('"').context("an address ends")?.0);
        let (mut counted, mut uncounted) = (Vec::new(), Vec::new());
        for round in 0..ROUNDS {
            for with_meter in [round.is_multiple_of(2), !round.is_multiple_of(2)] {
                let seen = measure(stack, &wrk, &url, with_meter).await?;
                if with_meter { counted.push(seen) } else { uncounted.push(seen) }
            }
        }
        let bytes = visitor.get(url.trim_start_matches(&stack.url())).await?.body.len();
        let of = |seen: &[Seen]| Spread::of(seen.iter().map(|seen| seen.rate));
        let ratio = Spread::of(counted.iter().zip(&uncounted).map(|(with, without)| with.rate / without.rate))?;
        rows.push(Row { what, bytes, counted: of(&counted)?, uncounted: of(&uncounted)?, ratio });
    }
    ensure!(stack.meter.is_running(), "the meter has ended");
    Ok(rows)
}

async fn measure(stack: &Stack, wrk: &Wrk, url: &str, with_meter: bool) -> Result<Seen> {
    stack.nginx.count(with_meter).await?;
    // Into the cache.
    Visitor::new(&stack.url())?.get(url.trim_start_matches(&stack.url())).await?;
    wrk.run(url, ("Accept", "*/*"), ROUND).await
}
