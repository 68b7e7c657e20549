//! The first post of a browser: whoever sent it deletes it, however often it was sent, and nobody else does.
//!
//! A browser that has never posted keeps nothing but a token, which came with the page. Some keep nothing at all.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use reqwest::{Method, StatusCode, header};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use triptych_tests::{
    Answer, Form, Nginx, Stack, Visitor, nginx::Settings, ports, scratch::Scratch, stack::MAX_UPLOAD,
};
use uuid::Uuid;

use crate::{
    board::posts_saying,
    shared::{SHARED, check_error_page, new_thread},
};

/// A browser and the cookies that it keeps, by path and name.
#[derive(Clone)]
struct Browser {
    visitor: Visitor,
    cookies: BTreeMap<(String, String), String>,
}

impl Browser {
    fn new(site: &str) -> Result<Self> {
        Ok(Self { visitor: Visitor::new(site)?, cookies: BTreeMap::new() })
    }

    /// The cookies that go with a request to this path (RFC 6265, section 5.1.4).
    fn cookies_for(&self, path: &str) -> Vec<String> {
        let goes = |of: &str| {
            let rest = path.strip_prefix(of);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || of.ends_with('/'))
        };
        let cookies = self.cookies.iter().filter(|((of, _), _)| goes(of));
        cookies.map(|((_, name), value)| format!("{name}={value}")).collect()
    }

    async fn send(&self, method: Method, path: &str, form: Option<&Form>) -> Result<Answer> {
        let mut request = self.visitor.request(method, path);
        let cookies = self.cookies_for(path);
        if !cookies.is_empty() {
            request = request.header(header::COOKIE, cookies.join("; "));
        }
        if let Some(form) = form {
            request = request.multipart(form.multipart()?);
        }
        self.visitor.send(request).await
    }

    fn keep_cookies_of(&mut self, answer: &Answer) -> Result<()> {
        for line in answer.headers.get_all(header::SET_COOKIE) {
            let line = line.to_str()?;
            let (pair, attributes) = line.split_once("; ").with_context(|| line.to_owned())?;
            let (name, value) = pair.split_once('=').with_context(|| line.to_owned())?;
            let path = attributes.split("; ").find_map(|attribute| attribute.strip_prefix("Path="));
            let path = path.with_context(|| format!("no path in {line}"))?;
            self.cookies.insert((path.to_owned(), name.to_owned()), value.to_owned());
        }
        Ok(())
    }

    async fn read(&mut self, path: &str) -> Result<Answer> {
        let answer = self.send(Method::GET, path, None).await?;
        self.keep_cookies_of(&answer)?;
        Ok(answer)
    }

    /// Posts, and keeps no cookie of the answer.
    async fn post(&self, form: &Form) -> Result<Answer> {
        self.send(Method::POST, "/b/post", Some(form)).await
    }

    /// Deletes without typing a password.
    async fn delete(&self, no: &str) -> Result<Answer> {
        self.send(Method::POST, "/b/delete", Some(&Form::new().field("no", no).field("pwd", ""))).await
    }
}

/// The number of the post that a browser is sent to.
fn number(answer: &Answer) -> Result<String> {
    let location = answer.expect(StatusCode::SEE_OTHER)?.header("Location");
    let (_, no) = location.split_once('#').with_context(|| format!("no number in {location:?}"))?;
    Ok(no.to_owned())
}

async fn thread(stack: &Stack) -> Result<i64> {
    Ok(new_thread(&Visitor::new(&stack.url())?, "b", "first posts").await?.no)
}

/// A reply that nobody else sends, with a key.
fn reply(thread: i64) -> (String, Form) {
    let comment = format!("a first post {}", Uuid::new_v4());
    let form = Form::reply(thread, &comment).field("key", &Uuid::new_v4().to_string());
    (comment, form)
}

#[tokio::test]
async fn whichever_answer_to_a_first_post_arrives_its_cookie_deletes_the_post() -> Result<()> {
    const ROUNDS: usize = 4;
    let stack = SHARED.get().await?;
    let thread = thread(stack).await?;
    // The page was kept from the day before, or cookies are not wanted: there is no token.
    let (one, other) = (Browser::new(&stack.replica(0)?.url())?, Browser::new(&stack.replica(1)?.url())?);
    let mut deleted = 0;
    for round in 0..ROUNDS {
        for arrives_first in [true, false] {
            let (comment, form) = reply(thread);
            let (first, second) = if round % 2 == 0 {
                (one.post(&form).await?, other.post(&form).await?)
            } else {
                tokio::try_join!(one.post(&form), other.post(&form))?
            };
            let no = number(&first)?;
            assert_eq!(no, number(&second)?, "one form was sent twice and became two posts");
            let mut author = Browser::new(&stack.url())?;
            author.keep_cookies_of(if arrives_first { &first } else { &second })?;
            // Going back and sending the form once more, now with a password, is the same post still.
            assert_eq!(number(&author.post(&form).await?)?, no, "sent again with the cookie");
            author.delete(&no).await?.expect(StatusCode::SEE_OTHER).with_context(|| {
                format!("round {round}, the cookie of the {} answer", if arrives_first { "first" } else { "second" })
            })?;
            assert_eq!(posts_saying(&mut stack.database().await?, &comment).await?, 0);
            deleted += 1;
        }
    }
    assert_eq!(deleted, 2 * ROUNDS, "posts");
    Ok(())
}

/// Stands between nginx and a replica, and loses the first answer: the connection is reset when it comes.
struct LossyProxy {
    address: String,
    lost: Arc<AtomicUsize>,
}

impl LossyProxy {
    async fn start(replica: String) -> Result<Self> {
        let address = format!("127.0.0.1:{}", ports::free()?);
        let listener = TcpListener::bind(&address).await?;
        let lost = Arc::new(AtomicUsize::new(0));
        let losses = Arc::clone(&lost);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(Self::pass(client, replica.clone(), Arc::clone(&losses)));
            }
        });
        Ok(Self { address, lost })
    }

    async fn pass(mut client: TcpStream, replica: String, losses: Arc<AtomicUsize>) -> Result<()> {
        let mut replica = TcpStream::connect(replica).await?;
        let (mut asked, mut answered) = (vec![0; 64 << 10], vec![0; 64 << 10]);
        loop {
            tokio::select! {
                read = client.read(&mut asked) => {
                    let request = asked.get(..read?).unwrap_or_default();
                    ensure!(!request.is_empty(), "nginx has closed the connection");
                    replica.write_all(request).await?;
                }
                read = replica.read(&mut answered) => {
                    let answer = answered.get(..read?).unwrap_or_default();
                    if answer.is_empty() || losses.compare_exchange(0, 1, Ordering::SeqCst, Ordering::SeqCst).is_ok() {
                        return Ok(client.set_zero_linger()?);
                    }
                    client.write_all(answer).await?;
                }
            }
        }
    }
}

#[tokio::test]
async fn a_first_post_that_nginx_sends_again_is_deleted_by_the_cookie_of_the_answer() -> Result<()> {
    let stack = SHARED.get().await?;
    let thread = thread(stack).await?;
    let proxy = LossyProxy::start(stack.replica(0)?.address()).await?;
    let scratch = Scratch::new("lossy")?;
    let nginx = Nginx::new(
        scratch.path(),
        Settings::new(
            format!("127.0.0.1:{}", ports::free()?),
            // As one address that stands for all replicas: nginx asks no server twice, and every line is one.
            vec![proxy.address.clone(), proxy.address.clone()],
            MAX_UPLOAD,
        ),
    )?;
    nginx.start().await?;
    let mut author = Browser::new(&nginx.url())?;
    let comment = format!("sent again by nginx {}", Uuid::new_v4());
    // Without a key of a form: nginx gives the request one.
    let answer = author.post(&Form::reply(thread, &comment)).await?;
    let no = number(&answer).with_context(|| nginx.error_log())?;
    assert_eq!(proxy.lost.load(Ordering::SeqCst), 1, "answers that were lost");
    assert_eq!(posts_saying(&mut stack.database().await?, &comment).await?, 1, "posts");
    author.keep_cookies_of(&answer)?;
    author.delete(&no).await?.expect(StatusCode::SEE_OTHER)?;
    nginx.stop(Duration::from_secs(5)).await
}

#[tokio::test]
async fn two_newcomers_behind_one_address_are_two_people_whatever_they_say() -> Result<()> {
    let stack = SHARED.get().await?;
    let thread = thread(stack).await?;
    let page = format!("/b/res/{thread}.html");
    let mut newcomers = [Browser::new(&stack.url())?, Browser::new(&stack.url())?];
    let mut keys = Vec::new();
    let comment = format!("the same words {}", Uuid::new_v4());
    for newcomer in &mut newcomers {
        let page = newcomer.read(&page).await?;
        let key = page.expect(StatusCode::OK)?.attributes("#post input[name=key]", "value")?;
        keys.extend(key);
    }
    let [key, same_key] = keys.as_slice() else { anyhow::bail!("the keys are {keys:?}") };
    assert_eq!(key, same_key, "one page is for everybody");
    let form = Form::reply(thread, &comment).field("key", key).field("pwd", "");
    let mut posts = Vec::new();
    for newcomer in &newcomers {
        // Twice at once, as by a double click: both with the cookies of before.
        let (first, second) = tokio::try_join!(newcomer.post(&form), newcomer.post(&form))?;
        assert_eq!(number(&first)?, number(&second)?, "one form was sent twice and became two posts");
        posts.push(second);
    }
    let numbers = posts.iter().map(number).collect::<Result<Vec<_>>>()?;
    let [one, other] = numbers.as_slice() else { anyhow::bail!("the posts are {numbers:?}") };
    assert_ne!(one, other, "what the second newcomer said is taken for the first one's post");
    assert_eq!(posts_saying(&mut stack.database().await?, &comment).await?, 2, "posts");

    for (newcomer, answer) in newcomers.iter_mut().zip(&posts) {
        newcomer.keep_cookies_of(answer)?;
        // Another page in another tab changes nothing, and going back to send the form again is the same post.
        newcomer.read("/b/").await?;
        assert_eq!(number(&newcomer.post(&form).await?)?, number(answer)?, "sent again after the answer");
    }
    let [first, second] = &newcomers;
    check_error_page(&first.delete(other).await?, 403).context("the post of somebody else")?;
    check_error_page(&second.delete(one).await?, 403).context("the post of somebody else")?;
    first.delete(one).await?.expect(StatusCode::SEE_OTHER)?;
    second.delete(other).await?.expect(StatusCode::SEE_OTHER)?;
    Ok(())
}

#[tokio::test]
async fn newcomers_who_keep_no_cookies_are_told_apart_by_their_browsers() -> Result<()> {
    let stack = SHARED.get().await?;
    let (comment, form) = reply(thread(stack).await?);
    let visitor = Visitor::new(&stack.url())?;
    let mut numbers = Vec::new();
    for (agent, language) in [("Browser/1", "de"), ("Browser/2", "de"), ("Browser/2", "ko"), ("Browser/1", "de")] {
        let request = visitor.request(Method::POST, "/b/post").multipart(form.multipart()?);
        let request = request.header(header::USER_AGENT, agent).header(header::ACCEPT_LANGUAGE, language);
        numbers.push(number(&visitor.send(request).await?)?);
    }
    assert_eq!(numbers.first(), numbers.last(), "the same browser again");
    assert_eq!(posts_saying(&mut stack.database().await?, &comment).await?, 3, "posts: {numbers:?}");
    Ok(())
}

#[tokio::test]
async fn a_token_comes_once_with_a_page_that_has_a_form_and_goes_nowhere_but_to_it() -> Result<()> {
    let stack = SHARED.get().await?;
    let thread = thread(stack).await?;
    let page = format!("/b/res/{thread}.html");
    for site in [stack.url(), stack.replica(0)?.url()] {
        for path in ["/b/", page.as_str()] {
            let mut newcomer = Browser::new(&site)?;
            let first = newcomer.read(path).await?;
            assert_eq!(first.header("Cache-Control"), "private, no-cache", "{path}");
            let token = newcomer.cookies_for("/b/post");
            assert!(token.iter().any(|cookie| cookie.starts_with("triptych_token=")), "{path}: {token:?}");
            for other in
                ["/", "/b/", page.as_str(), "/b/delete", "/b/postscript", "/art/", "/art/post", "/static/x.css"]
            {
                let sent = newcomer.cookies_for(other);
                assert!(sent.iter().all(|cookie| cookie == "triptych_has_token=1"), "{other} is sent {sent:?}");
            }
            // From now on pages are the same for this browser as for everybody, and the token stays.
            for path in ["/b/", page.as_str()] {
                let again = newcomer.read(path).await?;
                assert_eq!(again.header("Cache-Control"), "no-cache", "{path}");
                assert!(again.header("Set-Cookie").is_empty(), "{path}: {:?}", again.headers);
            }
            assert_eq!(newcomer.cookies_for("/b/post"), token);
        }
        // A browser that was closed has lost its token, and may have kept the page.
        let kept = Visitor::new(&site)?.get(&page).await?;
        let reopened = Visitor::new(&site)?;
        let request = reopened.request(Method::GET, &page).header(header::IF_NONE_MATCH, kept.header("ETag"));
        let unchanged = reopened.send(request).await?;
        assert_eq!(unchanged.expect(StatusCode::NOT_MODIFIED)?.header("Cache-Control"), "private, no-cache");
        assert_eq!(unchanged.headers.get_all(header::SET_COOKIE).iter().count(), 2, "{:?}", unchanged.headers);

        // Where there is nothing to post with, nobody gets anything.
        for path in ["/", "/b/catalog.html", "/shut/", "/b/threads.json", &format!("/b/res/{thread}.json")] {
            let mut reader = Browser::new(&site)?;
            reader.read(path).await?.expect(StatusCode::OK)?;
            assert!(reader.cookies.is_empty(), "{path}: {:?}", reader.cookies);
        }
    }
    Ok(())
}
