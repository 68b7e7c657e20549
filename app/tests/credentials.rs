//! `triptych credentials` makes what is missing, once, and never changes what is there.
//!
//! The API server here is a stand-in (`credentials/api_server.rs`); the test on a real cluster runs the real one.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on should stop")]

#[path = "credentials/api_server.rs"]
mod api_server;

use std::process::Output;
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context as _, Result};
use api_server::ApiServer;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use triptych::tools::credentials::{PATIENCE, Wanted, ensure};

const KEYS: [&str; 3] = ["secret", "postgresql-password", "minio-password"];

fn wanted(server: &ApiServer) -> Wanted {
    let pair = |name: &str, value: &str| [(name.to_owned(), value.to_owned())].into();
    Wanted {
        secret: "credentials".to_owned(),
        keys: KEYS.map(str::to_owned).to_vec(),
        labels: pair("app.kubernetes.io/instance", "board"),
        annotations: pair("note", "keep me"),
        account: server.account.path().to_owned(),
    }
}

/// Runs the command inside this process; answers what it said.
async fn run(server: &ApiServer, patience: Duration) -> Result<String> {
    let said = Mutex::new(Vec::new());
    let say = |line: &str| said.lock().unwrap().push(line.to_owned());
    ensure(&wanted(server), &|name| server.environment(name), patience, &say).await?;
    Ok(said.into_inner()?.join("\n"))
}

/// Runs the command as a pod does.
async fn process(server: &ApiServer, arguments: &[&str]) -> Result<Output> {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_triptych"));
    command.arg("credentials").args(arguments).arg("--account").arg(server.account.path());
    for name in ["KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"] {
        command.env(name, server.environment(name).unwrap());
    }
    command.output().await.context("cannot run triptych")
}

fn value(secret: &Value, key: &str) -> String {
    let value = secret["data"][key].as_str();
    assert!(value.is_some(), "{key} is missing in {secret}");
    String::from_utf8(BASE64_STANDARD.decode(value.unwrap()).unwrap()).unwrap()
}

#[tokio::test]
async fn a_secret_is_made_once_and_no_value_is_told() -> Result<()> {
    let server = ApiServer::start().await?;
    let arguments =
        [&["credentials"][..], &KEYS, &["--label", "a.example/b=c", "--label", "d=", "--annotation", "e=f=g"]].concat();
    let mut printed = String::new();
    for words in ["made the Secret credentials in namespace boards", "nothing to do"] {
        let output = process(&server, &arguments).await?;
        let told = String::from_utf8(output.stdout)? + &String::from_utf8(output.stderr)?;
        assert!(output.status.success() && told.contains(words), "{}: {told}", output.status);
        printed += &told;
    }
    assert_eq!(server.methods(), ["GET", "POST", "GET"]);
    let secret = server.secret().context("there is no Secret")?;
    assert_eq!(secret["kind"], "Secret");
    assert_eq!(secret["metadata"]["labels"], json!({"a.example/b": "c", "d": ""}));
    assert_eq!(secret["metadata"]["annotations"], json!({"e": "f=g"}));
    assert_eq!(secret["data"].as_object().unwrap().len(), KEYS.len());
    let values = KEYS.map(|key| value(&secret, key));
    assert!(values[0] != values[1] && values[1] != values[2] && values[0] != values[2]);
    for value in values {
        assert_eq!(value.len(), 48);
        assert!(!printed.contains(&value) && !printed.contains(&BASE64_STANDARD.encode(&value)), "a value is told");
    }
    Ok(())
}

#[tokio::test]
async fn what_is_there_stays_and_only_the_rest_is_made() -> Result<()> {
    let server = ApiServer::start().await?;
    let own = BASE64_STANDARD.encode("chosen by the operator");
    server.put(&json!({"postgresql-password": own, "minio-password": "", "unrelated": own}));
    let told = run(&server, PATIENCE).await?;
    assert!(told.contains("secret, minio-password, which it lacked"), "{told}");
    let secret = server.secret().unwrap();
    assert_eq!(value(&secret, "postgresql-password"), "chosen by the operator");
    assert_eq!(value(&secret, "unrelated"), "chosen by the operator");
    assert_eq!((value(&secret, "secret").len(), value(&secret, "minio-password").len()), (48, 48));
    // The patch names nothing but what was missing.
    let asked = server.asked();
    let (_, patch) = asked.last().unwrap();
    assert_eq!(patch["data"].as_object().unwrap().keys().collect::<Vec<_>>(), ["minio-password", "secret"]);
    assert!(patch["metadata"].get("labels").is_none(), "{patch}");
    Ok(())
}

#[tokio::test]
async fn two_at_once_end_with_one_set_of_values() -> Result<()> {
    // Nothing there, and a Secret that lacks a key: both look before either makes anything.
    for before in [None, Some(json!({"secret": BASE64_STANDARD.encode("kept")}))] {
        let server = ApiServer::start().await?;
        if let Some(before) = &before {
            server.put(before);
        }
        server.let_two_meet();
        let (one, other) = tokio::join!(run(&server, PATIENCE), run(&server, PATIENCE));
        let told = [one?, other?];
        let losers = told.iter().filter(|told| told.contains("somebody else") && told.contains("nothing to do"));
        assert_eq!(losers.count(), 1, "{told:#?}");
        let changes: Vec<Value> =
            server.asked().into_iter().filter(|(method, _)| method != "GET").map(|(_, body)| body).collect();
        assert_eq!(changes.len(), 2, "both tried");
        // What is there is the one set or the other, never a mixture.
        let data = &server.secret().unwrap()["data"];
        let is_all_of = |change: &Value| change["data"].as_object().unwrap().iter().all(|(key, is)| &data[key] == is);
        assert_eq!(changes.iter().filter(|change| is_all_of(change)).count(), 1);
        assert_eq!(data.as_object().unwrap().len(), KEYS.len());
        if before.is_some() {
            assert_eq!(value(&server.secret().unwrap(), "secret"), "kept");
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_cluster_that_is_busy_is_asked_again() -> Result<()> {
    let server = ApiServer::start().await?;
    server.fail(&[500, 429]);
    let told = run(&server, PATIENCE).await?;
    assert!(told.contains("500") && told.contains("429") && told.contains("trying again"), "{told}");
    assert_eq!(server.methods(), ["GET", "GET", "GET", "POST"]);
    assert_eq!(value(&server.secret().unwrap(), "secret").len(), 48);

    // But not for ever.
    server.fail(&[503]);
    let told = format!("{:#}", run(&server, Duration::ZERO).await.unwrap_err());
    assert!(told.contains("503") && told.contains("gave up"), "{told}");
    Ok(())
}

#[tokio::test]
async fn who_may_not_is_told_at_once_what_is_needed() -> Result<()> {
    let server = ApiServer::start().await?;
    server.fail(&[403]);
    let output = process(&server, &["credentials", "secret"]).await?;
    let told = String::from_utf8(output.stderr)?;
    assert_eq!(output.status.code(), Some(1));
    for words in ["403", "is forbidden", "create", "get and patch", "credentials", "boards"] {
        assert!(told.contains(words), "{words:?} is not in: {told}");
    }
    server.fail(&[422]);
    let told = format!("{:#}", run(&server, PATIENCE).await.unwrap_err());
    assert!(told.contains("422"), "{told}");
    assert_eq!(server.methods(), ["GET", "GET"], "neither was tried again");

    std::fs::write(server.account.path().join("token"), "of somebody else")?;
    let told = format!("{:#}", run(&server, PATIENCE).await.unwrap_err());
    assert!(told.contains("401") && !told.contains("of somebody else"), "{told}");
    assert!(server.secret().is_none());
    Ok(())
}

#[tokio::test]
async fn a_server_that_the_clusters_authority_does_not_vouch_for_is_told_nothing() -> Result<()> {
    let (server, other) = (ApiServer::start().await?, ApiServer::start().await?);
    std::fs::copy(other.account.path().join("ca.crt"), server.account.path().join("ca.crt"))?;
    let told = format!("{:#}", run(&server, Duration::ZERO).await.unwrap_err());
    assert!(told.contains("certificate"), "{told}");
    assert!(server.asked().is_empty());
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_right_is_refused_before_anybody_is_asked() -> Result<()> {
    let server = ApiServer::start().await?;
    for (arguments, words) in [
        (&["Credentials", "secret"][..], "small letters"),
        (&["credentials", "a/b"], "a key has"),
        (&["credentials"], "<KEY>"),
        (&["credentials", "secret", "--label", "alone"], "NAME=VALUE"),
    ] {
        let output = process(&server, arguments).await?;
        let told = String::from_utf8(output.stderr)?;
        assert!(!output.status.success() && told.contains(words), "{arguments:?}: {told}");
    }
    std::fs::remove_file(server.account.path().join("token"))?;
    let told = format!("{:#}", run(&server, PATIENCE).await.unwrap_err());
    assert!(told.contains("token cannot be read"), "{told}");
    let told = ensure(&wanted(&server), &|_| None, PATIENCE, &|_| ()).await.unwrap_err();
    assert!(told.to_string().contains("KUBERNETES_SERVICE_HOST is not set"), "{told}");
    assert!(server.asked().is_empty());
    Ok(())
}
