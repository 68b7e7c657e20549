//! Configuration: environment variables and nothing else, read once, all problems told at once.
//!
//! [`variables`] is the whole list; the help of every command is printed from it. A secret may come from a file
//! instead, named by the same variable with `_FILE` behind it.

mod reader;
pub mod variables;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use secrecy::{ExposeSecret, SecretString};
use tracing_subscriber::EnvFilter;
use url::Url;

pub use reader::Problems;
use reader::VariableReader;

use crate::domain::{ConfiguredBoards, MOST_REPLIES_SHOWN, PostLimits};
use crate::freshness::LONGEST_INTERVAL;
use crate::media::Limits;

/// Everything that `triptych serve` needs.
#[derive(Debug, Clone)]
pub struct ServeConfig {
    /// What is logged, and how.
    pub log: LogConfig,
    /// Where pages are served.
    pub listen: SocketAddr,
    /// Where metrics are served.
    pub metrics_listen: SocketAddr,
    /// The name of this replica, in the header `X-Served-By`.
    pub replica: String,
    /// Postgres.
    pub database: DatabaseConfig,
    /// The blob store.
    pub store: StoreConfig,
    /// Key of every keyed hash. Must be the same on all replicas and must never change.
    pub secret: SecretString,
    /// The address visitors use; decides which pages may send forms.
    pub public_url: Option<Url>,
    /// Peers whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Whether every request comes through the web server of ours, whose word about it is taken.
    pub behind_web: bool,
    /// Who may see the traffic, and how much there may be.
    pub traffic: TrafficConfig,
    /// Name of the site.
    pub title: String,
    /// Rules for posts.
    pub posts: PostLimits,
    /// Rules for boards.
    pub boards: BoardLimits,
    /// Rules for pictures.
    pub pictures: Limits,
    /// Pictures decoded at a time; as many as there are cores unless it is said.
    pub decoders: Option<usize>,
    /// Bytes of rendered pages kept in memory.
    pub page_cache_bytes: u64,
    /// How long an answer about what has changed may be used; every post waits for a little longer.
    pub feed_interval: Duration,
    /// How long kept pages are shown while the database does not answer.
    pub stale_if_error: Duration,
    /// How many event streams.
    pub streams: StreamLimits,
    /// Bytes of uploads held in memory at a time.
    pub upload_memory_bytes: usize,
    /// How long the body of a form may take to arrive.
    pub form_timeout: Duration,
    /// Which traces are sent, and where; which requests are slow.
    pub trace: TraceConfig,
    /// How long a replica that was told to end goes on serving.
    pub drain_delay: Duration,
    /// How long it may take from being told to the end, the drain delay included.
    pub shutdown_timeout: Duration,
}

/// Everything that `triptych migrate` needs.
#[derive(Debug, Clone)]
pub struct MigrateConfig {
    /// What is logged, and how.
    pub log: LogConfig,
    /// Postgres, as replicas connect to it.
    pub database: DatabaseConfig,
    /// The address of the owner of the tables, if it is another one.
    pub owner: Option<SecretString>,
    /// The blob store.
    pub store: StoreConfig,
    /// The boards to make.
    pub boards: ConfiguredBoards,
    /// How long to wait for Postgres and the blob store to come up.
    pub wait: Duration,
}

/// Everything that `triptych gc` needs.
#[derive(Debug, Clone)]
pub struct CollectConfig {
    /// What is logged, and how.
    pub log: LogConfig,
    /// Postgres.
    pub database: DatabaseConfig,
    /// The blob store.
    pub store: StoreConfig,
    /// How old an object has to be before it can be an orphan.
    pub grace: Duration,
    /// The most of all objects that may go as orphans, in per cent.
    pub most_orphans: u8,
}

/// Everything that `triptych meter` needs.
#[derive(Debug, Clone)]
pub struct MeterConfig {
    /// What is logged, and how.
    pub log: LogConfig,
    /// The file that nginx writes lines to.
    pub lines: PathBuf,
    /// Where metrics are served.
    pub metrics_listen: SocketAddr,
    /// The name of the nginx that is counted.
    pub replica: String,
    /// Private ports of replicas, at least one.
    pub replicas: Vec<Url>,
    /// Key of the signature of sums; that of the replicas.
    pub secret: SecretString,
}

/// What is logged, and how.
#[derive(Debug, Clone)]
pub struct LogConfig {
    /// In the syntax of tracing's `EnvFilter`.
    pub filter: String,
    /// One JSON object per line rather than text.
    pub json: bool,
}

/// How to reach Postgres.
#[derive(Debug, Clone)]
pub struct DatabaseConfig {
    /// `postgres://user:password@host/database`.
    pub url: SecretString,
    /// Connections of one replica, at the most.
    pub connections: u32,
}

/// How to reach the blob store, anything that speaks S3.
#[derive(Debug, Clone)]
pub struct StoreConfig {
    /// Address of the server; buckets are addressed by path.
    pub endpoint: Url,
    /// Region that requests are signed for.
    pub region: String,
    /// Bucket, private.
    pub bucket: String,
    /// What every key begins with: empty, or it ends with a slash.
    pub prefix: String,
    /// Name of the key that requests are signed with.
    pub access_key_id: SecretString,
    /// The key itself.
    pub secret_access_key: SecretString,
}

/// Rules for boards.
#[derive(Debug, Clone, Copy)]
pub struct BoardLimits {
    /// Threads on one index page.
    pub threads_per_page: u32,
    /// Index pages; a thread that falls off the last one is archived.
    pub pages: u32,
    /// Replies after which a thread is no longer bumped.
    pub bump_limit: u32,
    /// Replies after which a thread takes no more.
    pub reply_limit: i32,
}

impl BoardLimits {
    /// Threads of a board that are not archived, at the most.
    #[must_use]
    pub fn live_threads(&self) -> i64 {
        i64::from(self.pages) * i64::from(self.threads_per_page)
    }
}

/// Who may see the traffic, and how much there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrafficConfig {
    /// Whether everybody may see it; otherwise nobody can.
    pub is_public: bool,
    /// Bytes that may be sent in a month.
    pub monthly_budget: Option<u64>,
}

/// Which traces are sent, and where; which requests are slow.
#[derive(Debug, Clone, PartialEq)]
pub struct TraceConfig {
    /// A collector that takes OTLP over HTTP; without one, nothing is sent.
    pub endpoint: Option<Url>,
    /// The part of the traces that begin here that is sent, from 0 to 1.
    pub ratio: f64,
    /// A request that takes as long is told in the log.
    pub slow: Duration,
}

/// How many event streams may be open.
#[derive(Debug, Clone, Copy)]
pub struct StreamLimits {
    /// On one replica.
    pub most: usize,
    /// On one replica, from one address.
    pub per_address: usize,
}

/// What the drain delay has to leave of the whole time: for running requests to finish, and for the end itself.
const LEAST_AFTER_DRAINING: Duration = Duration::from_secs(2);

/// Longer than an upload can take from putting its objects to committing their rows.
const LEAST_GRACE: Duration = Duration::from_mins(10);

/// A key has 1024 bytes at the most, and tools and people have to read it.
const LONGEST_PREFIX: usize = 200;

/// Looks a variable up; the environment, or a table in a test.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

impl ServeConfig {
    /// Reads the configuration of a replica.
    pub fn read(lookup: Lookup<'_>) -> Result<Self, Problems> {
        let mut reader = VariableReader::new(lookup);
        let config = Self::collect(&mut reader);
        reader.finish(config)
    }

    fn collect(reader: &mut VariableReader<'_>) -> Option<Self> {
        // Every variable is read before the first `?`, so that every problem is found.
        let log = log(reader);
        let listen = reader.parse("TRIPTYCH_LISTEN");
        let metrics_listen = reader.parse("TRIPTYCH_METRICS_LISTEN");
        let replica = reader.text("TRIPTYCH_REPLICA");
        let (database, store) = (database(reader), store(reader));
        let secret = secret(reader);
        let public_url = reader.optional("TRIPTYCH_PUBLIC_URL", public_url);
        let trusted_proxies = reader.list("TRIPTYCH_TRUSTED_PROXIES");
        let behind_web = reader.parse("TRIPTYCH_BEHIND_WEB");
        let traffic = traffic(reader);
        let title = reader.text("TRIPTYCH_TITLE");
        let posts = post_limits(reader);
        let boards = board_limits(reader);
        let pictures = picture_limits(reader);
        let decoders = reader.optional("TRIPTYCH_DECODERS", decoders);
        let page_cache_bytes = reader.bytes("TRIPTYCH_PAGE_CACHE");
        let feed_interval = reader.duration("TRIPTYCH_FEED_INTERVAL");
        if feed_interval.is_some_and(|interval| interval > LONGEST_INTERVAL) {
            reader.problem("TRIPTYCH_FEED_INTERVAL", "is more than 1s: every post waits for this long");
        }
        let stale_if_error = reader.duration("TRIPTYCH_STALE_IF_ERROR");
        let (most, per_address) = (
            reader.number("TRIPTYCH_MAX_STREAMS", 0..=1_000_000),
            reader.number("TRIPTYCH_MAX_STREAMS_PER_ADDRESS", 0..=1_000_000),
        );
        let upload_memory_bytes = reader.bytes("TRIPTYCH_UPLOAD_MEMORY");
        let form_timeout = reader.duration("TRIPTYCH_FORM_TIMEOUT");
        let trace = trace(reader);
        let drain_delay = reader.duration("TRIPTYCH_DRAIN_DELAY");
        let shutdown_timeout = reader.duration("TRIPTYCH_SHUTDOWN_TIMEOUT");
        if let (Some(drain_delay), Some(shutdown_timeout)) = (drain_delay, shutdown_timeout)
            && shutdown_timeout < drain_delay + LEAST_AFTER_DRAINING
        {
            reader.problem(
                "TRIPTYCH_SHUTDOWN_TIMEOUT",
                "is less than TRIPTYCH_DRAIN_DELAY, which is part of it, and 2s for running requests to finish",
            );
        }
        let (posts, upload_memory_bytes) = (posts?, usize::try_from(upload_memory_bytes?).ok()?);
        if posts.memory() > upload_memory_bytes {
            reader.problem(
                "TRIPTYCH_UPLOAD_MEMORY",
                "is less than one post may take: TRIPTYCH_MAX_FILES × TRIPTYCH_MAX_FILE_SIZE, and TRIPTYCH_MAX_FILE_SIZE once more",
            );
        }
        if form_timeout.is_some_and(|timeout| timeout.is_zero()) {
            reader.problem("TRIPTYCH_FORM_TIMEOUT", "is nothing: no form could arrive");
        }
        Some(Self {
            log: log?,
            listen: listen?,
            metrics_listen: metrics_listen?,
            replica: replica?,
            database: database?,
            store: store?,
            secret: secret?,
            public_url,
            trusted_proxies: trusted_proxies?,
            behind_web: behind_web?,
            traffic: traffic?,
            title: title?,
            posts,
            boards: boards?,
            pictures: pictures?,
            decoders,
            page_cache_bytes: page_cache_bytes?,
            feed_interval: feed_interval?,
            stale_if_error: stale_if_error?,
            streams: StreamLimits { most: most?, per_address: per_address? },
            upload_memory_bytes,
            form_timeout: form_timeout?,
            trace: trace?,
            drain_delay: drain_delay?,
            shutdown_timeout: shutdown_timeout?,
        })
    }

    /// The most bytes that the body of a post may have: its pictures, and two mebibytes for everything else.
    #[must_use]
    pub fn body_bytes(&self) -> usize {
        self.posts.files.saturating_mul(self.posts.file_bytes).saturating_add(2 << 20)
    }
}

impl MeterConfig {
    /// Reads the configuration of a meter.
    pub fn read(lookup: Lookup<'_>) -> Result<Self, Problems> {
        let mut reader = VariableReader::new(lookup);
        let config = Self::collect(&mut reader);
        reader.finish(config)
    }

    fn collect(reader: &mut VariableReader<'_>) -> Option<Self> {
        let log = log(reader);
        let lines = reader.parse("TRIPTYCH_METER_LINES");
        let metrics_listen = reader.parse("TRIPTYCH_METER_METRICS_LISTEN");
        let replica = reader.text("TRIPTYCH_REPLICA");
        let replicas = reader.list("TRIPTYCH_METER_REPLICAS");
        if replicas.as_ref().is_some_and(Vec::is_empty) {
            reader.problem("TRIPTYCH_METER_REPLICAS", "is not set");
        }
        let secret = secret(reader);
        Some(Self {
            log: log?,
            lines: lines?,
            metrics_listen: metrics_listen?,
            replica: replica?,
            replicas: replicas?,
            secret: secret?,
        })
    }
}

impl MigrateConfig {
    /// Reads the configuration of a migration.
    pub fn read(lookup: Lookup<'_>) -> Result<Self, Problems> {
        let mut reader = VariableReader::new(lookup);
        let (log, database, store) = (log(&mut reader), database(&mut reader), store(&mut reader));
        let owner = reader.optional("TRIPTYCH_MIGRATE_DATABASE_URL", |url| {
            let url = SecretString::from(url);
            crate::db::check_url(&url).map(|()| url)
        });
        let (boards, wait) = (reader.parse("TRIPTYCH_BOARDS"), reader.duration("TRIPTYCH_MIGRATE_WAIT"));
        let config =
            (|| Some(Self { log: log?, database: database?, owner, store: store?, boards: boards?, wait: wait? }))();
        reader.finish(config)
    }
}

impl CollectConfig {
    /// Reads the configuration of a collection.
    pub fn read(lookup: Lookup<'_>) -> Result<Self, Problems> {
        let mut reader = VariableReader::new(lookup);
        let (log, database, store) = (log(&mut reader), database(&mut reader), store(&mut reader));
        let grace = reader.duration("TRIPTYCH_GC_GRACE");
        if grace.is_some_and(|grace| grace < LEAST_GRACE) {
            reader.problem(
                "TRIPTYCH_GC_GRACE",
                "is less than 10m: objects of an upload that is still running would be taken for orphans",
            );
        }
        let most_orphans = reader.checked("TRIPTYCH_GC_MOST_ORPHANS", per_cent);
        let config = (|| {
            Some(Self { log: log?, database: database?, store: store?, grace: grace?, most_orphans: most_orphans? })
        })();
        reader.finish(config)
    }
}

/// The address that `triptych healthcheck` asks: the replica of this machine.
pub fn healthcheck_address(lookup: Lookup<'_>) -> Result<SocketAddr, Problems> {
    let mut reader = VariableReader::new(lookup);
    let address = reader.parse("TRIPTYCH_LISTEN").map(|mut address: SocketAddr| {
        if address.ip().is_unspecified() {
            address.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
        }
        address
    });
    reader.finish(address)
}

fn secret(reader: &mut VariableReader<'_>) -> Option<SecretString> {
    reader.checked_secret("TRIPTYCH_SECRET", |secret| {
        let length = secret.expose_secret().len();
        if length < 32 { Err(format!("has {length} characters; 32 are the least")) } else { Ok(()) }
    })
}

fn log(reader: &mut VariableReader<'_>) -> Option<LogConfig> {
    let filter = reader.checked("TRIPTYCH_LOG", |filter| match EnvFilter::try_new(filter) {
        Ok(_) => Ok(filter.to_owned()),
        Err(error) => Err(format!("is {filter:?}: {error}")),
    });
    let json = reader.checked("TRIPTYCH_LOG_FORMAT", |format| match format {
        "json" => Ok(true),
        "text" => Ok(false),
        other => Err(format!("is {other:?}; json and text are the choices")),
    });
    Some(LogConfig { filter: filter?, json: json? })
}

fn database(reader: &mut VariableReader<'_>) -> Option<DatabaseConfig> {
    let url = reader.checked_secret("TRIPTYCH_DATABASE_URL", crate::db::check_url);
    let connections = reader.number("TRIPTYCH_DATABASE_CONNECTIONS", 2..=1000);
    Some(DatabaseConfig { url: url?, connections: connections? })
}

fn store(reader: &mut VariableReader<'_>) -> Option<StoreConfig> {
    let endpoint = reader.checked("TRIPTYCH_S3_ENDPOINT", |text| {
        Url::parse(text)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
            .ok_or_else(|| "is not an address such as https://s3.example.org".to_owned())
    });
    let region = reader.text("TRIPTYCH_S3_REGION");
    let bucket = reader.text("TRIPTYCH_S3_BUCKET");
    let prefix = reader.optional("TRIPTYCH_S3_PREFIX", prefix).unwrap_or_default();
    let access_key_id = reader.checked_secret("TRIPTYCH_S3_ACCESS_KEY_ID", |_| Ok(()));
    let secret_access_key = reader.checked_secret("TRIPTYCH_S3_SECRET_ACCESS_KEY", |_| Ok(()));
    Some(StoreConfig {
        endpoint: endpoint?,
        region: region?,
        bucket: bucket?,
        prefix,
        access_key_id: access_key_id?,
        secret_access_key: secret_access_key?,
    })
}

fn post_limits(reader: &mut VariableReader<'_>) -> Option<PostLimits> {
    let files = reader.number("TRIPTYCH_MAX_FILES", 1..=20);
    let file_bytes = reader.bytes("TRIPTYCH_MAX_FILE_SIZE");
    let comment_chars = reader.number("TRIPTYCH_MAX_COMMENT", 1..=100_000);
    Some(PostLimits {
        files: files?,
        file_bytes: usize::try_from(file_bytes?).ok()?,
        comment_chars: comment_chars?,
        name_chars: 75,
        subject_chars: 100,
    })
}

fn traffic(reader: &mut VariableReader<'_>) -> Option<TrafficConfig> {
    let is_public = reader.checked("TRIPTYCH_TRAFFIC_PAGE", |text| match text {
        "public" => Ok(true),
        "off" => Ok(false),
        _ => Err(format!("is {text:?}; public or off is needed")),
    });
    let monthly_budget = reader.optional("TRIPTYCH_TRAFFIC_BUDGET", amount_of_traffic);
    Some(TrafficConfig { is_public: is_public?, monthly_budget })
}

fn trace(reader: &mut VariableReader<'_>) -> Option<TraceConfig> {
    let slow = reader.duration("TRIPTYCH_SLOW_REQUEST");
    let endpoint = reader.optional("TRIPTYCH_OTLP_ENDPOINT", collector);
    let ratio = reader.checked("TRIPTYCH_TRACE_RATIO", ratio);
    Some(TraceConfig { endpoint, ratio: ratio?, slow: slow? })
}

fn collector(text: &str) -> Result<Url, String> {
    let is_usable = |url: &Url| {
        // A password would be in the list of settings and in messages.
        let is_plain = url.username().is_empty() && url.password().is_none() && url.query().is_none();
        matches!(url.scheme(), "http" | "https") && url.has_host() && is_plain
    };
    let url = Url::parse(text).ok().filter(is_usable);
    url.ok_or_else(|| "is not an address such as http://collector:4318".to_owned())
}

fn ratio(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number| (0.0..=1.0).contains(number));
    number.ok_or_else(|| format!("is {text:?}; a number from 0 to 1 is needed, such as 0.01"))
}

/// As providers state it: 1 GB is 1,000,000,000 bytes.
fn amount_of_traffic(text: &str) -> Result<u64, String> {
    let units = [("TB", 1_000_000_000_000), ("GB", 1_000_000_000), ("MB", 1_000_000)];
    let found = units.into_iter().find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, factor)));
    let amount = found.and_then(|(number, factor)| number.trim().parse::<u64>().ok()?.checked_mul(factor));
    amount
        .filter(|amount| *amount > 0 && i64::try_from(*amount).is_ok())
        .ok_or_else(|| format!("is {text:?}; an amount such as 2TB or 500GB is needed"))
}

fn board_limits(reader: &mut VariableReader<'_>) -> Option<BoardLimits> {
    let threads_per_page = reader.number("TRIPTYCH_THREADS_PER_PAGE", 1..=100);
    let pages = reader.number("TRIPTYCH_PAGES", 1..=100);
    let bump_limit = reader.number("TRIPTYCH_BUMP_LIMIT", 1..=1_000_000);
    let reply_limit = reader.number("TRIPTYCH_REPLY_LIMIT", 1..=MOST_REPLIES_SHOWN.unsigned_abs());
    Some(BoardLimits {
        threads_per_page: threads_per_page?,
        pages: pages?,
        bump_limit: bump_limit?,
        reply_limit: reply_limit?,
    })
}

fn picture_limits(reader: &mut VariableReader<'_>) -> Option<Limits> {
    let side = reader.number("TRIPTYCH_MAX_SIDE", 1..=65_535);
    let pixels = reader.number("TRIPTYCH_MAX_PIXELS", 1..=1_000_000_000);
    let decoded_bytes = reader.bytes("TRIPTYCH_MAX_DECODED_SIZE");
    let frames = reader.number("TRIPTYCH_MAX_FRAMES", 1..=100_000);
    Some(Limits { max_side: side?, max_pixels: pixels?, max_decoded_bytes: decoded_bytes?, max_frames: frames? })
}

fn decoders(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| (1..=1000).contains(number));
    number.ok_or_else(|| format!("is {text:?}; a whole number from 1 to 1000 is needed"))
}

fn public_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("is not an address: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") || url.path() != "/" || url.query().is_some() {
        return Err("has to be a scheme and a host, such as https://board.example.org".to_owned());
    }
    Ok(url)
}

/// What keys begin with, with a slash behind it. Of the characters that every S3 server, tool and policy takes as they are.
fn prefix(text: &str) -> Result<String, String> {
    let text = text.strip_suffix('/').unwrap_or(text);
    let is_name = |part: &str| {
        !matches!(part, "" | "." | "..")
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
    };
    if text.len() > LONGEST_PREFIX || !text.split('/').all(is_name) {
        return Err(format!(
            "is {text:?}; names such as staging or boards/staging are needed: letters, digits, \"-\", \"_\" and \".\", \
             with one slash between them and none in front, {LONGEST_PREFIX} characters at the most"
        ));
    }
    Ok(format!("{text}/"))
}

/// A share such as `10%`.
fn per_cent(text: &str) -> Result<u8, String> {
    text.strip_suffix('%')
        .and_then(|number| number.trim_end().parse().ok())
        .filter(|number| *number <= 100)
        .ok_or_else(|| format!("is {text:?}; a share from 0% to 100% is needed, in whole numbers"))
}

/// For tests that need a configuration and no servers: nobody listens at these addresses.
#[cfg(test)]
pub(crate) fn out_of_reach(name: &str) -> Option<String> {
    let value = match name {
        "TRIPTYCH_DATABASE_URL" => "postgres://nobody@127.0.0.1:1/none",
        "TRIPTYCH_S3_ENDPOINT" => "http://127.0.0.1:1",
        "TRIPTYCH_S3_ACCESS_KEY_ID" | "TRIPTYCH_S3_SECRET_ACCESS_KEY" => "none",
        "TRIPTYCH_SECRET" => "a secret that is long enough to be one",
        _ => return None,
    };
    Some(value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complete(name: &str) -> Option<String> {
        let value = match name {
            "TRIPTYCH_DATABASE_URL" => "postgres://u:hunter2@db/board",
            "TRIPTYCH_S3_ENDPOINT" => "http://s3:9000",
            "TRIPTYCH_S3_BUCKET" => "triptych",
            "TRIPTYCH_S3_ACCESS_KEY_ID" | "TRIPTYCH_S3_SECRET_ACCESS_KEY" => "hunter2",
            "TRIPTYCH_SECRET" => "hunter2hunter2hunter2hunter2hunter2",
            _ => return None,
        };
        Some(value.to_owned())
    }

    #[test]
    fn what_has_no_default_is_all_that_is_needed() {
        let config = ServeConfig::read(&complete).unwrap();
        assert_eq!(config.listen.port(), 8080);
        assert_eq!(config.posts.file_bytes, 8 << 20);
        MigrateConfig::read(&complete).unwrap();
        CollectConfig::read(&complete).unwrap();
    }

    #[test]
    fn decoders_are_as_many_as_is_said() {
        let with = |decoders: &'static str| {
            ServeConfig::read(&move |name| match name {
                "TRIPTYCH_DECODERS" => Some(decoders.to_owned()),
                other => complete(other),
            })
        };
        assert_eq!(with("3").unwrap().decoders, Some(3));
        assert_eq!(with("").unwrap().decoders, None);
        for wrong in ["0", "1001", "1.5", "two"] {
            assert!(with(wrong).unwrap_err().to_string().contains("TRIPTYCH_DECODERS"), "{wrong}");
        }
    }

    #[test]
    fn secrets_are_not_printed() {
        let config = ServeConfig::read(&complete).unwrap();
        assert!(!format!("{config:?}").contains("hunter2"));
    }

    #[test]
    fn every_problem_is_told_at_once() {
        let wrong = |name: &str| match name {
            "TRIPTYCH_LISTEN" => Some("here".to_owned()),
            "TRIPTYCH_SECRET" => Some("short".to_owned()),
            "TRIPTYCH_DATABASE_URL" => Some(String::new()),
            "TRIPTYCH_TRUSTED_PROXIES" => Some("10.0.0.0/8,everyone".to_owned()),
            "TRIPTYCH_MAX_FILE_SIZE" => Some("8 bananas".to_owned()),
            "TRIPTYCH_PUBLIC_URL" => Some("https://example.org/board".to_owned()),
            other => complete(other),
        };
        let problems = ServeConfig::read(&wrong).unwrap_err().to_string();
        for told in [
            "TRIPTYCH_LISTEN",
            "TRIPTYCH_SECRET",
            "TRIPTYCH_DATABASE_URL",
            "everyone",
            "8 bananas",
            "TRIPTYCH_PUBLIC_URL",
        ] {
            assert!(problems.contains(told), "{told} is missing in:\n{problems}");
        }
        assert!(!problems.contains("short"), "a secret is in:\n{problems}");
    }

    #[test]
    fn a_prefix_is_names_with_a_slash_behind_each() {
        for (text, prefix_of_keys) in
            [("staging", "staging/"), ("staging/", "staging/"), ("boards/my_board-2.0/", "boards/my_board-2.0/")]
        {
            assert_eq!(prefix(text).as_deref(), Ok(prefix_of_keys), "{text}");
        }
        let long = "a".repeat(LONGEST_PREFIX + 1);
        for text in ["/", "/staging", "a//b", "a/../b", "./a", "a b", "ä", "a\nb", "a*", "staging//", "a%2f", &long] {
            assert!(prefix(text).is_err(), "{text}");
        }
        let set = |prefix: &'static str| {
            move |name: &str| if name == "TRIPTYCH_S3_PREFIX" { Some(prefix.to_owned()) } else { complete(name) }
        };
        assert_eq!(CollectConfig::read(&set("")).unwrap().store.prefix, "");
        assert_eq!(CollectConfig::read(&set("staging")).unwrap().store.prefix, "staging/");
        assert!(CollectConfig::read(&set("/staging")).unwrap_err().to_string().contains("TRIPTYCH_S3_PREFIX"));
    }

    #[test]
    fn traces_are_sent_to_an_address_and_not_with_a_password() {
        let with = |name: &'static str, value: &'static str| {
            ServeConfig::read(&move |other| if other == name { Some(value.to_owned()) } else { complete(other) })
        };
        assert_eq!(ServeConfig::read(&complete).unwrap().trace.endpoint, None);
        for (name, right, wrong) in [
            (
                "TRIPTYCH_OTLP_ENDPOINT",
                &["http://collector:4318", "https://collector/otlp", ""][..],
                &["collector:4318", "grpc://collector", "http://u:hunter2@collector", "http://c?key=hunter2"][..],
            ),
            ("TRIPTYCH_TRACE_RATIO", &["0", "1", "0.001", "1e-3"], &["1.5", "-1", "NaN", "inf", "10%"]),
        ] {
            for value in right {
                with(name, value).unwrap();
            }
            for value in wrong {
                let told = with(name, value).unwrap_err().to_string();
                assert!(told.contains(name) && !told.contains("hunter2"), "{value}: {told}");
            }
        }
    }

    #[test]
    fn a_share_is_a_whole_number_of_per_cent() {
        for (text, number) in [("0%", 0), ("10%", 10), ("10 %", 10), ("100%", 100)] {
            assert_eq!(per_cent(text), Ok(number), "{text}");
        }
        for text in ["10", "101%", "-1%", "0.5%", "%", "ten%", "10%%"] {
            assert!(per_cent(text).is_err(), "{text}");
        }
        assert_eq!(CollectConfig::read(&complete).unwrap().most_orphans, 1);
    }

    #[test]
    fn limits_that_contradict_each_other_are_told() {
        for (name, value) in
            [("TRIPTYCH_UPLOAD_MEMORY", "8MiB"), ("TRIPTYCH_DRAIN_DELAY", "24s"), ("TRIPTYCH_SHUTDOWN_TIMEOUT", "6s")]
        {
            let wrong = |other: &str| if other == name { Some(value.to_owned()) } else { complete(other) };
            assert!(ServeConfig::read(&wrong).unwrap_err().to_string().contains(name), "{name}={value}");
        }
        let with_memory = |memory: &'static str| {
            ServeConfig::read(&move |name| match name {
                "TRIPTYCH_UPLOAD_MEMORY" => Some(memory.to_owned()),
                other => complete(other),
            })
        };
        // Four pictures of 8 MiB, and room to copy one.
        with_memory("40MiB").unwrap();
        assert!(with_memory("39MiB").unwrap_err().to_string().contains("TRIPTYCH_UPLOAD_MEMORY"));
        let no_time = |name: &str| match name {
            "TRIPTYCH_FORM_TIMEOUT" => Some("0s".to_owned()),
            other => complete(other),
        };
        assert!(ServeConfig::read(&no_time).unwrap_err().to_string().contains("TRIPTYCH_FORM_TIMEOUT"));
        let slow = |name: &str| match name {
            "TRIPTYCH_FEED_INTERVAL" => Some("1001ms".to_owned()),
            other => complete(other),
        };
        assert!(ServeConfig::read(&slow).unwrap_err().to_string().contains("TRIPTYCH_FEED_INTERVAL"));
    }
}
