//! Whose post it is: what a client says about itself changes nothing, and no address is written down.

use anyhow::{Context as _, Result, ensure};
use reqwest::{Method, StatusCode};
use triptych_tests::{
    Answer, Form, Stack, Visitor,
    http::{JSON, Posted},
    pictures,
};

use crate::shared::{SHARED, new_thread, without_token};

/// What an untrusted client may send to be somebody else, or to be somewhere else.
const FORGED: &[(&str, &str)] = &[
    ("X-Forwarded-For", "198.51.100.1"),
    ("X-Forwarded-For", "198.51.100.1, 127.0.0.1"),
    ("X-Forwarded-For", "127.0.0.1"),
    ("X-Forwarded-For", "::1"),
    ("X-Forwarded-For", "unknown, 198.51.100.1"),
    ("Forwarded", "for=198.51.100.1;host=evil.example;proto=https"),
    ("X-Forwarded-Host", "evil.example"),
    ("X-Forwarded-Proto", "https"),
    ("X-Forwarded-Port", "444"),
    ("X-Forwarded-Prefix", "/evil"),
    ("X-Real-IP", "198.51.100.1"),
    ("X-Client-IP", "198.51.100.1"),
    ("True-Client-IP", "198.51.100.1"),
    ("CF-Connecting-IP", "198.51.100.1"),
    ("X-Original-URL", "/evil.example"),
    ("X-Rewrite-URL", "/evil.example"),
    ("X-HTTP-Method-Override", "DELETE"),
    ("X-Host", "evil.example"),
    ("X-Request-Id", "evil.example"),
];

/// The hash of the address that a post came from.
async fn address_of(stack: &Stack, no: i64) -> Result<Vec<u8>> {
    let mut database = stack.database().await?;
    let query = sqlx::query_scalar("select address_hash from post where no = $1").bind(i32::try_from(no)?);
    query.fetch_one(&mut database).await.with_context(|| format!("post {no}"))
}

/// Posts a reply with more headers and answers the hash of the address in its row.
async fn hash(stack: &Stack, visitor: &Visitor, thread: i64, headers: &[(&str, &str)]) -> Result<Vec<u8>> {
    let visitor = visitor.accepting(JSON);
    let mut request = visitor.request(Method::POST, "/b/post").multipart(Form::reply(thread, "who am I?").multipart()?);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = visitor.send(request).await?;
    let posted: Posted = answer.expect(StatusCode::CREATED).with_context(|| format!("{headers:?}"))?.json()?;
    ensure!(posted.url == format!("/b/res/{thread}.html#{}", posted.no), "{headers:?}: {posted:?}");
    ensure!(answer.header("Location") == posted.url, "{headers:?}: {:?}", answer.headers);
    address_of(stack, posted.no).await
}

fn from(site: &str, last: u8) -> Result<Visitor> {
    Visitor::from_address(site, [127, 0, 0, last].into())
}

#[tokio::test]
async fn an_untrusted_client_is_who_it_is_whatever_it_says() -> Result<()> {
    let stack = SHARED.get().await?;
    let thread = new_thread(&Visitor::new(&stack.url())?, "b", "addresses").await?.no;
    for site in [stack.replica(0)?.url(), stack.url()] {
        let (two, three) = (from(&site, 2)?, from(&site, 3)?);
        let plain = hash(stack, &two, thread, &[]).await?;
        assert_ne!(plain, hash(stack, &three, thread, &[]).await?, "{site}: two addresses are one");
        assert_eq!(plain.len(), 32, "not a hash");
        for header in FORGED {
            assert_eq!(hash(stack, &two, thread, &[*header]).await?, plain, "{header:?} to {site}");
        }
        assert_eq!(hash(stack, &two, thread, FORGED).await?, plain, "all of it to {site}");
    }
    // The same visitor, whichever way the request went.
    let direct = hash(stack, &from(&stack.replica(1)?.url(), 2)?, thread, &[]).await?;
    let through = hash(stack, &from(&stack.url(), 2)?, thread, &[]).await?;
    assert_eq!(direct, through, "nginx makes another visitor of one");
    Ok(())
}

#[tokio::test]
async fn of_a_trusted_proxy_the_nearest_address_that_is_no_proxy_counts() -> Result<()> {
    let stack = SHARED.get().await?;
    let thread = new_thread(&Visitor::new(&stack.url())?, "b", "hops").await?.no;
    // The peer 127.0.0.1 is the only proxy that the replicas trust.
    let proxy = from(&stack.replica(0)?.url(), 1)?;
    let other = from(&stack.replica(0)?.url(), 2)?;
    let of = async |forwarded: &[&str]| {
        let headers: Vec<_> = forwarded.iter().map(|value| ("X-Forwarded-For", *value)).collect();
        hash(stack, &proxy, thread, &headers).await
    };
    let own = of(&[]).await?;
    let visitor = of(&["198.51.100.1"]).await?;
    let two = hash(stack, &other, thread, &[]).await?;
    assert_ne!(own, visitor);
    let huge = "1.2.3.4, ".repeat(1000) + "198.51.100.1";
    for (forwarded, expected) in [
        (vec!["198.51.100.1, 127.0.0.1"], &visitor),
        (vec!["6.6.6.6, 198.51.100.1"], &visitor),
        (vec!["6.6.6.6", "198.51.100.1"], &visitor),
        (vec!["6.6.6.6, 127.0.0.2"], &two),
        (vec!["127.0.0.2"], &two),
        (vec!["::ffff:198.51.100.1"], &visitor),
        (vec!["198.51.100.1:55000"], &visitor),
        (vec!["garbage, 198.51.100.1, 127.0.0.1"], &visitor),
        (vec![huge.as_str()], &visitor),
        (vec!["198.51.100.1, unknown"], &own),
        (vec![""], &own),
        (vec!["127.0.0.1"], &own),
    ] {
        assert_eq!(&of(&forwarded).await?, expected, "X-Forwarded-For: {forwarded:?}");
    }
    let network = of(&["2001:db8:1:2::1"]).await?;
    assert_eq!(of(&["[2001:db8:1:2::9]:443"]).await?, network, "IPv6 counts by its /64");
    assert_ne!(of(&["2001:db8:1:3::1"]).await?, network);
    Ok(())
}

/// Status, headers and body.
type Lasting = (u16, Vec<(String, String)>, String);

/// What must be the same whatever was forged: everything but what differs from answer to answer, which is the number
/// of the request and the token of a newcomer, and the date of the last change, which is told a second earlier until the
/// change is ten seconds old. The key of a form is the same as long as its page is.
fn lasting(answer: &Answer) -> Lasting {
    let differs = ["date", "last-modified", "x-request-id", "x-served-by", "x-cache-status", "age"];
    let headers = answer.headers.iter().filter(|(name, _)| !differs.contains(&name.as_str()));
    let mut headers: Vec<_> = headers.map(|(name, value)| (name.to_string(), without_token(value))).collect();
    headers.sort();
    let mut body = answer.text();
    let request = answer.header("X-Request-Id");
    if !request.is_empty() {
        body = body.replace(request, "");
    }
    (answer.status.as_u16(), headers, body)
}

#[tokio::test]
async fn pages_links_and_headers_do_not_depend_on_what_was_forwarded() -> Result<()> {
    let stack = SHARED.get().await?;
    // A board on which no other test posts, so that nothing changes in between.
    let poster = Visitor::new(&stack.url())?;
    let thread = new_thread(&poster, "art", "the same for all").await?.no;
    let paths = [
        "/art/".to_owned(),
        "/art".into(),
        "/art/catalog.html".into(),
        "/art/threads.json".into(),
        format!("/art/res/{thread}.html"),
        format!("/art/res/{thread}.json"),
        format!("/art/thread/{thread}"),
        "/boards/nothing/here".into(),
    ];
    for site in [stack.replica(0)?.url(), stack.url()] {
        let visitor = from(&site, 2)?;
        for path in &paths {
            let clean = lasting(&visitor.get(path).await?);
            for forged in FORGED.chunks(1).chain([FORGED]) {
                let mut request = visitor.request(Method::GET, path);
                for (name, value) in forged {
                    request = request.header(*name, *value);
                }
                let answer = visitor.send(request).await?;
                ensure!(lasting(&answer) == clean, "{forged:?} changes {site}{path}:\n{clean:?}\n{answer:?}");
                ensure!(!answer.text().contains("evil"), "{forged:?} is in {site}{path}: {}", answer.text());
                ensure!(!format!("{:?}", answer.headers).contains("evil"), "{forged:?}: {:?}", answer.headers);
                let next = lasting(&visitor.get(path).await?);
                ensure!(next == clean, "after {forged:?} the next visitor of {site}{path} sees something else");
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_foreign_host_is_never_repeated() -> Result<()> {
    let stack = SHARED.get().await?;
    for site in [stack.replica(0)?.url(), stack.url()] {
        let visitor = from(&site, 2)?;
        for path in ["/", "/art", "/art/", "/art/1.html", "/art/thread/1", "/nosuch/", "/boards.json", "/art/src/1.png"]
        {
            let answer = visitor.send(visitor.request(Method::GET, path).header("Host", "evil.example")).await?;
            ensure!(answer.status.as_u16() < 500, "{site}{path}: {}", answer.status);
            ensure!(!answer.text().contains("evil.example"), "{site}{path} repeats the host: {}", answer.text());
            let headers = format!("{:?}", answer.headers);
            ensure!(!headers.contains("evil.example"), "{site}{path} repeats the host: {headers}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn no_log_knows_an_address() -> Result<()> {
    let stack = SHARED.get().await?;
    let (address, forwarded) = ("127.83.61.47", "203.0.113.77");
    let poster = Visitor::new(&stack.url())?;
    let thread = new_thread(&poster, "b", "logs").await?.no;
    for site in crate::shared::sites(stack) {
        let visitor = Visitor::from_address(&site, address.parse()?)?.accepting(JSON);
        let form = Form::reply(thread, "canary-comment").field("pwd", "canary-password").field("name", "canary-name");
        let request = visitor.request(Method::POST, "/b/post").header("X-Forwarded-For", forwarded);
        visitor.send(request.multipart(form.multipart()?)).await?.expect(StatusCode::CREATED)?;
        // Answers that an operator may want to see in a log: refused, not there, wrong.
        visitor.post("b", &Form::thread("canary-comment")).await?.expect(StatusCode::UNPROCESSABLE_ENTITY)?;
        visitor.get("/b/catalog.html?q=canary-query").await?.expect(StatusCode::OK)?;
        visitor.get("/b/res/1999999999.html").await?.expect(StatusCode::NOT_FOUND)?;
        let deletion = Form::new().field("no", &thread.to_string()).field("pwd", "canary-password");
        visitor.submit("/b/delete", &deletion).await?.expect(StatusCode::FORBIDDEN)?;
    }
    // What nginx has something to say about: a body that goes to a file, and one that is too large.
    let visitor = Visitor::from_address(&stack.url(), address.parse()?)?.accepting(JSON);
    let form = Form::reply(thread, "").picture(&pictures::png(rand::random(), 400, 300)?);
    visitor.post("b", &form).await?.expect(StatusCode::CREATED)?;
    let form = Form::reply(thread, "").file("a.jpg", "image/jpeg", vec![0; 40_000_000]);
    visitor.post("b", &form).await?.expect(StatusCode::PAYLOAD_TOO_LARGE)?;
    let mut logs: Vec<(String, String)> =
        stack.replicas().iter().map(|replica| (replica.name().to_owned(), replica.log())).collect();
    logs.push(("nginx access".into(), stack.nginx.access_log()));
    logs.push(("nginx error".into(), stack.nginx.error_log()));
    for (name, log) in &logs {
        for canary in [address, forwarded, "canary-comment", "canary-password", "canary-name", "canary-query"] {
            let line = log.lines().find(|line| line.contains(canary));
            assert_eq!(line, None, "the log of {name} knows {canary}");
        }
    }
    let answered = logs.iter().filter(|(name, _)| name.starts_with("replica"));
    for (name, log) in answered {
        assert!(log.contains("/post"), "{name} logs no requests, so this test sees nothing:\n{log}");
    }
    assert!(logs.iter().any(|(name, log)| name == "nginx access" && log.contains("/b/post")), "nginx logs nothing");
    Ok(())
}
