//! Stands in for the API server of Kubernetes: one Secret in memory, over TLS, with a certificate authority of its own.
//!
//! Does what the real one does with Secrets as far as `triptych credentials` can tell: resource versions, conflicts,
//! merge patches, `Status` documents. Whether the real one does the same, the test on a real cluster says.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, Certificate, CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::Barrier;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

/// What the service account of the pod is allowed to be.
const TOKEN: &str = "a-token-that-must-not-be-told";
const PATH: &str = "/api/v1/namespaces/boards/secrets";

/// The server. It ends with the runtime of the test.
pub(crate) struct ApiServer {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// The folder that a pod finds its service account in.
    pub(crate) account: TempDir,
    cluster: Arc<Mutex<Cluster>>,
}

#[derive(Default)]
struct Cluster {
    secret: Option<Value>,
    version: u64,
    /// Answers that come before any real one.
    faults: VecDeque<u16>,
    /// The next looks at the Secret wait for each other before they are answered.
    meeting: Option<(Arc<Barrier>, usize)>,
    /// Method and, for changes, the body of everything that was asked with the right token.
    asked: Vec<(Method, Value)>,
}

impl ApiServer {
    pub(crate) async fn start() -> Result<Self> {
        let (authority, chain, key) = certificates()?;
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![chain.der().clone()], key)?;
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let cluster = Arc::new(Mutex::new(Cluster::default()));
        let of_server = Arc::clone(&cluster);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, cluster) = (acceptor.clone(), Arc::clone(&of_server));
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let service = service_fn(move |request| answer(Arc::clone(&cluster), request));
                    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        let account = tempfile::tempdir()?;
        write_account(account.path(), &authority)?;
        Ok(Self { address, account, cluster })
    }

    /// What a pod finds in its environment.
    pub(crate) fn environment(&self, name: &str) -> Option<String> {
        match name {
            "KUBERNETES_SERVICE_HOST" => Some(self.address.ip().to_string()),
            "KUBERNETES_SERVICE_PORT" => Some(self.address.port().to_string()),
            _ => None,
        }
    }

    /// Puts a Secret there as if somebody else had made it.
    pub(crate) fn put(&self, data: &Value) {
        self.change(|cluster| {
            cluster.version += 1;
            cluster.secret = Some(json!({"metadata": {"name": "credentials"}, "data": data}));
        });
    }

    /// The Secret as it is.
    pub(crate) fn secret(&self) -> Option<Value> {
        self.change(|cluster| cluster.secret.clone())
    }

    /// Answers the next requests with these.
    pub(crate) fn fail(&self, statuses: &[u16]) {
        self.change(|cluster| cluster.faults.extend(statuses));
    }

    /// Lets the next two looks at the Secret see the same moment.
    pub(crate) fn let_two_meet(&self) {
        self.change(|cluster| cluster.meeting = Some((Arc::new(Barrier::new(2)), 2)));
    }

    /// What was asked so far.
    pub(crate) fn asked(&self) -> Vec<(Method, Value)> {
        self.change(|cluster| cluster.asked.clone())
    }

    pub(crate) fn methods(&self) -> Vec<String> {
        self.asked().iter().map(|(method, _)| method.to_string()).collect()
    }

    fn change<T>(&self, change: impl FnOnce(&mut Cluster) -> T) -> T {
        change(&mut self.cluster.lock().unwrap())
    }
}

/// An authority, the certificate that it gave the server, and the key for that.
fn certificates() -> Result<(Certificate, Certificate, PrivateKeyDer<'static>)> {
    let mut of_authority = CertificateParams::new([])?;
    of_authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_key = KeyPair::generate()?;
    let authority = of_authority.self_signed(&authority_key)?;
    let key = KeyPair::generate()?;
    let issuer = Issuer::from_params(&of_authority, &authority_key);
    let certificate = CertificateParams::new(["127.0.0.1".to_owned()])?.signed_by(&key, &issuer)?;
    let key = PrivateKeyDer::try_from(key.serialize_der()).map_err(anyhow::Error::msg)?;
    Ok((authority, certificate, key))
}

fn write_account(folder: &Path, authority: &Certificate) -> Result<()> {
    // Kubernetes ends none of these files with a new line; people who write them do.
    for (name, text) in [("namespace", "boards"), ("token", &format!("{TOKEN}\n")), ("ca.crt", &authority.pem())] {
        std::fs::write(folder.join(name), text).with_context(|| format!("cannot write {name}"))?;
    }
    Ok(())
}

async fn answer(cluster: Arc<Mutex<Cluster>>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let header = |name: HeaderName| parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (status, answer) = if header(AUTHORIZATION) == format!("Bearer {TOKEN}") {
        let barrier = {
            let mut cluster = cluster.lock().unwrap();
            let body = serde_json::from_slice(&body).unwrap_or_default();
            cluster.asked.push((parts.method.clone(), body));
            cluster.barrier(&parts.method)
        };
        // The lookup comes first and the wait second: both see the Secret as it was before either changes it.
        let found = cluster.lock().unwrap().answer(&parts.method, parts.uri.path(), header(CONTENT_TYPE), &body);
        if let Some(barrier) = barrier {
            barrier.wait().await;
        }
        found
    } else {
        status(401, "Unauthorized")
    };
    let mut response = Response::new(Full::from(answer.to_string()));
    *response.status_mut() = status;
    Ok(response)
}

impl Cluster {
    fn barrier(&mut self, method: &Method) -> Option<Arc<Barrier>> {
        let (barrier, left) = self.meeting.as_mut().filter(|(_, left)| *left > 0 && method == Method::GET)?;
        *left -= 1;
        Some(Arc::clone(barrier))
    }

    fn answer(&mut self, method: &Method, path: &str, content_type: &str, body: &[u8]) -> (StatusCode, Value) {
        if let Some(fault) = self.faults.pop_front() {
            return status(fault, "secrets \"credentials\" is forbidden, or the server has a bad day");
        }
        match (method.as_str(), path.strip_prefix(PATH)) {
            ("GET", Some("/credentials")) => match self.current() {
                Some(secret) => (StatusCode::OK, secret),
                None => status(404, "secrets \"credentials\" not found"),
            },
            ("POST", Some("")) if content_type == "application/json" => {
                if self.secret.is_some() {
                    return status(409, "secrets \"credentials\" already exists");
                }
                self.version += 1;
                self.secret = serde_json::from_slice(body).ok();
                (StatusCode::CREATED, self.current().unwrap_or_default())
            }
            ("PATCH", Some("/credentials")) if content_type == "application/merge-patch+json" => {
                let version = self.version.to_string();
                let change: Value = serde_json::from_slice(body).unwrap_or_default();
                let Some(secret) = &mut self.secret else { return status(404, "secrets \"credentials\" not found") };
                if change.pointer("/metadata/resourceVersion") != Some(&Value::from(version)) {
                    return status(409, "the object has been modified");
                }
                if secret["data"].is_null() {
                    secret["data"] = json!({});
                }
                for (key, value) in change["data"].as_object().into_iter().flatten() {
                    secret["data"][key] = value.clone();
                }
                self.version += 1;
                (StatusCode::OK, self.current().unwrap_or_default())
            }
            _ => status(400, "this stand-in does not know what is asked"),
        }
    }

    fn current(&self) -> Option<Value> {
        let mut secret = self.secret.clone()?;
        secret["metadata"]["resourceVersion"] = self.version.to_string().into();
        Some(secret)
    }
}

fn status(code: u16, message: &str) -> (StatusCode, Value) {
    let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "code": code});
    (StatusCode::from_u16(code).unwrap(), status)
}
