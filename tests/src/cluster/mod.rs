//! The system test for a cluster: installs the chart in a namespace of its own and does to it what happens to a board
//! in the years of its life, while people post, read, and keep event streams open.
//!
//! It drives `kubectl` and `helm` as an operator does and visits the board as a browser does. One file of [`steps`] for
//! each thing that happens; what went wrong is explained by [`report`]. Nothing here knows which cluster it is.

mod board;
mod client;
mod command;
mod helm;
mod kubectl;
mod ledger;
mod load;
mod logs;
mod processes;
mod report;
mod slow_uploads;
mod steps;
mod streams;

use std::{
    collections::BTreeMap,
    io::{self, Write as _},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use clap::Parser;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use board::Board;
use helm::Helm;
use kubectl::{Kubectl, Pod, Proxy};
use logs::Logs;
pub use steps::Step;

/// The release.
const RELEASE: &str = "board";
/// How the names of its objects begin.
const FULL: &str = "board-triptych";
/// Far more than any step takes.
const STEP_LIMIT: Duration = Duration::from_mins(8);
/// On the namespaces that this test has made, and may delete, and on the pods in them.
const OWN: (&str, &str) = ("triptych-test", "cluster");

/// Tests the board on the cluster of the current kube-context.
#[derive(Debug, Clone, Parser)]
pub struct Options {
    /// Repository of the application's image.
    #[arg(long, env = "REPOSITORY", default_value = "triptych")]
    pub repository: String,
    /// Repository of the web server's image.
    #[arg(long, env = "WEB_REPOSITORY", default_value = "triptych-web")]
    pub web_repository: String,
    /// Tag of both images.
    #[arg(long, env = "TAG")]
    pub tag: String,
    /// The board's host name.
    #[arg(long, env = "HOST", default_value = "triptych-test.localhost")]
    pub host: String,
    /// Where the Ingress listens, as `address:port`.
    #[arg(long, env = "INGRESS", default_value = "127.0.0.1:8080")]
    pub ingress: String,
    /// A namespace for the test; made and deleted by it.
    #[arg(long, env = "NAMESPACE", default_value = "triptych-test")]
    pub namespace: String,
    /// The chart: a directory or a package.
    #[arg(long, env = "CHART", default_value = "helm/triptych")]
    pub chart: String,
    /// The chart of the release before, to upgrade from; without it, the same chart with other settings.
    #[arg(long, env = "PREVIOUS_CHART")]
    pub previous_chart: Option<String>,
    /// Tag of the images of the release before; without it, the images under test with the chart of before.
    #[arg(long, env = "PREVIOUS_TAG")]
    pub previous_tag: Option<String>,
    /// Leave everything as it is, to look at it: KEEP=1.
    #[arg(long, env = "KEEP", value_parser = clap::builder::FalseyValueParser::new(), default_value = "false", num_args = 0..=1, default_missing_value = "true")]
    pub keep: bool,
    /// Steps that cannot be done on this cluster are no failure: INCOMPLETE=1.
    #[arg(long, env = "INCOMPLETE", value_parser = clap::builder::FalseyValueParser::new(), default_value = "false", num_args = 0..=1, default_missing_value = "true")]
    pub incomplete: bool,
    /// Only these steps, on what an earlier run with KEEP=1 has left.
    #[arg(long, env = "ONLY", value_enum, value_delimiter = ',')]
    pub only: Vec<Step>,
}

impl Options {
    /// An empty name is none: that is how make says so.
    fn previous_chart(&self) -> Option<&str> {
        self.previous_chart.as_deref().filter(|chart| !chart.is_empty())
    }

    fn previous_tag(&self) -> Option<&str> {
        self.previous_tag.as_deref().filter(|tag| !tag.is_empty())
    }

    /// What a browser says as `Host`, and has behind `http://` in its address line.
    fn authority(&self) -> String {
        match self.ingress.rsplit_once(':') {
            Some((_, port)) if port != "80" => format!("{}:{port}", self.host),
            _ => self.host.clone(),
        }
    }
}

/// What the steps share.
#[derive(Debug)]
struct Test {
    options: Options,
    kubectl: Kubectl,
    helm: Helm,
    board: Board,
    /// What the release was installed or upgraded with last.
    values: Value,
    /// A node that takes no pods because of us.
    drained: Option<String>,
    /// What pods have complained about.
    logs: Logs,
    _listening: JoinSet<()>,
    /// Where the board answers by pod address; it ends with the test.
    _proxy: Proxy,
}

impl Test {
    async fn new(mut options: Options) -> Result<Self> {
        let kubectl = Kubectl::new(&options.namespace)?;
        let helm = Helm::new(&options.namespace, RELEASE)?;
        options.chart = helm.package(&options.chart).await?;
        let proxy = kubectl.proxy().await?;
        let board = Board::new(&options.ingress, &options.authority(), &proxy.address, &options.namespace);
        let values = values(&options, &kubectl).await?;
        let (logs, listening) = Logs::follow(&proxy.address, &options.namespace);
        let drained = None;
        Ok(Self { options, kubectl, helm, board, values, drained, logs, _listening: listening, _proxy: proxy })
    }
}

/// What the release is installed with: small requests, and pods that can be read by their address.
async fn values(options: &Options, kubectl: &Kubectl) -> Result<Value> {
    let nodes = kubectl.nodes().await?;
    // The API server asks pods from its node's address, or from the one that its node has in the network of the pods.
    let mut peers: Vec<String> = nodes.values().flat_map(|node| node.addresses.iter().map(|one| alone(one))).collect();
    for network in nodes.values().flat_map(|node| &node.pod_networks) {
        peers.extend(first_addresses(network)?);
    }
    let peers: Vec<Value> = peers.into_iter().map(|cidr| json!({"ipBlock": {"cidr": cidr}})).collect();
    let small = json!({"requests": {"cpu": "25m", "memory": "64Mi"}});
    // The two with volumes on one node, so that another can be drained.
    let beside_postgres = json!({"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{
        "topologyKey": "kubernetes.io/hostname",
        "labelSelector": {"matchLabels": {
            "app.kubernetes.io/instance": RELEASE, "app.kubernetes.io/component": "postgresql",
        }},
    }]}});
    Ok(json!({
        // Pods of this board and of no other, for what is done to all pods of a node.
        "commonLabels": {OWN.0: OWN.1},
        "traffic": {"page": "public"},
        "title": "Before",
        "publicUrl": format!("http://{}", options.authority()),
        "app": {
            "image": {"repository": options.repository, "tag": options.tag},
            "replicas": 3,
            "resources": small,
        },
        "web": {
            "image": {"repository": options.web_repository, "tag": options.tag},
            "replicas": 2,
            "resources": small,
            // As long as the slow uploads of the test, rather than of anybody.
            "preStopSleepSeconds": 60,
        },
        "postgresql": {"resources": small},
        "minio": {"resources": small, "affinity": beside_postgres},
        "ingress": {"host": options.host},
        "networkPolicy": {"app": {"extraFrom": peers}},
    }))
}

/// The network of one address.
fn alone(address: &str) -> String {
    format!("{address}/{}", if address.contains(':') { 128 } else { 32 })
}

/// The addresses of the node itself in its network of pods: the first one, or that of the network.
fn first_addresses(network: &str) -> Result<[String; 2]> {
    let (base, _) = network.split_once('/').with_context(|| format!("{network} is no network"))?;
    let base: std::net::IpAddr = base.parse().with_context(|| format!("{network} is no network"))?;
    let next = match base {
        std::net::IpAddr::V4(base) => std::net::Ipv4Addr::from(u32::from(base) + 1).to_string(),
        std::net::IpAddr::V6(base) => std::net::Ipv6Addr::from(u128::from(base) + 1).to_string(),
    };
    Ok([alone(&base.to_string()), alone(&next)])
}

/// How many steps went how.
#[derive(Debug, Default)]
struct Score {
    passed: usize,
    failed: usize,
    not_run: usize,
}

/// Runs the test; answers whether everything passed. `stop` comes back when the test shall end: first in good order, the
/// second time at once.
pub async fn run(options: Options, mut stop: impl AsyncFnMut()) -> Result<bool> {
    let (keep, started) = (options.keep, Instant::now());
    let mut test = Test::new(options).await?;
    test.may_use_the_namespace().await?;
    let nodes = test.kubectl.nodes().await?.len();
    say(format_args!("{nodes} nodes, images of tag {}, http://{}", test.options.tag, test.options.authority()));
    let mut score = Score::default();
    tokio::select! {
        () = run_steps(&mut test, &mut score) => {}
        () = stop() => {
            say(format_args!("Stopped. Once more stops without cleaning up."));
            score.failed += 1;
        }
    }
    test.give_back_the_node().await;
    if keep {
        say(format_args!("Everything is left as it is: kubectl --namespace {} get all", test.options.namespace));
    } else {
        tokio::select! {
            outcome = perform(&mut test, Step::CleanUp) => score.count(outcome),
            () = stop() => {
                say(format_args!("Stopped. The namespaces {} may be left.", test.namespaces().join(", ")));
                score.failed += 1;
            }
        }
    }
    say(format_args!("{} s", started.elapsed().as_secs()));
    say(format_args!("{} passed, {} failed, {} not run", score.passed, score.failed, score.not_run));
    Ok(score.failed == 0 && (score.not_run == 0 || test.options.incomplete))
}

async fn run_steps(test: &mut Test, score: &mut Score) {
    for step in Step::ALL {
        let chosen = test.options.only.is_empty() || test.options.only.contains(&step);
        if step == Step::CleanUp || !chosen {
            continue;
        }
        let outcome = perform(test, step).await;
        let failed = outcome == Outcome::Failed;
        score.count(outcome);
        if failed && step == Step::Install {
            say(format_args!("Without a board there is nothing more to test."));
            break;
        }
    }
}

/// How a step went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Passed,
    Failed,
    NotRun,
}

impl Score {
    fn count(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Passed => self.passed += 1,
            Outcome::Failed => self.failed += 1,
            Outcome::NotRun => self.not_run += 1,
        }
    }
}

/// Runs a step, says how it went, and explains a failure.
async fn perform(test: &mut Test, step: Step) -> Outcome {
    let start = Instant::now();
    // Of before.
    test.logs.take();
    let running = async {
        let before = test.kubectl.all_pods().await.unwrap_or_default();
        let measured = step.run(test).await?;
        test.judge_pods(step, &before).await?;
        Ok(measured)
    };
    let result = tokio::time::timeout(STEP_LIMIT, running).await;
    let result = result.with_context(|| format!("not finished after {STEP_LIMIT:?}")).flatten();
    test.give_back_the_node().await;
    let took = start.elapsed();
    match result {
        Ok(Some(measured)) => {
            tell(step, "passed", took, &measured);
            Outcome::Passed
        }
        Ok(None) => {
            tell(step, "not run", took, step.why_not());
            Outcome::NotRun
        }
        Err(error) => {
            tell(step, "FAILED", took, &format!("{error:#}"));
            say(format_args!("{}", report::explain(&test.kubectl, &test.logs, took).await));
            Outcome::Failed
        }
    }
}

fn tell(step: Step, how: &str, took: Duration, text: &str) {
    say(format_args!("{how:7} {:>4} s  {}: {text}", took.as_secs(), step.title()));
}

/// A closed terminal is no reason to stop before everything is cleaned up.
fn say(text: std::fmt::Arguments<'_>) {
    let _ = writeln!(io::stdout(), "{text}");
}

impl Test {
    /// Refuses a namespace of somebody else, and clears away what an earlier run has left.
    async fn may_use_the_namespace(&self) -> Result<()> {
        let adopts = !self.options.only.is_empty() && !self.options.only.contains(&Step::Install);
        for namespace in self.namespaces() {
            let found = self.kubectl.json(&["get", "namespace", &namespace, "--ignore-not-found"]).await;
            // Of what is not there, nothing is printed.
            let Ok(found) = found else { continue };
            let own = found.pointer(&format!("/metadata/labels/{}", OWN.0)).and_then(Value::as_str) == Some(OWN.1);
            ensure!(own, "the namespace {namespace} is there and is not of this test; NAMESPACE names another one");
            if !adopts {
                say(format_args!("Removing the namespace {namespace} of an earlier run"));
                self.kubectl.run(&["delete", "namespace", &namespace, "--wait"]).await?;
            }
        }
        Ok(())
    }

    /// No step may make a program panic, and none but the one that kills them may make a container start again.
    async fn judge_pods(&self, step: Step, before: &[Pod]) -> Result<()> {
        let panics = self.logs.take_panics();
        ensure!(panics.is_empty(), "a program panicked: {}", panics.join("\n  "));
        if step == Step::Kill || step == Step::CleanUp {
            return Ok(());
        }
        let known: BTreeMap<&str, u64> = before.iter().map(|pod| (pod.uid.as_str(), pod.restarts)).collect();
        let after = self.kubectl.all_pods().await?;
        let restarted = after.iter().filter(|pod| pod.restarts > known.get(pod.uid.as_str()).copied().unwrap_or(0));
        let restarted: Vec<&str> = restarted.map(|pod| pod.name.as_str()).collect();
        ensure!(restarted.is_empty(), "containers were started again in {}", restarted.join(", "));
        Ok(())
    }

    /// Lets a node that was drained take pods again, whatever became of the step that had drained it.
    async fn give_back_the_node(&mut self) {
        if let Some(node) = self.drained.take()
            && let Err(error) = self.kubectl.run(&["uncordon", &node]).await
        {
            say(format_args!("The node {node} is still cordoned: {error:#}"));
        }
    }

    /// The namespace of the board, that of the board that cannot start, and that of what works on the nodes.
    fn namespaces(&self) -> [String; 3] {
        [self.options.namespace.clone(), self.unreachable_namespace(), self.nodes_namespace()]
    }

    fn unreachable_namespace(&self) -> String {
        format!("{}-unreachable", self.options.namespace)
    }

    fn nodes_namespace(&self) -> String {
        format!("{}-nodes", self.options.namespace)
    }

    /// Makes a namespace whose pods have to satisfy this Pod Security Standard.
    async fn make_namespace(&self, name: &str, standard: &str) -> Result<()> {
        let labels = json!({OWN.0: OWN.1, "pod-security.kubernetes.io/enforce": standard});
        let namespace = json!({
            "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels},
        });
        self.kubectl.apply(&namespace).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_known_by_its_addresses_in_the_network_of_its_pods() {
        assert_eq!(first_addresses("10.244.3.0/24").unwrap(), ["10.244.3.0/32", "10.244.3.1/32"]);
        assert_eq!(first_addresses("fd00:10:244::/64").unwrap(), ["fd00:10:244::/128", "fd00:10:244::1/128"]);
    }

    #[test]
    fn the_port_is_part_of_the_address_unless_it_goes_without_saying() {
        for (ingress, authority) in [("127.0.0.1:8080", "board.example:8080"), ("10.0.0.1:80", "board.example")] {
            let options =
                Options::parse_from(["cluster", "--tag", "1", "--host", "board.example", "--ingress", ingress]);
            assert_eq!(options.authority(), authority);
        }
    }
}
