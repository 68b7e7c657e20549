//! The answer that a stream is: its headers, what is refused, and how it ends.

use std::time::Duration;

use anyhow::{Context as _, Result};
use reqwest::{Method, StatusCode, header::HeaderValue};
use rustix::process::{Pid, Signal, kill_process};
use triptych_tests::{
    Form, Replica, Visitor, Watcher,
    http::{HTML, JSON},
};

use super::{BOARD, Heard, new_thread, of_board, of_thread, replicas, reply};
use crate::{
    board::{metric, small_picture, wait_until},
    servers::Servers,
    shared::{check_error_page, check_problem},
};

const SLUG: &str = "asked";

#[tokio::test]
async fn a_stream_says_what_it_is_to_proxies_and_to_pages_of_other_sites() -> Result<()> {
    let stack = BOARD.get().await?;
    let [visitor, ..] = replicas(stack)?;
    let thread = new_thread(&visitor, SLUG).await?;
    for path in [of_board(SLUG), of_thread(SLUG, thread)] {
        let stream = Watcher::open(&visitor, &path, None).await?;
        let head = visitor.head(&path).await?;
        head.expect(StatusCode::OK)?;
        assert!(head.body.is_empty());
        for headers in [stream.headers(), &head.headers] {
            for (name, wanted) in [
                ("Content-Type", "text/event-stream"),
                ("Cache-Control", "no-store"),
                ("X-Accel-Buffering", "no"),
                ("Access-Control-Allow-Origin", "*"),
                ("X-Content-Type-Options", "nosniff"),
            ] {
                assert_eq!(headers.get(name).map(HeaderValue::as_bytes), Some(wanted.as_bytes()), "{name} of {path}");
            }
            assert!(!headers.contains_key("Content-Encoding") && !headers.contains_key("ETag"), "{headers:?}");
        }
        let asked = visitor
            .request(Method::OPTIONS, &path)
            .header("Origin", "https://elsewhere.example")
            .header("Access-Control-Request-Method", "GET")
            .header("Access-Control-Request-Headers", "last-event-id");
        let answer = visitor.send(asked).await?;
        answer.expect(StatusCode::NO_CONTENT)?;
        assert_eq!(answer.header("Access-Control-Allow-Origin"), "*");
        assert!(answer.header("Access-Control-Allow-Headers").to_lowercase().contains("last-event-id"), "{answer:?}");
        let posted = visitor.accepting(JSON).submit(&path, &Form::new()).await?;
        check_problem(&posted, 405, "method_not_allowed")?;
    }
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_watched_is_refused_in_the_form_asked_for() -> Result<()> {
    let stack = BOARD.get().await?;
    let thread = new_thread(&Visitor::new(&stack.url())?, SLUG).await?;
    let (board, of_thread) = (of_board(SLUG), of_thread(SLUG, thread));
    for visitor in replicas(stack)? {
        let told = Watcher::open(&visitor, &board, None).await?.position().to_owned();
        let mut refused = vec![
            (of_board("nosuch"), 404, "unknown_board"),
            (super::of_thread(SLUG, i64::from(i32::MAX)), 404, "unknown_thread"),
            (super::of_thread(SLUG, 99_999_999_999), 404, "unknown_thread"),
            (super::of_thread("told", thread), 404, "unknown_thread"),
            (super::of_thread("nosuch", thread), 404, "unknown_board"),
        ];
        for nonsense in ["x", "17", "-1.5", "1.", "%00", "1.5%0A2.6"] {
            refused.push((format!("{board}?after={nonsense}"), 422, "bad_position"));
            refused.push((format!("{of_thread}?after={nonsense}"), 422, "bad_position"));
        }
        for (path, status, code) in &refused {
            let answer = visitor.accepting(JSON).get(path).await?;
            check_problem(&answer, *status, code).with_context(|| path.clone())?;
            check_error_page(&visitor.accepting(HTML).get(path).await?, *status).with_context(|| path.clone())?;
        }
        let twice = visitor.accepting(JSON).get(&format!("{board}?after={told}&after={told}")).await?;
        assert!(twice.status.is_client_error(), "{} {}", twice.status, twice.text());
        let nonsense = visitor.accepting(JSON).request(Method::GET, &board).header("Last-Event-ID", "nonsense");
        check_problem(&visitor.send(nonsense).await?, 422, "bad_position")?;
        // Other fields of the address are for somebody else.
        Watcher::open(&visitor, &format!("{board}?t=1"), None).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_stream_on_which_nothing_happens_shows_that_it_is_alive() -> Result<()> {
    let stack = BOARD.get().await?;
    let [visitor, ..] = replicas(stack)?;
    let thread = new_thread(&visitor, SLUG).await?;
    let mut stream = Watcher::open(&visitor, &of_thread(SLUG, thread), None).await?;
    stream.heartbeat().await?;
    let no = reply(&visitor, SLUG, thread).await?;
    Heard::default().until(&mut stream, no).await
}

/// How many streams a replica says that it has.
async fn counted(replica: &Replica) -> Result<usize> {
    Ok(format!("{}", metric(replica, "triptych_event_streams").await?).parse()?)
}

#[tokio::test]
async fn streams_are_bounded_and_end_before_their_replica_does() -> Result<()> {
    const MOST: usize = 5;
    const OF_ADDRESS: usize = 3;
    let servers = Servers::start().await?;
    servers.migrate(&[]).await?;
    let replica = servers
        .replica(&[
            ("TRIPTYCH_MAX_STREAMS", &MOST.to_string()),
            ("TRIPTYCH_MAX_STREAMS_PER_ADDRESS", &OF_ADDRESS.to_string()),
            ("TRIPTYCH_DRAIN_DELAY", "1h"),
            ("TRIPTYCH_SHUTDOWN_TIMEOUT", "2h"),
        ])
        .await?;
    let visitors = [2, 3].map(|last| Visitor::from_address(&replica.url(), [127, 0, 0, last].into()));
    let [one, other] = visitors;
    let (one, other) = (one?, other?);
    let posted = one.must_post("b", &Form::thread("watched").picture(&small_picture(1)?)).await?;
    let path = of_thread("b", posted.no);
    let is_refused = async |visitor: &Visitor| {
        for (path, accept) in [("/b/events", JSON), (&path, HTML)] {
            let answer = visitor.accepting(accept).get(path).await?;
            answer.expect_polite_refusal(accept)?;
            if accept == JSON {
                check_problem(&answer, 503, "too_many_streams")?;
            }
        }
        anyhow::Ok(())
    };
    let open = async |visitor: &Visitor| Watcher::open(visitor, &path, None).await;

    // A 404 that is answered, and a HEAD, hold nothing.
    for _ in 0..MOST {
        one.head(&path).await?.expect(StatusCode::OK)?;
        one.get("/b/res/999999/events").await?.expect(StatusCode::NOT_FOUND)?;
    }
    let mut streams = Vec::new();
    for _ in 0..OF_ADDRESS {
        streams.push(open(&one).await?);
    }
    is_refused(&one).await?;
    for _ in OF_ADDRESS..MOST {
        streams.push(open(&other).await?);
    }
    is_refused(&other).await?;
    assert_eq!(counted(&replica).await?, MOST);

    // Those of `one`. That they are closed shows when the next heartbeat is sent, at the latest.
    streams.drain(..OF_ADDRESS);
    wait_until("the places of streams that were closed are given back", || async {
        Ok(counted(&replica).await? == MOST - OF_ADDRESS)
    })
    .await?;
    for visitor in [&one, &other, &one] {
        streams.push(open(visitor).await?);
    }
    is_refused(&one).await?;

    let pid = replica.pid().and_then(Pid::from_raw).context("the replica does not run")?;
    kill_process(pid, Signal::TERM)?;
    for stream in &mut streams {
        assert_eq!(stream.next().await?, None, "streams end when the replica is about to");
    }
    one.get("/b/").await?.expect(StatusCode::OK)?;
    assert!(open(&one).await.is_err(), "nobody begins to watch here any more");
    assert_eq!(counted(&replica).await?, 0);
    // A second signal ends the drain delay.
    let exit = replica.terminate().await?;
    assert!(exit.status.success() && exit.took < Duration::from_secs(10), "{exit:?}\n{}", replica.log());
    Ok(())
}
