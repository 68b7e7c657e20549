//! What happens to the board, one after the other. Each step says in a line what it has measured.

mod clean_up;
mod drain;
mod helm_test;
mod install;
mod kill;
mod limits;
mod outages;
mod policies;
mod reinstall;
mod restart;
mod rollback;
mod scale;
mod stale_reads;
mod traffic;
mod unreachable;
mod upgrade;

use anyhow::Result;
use clap::ValueEnum;

use super::Test;

/// A step, by the name that ONLY takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Step {
    /// The chart is installed.
    Install,
    /// What was acknowledged is read from every pod.
    StaleReads,
    /// More replicas and fewer.
    Scale,
    /// All pods are replaced.
    Restart,
    /// The chart is upgraded.
    Upgrade,
    /// What is counted is what visitors have seen.
    Traffic,
    /// What the policies forbid.
    Policies,
    /// The release before comes back, and goes again.
    Rollback,
    /// Pods and processes are killed.
    Kill,
    /// Postgres and the S3 server are away.
    Outages,
    /// A node is drained.
    Drain,
    /// Too large an upload.
    Limits,
    /// `helm test`
    HelmTest,
    /// Uninstalled and installed again.
    Reinstall,
    /// A board that reaches neither Postgres nor the S3 server.
    Unreachable,
    /// Nothing is left.
    CleanUp,
}

impl Step {
    /// All of them, in their order.
    pub(super) const ALL: [Self; 16] = [
        Self::Install,
        Self::Upgrade,
        Self::Rollback,
        Self::StaleReads,
        Self::Scale,
        Self::Restart,
        Self::Traffic,
        Self::Policies,
        Self::Kill,
        Self::Outages,
        Self::Drain,
        Self::Limits,
        Self::HelmTest,
        Self::Reinstall,
        Self::Unreachable,
        Self::CleanUp,
    ];

    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Install => "install",
            Self::StaleReads => "reads from every pod",
            Self::Scale => "scale 3, 6, 2 under load",
            Self::Restart => "restart app and web under load",
            Self::Upgrade => "upgrade under load",
            Self::Rollback => "roll back and upgrade again under load",
            Self::Traffic => "count traffic while servers come and go",
            Self::Policies => "what a stranger reaches",
            Self::Kill => "kill pods and processes under load",
            Self::Outages => "restart Postgres and MinIO under load",
            Self::Drain => "drain a node under load",
            Self::Limits => "uploads that are too large",
            Self::HelmTest => "helm test",
            Self::Reinstall => "uninstall and install again",
            Self::Unreachable => "start without Postgres or S3",
            Self::CleanUp => "clean up",
        }
    }

    /// Runs it; answers what was measured, or nothing if it cannot be done on this cluster.
    pub(super) async fn run(self, test: &mut Test) -> Result<Option<String>> {
        match self {
            Self::Install => install::run(test).await.map(Some),
            Self::StaleReads => stale_reads::run(test).await.map(Some),
            Self::Scale => scale::run(test).await.map(Some),
            Self::Restart => restart::run(test).await.map(Some),
            Self::Upgrade => upgrade::run(test).await.map(Some),
            Self::Rollback => rollback::run(test).await.map(Some),
            Self::Traffic => traffic::run(test).await.map(Some),
            Self::Policies => policies::run(test).await,
            Self::Kill => kill::run(test).await.map(Some),
            Self::Outages => outages::run(test).await.map(Some),
            Self::Drain => drain::run(test).await,
            Self::Limits => limits::run(test).await.map(Some),
            Self::HelmTest => helm_test::run(test).await.map(Some),
            Self::Reinstall => reinstall::run(test).await.map(Some),
            Self::Unreachable => unreachable::run(test).await.map(Some),
            Self::CleanUp => clean_up::run(test).await.map(Some),
        }
    }

    /// Why a step could not be done.
    pub(super) fn why_not(self) -> &'static str {
        match self {
            Self::Drain => "there are no two nodes that take pods, one of them without Postgres and MinIO",
            Self::Policies => "the network enforces no policies",
            _ => "",
        }
    }
}
