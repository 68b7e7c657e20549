//! The API server of the cluster that this pod runs in, as far as Secrets go: look, make, add keys.
//!
//! Trusts the cluster's own certificate authority and nothing else. Decides nothing and repeats nothing; says of every
//! failure whether it may pass.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::{Client, RequestBuilder, StatusCode};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::config::Lookup;

/// What is said about a Secret without telling what is in it.
pub(super) struct Secret {
    /// Changes with every change; a change that names another one is refused.
    pub(super) version: String,
    /// The keys whose values are not empty.
    pub(super) filled: BTreeSet<String>,
}

/// Why something was not done.
#[derive(Debug)]
pub(super) enum ApiFailure {
    /// The same may work a little later: the server is busy or cannot be reached, or somebody was faster.
    Passing(String),
    /// It will not.
    Final(String),
}

/// What the API server sends; of metadata and values only what is needed.
#[derive(Deserialize)]
struct Document {
    metadata: Metadata,
    #[serde(default)]
    data: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    resource_version: String,
}

/// What the API server sends instead of what was asked for.
#[derive(Deserialize)]
struct Status {
    message: String,
}

/// A client for the Secrets of one namespace.
pub(super) struct Cluster {
    client: Client,
    /// `https://10.96.0.1:443/api/v1/namespaces/board/secrets`
    secrets: String,
    namespace: String,
    token: SecretString,
}

impl Cluster {
    /// From what every pod finds in its environment and in the folder of its service account.
    pub(super) fn of_this_pod(environment: Lookup<'_>, account: &Path) -> anyhow::Result<Self> {
        let variable = |name: &str| {
            environment(name)
                .filter(|value| !value.is_empty())
                .with_context(|| format!("{name} is not set: this command runs in a pod of Kubernetes"))
        };
        let (host, port) = (variable("KUBERNETES_SERVICE_HOST")?, variable("KUBERNETES_SERVICE_PORT")?);
        let file = |name: &str| {
            let path = account.join(name);
            std::fs::read_to_string(&path).with_context(|| {
                let path = path.display();
                format!("{path} cannot be read; does the pod mount the token of its service account?")
            })
        };
        let namespace = file("namespace")?.trim().to_owned();
        let token = SecretString::from(file("token")?.trim().to_owned());
        let authority = reqwest::Certificate::from_pem_bundle(file("ca.crt")?.as_bytes())
            .ok()
            .filter(|certificates| !certificates.is_empty())
            .with_context(|| format!("{} holds no certificate", account.join("ca.crt").display()))?;
        let client = Client::builder()
            // Kubernetes notes it as who made the keys.
            .user_agent(concat!("triptych/", env!("CARGO_PKG_VERSION")))
            .tls_certs_only(authority)
            .https_only(true)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(Duration::from_secs(5))
            .timeout(Duration::from_secs(15))
            .build()
            .context("cannot make an HTTP client")?;
        let secrets = format!("https://{}:{port}/api/v1/namespaces/{namespace}/secrets", bracketed(&host));
        Ok(Self { client, secrets, namespace, token })
    }

    pub(super) fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The Secret, if there is one.
    pub(super) async fn get(&self, name: &str) -> Result<Option<Secret>, ApiFailure> {
        let what = format!("looking for the Secret {name}");
        let (status, body) = self.send(self.client.get(format!("{}/{name}", self.secrets)), &what).await?;
        match status {
            StatusCode::NOT_FOUND => Ok(None),
            StatusCode::OK => {
                // What the parser says may repeat a value.
                let document: Document = serde_json::from_slice(&body)
                    .map_err(|_| ApiFailure::Final(format!("{what}: the answer is no Secret")))?;
                let data = document.data.unwrap_or_default();
                let filled = data.into_iter().filter(|(_, value)| !value.is_empty()).map(|(key, _)| key).collect();
                Ok(Some(Secret { version: document.metadata.resource_version, filled }))
            }
            status => Err(self.failure(&what, name, status, &body)),
        }
    }

    /// Makes the Secret; passing if somebody made it a moment ago.
    pub(super) async fn create(
        &self,
        name: &str,
        labels: &BTreeMap<String, String>,
        annotations: &BTreeMap<String, String>,
        values: &BTreeMap<String, SecretString>,
    ) -> Result<(), ApiFailure> {
        let secret = json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name, "labels": labels, "annotations": annotations},
            "type": "Opaque",
            "data": encoded(values),
        });
        let request = self.client.post(&self.secrets).header(CONTENT_TYPE, "application/json").body(secret.to_string());
        let what = format!("making the Secret {name}");
        let (status, body) = self.send(request, &what).await?;
        if status.is_success() { Ok(()) } else { Err(self.failure(&what, name, status, &body)) }
    }

    /// Sets keys; passing if the Secret is not what `version` names any more.
    pub(super) async fn add(
        &self,
        name: &str,
        version: &str,
        values: &BTreeMap<String, SecretString>,
    ) -> Result<(), ApiFailure> {
        let patch = json!({"metadata": {"resourceVersion": version}, "data": encoded(values)});
        let request = self
            .client
            .patch(format!("{}/{name}", self.secrets))
            .header(CONTENT_TYPE, "application/merge-patch+json")
            .body(patch.to_string());
        let what = format!("adding keys to the Secret {name}");
        match self.send(request, &what).await? {
            (status, _) if status.is_success() => Ok(()),
            (StatusCode::NOT_FOUND, _) => Err(ApiFailure::Passing(format!("{what}: somebody has just deleted it"))),
            (status, body) => Err(self.failure(&what, name, status, &body)),
        }
    }

    async fn send(&self, request: RequestBuilder, what: &str) -> Result<(StatusCode, Vec<u8>), ApiFailure> {
        let request = request.bearer_auth(self.token.expose_secret()).header(ACCEPT, "application/json");
        let answer = async {
            let answer = request.send().await?;
            Ok((answer.status(), answer.bytes().await?.to_vec()))
        };
        answer
            .await
            .map_err(|error: reqwest::Error| ApiFailure::Passing(format!("{what}: {:#}", anyhow::Error::from(error))))
    }

    fn failure(&self, what: &str, name: &str, status: StatusCode, body: &[u8]) -> ApiFailure {
        let message = serde_json::from_slice::<Status>(body).map(|status| status.message).unwrap_or_default();
        let told = format!("{what} in namespace {}: the API server answers {status}: {message}", self.namespace);
        match status {
            StatusCode::CONFLICT => ApiFailure::Passing(format!("{what}: somebody else did so at the same moment")),
            StatusCode::TOO_MANY_REQUESTS => ApiFailure::Passing(told),
            status if status.is_server_error() => ApiFailure::Passing(told),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => ApiFailure::Final(format!(
                "{told}\nThe service account of this pod needs a Role in this namespace with two rules for secrets: \
                 verb create; and verbs get and patch on the name {name}."
            )),
            _ => ApiFailure::Final(told),
        }
    }
}

fn encoded(values: &BTreeMap<String, SecretString>) -> Map<String, Value> {
    let encode = |value: &SecretString| Value::from(BASE64_STANDARD.encode(value.expose_secret()));
    values.iter().map(|(key, value)| (key.clone(), encode(value))).collect()
}

/// IPv6 addresses stand in brackets in a URL.
fn bracketed(host: &str) -> String {
    if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_address_stands_in_brackets() {
        assert_eq!(bracketed("10.96.0.1"), "10.96.0.1");
        assert_eq!(bracketed("fd00:10:96::1"), "[fd00:10:96::1]");
        assert_eq!(bracketed("[fd00:10:96::1]"), "[fd00:10:96::1]");
    }
}
