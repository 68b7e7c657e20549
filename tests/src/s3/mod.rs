//! An S3 server of the stack's own, and a client of it for assertions.
//!
//! Which server it is says the environment: one in this process, or a real `MinIO` where `TRIPTYCH_TEST_MINIO` names
//! the program. Both are stopped and started alike, so whoever uses them need not know. Knows nothing about what the
//! objects are.

mod embedded;
mod minio;

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};
use aws_sdk_s3::{
    Client,
    config::{BehaviorVersion, Credentials, Region, retry::RetryConfig, timeout::TimeoutConfig},
};
use bytes::Bytes;

use self::{embedded::Embedded, minio::Minio};
use crate::{ports, scratch::Scratch, secret};

const ACCESS_KEY_ID: &str = "triptych";

/// Where the objects are, and how to get at them. Dropping it stops the server.
#[derive(Debug)]
pub struct S3 {
    // Dropped before the directory in which it works.
    server: Server,
    endpoint: String,
    region: String,
    bucket: String,
    access_key_id: String,
    secret_access_key: String,
    _scratch: Option<Scratch>,
}

/// The kinds of server.
#[derive(Debug)]
enum Server {
    Embedded(Embedded),
    Minio(Minio),
}

impl S3 {
    /// A running server with no objects, thrown away when it is dropped.
    pub async fn temporary() -> Result<Self> {
        let scratch = Scratch::new("s3")?;
        let directory = scratch.path().to_owned();
        Self::serve(&directory, secret::new(), Some(scratch)).await
    }

    /// A running server that keeps its objects in `directory`. Each kind keeps its own: one does not see the other's.
    pub async fn open(directory: &Path) -> Result<Self> {
        fs::create_dir_all(directory).with_context(|| format!("cannot create {}", directory.display()))?;
        let secret_access_key = secret::kept(&directory.join("secret-access-key"))?;
        Self::serve(directory, secret_access_key, None).await
    }

    async fn serve(directory: &Path, secret_access_key: String, scratch: Option<Scratch>) -> Result<Self> {
        let port = ports::free()?;
        let credentials = (ACCESS_KEY_ID.to_owned(), secret_access_key.clone());
        let server = match std::env::var_os("TRIPTYCH_TEST_MINIO").map(PathBuf::from) {
            None => Server::Embedded(Embedded::new(port, &directory.join("objects"), credentials)?),
            Some(program) => Server::Minio(Minio::new(&program, port, &directory.join("minio"), credentials)?),
        };
        let s3 = Self {
            server,
            endpoint: format!("http://127.0.0.1:{port}"),
            region: "us-east-1".into(),
            bucket: "triptych".into(),
            access_key_id: ACCESS_KEY_ID.into(),
            secret_access_key,
            _scratch: scratch,
        };
        s3.start().await?;
        Ok(s3)
    }

    /// Starts the server again, on the same port with the same objects.
    pub async fn start(&self) -> Result<()> {
        match &self.server {
            Server::Embedded(server) => server.start().await,
            Server::Minio(server) => server.start().await,
        }
    }

    /// Stops the server: connections are cut, new ones are refused.
    pub async fn stop(&self) -> Result<()> {
        match &self.server {
            Server::Embedded(server) => server.stop().await,
            Server::Minio(server) => server.stop().await,
        }
    }

    /// Whether the server is there.
    #[must_use]
    pub fn is_running(&self) -> bool {
        match &self.server {
            Server::Embedded(server) => server.is_running(),
            Server::Minio(server) => server.is_running(),
        }
    }

    /// The URL of the server.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The region that requests are signed for.
    #[must_use]
    pub fn region(&self) -> &str {
        &self.region
    }

    /// The bucket that the application is told to use; it exists after `triptych migrate`.
    #[must_use]
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// The public half of the credentials.
    #[must_use]
    pub fn access_key_id(&self) -> &str {
        &self.access_key_id
    }

    /// The secret half of the credentials.
    #[must_use]
    pub fn secret_access_key(&self) -> &str {
        &self.secret_access_key
    }

    /// A client that tries once. Its connections belong to the runtime that uses it first.
    #[must_use]
    pub fn client(&self) -> Client {
        let credentials = Credentials::new(&self.access_key_id, &self.secret_access_key, None, None, "triptych-tests");
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(Duration::from_secs(2))
            .operation_timeout(Duration::from_secs(30))
            .build();
        let config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .endpoint_url(&self.endpoint)
            .region(Region::new(self.region.clone()))
            .credentials_provider(credentials)
            .force_path_style(true)
            .retry_config(RetryConfig::disabled())
            .timeout_config(timeouts)
            .build();
        Client::from_conf(config)
    }

    /// Creates the bucket, which is otherwise the application's business.
    pub async fn create_bucket(&self) -> Result<()> {
        self.client().create_bucket().bucket(&self.bucket).send().await.context("cannot create the bucket")?;
        Ok(())
    }

    /// The keys of all objects that start with `prefix`, sorted.
    pub async fn keys(&self, prefix: &str) -> Result<Vec<String>> {
        let mut pages = self.client().list_objects_v2().bucket(&self.bucket).prefix(prefix).into_paginator().send();
        let mut keys = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.context("cannot list the objects")?;
            keys.extend(page.contents().iter().filter_map(|object| object.key().map(str::to_owned)));
        }
        keys.sort_unstable();
        Ok(keys)
    }

    /// The bytes of an object.
    pub async fn get(&self, key: &str) -> Result<Bytes> {
        let answer = self.client().get_object().bucket(&self.bucket).key(key).send().await;
        let body = answer.with_context(|| format!("cannot get the object {key}"))?.body;
        let bytes = body.collect().await.with_context(|| format!("cannot read the object {key}"))?;
        Ok(bytes.into_bytes())
    }

    /// Stores an object.
    pub async fn put(&self, key: &str, bytes: impl Into<Bytes>) -> Result<()> {
        self.client()
            .put_object()
            .bucket(&self.bucket)
            .key(key)
            .body(bytes.into().into())
            .send()
            .await
            .with_context(|| format!("cannot put the object {key}"))?;
        Ok(())
    }

    /// Removes an object.
    pub async fn delete(&self, key: &str) -> Result<()> {
        let answer = self.client().delete_object().bucket(&self.bucket).key(key).send().await;
        answer.with_context(|| format!("cannot delete the object {key}"))?;
        Ok(())
    }
}
