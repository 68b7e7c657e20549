//! `triptych credentials`: a Secret of random values that is made once and never changed.
//!
//! Decides which keys a Secret lacks, makes their values, and tries again while the cluster is busy. How the API
//! server is asked is the business of [`cluster`]. Must not know what the values are for. A value is never printed,
//! logged or told in an error.

mod cluster;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use secrecy::SecretString;

use crate::config::Lookup;
use cluster::{ApiFailure, Cluster, Secret};

/// Where a pod finds its own service account.
pub const ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// For how long a cluster that is busy or cannot be reached is asked again.
pub const PATIENCE: Duration = Duration::from_mins(1);

const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
const VALUE_CHARACTERS: usize = 48;
/// Nothing in here has to be escaped in an address, a shell or YAML.
const ALPHABET: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";

/// What there is to be.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Name of the Secret, in the namespace of the pod.
    pub secret: String,
    /// The keys it has to have.
    pub keys: Vec<String>,
    /// Labels of the Secret, should it have to be made.
    pub labels: BTreeMap<String, String>,
    /// Annotations of the Secret, should it have to be made.
    pub annotations: BTreeMap<String, String>,
    /// The folder with `token`, `ca.crt` and `namespace`.
    pub account: PathBuf,
}

/// Makes what is missing and leaves what is there. Any number of runs at once end with one set of values.
///
/// `environment` tells where the API server is, `say` is told what was done.
pub async fn ensure(
    wanted: &Wanted,
    environment: Lookup<'_>,
    patience: Duration,
    say: &dyn Fn(&str),
) -> anyhow::Result<()> {
    let cluster = Cluster::of_this_pod(environment, &wanted.account)?;
    let until = Instant::now() + patience;
    let mut pause = FIRST_PAUSE;
    loop {
        let failure = match attempt(wanted, &cluster).await {
            Ok(done) => {
                say(&done);
                return Ok(());
            }
            Err(failure) => failure,
        };
        let what = match failure {
            ApiFailure::Final(what) => anyhow::bail!("{what}"),
            ApiFailure::Passing(what) => what,
        };
        anyhow::ensure!(Instant::now() + pause < until, "{what} (gave up after {} s)", patience.as_secs());
        say(&format!("{what}; trying again"));
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Looks, and makes what is missing. Somebody may do the same between the two: then this is a [`ApiFailure::Passing`],
/// nothing was changed, and the next look finds what they made.
async fn attempt(wanted: &Wanted, cluster: &Cluster) -> Result<String, ApiFailure> {
    let name = &wanted.secret;
    let place = cluster.namespace();
    let found = cluster.get(name).await?;
    let keys = missing(&wanted.keys, found.as_ref());
    if found.is_some() && keys.is_empty() {
        return Ok(format!("the Secret {name} in namespace {place} has all its keys: nothing to do"));
    }
    let values = values(&keys).map_err(|error| ApiFailure::Final(error.to_string()))?;
    let listed = keys.join(", ");
    match found {
        None => {
            cluster.create(name, &wanted.labels, &wanted.annotations, &values).await?;
            Ok(format!("made the Secret {name} in namespace {place} with random values for {listed}"))
        }
        Some(secret) => {
            cluster.add(name, &secret.version, &values).await?;
            Ok(format!("gave the Secret {name} in namespace {place} random values for {listed}, which it lacked"))
        }
    }
}

/// The keys to make, each once, in the order in which they were asked for. An empty value is none: no program that
/// reads it could work with it.
fn missing<'a>(wanted: &'a [String], found: Option<&Secret>) -> Vec<&'a str> {
    let mut missing: Vec<&str> = Vec::new();
    for key in wanted {
        let is_there = found.is_some_and(|secret| secret.filled.contains(key));
        if !is_there && !missing.contains(&key.as_str()) {
            missing.push(key);
        }
    }
    missing
}

fn values(keys: &[&str]) -> anyhow::Result<BTreeMap<String, SecretString>> {
    keys.iter().map(|key| Ok(((*key).to_owned(), random_value()?))).collect()
}

fn random_value() -> anyhow::Result<SecretString> {
    let mut text = String::with_capacity(VALUE_CHARACTERS);
    while text.len() < VALUE_CHARACTERS {
        let mut bytes = [0; 2 * VALUE_CHARACTERS];
        getrandom::fill(&mut bytes).context("the operating system gives no random numbers")?;
        text.extend(bytes.iter().filter_map(|byte| character(*byte)).take(VALUE_CHARACTERS - text.len()));
    }
    Ok(SecretString::from(text))
}

/// The character for a random byte; none for the last few, which would make some characters likelier than others.
fn character(byte: u8) -> Option<char> {
    const UNBIASED: usize = 256 / ALPHABET.len() * ALPHABET.len();
    let byte = usize::from(byte);
    let letter = if byte < UNBIASED { ALPHABET.get(byte % ALPHABET.len()) } else { None };
    letter.map(|letter| char::from(*letter))
}

/// Accepts the name of a Secret: a DNS subdomain (RFC 1123), as Kubernetes wants it.
pub fn check_name(name: &str) -> Result<String, String> {
    let is_label = |label: &str| {
        let ends_well = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        let bytes = label.as_bytes();
        ends_well(bytes.first())
            && ends_well(bytes.last())
            && bytes.iter().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'-')
    };
    if name.len() <= 253 && name.split('.').all(is_label) {
        return Ok(name.to_owned());
    }
    Err("a Secret's name has small letters, digits, '-' and '.', begins and ends with a letter or digit, \
         and has 253 characters at the most"
        .to_owned())
}

/// Accepts a key of a Secret.
pub fn check_key(key: &str) -> Result<String, String> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    if (1..=253).contains(&key.len()) && key.bytes().all(fits) && !key.starts_with("..") && key != "." {
        return Ok(key.to_owned());
    }
    Err("a key has letters, digits, '-', '_' and '.', and 253 characters at the most".to_owned())
}

/// Takes `NAME=VALUE` apart. The value may be empty; whether both may be what they are is for the cluster to say.
pub fn check_pair(pair: &str) -> Result<(String, String), String> {
    match pair.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("NAME=VALUE is needed".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use secrecy::ExposeSecret as _;

    use super::*;

    fn keys(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn holding(names: &[&str]) -> Secret {
        Secret { version: "7".to_owned(), filled: names.iter().map(|name| (*name).to_owned()).collect() }
    }

    #[test]
    fn only_what_is_not_there_is_made() {
        let wanted = keys(&["secret", "postgresql-password", "minio-password"]);
        assert_eq!(missing(&wanted, None), ["secret", "postgresql-password", "minio-password"]);
        assert_eq!(missing(&wanted, Some(&holding(&[]))), ["secret", "postgresql-password", "minio-password"]);
        let found = holding(&["postgresql-password", "somebody-elses"]);
        assert_eq!(missing(&wanted, Some(&found)), ["secret", "minio-password"]);
        let found = holding(&["secret", "postgresql-password", "minio-password", "somebody-elses"]);
        assert!(missing(&wanted, Some(&found)).is_empty());
        assert_eq!(missing(&keys(&["twice", "twice"]), None), ["twice"]);
    }

    #[test]
    fn values_are_long_plain_and_never_the_same() {
        let made: BTreeSet<String> = (0..100).map(|_| random_value().unwrap().expose_secret().to_owned()).collect();
        assert_eq!(made.len(), 100);
        for value in &made {
            assert_eq!(value.len(), 48);
            assert!(value.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()), "{value}");
        }
    }

    #[test]
    fn every_character_is_as_likely_as_any_other() {
        let mut counts = BTreeMap::new();
        for letter in (0..=u8::MAX).filter_map(character) {
            *counts.entry(letter).or_insert(0) += 1;
        }
        assert_eq!(counts.len(), 36);
        assert!(counts.values().all(|count| *count == 7), "{counts:?}");
    }

    #[test]
    fn names_and_keys_that_kubernetes_would_refuse_are_refused_at_once() {
        for name in ["a", "board-triptych-credentials", "7.of-9", &"a".repeat(253)] {
            assert_eq!(check_name(name).as_deref(), Ok(name));
        }
        for name in ["", "Board", "-a", "a-", "a..b", ".a", "a_b", "a/b", "ü", &"a".repeat(254)] {
            check_name(name).unwrap_err();
        }
        for key in ["secret", "A_b.c-9", ".pgpass"] {
            assert_eq!(check_key(key).as_deref(), Ok(key));
        }
        for key in ["", ".", "..", "..a", "a b", "a/b", "a=b", "ü", &"a".repeat(254)] {
            check_key(key).unwrap_err();
        }
    }

    #[test]
    fn labels_are_pairs() {
        assert_eq!(check_pair("a.example/b=c=d"), Ok(("a.example/b".to_owned(), "c=d".to_owned())));
        assert_eq!(check_pair("a="), Ok(("a".to_owned(), String::new())));
        for pair in ["a", "=b", ""] {
            check_pair(pair).unwrap_err();
        }
    }
}
