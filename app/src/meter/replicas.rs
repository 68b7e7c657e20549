//! Handing sums on to a replica, any of them.

use std::time::Duration;

use anyhow::Context as _;
use reqwest::{Client, StatusCode};
use url::Url;

use crate::config::MeterConfig;
use crate::domain::traffic::{Batch, Source};
use crate::hashing::KeyedHasher;
use crate::web::sums::{Handed, SIGNATURE, signature};

/// A replica writes them to its database before it answers.
const LIMIT: Duration = Duration::from_secs(8);

/// The private ports of the replicas.
pub(super) struct Replicas {
    client: Client,
    addresses: Vec<Url>,
    hasher: KeyedHasher,
}

/// What became of a batch.
pub(super) enum Outcome {
    /// It counts.
    Counted,
    /// It never will, for this reason.
    Refused(String),
    /// It may have counted; it can be handed on again.
    NotNow(String),
}

impl Replicas {
    pub(super) fn new(config: &MeterConfig) -> anyhow::Result<Self> {
        let client = Client::builder().timeout(LIMIT).no_proxy().build().context("the HTTP client")?;
        Ok(Self { client, addresses: config.replicas.clone(), hasher: KeyedHasher::new(&config.secret) })
    }

    /// Asks one after the other until one answers.
    pub(super) async fn hand_on(&self, source: &Source, batch: &Batch<String>) -> Outcome {
        let text = match serde_json::to_vec(&Handed { source: source.clone(), batch: batch.clone() }) {
            Ok(text) => text,
            Err(error) => return Outcome::Refused(format!("JSON: {error}")),
        };
        let mut reason = "there is no replica".to_owned();
        for address in &self.addresses {
            match self.ask(address, text.clone()).await {
                Ok((status, _)) if status.is_success() => return Outcome::Counted,
                // A wrong secret can be put right.
                Ok((status, answer)) if status.is_client_error() && status != StatusCode::UNAUTHORIZED => {
                    return Outcome::Refused(answer);
                }
                Ok((status, answer)) => reason = format!("{address}: {status}: {answer}"),
                Err(error) => reason = format!("{:#}", anyhow::Error::from(error)),
            }
        }
        Outcome::NotNow(reason)
    }

    async fn ask(&self, address: &Url, text: Vec<u8>) -> reqwest::Result<(StatusCode, String)> {
        let signature = signature(&self.hasher, &text);
        let mut url = address.clone();
        url.set_path("/traffic");
        let answer = self.client.post(url).header(SIGNATURE, signature).body(text).send().await?;
        Ok((answer.status(), answer.text().await?.trim().to_owned()))
    }
}
