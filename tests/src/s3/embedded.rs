//! An S3 server in this process: s3s over a directory of plain files.
//!
//! It runs on a thread with a runtime of its own, so it outlives the runtime of a test.

use std::{
    fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, anyhow, ensure};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use s3s::{
    auth::SimpleAuth,
    service::{S3Service, S3ServiceBuilder},
};
use s3s_fs::FileSystem;
use tokio::{net::TcpListener, runtime, sync::oneshot};

/// The server and, while it runs, its thread. Dropping it stops it.
#[derive(Debug)]
pub(super) struct Embedded {
    port: u16,
    objects: PathBuf,
    /// The access key id and the secret access key.
    credentials: (String, String),
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

impl Embedded {
    /// A server that does not run yet.
    pub(super) fn new(port: u16, objects: &Path, credentials: (String, String)) -> Result<Self> {
        fs::create_dir_all(objects).with_context(|| format!("cannot create {}", objects.display()))?;
        Ok(Self { port, objects: objects.to_owned(), credentials, running: Mutex::default() })
    }

    /// Starts it and waits until it accepts connections.
    pub(super) async fn start(&self) -> Result<()> {
        {
            let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
            ensure!(running.is_none(), "the S3 server runs already");
        }
        let files = FileSystem::new(&self.objects)
            .map_err(|error| anyhow!("cannot keep objects in {}: {error:?}", self.objects.display()))?;
        let mut service = S3ServiceBuilder::new(files);
        service.set_auth(SimpleAuth::from_single(self.credentials.0.as_str(), self.credentials.1.as_str()));
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

    /// Cuts all connections and ends the thread.
    pub(super) async fn stop(&self) -> Result<()> {
        let stopping = self.take().context("the S3 server does not run")?;
        tokio::task::spawn_blocking(move || stopping.stop()).await.context("stopping the S3 server failed")
    }

    /// Whether the thread is there.
    pub(super) fn is_running(&self) -> bool {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.as_ref().is_some_and(|running| !running.thread.is_finished())
    }

    fn take(&self) -> Option<Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Drop for Embedded {
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
