//! kubectl, as an operator uses it, and what it tells of pods.
//!
//! Knows Kubernetes, and of the chart only its labels.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::command::Program;
use crate::{
    ports,
    process::{Launch, Process, log_tail},
    scratch::Scratch,
};

/// Nothing that kubectl is told to wait for takes this long.
pub(crate) const LIMIT: Duration = Duration::from_mins(4);

/// kubectl in one namespace of the current context.
#[derive(Debug, Clone)]
pub(crate) struct Kubectl {
    program: Program,
    namespace: String,
}

/// A part of the board, by its label `app.kubernetes.io/component`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Component {
    App,
    Web,
    Postgres,
    Minio,
}

impl Component {
    pub(crate) const ALL: [Self; 4] = [Self::App, Self::Web, Self::Postgres, Self::Minio];

    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::App => "app",
            Self::Web => "web",
            Self::Postgres => "postgresql",
            Self::Minio => "minio",
        }
    }
}

/// A pod, as far as the steps need it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pod {
    pub(crate) name: String,
    pub(crate) uid: String,
    pub(crate) node: String,
    pub(crate) ready: bool,
    /// It was asked to end and has not ended yet.
    pub(crate) ending: bool,
    /// How often its containers were started again.
    pub(crate) restarts: u64,
    pub(crate) containers: Vec<String>,
}

impl Pod {
    fn read(object: &Value) -> Result<Self> {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let list = |pointer: &str| object.pointer(pointer).and_then(Value::as_array).cloned().unwrap_or_default();
        let name = text("/metadata/name");
        ensure!(!name.is_empty(), "a pod without a name: {object}");
        let statuses = [list("/status/containerStatuses"), list("/status/initContainerStatuses")].concat();
        let ready = |condition: &Value| {
            condition.get("type").and_then(Value::as_str) == Some("Ready")
                && condition.get("status").and_then(Value::as_str) == Some("True")
        };
        let containers = [list("/spec/initContainers"), list("/spec/containers")].concat();
        Ok(Self {
            name,
            uid: text("/metadata/uid"),
            node: text("/spec/nodeName"),
            ready: list("/status/conditions").iter().any(ready),
            ending: object.pointer("/metadata/deletionTimestamp").is_some(),
            restarts: statuses.iter().filter_map(|status| status.get("restartCount")?.as_u64()).sum(),
            containers: containers.iter().filter_map(|one| Some(one.get("name")?.as_str()?.to_owned())).collect(),
        })
    }
}

impl Kubectl {
    pub(crate) fn new(namespace: &str) -> Result<Self> {
        Ok(Self { program: Program::find("kubectl")?, namespace: namespace.to_owned() })
    }

    /// The same in another namespace.
    pub(crate) fn within(&self, namespace: &str) -> Self {
        Self { namespace: namespace.to_owned(), ..self.clone() }
    }

    pub(crate) fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Runs a command in the namespace.
    pub(crate) async fn run(&self, arguments: &[&str]) -> Result<String> {
        self.program.run(&[&["--namespace", &self.namespace], arguments].concat(), "", LIMIT).await
    }

    /// Runs a command and reads the JSON that it prints.
    pub(crate) async fn json(&self, arguments: &[&str]) -> Result<Value> {
        let text = self.run(&[arguments, &["--output", "json"]].concat()).await?;
        serde_json::from_str(&text).with_context(|| format!("kubectl {} prints no JSON", arguments.join(" ")))
    }

    /// The objects of a kind, those of all components or of whatever the further arguments say.
    pub(crate) async fn list(&self, arguments: &[&str]) -> Result<Vec<Value>> {
        let list = self.json(&[&["get"], arguments].concat()).await?;
        Ok(list.get("items").and_then(Value::as_array).cloned().unwrap_or_default())
    }

    /// Brings an object about.
    pub(crate) async fn apply(&self, object: &Value) -> Result<()> {
        let arguments = ["--namespace", &self.namespace, "apply", "--filename", "-"];
        self.program.run(&arguments, &object.to_string(), LIMIT).await?;
        Ok(())
    }

    /// The pods of a component, in the order of their names; not those of Jobs.
    pub(crate) async fn pods(&self, component: Component) -> Result<Vec<Pod>> {
        let selector = format!("app.kubernetes.io/name=triptych,app.kubernetes.io/component={}", component.label());
        let objects = self.list(&["pods", "--selector", &selector]).await?;
        objects.iter().map(Pod::read).collect()
    }

    /// Those of them that were not asked to end: pods of web go on serving for long after that.
    pub(crate) async fn staying(&self, component: Component) -> Result<Vec<Pod>> {
        let mut pods = self.pods(component).await?;
        pods.retain(|pod| !pod.ending);
        Ok(pods)
    }

    /// All pods of the namespace.
    pub(crate) async fn all_pods(&self) -> Result<Vec<Pod>> {
        self.list(&["pods"]).await?.iter().map(Pod::read).collect()
    }

    /// Waits until a component has this many pods, all ready, and none that is about to end.
    pub(crate) async fn settled(&self, component: Component, number: usize) -> Result<Vec<Pod>> {
        let start = Instant::now();
        loop {
            let pods = self.pods(component).await?;
            if pods.len() == number && pods.iter().all(|pod| pod.ready && !pod.ending) {
                return Ok(pods);
            }
            let seen: Vec<String> = pods
                .iter()
                .map(|pod| {
                    let state = if pod.ending {
                        "ending"
                    } else if pod.ready {
                        "ready"
                    } else {
                        "not ready"
                    };
                    format!("{} {state}", pod.name)
                })
                .collect();
            ensure!(
                start.elapsed() < LIMIT,
                "there are not {number} ready pods of {} after {LIMIT:?}: {}",
                component.label(),
                seen.join(", ")
            );
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    /// The names of all nodes, and whether anything may be scheduled on each.
    pub(crate) async fn nodes(&self) -> Result<BTreeMap<String, Node>> {
        let objects = self.list(&["nodes"]).await?;
        let nodes = objects.iter().map(|object| {
            let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
            let list = |pointer: &str| object.pointer(pointer).and_then(Value::as_array).cloned().unwrap_or_default();
            let addresses = list("/status/addresses");
            let internal = addresses.iter().filter(|address| text(address.get("type")) == "InternalIP");
            let tainted = list("/spec/taints").iter().any(|taint| text(taint.get("effect")) != "PreferNoSchedule");
            let node = Node {
                addresses: internal.map(|address| text(address.get("address"))).collect(),
                pod_networks: list("/spec/podCIDRs").iter().map(|network| text(Some(network))).collect(),
                takes_pods: !tainted && object.pointer("/spec/unschedulable").is_none(),
            };
            (text(object.pointer("/metadata/name")), node)
        });
        Ok(nodes.collect())
    }

    /// Opens the API server to requests without credentials, on this machine.
    pub(crate) async fn proxy(&self) -> Result<Proxy> {
        let (scratch, port) = (Scratch::new("proxy")?, ports::free()?);
        let log = scratch.join("proxy.log");
        let launch = Launch::new(self.program.path()).args(["proxy", "--port", &port.to_string()]);
        // As for every other kubectl: a kubeconfig may name programs that need it.
        let launch = std::env::vars_os().fold(launch, |launch, (name, value)| launch.env(name, value));
        let process = launch.start(&log)?;
        let address = format!("127.0.0.1:{port}");
        let start = Instant::now();
        while tokio::net::TcpStream::connect(&address).await.is_err() {
            let there = process.exited()?.is_none() && start.elapsed() < LIMIT;
            ensure!(there, "kubectl proxy does not listen\n{}", log_tail(&log));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(Proxy { address, _process: process, _scratch: scratch })
    }
}

/// A node, as far as the steps need it.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) addresses: Vec<String>,
    pub(crate) pod_networks: Vec<String>,
    pub(crate) takes_pods: bool,
}

/// A running `kubectl proxy`; it ends with this value.
#[derive(Debug)]
pub(crate) struct Proxy {
    /// Where it listens, as `address:port`.
    pub(crate) address: String,
    _process: Process,
    _scratch: Scratch,
}
