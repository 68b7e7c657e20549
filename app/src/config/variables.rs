//! The list of variables: the reference that `triptych help serve` prints.

use std::fmt::Write as _;

/// A command that reads variables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// `triptych serve`
    Serve,
    /// `triptych migrate`
    Migrate,
    /// `triptych gc`
    Collect,
    /// `triptych healthcheck`
    Healthcheck,
    /// `triptych meter`
    Meter,
}

/// One variable.
#[derive(Debug)]
pub struct Variable {
    /// Its name.
    pub name: &'static str,
    /// Its value when it is not set; without one it has to be set, or may be left out if the help says so.
    pub default: Option<&'static str>,
    /// Never printed, and may come from the file that the variable with `_FILE` behind its name tells.
    pub secret: bool,
    /// Which commands read it.
    pub commands: &'static [Command],
    /// What it is for.
    pub help: &'static str,
}

use Command::{Collect, Healthcheck, Meter, Migrate, Serve};

const fn plain(
    name: &'static str,
    default: Option<&'static str>,
    commands: &'static [Command],
    help: &'static str,
) -> Variable {
    Variable { name, default, secret: false, commands, help }
}

const fn secret(name: &'static str, commands: &'static [Command], help: &'static str) -> Variable {
    Variable { name, default: None, secret: true, commands, help }
}

const EVERYTHING_STORED: &[Command] = &[Serve, Migrate, Collect];
const LOGGING: &[Command] = &[Serve, Migrate, Collect, Meter];
const BOARDS: &str = r#"[{"slug":"b","title":"Random","description":"Anything goes, kindly"},{"slug":"art","title":"Art","description":"Drawings, paintings, work in progress"},{"slug":"photo","title":"Photography","description":"What you saw and how"}]"#;

/// Every variable, in the order in which the help lists them.
pub const VARIABLES: &[Variable] = &[
    secret(
        "TRIPTYCH_DATABASE_URL",
        EVERYTHING_STORED,
        "Postgres 15 or later: postgres://user:password@host:5432/database?sslmode=verify-full. A pooler may be in between, PgBouncer from 1.21 on; in transaction mode each request waits for an answer of its own time, as with TRIPTYCH_FEED_INTERVAL=0ms",
    ),
    secret(
        "TRIPTYCH_MIGRATE_DATABASE_URL",
        &[Migrate],
        "The same database for migrations, past any pooler, as the owner of the tables; may be left out: TRIPTYCH_DATABASE_URL. With it, the role of TRIPTYCH_DATABASE_URL gets the rights over rows that it needs, and time limits; it is made if it is not there",
    ),
    plain(
        "TRIPTYCH_DATABASE_CONNECTIONS",
        Some("8"),
        EVERYTHING_STORED,
        "Connections of one replica at the most, 2 to 1000; a replica has one more, on which it asks what has changed",
    ),
    plain(
        "TRIPTYCH_S3_ENDPOINT",
        None,
        EVERYTHING_STORED,
        "Address of the S3 server, buckets addressed by path: https://s3.example.org",
    ),
    plain("TRIPTYCH_S3_REGION", Some("us-east-1"), EVERYTHING_STORED, "Region that requests are signed for"),
    plain(
        "TRIPTYCH_S3_BUCKET",
        Some("triptych"),
        EVERYTHING_STORED,
        "Bucket for pictures; stays private. `triptych migrate` makes it if it is not there",
    ),
    plain(
        "TRIPTYCH_S3_PREFIX",
        None,
        EVERYTHING_STORED,
        "What the names of all objects begin with, such as staging/; may be left out. Several boards can share a bucket if each has another one. Never changed once there are pictures",
    ),
    secret("TRIPTYCH_S3_ACCESS_KEY_ID", EVERYTHING_STORED, "Name of the key for the bucket"),
    secret("TRIPTYCH_S3_SECRET_ACCESS_KEY", EVERYTHING_STORED, "The key for the bucket"),
    secret(
        "TRIPTYCH_SECRET",
        &[Serve, Meter],
        "At least 32 random characters, the same on all replicas, never changed: passwords and addresses are hashed with it",
    ),
    plain(
        "TRIPTYCH_BOARDS",
        Some(BOARDS),
        &[Migrate],
        "JSON list of boards: slug, title, description, locked, worksafe (true unless said otherwise; clients are told). Boards that are not named stay as they are",
    ),
    plain(
        "TRIPTYCH_MIGRATE_WAIT",
        Some("60s"),
        &[Migrate],
        "How long to wait for Postgres and the S3 server to answer",
    ),
    plain(
        "TRIPTYCH_GC_GRACE",
        Some("24h"),
        &[Collect],
        "How old an object has to be before it can be an orphan, 10m at the least",
    ),
    plain(
        "TRIPTYCH_GC_MOST_ORPHANS",
        Some("1%"),
        &[Collect],
        "Nothing is removed when more than this share of all objects would go because the database does not know them, as after a restore of an older backup; a hundred objects may always go. 100%: no limit",
    ),
    plain("TRIPTYCH_LISTEN", Some("0.0.0.0:8080"), &[Serve, Healthcheck], "Where pages are served"),
    plain("TRIPTYCH_METRICS_LISTEN", Some("0.0.0.0:9090"), &[Serve], "Where /metrics is served"),
    plain(
        "TRIPTYCH_REPLICA",
        Some("triptych"),
        &[Serve, Meter],
        "Name of this replica, shown in the header X-Served-By and with its traffic; the host name if HOSTNAME is set",
    ),
    plain(
        "TRIPTYCH_PUBLIC_URL",
        None,
        &[Serve],
        "The address visitors use, such as https://board.example.org; may be left out. Only pages of this origin may send forms; without it, only pages of the host that the request names",
    ),
    plain(
        "TRIPTYCH_TRUSTED_PROXIES",
        None,
        &[Serve],
        "Networks of the proxies in front, such as 10.0.0.0/8,fd00::/8; may be left out. X-Forwarded-For is believed from these peers alone",
    ),
    plain(
        "TRIPTYCH_BEHIND_WEB",
        Some("false"),
        &[Serve],
        "true if nobody can reach a replica but the nginx of ours in front of it. Then its word is taken for how long a request was, and for what it counts itself",
    ),
    plain(
        "TRIPTYCH_TRAFFIC_PAGE",
        Some("off"),
        &[Serve],
        "Who may see /traffic, what the board sends and receives: public, or off",
    ),
    plain(
        "TRIPTYCH_TRAFFIC_BUDGET",
        None,
        &[Serve],
        "Bytes that may be sent in a month (UTC), such as 2TB or 500GB; may be left out. /traffic shows what is left, and a warning is logged at 80 % and at 100 %",
    ),
    plain("TRIPTYCH_TITLE", Some("Triptych"), &[Serve], "Name of the site"),
    plain("TRIPTYCH_MAX_FILES", Some("4"), &[Serve], "Pictures on one post, 1 to 20"),
    plain("TRIPTYCH_MAX_FILE_SIZE", Some("8MiB"), &[Serve], "Bytes of one picture"),
    plain("TRIPTYCH_MAX_COMMENT", Some("5000"), &[Serve], "Characters of one comment"),
    plain("TRIPTYCH_MAX_SIDE", Some("10000"), &[Serve], "Pixels a side of one picture"),
    plain("TRIPTYCH_MAX_PIXELS", Some("40000000"), &[Serve], "Width times height of one picture"),
    plain(
        "TRIPTYCH_MAX_DECODED_SIZE",
        Some("170MiB"),
        &[Serve],
        "Bytes that one decoded picture may take in memory; TRIPTYCH_DECODERS are decoded at a time",
    ),
    plain(
        "TRIPTYCH_DECODERS",
        None,
        &[Serve],
        "Pictures that are decoded at a time, 1 to 1000, each of which may take TRIPTYCH_MAX_DECODED_SIZE of memory; may be left out: as many as there are cores, or as a limit of CPU allows. Say it where memory is limited and CPU is not",
    ),
    plain("TRIPTYCH_MAX_FRAMES", Some("1000"), &[Serve], "Frames of one animation"),
    plain(
        "TRIPTYCH_UPLOAD_MEMORY",
        Some("96MiB"),
        &[Serve],
        "Bytes of uploads in memory at a time: every file as it arrives and until its post is made, and the largest file of a post once more, because it is copied when its metadata is removed; TRIPTYCH_MAX_FILES + 1 files at the least. Posts that need more wait, then are asked to come back. Not counted: a decoded picture (TRIPTYCH_MAX_DECODED_SIZE), and up to 0.5 MiB of each connection that sends",
    ),
    plain(
        "TRIPTYCH_FORM_TIMEOUT",
        Some("60s"),
        &[Serve],
        "How long a form may take to arrive. One of which less than 1 KiB a second comes during a quarter of this is given up as well. A proxy that collects forms before it sends them on, as nginx does, has time limits of its own",
    ),
    plain("TRIPTYCH_PAGE_CACHE", Some("32MiB"), &[Serve], "Bytes of rendered pages in memory"),
    plain(
        "TRIPTYCH_FEED_INTERVAL",
        Some("20ms"),
        &[Serve],
        "A replica asks Postgres what has changed at most once in this time, up to 1s, and every post and deletion is answered that much later, so that every replica shows it by then. 0ms: every request waits for an answer of its own time, and posts wait for nothing. While replicas with a smaller value start beside others, their posts may be missing elsewhere during their first second",
    ),
    plain(
        "TRIPTYCH_STALE_IF_ERROR",
        Some("10m"),
        &[Serve],
        "How long pages that are kept in memory are shown while Postgres does not answer, marked with the time they are of (header X-As-Of, and a line on the page). 0s: never",
    ),
    plain("TRIPTYCH_MAX_STREAMS", Some("10000"), &[Serve], "Event streams of one replica; more are answered with 503"),
    plain(
        "TRIPTYCH_MAX_STREAMS_PER_ADDRESS",
        Some("50"),
        &[Serve],
        "Event streams of one address on one replica; more are answered with 503",
    ),
    plain("TRIPTYCH_THREADS_PER_PAGE", Some("15"), &[Serve], "Threads on one index page"),
    plain(
        "TRIPTYCH_PAGES",
        Some("10"),
        &[Serve],
        "Index pages of a board; a thread that falls off the last one is archived",
    ),
    plain("TRIPTYCH_BUMP_LIMIT", Some("300"), &[Serve], "Replies after which a thread is no longer bumped"),
    plain(
        "TRIPTYCH_REPLY_LIMIT",
        Some("1000"),
        &[Serve],
        "Replies after which a thread is full and takes no more, 1 to 5000. Can be changed at any time: threads that are full by the new limit close, others open again",
    ),
    plain(
        "TRIPTYCH_DRAIN_DELAY",
        Some("5s"),
        &[Serve],
        "How long a replica goes on serving after SIGTERM, while readiness says no; longer than the proxies keep idle connections",
    ),
    plain(
        "TRIPTYCH_SHUTDOWN_TIMEOUT",
        Some("25s"),
        &[Serve],
        "How long it may take from SIGTERM to the end, TRIPTYCH_DRAIN_DELAY included: what has not finished by then is given up. 2s longer than the drain delay at the least",
    ),
    plain(
        "TRIPTYCH_SLOW_REQUEST",
        Some("1s"),
        &[Serve],
        "A request that takes this long, until its answer begins, is logged as a warning with what it waited for. 0s: every request",
    ),
    plain(
        "TRIPTYCH_OTLP_ENDPOINT",
        None,
        &[Serve],
        "Address of an OpenTelemetry collector that takes OTLP over HTTP, such as http://collector:4318, to which /v1/traces is added; may be left out: then no traces are sent",
    ),
    plain(
        "TRIPTYCH_TRACE_RATIO",
        Some("1"),
        &[Serve],
        "The part of requests whose traces are sent, from 0 to 1, such as 0.01. A request that brings a traceparent is sent if that says so. Probes are not sent",
    ),
    plain(
        "TRIPTYCH_METER_LINES",
        Some("/var/lib/triptych/traffic/lines"),
        &[Meter],
        "The file that nginx writes lines to; on a file system that can free a part of a file, such as tmpfs, ext4 or xfs",
    ),
    plain("TRIPTYCH_METER_METRICS_LISTEN", Some("0.0.0.0:9113"), &[Meter], "Where /metrics of the meter is served"),
    plain(
        "TRIPTYCH_METER_REPLICAS",
        None,
        &[Meter],
        "Private ports of replicas, such as http://board-app:9090, with commas between them: sums go to the first that answers",
    ),
    plain(
        "TRIPTYCH_LOG",
        Some("info"),
        LOGGING,
        "What is logged, in the syntax of tracing's EnvFilter: info,triptych=debug",
    ),
    plain("TRIPTYCH_LOG_FORMAT", Some("json"), LOGGING, "json or text"),
];

/// The variables of one command, for its help.
#[must_use]
pub fn reference(command: Command) -> String {
    let mut text = String::from("Environment variables (the only configuration; an empty value counts as not set):\n");
    for variable in VARIABLES.iter().filter(|variable| variable.commands.contains(&command)) {
        let _ = write!(text, "\n  {}", variable.name);
        if variable.secret {
            let _ = write!(text, "  [secret; or {}_FILE, the path of a file with it]", variable.name);
        }
        if let Some(default) = variable.default {
            let _ = write!(text, "  [default: {default}]");
        }
        let _ = writeln!(text, "\n      {}", variable.help);
    }
    text
}

/// Names that look as if they were meant for us and are not in the list.
///
/// Kubernetes puts variables such as `TRIPTYCH_APP_PORT` and `TRIPTYCH_WEB_SERVICE_HOST` into every pod beside
/// Services called `triptych-app` and `triptych-web`; those are passed over, and so is what our own tests use.
#[must_use]
pub fn unknown(names: impl Iterator<Item = String>) -> Vec<String> {
    let known = |name: &str| {
        VARIABLES.iter().any(|variable| {
            variable.name == name || (variable.secret && name.strip_suffix("_FILE") == Some(variable.name))
        })
    };
    let of_others = |name: &str| {
        name.contains("_SERVICE_")
            || name.contains("_PORT")
            || name.starts_with("TRIPTYCH_TEST_")
            || name == "TRIPTYCH_BIN"
    };
    names.filter(|name| name.starts_with("TRIPTYCH_") && !known(name) && !of_others(name)).collect()
}

/// The environment, in which the host name stands in for the name of the replica.
#[must_use]
pub fn environment(name: &str) -> Option<String> {
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    set(name).or_else(|| if name == "TRIPTYCH_REPLICA" { set("HOSTNAME") } else { None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_names_every_variable_of_its_command() {
        let reference = reference(Serve);
        for variable in VARIABLES {
            assert_eq!(reference.contains(variable.name), variable.commands.contains(&Serve), "{}", variable.name);
        }
    }

    #[test]
    fn a_misspelt_variable_is_noticed_and_those_of_others_are_not() {
        let names = [
            "TRIPTYCH_LISTN",
            "TRIPTYCH_PORT",
            "TRIPTYCH_PORT_80_TCP",
            "TRIPTYCH_SERVICE_HOST",
            "TRIPTYCH_APP_PORT",
            "TRIPTYCH_APP_PORT_80_TCP_ADDR",
            "TRIPTYCH_APP_SERVICE_PORT_METRICS",
            "TRIPTYCH_WEB_SERVICE_HOST",
            "TRIPTYCH_POSTGRESQL_PORT_5432_TCP_PROTO",
            "TRIPTYCH_MINIO_SERVICE_PORT_S3",
            "BOARD_TRIPTYCH_APP_PORT",
            "BOARD_TRIPTYCH_APP_SERVICE_HOST",
            "KUBERNETES_SERVICE_HOST",
            "TRIPTYCH_SECRET_FILE",
            "PATH",
        ];
        assert_eq!(unknown(names.into_iter().map(str::to_owned)), ["TRIPTYCH_LISTN"]);
    }
}
