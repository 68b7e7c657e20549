//! Processes of pods, killed on their nodes as the kernel kills them: nothing that they could obey comes before.
//!
//! Kubernetes has no command for that: a pod that is deleted without grace is still told a second before. So a privileged pod
//! stands on each node and looks for processes by the pod whose control group they are in.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::{
    Test,
    kubectl::{Component, Kubectl, Pod},
};

/// All processes called `$2` in the control groups of the pod `$1`. There has to be one.
const KILL: &str = r#"killed=0
for process in /proc/[0-9]*; do
    if grep -q "pod$1" "$process/cgroup" 2> /dev/null && [ "$(cat "$process/comm" 2> /dev/null)" = "$2" ]; then
        kill -9 "${process#/proc/}" && killed=1
    fi
done
[ "$killed" = 1 ]"#;

/// The privileged pods, by node.
#[derive(Debug)]
pub(crate) struct Processes {
    kubectl: Kubectl,
    agents: BTreeMap<String, String>,
}

impl Processes {
    /// Puts a pod on every node, in a namespace of its own. Its image is that of Postgres, which is there and has a shell.
    pub(crate) async fn new(test: &Test) -> Result<Self> {
        let namespace = test.nodes_namespace();
        test.make_namespace(&namespace, "privileged").await?;
        let postgres =
            test.kubectl.list(&["statefulsets", "--selector", "app.kubernetes.io/component=postgresql"]).await?;
        let image = postgres.first().and_then(|set| set.pointer("/spec/template/spec/containers/0/image"));
        let image = image.and_then(Value::as_str).context("there is no Postgres")?;
        let kubectl = test.kubectl.within(&namespace);
        let mut agents = BTreeMap::new();
        for (number, node) in test.kubectl.nodes().await?.into_keys().enumerate() {
            let name = format!("processes-{number}");
            kubectl
                .apply(&json!({
                    "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
                    "spec": {
                        "nodeName": node,
                        "hostPID": true,
                        "automountServiceAccountToken": false,
                        "terminationGracePeriodSeconds": 0,
                        "tolerations": [{"operator": "Exists"}],
                        "containers": [{
                            "name": "processes", "image": image, "imagePullPolicy": "IfNotPresent",
                            "command": ["sleep", "3600"],
                            "securityContext": {"privileged": true, "runAsUser": 0},
                        }],
                    },
                }))
                .await?;
            agents.insert(node, name);
        }
        kubectl.run(&["wait", "--for=condition=Ready", "pod", "--all", "--timeout=2m"]).await?;
        Ok(Self { kubectl, agents })
    }

    /// `kill -9` for all processes of a pod that have this name.
    pub(crate) async fn kill(&self, pod: &Pod, name: &str) -> Result<()> {
        let agent = self.agents.get(&pod.node).with_context(|| format!("no agent is on the node of {}", pod.name))?;
        // Where systemd makes the groups, it writes them with other dashes.
        let uid = pod.uid.replace('-', "[-_]");
        let killing = ["exec", agent, "--", "sh", "-c", KILL, "sh", &uid, name];
        self.kubectl.run(&killing).await.with_context(|| format!("killing {name} of {}", pod.name))?;
        Ok(())
    }

    /// Whether one of the pods can connect to a port of an address. They have nothing to do with the board.
    pub(crate) async fn reaches(&self, address: &str, port: u16) -> Result<bool> {
        const CONNECT: &str =
            "timeout 3 bash -c 'exec 3<>/dev/tcp/$0/$1' \"$1\" \"$2\" 2> /dev/null && echo open || echo closed";
        let agent = self.agents.values().next_back().context("there is no pod to ask from")?;
        let port = port.to_string();
        let said = self.kubectl.run(&["exec", agent, "--", "sh", "-c", CONNECT, "sh", address, &port]).await?;
        Ok(said.trim() == "open")
    }

    /// Where they are.
    pub(crate) const fn kubectl(&self) -> &Kubectl {
        &self.kubectl
    }

    /// Removes the pods again.
    pub(crate) async fn leave(self) -> Result<()> {
        self.kubectl.run(&["delete", "namespace", self.kubectl.namespace(), "--wait"]).await?;
        Ok(())
    }
}

/// What the processes of a component are called.
pub(crate) const fn program(component: Component) -> &'static str {
    match component {
        Component::App => "triptych",
        Component::Web => "nginx",
        Component::Postgres => "postgres",
        Component::Minio => "minio",
    }
}
