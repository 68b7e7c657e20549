//! An S3 server in this process, and a client of it for assertions.
//!
//! The server runs on a thread with a runtime of its own, so it outlives the runtime of a test. A real
//! server is used instead where the environment names one. Knows nothing about what the objects are.

use std::{
    fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, anyhow, ensure};
use aws_sdk_s3::{
    Client,
    config::{BehaviorVersion, Credentials, Region, retry::RetryConfig, timeout::TimeoutConfig},
};
use bytes::Bytes;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use s3s::{
    auth::SimpleAuth,
    service::{S3Service, S3ServiceBuilder},
};
use s3s_fs::FileSystem;
use tokio::{net::TcpListener, runtime, sync::oneshot};

use crate::{ports, scratch::Scratch, secret};

const ACCESS_KEY_ID: &str = "triptych";

/// Where the objects are, and how to get at them. Dropping it stops the server.
#[derive(Debug)]
pub struct S3 {
    server: Option<Server>,
    endpoint: String,
    region: String,
    bucket: String,
    access_key_id: String,
    secret_access_key: String,
    _scratch: Option<Scratch>,
}

impl S3 {
    /// A running server with no objects, thrown away when it is dropped. With `TRIPTYCH_TEST_S3_ENDPOINT`,
    /// `…_ACCESS_KEY_ID` and `…_SECRET_ACCESS_KEY` in the environment: a new bucket name on that one.
    pub async fn temporary() -> Result<Self> {
        let variable = |name: &str| std::env::var(format!("TRIPTYCH_TEST_S3_{name}"));
        if let Ok(endpoint) = variable("ENDPOINT") {
            let needed = |name: &str| variable(name).with_context(|| format!("TRIPTYCH_TEST_S3_{name} is missing"));
            return Ok(Self {
                server: None,
                endpoint,
                region: variable("REGION").unwrap_or_else(|_| "us-east-1".into()),
                bucket: format!("triptych-test-{}", uuid::Uuid::new_v4()),
                access_key_id: needed("ACCESS_KEY_ID")?,
                secret_access_key: needed("SECRET_ACCESS_KEY")?,
                _scratch: None,
            });
        }
        let scratch = Scratch::new("s3")?;
        let objects = scratch.join("objects");
        Self::serve(objects, secret::new(), Some(scratch)).await
    }

    /// A running server that keeps its objects in `directory`.
    pub async fn open(directory: &Path) -> Result<Self> {
        fs::create_dir_all(directory).with_context(|| format!("cannot create {}", directory.display()))?;
        let secret_access_key = secret::kept(&directory.join("secret-access-key"))?;
        Self::serve(directory.join("objects"), secret_access_key, None).await
    }

    async fn serve(objects: PathBuf, secret_access_key: String, scratch: Option<Scratch>) -> Result<Self> {
        fs::create_dir_all(&objects).with_context(|| format!("cannot create {}", objects.display()))?;
        let server = Server {
            port: ports::free()?,
            objects,
            auth: (ACCESS_KEY_ID.into(), secret_access_key.clone()),
            running: Mutex::default(),
        };
        server.start().await?;
        Ok(Self {
            endpoint: format!("http://127.0.0.1:{}", server.port),
            server: Some(server),
            region: "us-east-1".into(),
            bucket: "triptych".into(),
            access_key_id: ACCESS_KEY_ID.into(),
            secret_access_key,
            _scratch: scratch,
        })
    }

    /// Starts the server again, on the same port with the same objects.
    pub async fn start(&self) -> Result<()> {
        self.own_server()?.start().await
    }

    /// Stops the server: connections are cut, new ones are refused.
    pub async fn stop(&self) -> Result<()> {
        let stopping = self.own_server()?.take().context("the S3 server does not run")?;
        tokio::task::spawn_blocking(move || stopping.stop()).await.context("stopping the S3 server failed")
    }

    /// Whether this is a server of our own, which can be stopped and started.
    #[must_use]
    pub fn is_own(&self) -> bool {
        self.server.is_some()
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

    fn own_server(&self) -> Result<&Server> {
        self.server.as_ref().with_context(|| format!("{} is not ours to stop or start", self.endpoint))
    }
}

#[derive(Debug)]
struct Server {
    port: u16,
    objects: PathBuf,
    auth: (String, String),
    running: Mutex<Option<Running>>,
}

#[derive(Debug)]
struct Running {
    stop: oneshot::Sender<()>,
    thread: thread::JoinHandle<()>,
}

impl Running {
    fn stop(self) {
        // A thread that is gone already has closed everything.
        let _ = self.stop.send(());
        let _ = self.thread.join();
    }
}

impl Server {
    async fn start(&self) -> Result<()> {
        {
            let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
            ensure!(running.is_none(), "the S3 server runs already");
        }
        let files = FileSystem::new(&self.objects)
            .map_err(|error| anyhow!("cannot keep objects in {}: {error:?}", self.objects.display()))?;
        let mut service = S3ServiceBuilder::new(files);
        service.set_auth(SimpleAuth::from_single(self.auth.0.as_str(), self.auth.1.as_str()));
        let (service, port) = (service.build(), self.port);

        let (stop, stopped) = oneshot::channel();
        let (report, ready) = oneshot::channel();
        let thread = thread::Builder::new()
            .name("s3".into())
            .spawn(move || run(port, service, stopped, report))
            .context("cannot start a thread for the S3 server")?;
        ready.await.context("the S3 server's thread ended")??;
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = Some(Running { stop, thread });
        Ok(())
    }

    fn take(&self) -> Option<Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(running) = self.take() {
            running.stop();
        }
    }
}

/// The body of the server's thread.
fn run(port: u16, service: S3Service, stopped: oneshot::Receiver<()>, report: oneshot::Sender<Result<()>>) {
    let runtime = runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            let _ = report.send(Err(error).context("cannot start a runtime for the S3 server"));
            return;
        }
    };
    runtime.block_on(async {
        match TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await {
            Ok(listener) => {
                let _ = report.send(Ok(()));
                tokio::select! {
                    () = accept(listener, service) => {}
                    _ = stopped => {}
                }
            }
            Err(error) => {
                let _ = report.send(Err(error).with_context(|| format!("cannot listen on 127.0.0.1:{port}")));
            }
        }
    });
    // Drops the connections' tasks, and with them the connections.
    runtime.shutdown_timeout(Duration::from_secs(5));
}

async fn accept(listener: TcpListener, service: S3Service) {
    loop {
        let Ok((socket, _)) = listener.accept().await else {
            // Out of file descriptors, for instance; it passes.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        // Without this an answer's last packet waits 40 ms for the acknowledgement of the one before.
        let _ = socket.set_nodelay(true);
        let connection =
            http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(socket), service.clone());
        tokio::spawn(async move {
            // A client that goes away is the client's business.
            let _ = connection.await;
        });
    }
}
