//! What pods complain about, kept while they live: nobody can ask a pod that is gone.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::Result;
use http_body_util::BodyExt as _;
use hyper::StatusCode;
use serde_json::Value;
use tokio::task::JoinSet;

use super::client::{Ask, Client};

/// How often new pods are looked for.
const PAUSE: Duration = Duration::from_secs(2);
/// Lines that are kept of each container.
const KEPT: usize = 30;

/// The last complaints, by pod and container.
#[derive(Debug, Clone, Default)]
pub(crate) struct Logs {
    lines: Arc<Mutex<BTreeMap<String, VecDeque<String>>>>,
    panics: Arc<Mutex<Vec<String>>>,
}

impl Logs {
    /// Listens to all pods of a namespace, by way of `kubectl proxy`, for as long as the set of tasks lives.
    pub(crate) fn follow(proxy: &str, namespace: &str) -> (Self, JoinSet<()>) {
        let (logs, mut tasks) = (Self::default(), JoinSet::new());
        tasks.spawn(watch(logs.clone(), Client::new(proxy, proxy), namespace.to_owned()));
        (logs, tasks)
    }

    /// What has been kept since it was last asked for.
    pub(crate) fn take(&self) -> BTreeMap<String, VecDeque<String>> {
        std::mem::take(&mut *self.lines.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The panics since they were last asked for.
    pub(crate) fn take_panics(&self) -> Vec<String> {
        std::mem::take(&mut *self.panics.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn keep(&self, whose: &str, line: &str) {
        if !complains(line) {
            return;
        }
        if line.contains("panicked") || line.contains("panic!") {
            let panic = format!("{whose}: {line}");
            self.panics.lock().unwrap_or_else(PoisonError::into_inner).push(panic);
        }
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = lines.entry(whose.to_owned()).or_default();
        if kept.len() == KEPT {
            kept.pop_front();
        }
        kept.push_back(line.chars().take(400).collect());
    }
}

/// Starts to listen to every container when it is first seen.
async fn watch(logs: Logs, mut client: Client, namespace: String) {
    let (mut known, mut listening) = (BTreeSet::new(), JoinSet::new());
    let pods = Ask::json(&format!("/api/v1/namespaces/{namespace}/pods"));
    loop {
        // What cannot be asked now is asked in a moment.
        if let Ok(answer) = client.must(&pods, StatusCode::OK).await {
            for (pod, container) in containers(&answer.json().unwrap_or_default()) {
                if known.insert((pod.clone(), container.clone())) {
                    let follow = "follow=true&timestamps=true";
                    let path = format!("/api/v1/namespaces/{namespace}/pods/{pod}/log?container={container}&{follow}");
                    listening.spawn(listen(logs.clone(), client.another(), path, format!("{pod} {container}")));
                }
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// The containers that have begun to run, as pod and name.
fn containers(pods: &Value) -> Vec<(String, String)> {
    let list = |object: &Value, pointer: &str| object.pointer(pointer).and_then(Value::as_array).cloned();
    let mut found = Vec::new();
    for pod in list(pods, "/items").unwrap_or_default() {
        let name = pod.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
        let statuses = ["/status/initContainerStatuses", "/status/containerStatuses"];
        for status in statuses.into_iter().filter_map(|which| list(&pod, which)).flatten() {
            let begun = status.pointer("/state/waiting").is_none();
            if let Some(container) = status.get("name").and_then(Value::as_str).filter(|_| begun) {
                found.push((name.to_owned(), container.to_owned()));
            }
        }
    }
    found
}

async fn listen(logs: Logs, mut client: Client, path: String, whose: String) {
    // A pod that is gone has said all that it had to say.
    let _: Result<()> = async {
        let mut body = client.stream(&Ask::json(&path)).await?;
        let mut rest = Vec::new();
        while let Some(frame) = body.frame().await {
            rest.extend(frame?.into_data().unwrap_or_default());
            while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = rest.drain(..=end).collect();
                logs.keep(&whose, String::from_utf8_lossy(&line).trim_end());
            }
        }
        Ok(())
    }
    .await;
}

/// Whether a line is about something that is not as it should be.
pub(crate) fn complains(line: &str) -> bool {
    let usual = ["\"level\":\"INFO\"", "\"level\":\"DEBUG\"", "[notice]"];
    let told_as_usual = usual.iter().any(|usual| line.contains(usual));
    let answered = line.contains("\"upstream\"") || line.contains("\"cache\"");
    let well = (2..4).any(|class| line.contains(&format!("\"status\":{class}")));
    !(told_as_usual || answered && well)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_complaints_are_kept_and_only_the_last_of_them() {
        let logs = Logs::default();
        logs.keep("web", "{\"status\":200,\"cache\":\"HIT\"}");
        logs.keep("app", "{\"level\":\"INFO\",\"status\":500}");
        for number in 0..=KEPT {
            logs.keep("app", &format!("{{\"level\":\"WARN\",\"number\":{number}}}"));
        }
        logs.keep("web", "{\"status\":502,\"cache\":\"\"}");
        let kept = logs.take();
        assert_eq!(kept.get("web").unwrap(), &["{\"status\":502,\"cache\":\"\"}"]);
        assert_eq!(kept.get("app").unwrap().len(), KEPT);
        assert_eq!(kept.get("app").unwrap().front().unwrap(), "{\"level\":\"WARN\",\"number\":1}");
        assert!(logs.take().is_empty());
        assert!(logs.take_panics().is_empty());
        let panic = "{\"level\":\"ERROR\",\"message\":\"panicked\"}";
        logs.keep("app", panic);
        assert_eq!(logs.take_panics(), [format!("app: {panic}")]);
    }
}
