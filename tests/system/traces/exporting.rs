//! What a collector gets, and that nobody notices when there is none.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use opentelemetry_proto::tonic::trace::v1::{span::SpanKind, status::StatusCode as SpanStatus};
use reqwest::{Method, StatusCode};
use triptych_tests::{Form, Replica, Visitor, http::JSON};

use super::{
    Caller,
    collector::{Collector, Mood},
    in_span, lines,
};
use crate::{
    board::{small_picture, wait_until},
    servers::Servers,
};

/// Longer than anything may take that does not depend on the collector.
const SOON: Duration = Duration::from_secs(20);

/// A replica that sends to this address.
async fn replica(servers: &Servers, address: &str, ratio: &str) -> Result<Replica> {
    let settings = [
        ("TRIPTYCH_OTLP_ENDPOINT", address),
        ("TRIPTYCH_TRACE_RATIO", ratio),
        ("TRIPTYCH_REPLICA", "replica-of-traces"),
        ("TRIPTYCH_LOG", "info,triptych=debug"),
    ];
    servers.replica(&settings).await
}

async fn servers() -> Result<Servers> {
    let servers = Servers::start().await?;
    servers.migrate(&[]).await?;
    Ok(servers)
}

async fn get(visitor: &Visitor, path: &str, header: &str) -> Result<()> {
    let request = visitor.request(Method::GET, path).header("traceparent", header);
    tokio::time::timeout(SOON, visitor.send(request)).await.context("no answer")??.expect(StatusCode::OK)?;
    Ok(())
}

/// One number of the metrics.
async fn metric(visitor: &Visitor, replica: &Replica, name: &str) -> Result<u64> {
    let text = visitor.at(&replica.metrics_url()).get("").await?.text();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    Ok(line.with_context(|| format!("no {name} in:\n{text}"))?.parse()?)
}

fn complaints(replica: &Replica) -> usize {
    replica.log().matches("the collector of traces does not take them").count()
}

#[tokio::test]
async fn a_collector_gets_the_request_and_what_it_waited_for() -> Result<()> {
    let (servers, collector) = (servers().await?, Collector::start(Mood::Takes).await?);
    let replica = replica(&servers, &format!("{}/", collector.url()), "0").await?;
    let visitor = Visitor::new(&replica.url())?.accepting(JSON);
    let (unwanted, caller) = (Caller::new(), Caller::new());
    get(&visitor, "/boards.json", &unwanted.header("00")).await?;
    // Begins a trace here, where none is wanted.
    visitor.get("/boards.json").await?.expect(StatusCode::OK)?;
    let form = Form::thread("traced").picture(&small_picture(1)?).multipart()?;
    let post = visitor.request(Method::POST, "/b/post").header("traceparent", caller.header("01")).multipart(form);
    let answer = visitor.send(post).await?;
    answer.expect(StatusCode::CREATED)?;

    let spans = collector.wait_for(&caller.trace).await?;
    let roots: Vec<_> = spans.iter().filter(|span| span.parent() == caller.span).collect();
    let [root] = roots[..] else { anyhow::bail!("{} spans belong to the caller: {spans:#?}", roots.len()) };
    assert_eq!(root.span.name, "POST /{board:[a-z0-9]{1,16}}/post");
    assert_eq!(root.span.kind, i32::from(SpanKind::Server));
    assert_eq!(root.span.flags, 0x301, "sampled, and the caller is elsewhere");
    for (key, value) in [
        ("http.request.method", "POST"),
        ("http.route", "/{board:[a-z0-9]{1,16}}/post"),
        ("http.response.status_code", "201"),
        ("triptych.request_id", answer.header("X-Request-Id")),
    ] {
        assert_eq!(root.attribute(key).as_deref(), Some(value), "{key}");
    }
    assert_eq!(root.of_resource("service.name").as_deref(), Some("triptych"));
    assert_eq!(root.of_resource("service.instance.id").as_deref(), Some("replica-of-traces"));
    assert_eq!(root.of_resource("service.instance.id").as_deref(), Some(answer.header("X-Served-By")));
    assert_eq!(root.of_resource("service.version").as_deref(), Some(env!("CARGO_PKG_VERSION")));
    // It is the span of the lines in the log.
    let logged = lines(&replica.log(), "request_id", answer.header("X-Request-Id"));
    assert_eq!(in_span(logged.first().context("not logged")?, "span_id")?, root.id());

    for (name, least) in [
        ("body", 1),
        ("pool", 2),
        ("database", 2),
        ("inspection", 1),
        ("decoding", 1),
        ("s3 put", 2),
        ("commit wait", 1),
    ] {
        let parts: Vec<_> = spans.iter().filter(|span| span.span.name == name).collect();
        ensure!(parts.len() >= least, "{} of {least} spans {name}: {spans:#?}", parts.len());
        for part in parts {
            assert_eq!(part.parent(), root.id(), "{name}");
            let (from, to) = (part.span.start_time_unix_nano, part.span.end_time_unix_nano);
            ensure!(root.span.start_time_unix_nano <= from && from <= to, "{name} {from} {to}: {root:#?}");
            ensure!(to <= root.span.end_time_unix_nano, "{name} {to}: {root:#?}");
        }
    }
    assert_eq!(collector.asked().first().map(String::as_str), Some("POST /v1/traces application/x-protobuf"));
    assert_eq!(metric(&visitor, &replica, "triptych_traces_exported_total").await?, 1);
    replica.terminate().await?;
    assert_eq!(collector.count(), spans.len(), "only what is wanted is sent");
    Ok(())
}

#[tokio::test]
async fn what_is_left_is_sent_at_the_end_and_an_error_is_one() -> Result<()> {
    let (servers, collector) = (servers().await?, Collector::start(Mood::Takes).await?);
    let replica = replica(&servers, &collector.url(), "1").await?;
    let visitor = Visitor::new(&replica.url())?;
    // Pictures that nobody can read, because there is no store.
    visitor.must_post("b", &Form::thread("a picture").picture(&small_picture(1)?)).await?;
    let picture = sqlx::query_scalar::<_, uuid::Uuid>("select blob_id from attachment limit 1");
    let picture = picture.fetch_one(&mut servers.connect().await?).await?;
    servers.s3.stop().await?;
    let caller = Caller::new();
    let request = visitor.request(Method::GET, &format!("/media/{picture}.jpg"));
    let answer = visitor.send(request.header("traceparent", caller.header("01"))).await?;
    answer.expect(StatusCode::SERVICE_UNAVAILABLE)?;
    // It was asked whether it is ready, and begins a trace only for others.
    let last = visitor.get("/b/").await?;
    let exit = replica.terminate().await?;
    ensure!(exit.status.success(), "{exit:?}");

    let spans = collector.spans(&caller.trace);
    let root = spans.iter().find(|span| span.parent() == caller.span).context("the error was not sent")?;
    assert_eq!(root.span.status.as_ref().map(|status| status.code), Some(SpanStatus::Error.into()));
    assert_eq!(root.attribute("error.type").as_deref(), Some("503"));
    ensure!(spans.iter().any(|span| span.span.name == "s3 get"), "{spans:#?}");
    let logged = lines(&replica.log(), "request_id", last.header("X-Request-Id"));
    let trace = in_span(logged.first().context("not logged")?, "trace_id")?;
    let begun_here = collector.spans(&trace);
    ensure!(begun_here.iter().any(|span| span.parent().is_empty()), "the last request was not sent: {begun_here:#?}");
    for line in lines(&replica.log(), "route", "/readyz") {
        let trace = in_span(&line, "trace_id")?;
        ensure!(collector.spans(&trace).is_empty(), "a probe was sent: {line}");
    }
    Ok(())
}

#[tokio::test]
async fn nobody_waits_for_a_collector_that_hangs_or_is_away() -> Result<()> {
    let servers = servers().await?;
    let hanging = Collector::start(Mood::Hangs).await?;
    let away = Collector::start(Mood::Takes).await?.url();
    for (address, hangs) in [(hanging.url(), true), (away, false)] {
        let replica = replica(&servers, &address, "1").await?;
        let visitor = Visitor::new(&replica.url())?;
        get(&visitor, "/", &Caller::new().header("01")).await?;
        if hangs {
            hanging.wait_for_questions(1).await?;
        } else {
            wait_until("it is told", || async { Ok(complaints(&replica) > 0) }).await?;
        }
        // More than there is room for.
        let many: Vec<_> = (0..50)
            .map(|_| {
                let visitor = visitor.clone();
                tokio::spawn(async move {
                    for _ in 0..60 {
                        get(&visitor, "/", &Caller::new().header("01")).await?;
                    }
                    anyhow::Ok(())
                })
            })
            .collect();
        for requests in many {
            requests.await??;
        }
        let dropped = metric(&visitor, &replica, "triptych_traces_dropped_total").await?;
        ensure!(dropped >= 3000 - 2048 - 256, "{dropped} were dropped");
        let exit = replica.terminate().await?;
        ensure!(exit.status.success(), "{exit:?}");
        ensure!(exit.took < SOON, "it ends after {:?}", exit.took);
        ensure!(replica.log().contains("given up: traces that were not sent"), "{}", replica.log());
        ensure!(complaints(&replica) <= 1, "it is told {} times", complaints(&replica));
    }
    Ok(())
}

#[tokio::test]
async fn an_outage_of_the_collector_is_told_once_and_what_waits_is_sent() -> Result<()> {
    let (servers, collector) = (servers().await?, Collector::start(Mood::NotNow).await?);
    let replica = replica(&servers, &collector.url(), "0").await?;
    let (visitor, caller) = (Visitor::new(&replica.url())?, Caller::new());
    get(&visitor, "/", &caller.header("01")).await?;
    collector.wait_for_questions(3).await?;
    assert_eq!(complaints(&replica), 1, "of {} attempts", collector.asked().len());
    collector.set_mood(Mood::Takes);
    collector.wait_for(&caller.trace).await?;
    wait_until("it is told", || async { Ok(replica.log().contains("the collector takes traces again")) }).await?;

    // What is wrong is not sent a second time.
    collector.set_mood(Mood::Refuses);
    let (refused, next) = (Caller::new(), Caller::new());
    get(&visitor, "/", &refused.header("01")).await?;
    wait_until("it is dropped", || async {
        Ok(metric(&visitor, &replica, "triptych_traces_dropped_total").await? == 1)
    })
    .await?;
    collector.set_mood(Mood::Takes);
    get(&visitor, "/", &next.header("01")).await?;
    collector.wait_for(&next.trace).await?;
    ensure!(collector.spans(&refused.trace).is_empty(), "it was sent again");
    assert_eq!(complaints(&replica), 2);
    Ok(())
}
