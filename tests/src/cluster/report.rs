//! Why a step failed: what the cluster says about the pods, and what the pods say themselves.

use std::{fmt::Write as _, time::Duration};

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{
    command::last_lines,
    kubectl::{Kubectl, Pod},
    logs::{Logs, complains},
};

/// Lines of the log of one container.
const LOG_LINES: usize = 15;
const EVENTS: usize = 40;

/// All that explains what went wrong within the last time.
pub(super) async fn explain(kubectl: &Kubectl, gone: &Logs, last: Duration) -> String {
    let mut text = String::from("---- why, as far as the cluster knows\n");
    section(&mut text, "pods", kubectl.run(&["get", "pods", "--output", "wide"]).await);
    let began = Utc::now() - last - Duration::from_secs(5);
    section(&mut text, "events", events(kubectl, began).await);
    let pods = kubectl.all_pods().await.unwrap_or_default();
    for pod in pods.iter().filter(|pod| !pod.ready) {
        let described = kubectl.run(&["describe", "pod", &pod.name]).await;
        // The end of it tells states and events; the beginning is known.
        section(&mut text, &format!("{} is not ready", pod.name), described.map(|all| last_lines(&all, LOG_LINES)));
    }
    let since = format!("--since={}s", last.as_secs() + 5);
    for pod in &pods {
        logs(&mut text, kubectl, pod, &since).await;
    }
    for (whose, lines) in gone.take() {
        if !pods.iter().any(|pod| whose.starts_with(&format!("{} ", pod.name))) {
            let lines: Vec<String> = lines.into_iter().collect();
            section(&mut text, &format!("last complaints of {whose}, which is gone"), Ok(lines.join("\n")));
        }
    }
    controllers(&mut text, kubectl, &since).await;
    text.push_str("----");
    text
}

/// What every container of a pod complained about, and what those said that ended before them.
async fn logs(text: &mut String, kubectl: &Kubectl, pod: &Pod, since: &str) {
    for container in &pod.containers {
        let log = kubectl.run(&["logs", &pod.name, "--container", container, since]).await;
        section(text, &format!("log of {} {container}", pod.name), log.map(|log| complaints(&log)));
        if pod.restarts > 0 {
            let log = kubectl.run(&["logs", &pod.name, "--container", container, "--previous"]).await;
            if let Ok(log) = log {
                section(
                    text,
                    &format!("log of {} {container}, before it was restarted", pod.name),
                    Ok(last_lines(&log, LOG_LINES)),
                );
            }
        }
    }
}

/// The controllers of the Ingress, wherever they are.
async fn controllers(text: &mut String, kubectl: &Kubectl, since: &str) {
    let pods = kubectl.list(&["pods", "--all-namespaces"]).await.unwrap_or_default();
    for pod in &pods {
        let field = |name: &str| pod.pointer(name).and_then(Value::as_str).unwrap_or_default();
        let (name, namespace) = (field("/metadata/name"), field("/metadata/namespace"));
        if name.contains("ingress") && namespace != kubectl.namespace() {
            let log = kubectl.within(namespace).run(&["logs", name, since]).await;
            section(text, &format!("log of {namespace}/{name}"), log.map(|log| complaints(&log)));
        }
    }
}

/// What happened to objects since a time, told with the time so that it can be compared with failed requests.
async fn events(kubectl: &Kubectl, since: DateTime<Utc>) -> anyhow::Result<String> {
    // These only say that pods are made as pods are.
    const USUAL: [&str; 6] = ["Pulled", "Created", "Started", "Scheduled", "SuccessfulCreate", "SuccessfulDelete"];
    let mut told = Vec::new();
    for event in kubectl.list(&["events"]).await? {
        let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let times = ["/series/lastObservedTime", "/lastTimestamp", "/eventTime", "/firstTimestamp"];
        let time = times.iter().find_map(|time| text(time).parse::<DateTime<Utc>>().ok()).unwrap_or_default();
        if time >= since && !USUAL.contains(&text("/reason")) {
            let object = format!("{}/{}", text("/involvedObject/kind"), text("/involvedObject/name"));
            let line = format!("{} {object} {}: {}", time.format("%H:%M:%S"), text("/reason"), text("/message"));
            told.push((time, line));
        }
    }
    told.sort();
    let lines: Vec<String> = told.into_iter().map(|(_, line)| line).collect();
    Ok(last_lines(&lines.join("\n"), EVENTS))
}

fn section(text: &mut String, title: &str, content: anyhow::Result<String>) {
    let content = content.unwrap_or_else(|error| format!("{error:#}"));
    if !content.trim().is_empty() {
        let _ = writeln!(text, "== {title}\n{}", content.trim_end());
    }
}

/// The lines of a log that are not about things as they should be.
fn complaints(log: &str) -> String {
    let lines: Vec<&str> = log.lines().filter(|line| complains(line)).collect();
    last_lines(&lines.join("\n"), LOG_LINES)
}
