//! S3 by the AWS SDK, with the limits that it does not set by itself.

use std::time::Duration;

use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    BehaviorVersion, Credentials, Region, RequestChecksumCalculation, ResponseChecksumValidation,
};
use aws_sdk_s3::error::{DisplayErrorContext, SdkError};
use aws_sdk_s3::operation::get_object::GetObjectError;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{Delete, ObjectIdentifier};
use base64::Engine as _;
use chrono::{DateTime, Utc};
use secrecy::ExposeSecret;

use super::{Content, Error, Object};
use crate::config::StoreConfig;
use crate::trace::waits::{self, Wait};

/// The key of the object that says to which installation all others belong, below the prefix.
const OWNER: &str = "installation";

/// More than the id of an installation has, also if somebody has written it by hand.
const LONGEST_OWNER: i64 = 100;

/// A client of one bucket, and there of all keys with one prefix. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    client: aws_sdk_s3::Client,
    bucket: String,
    prefix: String,
}

/// An object, or a part of one, on its way out of the store.
#[derive(Debug)]
pub struct Download {
    /// The bytes, streamed.
    pub body: ByteStream,
    /// How many bytes will come.
    pub length: i64,
}

/// An object as the store lists it.
#[derive(Debug, Clone, Copy)]
pub struct Listed {
    /// Its name.
    pub object: Object,
    /// When it was put; `None` when the store does not say so.
    pub put_at: Option<DateTime<Utc>>,
}

impl Store {
    /// A client; nothing is sent yet.
    #[must_use]
    pub fn new(config: &StoreConfig) -> Self {
        let credentials = Credentials::new(
            config.access_key_id.expose_secret(),
            config.secret_access_key.expose_secret(),
            None,
            None,
            "environment",
        );
        // The SDK has no time limit but that for connecting: one hung answer would hold a request indefinitely.
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(Duration::from_secs(1))
            .read_timeout(Duration::from_secs(5))
            .operation_attempt_timeout(Duration::from_secs(10))
            .operation_timeout(Duration::from_secs(20))
            .build();
        let retries = RetryConfig::standard().with_max_attempts(2).with_initial_backoff(Duration::from_millis(100));
        let config_of_client = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .endpoint_url(config.endpoint.as_str())
            .region(Region::new(config.region.clone()))
            .credentials_provider(credentials)
            // By path, because a bucket below a host needs a DNS entry that small installations do not have.
            .force_path_style(true)
            // We send a SHA-256 that we have anyway; the trailing CRC32 of the SDK breaks on many other stores.
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
            .timeout_config(timeouts)
            .retry_config(retries)
            .build();
        Self {
            client: aws_sdk_s3::Client::from_conf(config_of_client),
            bucket: config.bucket.clone(),
            prefix: config.prefix.clone(),
        }
    }

    /// Where the objects are, for messages: the bucket, and the prefix if there is one.
    #[must_use]
    pub fn place(&self) -> String {
        format!("{}/{}", self.bucket, self.prefix).trim_end_matches('/').to_owned()
    }

    fn key(&self, object: Object) -> String {
        format!("{}{}", self.prefix, object.key())
    }

    fn owner_key(&self) -> String {
        format!("{}{OWNER}", self.prefix)
    }

    /// Makes the bucket if it is not there. The only thing that tells a refusal from an outage: later there is nobody
    /// who could change anything, and visitors are told the same of both.
    pub async fn ensure_bucket(&self) -> Result<(), Error> {
        let head = self.client.head_bucket().bucket(&self.bucket).send().await;
        match head {
            Ok(_) => return Ok(()),
            Err(error) if status(&error) == 404 => {}
            Err(error) => return Err(self.refused_or_unavailable(&error)),
        }
        match self.client.create_bucket().bucket(&self.bucket).send().await {
            Ok(_) => Ok(()),
            // Another replica made it a moment ago.
            Err(error) if status(&error) == 409 => Ok(()),
            Err(error) => Err(self.refused_or_unavailable(&error)),
        }
    }

    /// What the status means has to be said here: the answer to a HEAD has no words of its own.
    fn refused_or_unavailable<E: std::error::Error + Send + Sync + 'static>(&self, error: &SdkError<E>) -> Error {
        let bucket = &self.bucket;
        match status(error) {
            status @ (401 | 403) => Error::Refused(format!(
                "HTTP status {status}: the access key is not right, or may not use or make the bucket {bucket}"
            )),
            status @ (301 | 307 | 400) => Error::Refused(format!(
                "HTTP status {status}: the region is not that of the bucket {bucket}, or no bucket can have this name"
            )),
            _ => unavailable(error),
        }
    }

    /// What the bucket says about the installation that its objects belong to; `None` when it says nothing.
    pub async fn owner(&self) -> Result<Option<String>, Error> {
        let answer = self.client.get_object().bucket(&self.bucket).key(self.owner_key()).send().await;
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) if error.as_service_error().is_some_and(GetObjectError::is_no_such_key) => return Ok(None),
            Err(error) => return Err(unavailable(&error)),
        };
        let length = answer.content_length.unwrap_or_default();
        if length > LONGEST_OWNER {
            return Err(Error::Refused(format!("the object {} has {length} bytes and is no id", self.owner_key())));
        }
        let text = answer.body.collect().await.map_err(|error| Error::Unavailable(error.to_string()))?;
        Ok(Some(String::from_utf8_lossy(&text.into_bytes()).trim().to_owned()))
    }

    /// Writes to which installation the objects belong. Who was first stays, unless `whoever` it is; so whoever has to know
    /// asks afterwards. A server that does not know conditions is asked without one: there the last of two that come
    /// at once stays.
    pub async fn set_owner(&self, owner: &str, whoever: bool) -> Result<(), Error> {
        let put = |condition: Option<&str>| {
            let put = self.client.put_object().bucket(&self.bucket).key(self.owner_key()).content_type("text/plain");
            let body = ByteStream::from(owner.as_bytes().to_vec());
            put.set_if_none_match(condition.map(str::to_owned)).body(body).send()
        };
        let mut done = put(if whoever { None } else { Some("*") }).await;
        if !whoever && done.as_ref().is_err_and(|error| status(error) == 501) {
            done = put(None).await;
        }
        match done {
            Ok(_) => Ok(()),
            // Somebody was first, or comes at the same moment.
            Err(error) if !whoever && matches!(status(&error), 409 | 412) => Ok(()),
            Err(error) => Err(unavailable(&error)),
        }
    }

    /// Puts an object.
    pub async fn put(&self, object: Object, content: &Content) -> Result<(), Error> {
        let _waiting = waits::begin(Wait::StorePut);
        self.client
            .put_object()
            .bucket(&self.bucket)
            .key(self.key(object))
            .content_type(content.media_type)
            .checksum_sha256(base64::prelude::BASE64_STANDARD.encode(content.sha256))
            .body(ByteStream::from(content.bytes.clone()))
            .customize()
            // The checksum above guards the body; signing it as well would hash it a second time, and that is two
            // thirds of what an upload costs.
            .disable_payload_signing()
            .send()
            .await
            .map(drop)
            .map_err(|error| unavailable(&error))
    }

    /// Gets an object, or the inclusive range of its bytes.
    pub async fn get(&self, object: Object, range: Option<(u64, u64)>) -> Result<Download, Error> {
        let _waiting = waits::begin(Wait::StoreGet);
        let answer = self
            .client
            .get_object()
            .bucket(&self.bucket)
            .key(self.key(object))
            .set_range(range.map(|(first, last)| format!("bytes={first}-{last}")))
            .send()
            .await;
        match answer {
            Ok(answer) => Ok(Download { length: answer.content_length.unwrap_or_default(), body: answer.body }),
            Err(error) if error.as_service_error().is_some_and(GetObjectError::is_no_such_key) => Err(Error::Missing),
            Err(error) => Err(unavailable(&error)),
        }
    }

    /// Deletes objects; those that are not there count as deleted. A thousand at a time at the most.
    pub async fn delete(&self, objects: &[Object]) -> Result<(), Error> {
        let identifiers =
            objects.iter().filter_map(|object| ObjectIdentifier::builder().key(self.key(*object)).build().ok());
        let delete = Delete::builder()
            .set_objects(Some(identifiers.collect()))
            .quiet(true)
            .build()
            .map_err(|error| Error::Unavailable(error.to_string()))?;
        let _waiting = waits::begin(Wait::StoreDelete);
        let answer = self
            .client
            .delete_objects()
            .bucket(&self.bucket)
            .delete(delete)
            .send()
            .await
            .map_err(|error| unavailable(&error))?;
        match answer.errors().first() {
            None => Ok(()),
            Some(error) => Err(Error::Unavailable(format!("an object was not deleted: {error:?}"))),
        }
    }

    /// One page of the objects that carry our names in one of [`Object::FOLDERS`], and where the next page begins. Other
    /// keys of the bucket, which may be another board's, are not even looked at.
    pub async fn list(
        &self,
        folder: &'static str,
        after: Option<String>,
    ) -> Result<(Vec<Listed>, Option<String>), Error> {
        let answer = self
            .client
            .list_objects_v2()
            .bucket(&self.bucket)
            .prefix(format!("{}{folder}", self.prefix))
            .set_continuation_token(after)
            .send()
            .await
            .map_err(|error| unavailable(&error))?;
        let objects = answer.contents().iter().filter_map(|found| {
            let object = Object::from_key(found.key()?.strip_prefix(&self.prefix)?)?;
            let put_at = found.last_modified().and_then(|time| DateTime::from_timestamp_secs(time.secs()));
            Some(Listed { object, put_at })
        });
        Ok((objects.collect(), answer.next_continuation_token.clone()))
    }
}

/// The status of an answer; 0 when there was none.
fn status<E>(error: &SdkError<E>) -> u16 {
    error.raw_response().map_or(0, |response| response.status().as_u16())
}

fn unavailable<E: std::error::Error + Send + Sync + 'static>(error: &SdkError<E>) -> Error {
    Error::Unavailable(DisplayErrorContext(error).to_string())
}
