//! The pages in their order: what bumps a thread, what falls off, what links lead where.

use anyhow::{Context as _, Result, ensure};
use reqwest::StatusCode;
use triptych_tests::{Answer, Form, Stack, Visitor, http::JSON, pictures};

use crate::shared::{check_error_page, check_problem, document, everywhere, list, new_thread, number, text};

/// A small board with nothing on it: two threads a page, three pages, three replies that bump.
async fn small_board() -> Result<Stack> {
    let stack = Stack::builder().replicas(2).env("TRIPTYCH_THREADS_PER_PAGE", "2").env("TRIPTYCH_PAGES", "3");
    stack.env("TRIPTYCH_BUMP_LIMIT", "3").start().await
}

/// The threads on a page of the index, from top to bottom, which are the same on every replica.
async fn threads_on(stack: &Stack, visitor: &Visitor, path: &str) -> Result<Vec<i64>> {
    let mut seen: Option<Vec<i64>> = None;
    for page in everywhere(stack, visitor, path).await? {
        page.expect(StatusCode::OK).with_context(|| path.to_owned())?;
        let numbers = page.attributes("article.op", "aria-labelledby")?;
        let numbers = numbers.iter().map(|no| no.parse()).collect::<Result<Vec<i64>, _>>()?;
        ensure!(seen.as_ref().is_none_or(|seen| *seen == numbers), "{path}: {seen:?} and {numbers:?}");
        seen = Some(numbers);
    }
    seen.context("no replica")
}

/// All threads of `/b/` over its pages.
async fn order(stack: &Stack, visitor: &Visitor) -> Result<Vec<i64>> {
    let mut threads = threads_on(stack, visitor, "/b/").await?;
    let pages = visitor.get("/b/").await?.texts("nav.pages [aria-current], nav.pages a:not([rel])")?.len();
    for page in 2..=pages {
        threads.extend(threads_on(stack, visitor, &format!("/b/{page}.html")).await?);
    }
    Ok(threads)
}

async fn reply(visitor: &Visitor, thread: i64, comment: &str) -> Result<i64> {
    Ok(visitor.must_post("b", &Form::reply(thread, comment)).await?.no)
}

async fn sage(visitor: &Visitor, thread: i64) -> Result<i64> {
    Ok(visitor.must_post("b", &Form::reply(thread, "sage").field("email", "sage")).await?.no)
}

#[tokio::test]
async fn replies_bump_sage_does_not_and_what_falls_off_is_archived() -> Result<()> {
    let stack = small_board().await?;
    let visitor = Visitor::new(&stack.url())?;
    let mut made = Vec::new();
    for at in 0..6 {
        made.push(new_thread(&visitor, "b", &format!("thread {at}")).await?.no);
    }
    let [one, two, three, four, five, six] = made[..] else { anyhow::bail!("six threads are needed: {made:?}") };
    assert_eq!(order(&stack, &visitor).await?, [six, five, four, three, two, one], "new threads come first");

    reply(&visitor, two, "bump").await?;
    assert_eq!(order(&stack, &visitor).await?, [two, six, five, four, three, one], "a reply bumps");
    sage(&visitor, one).await?;
    assert_eq!(order(&stack, &visitor).await?, [two, six, five, four, three, one], "sage does not bump");
    for at in 0..2 {
        reply(&visitor, two, &format!("up to the limit {at}")).await?;
    }
    reply(&visitor, three, "another one comes before it").await?;
    assert_eq!(order(&stack, &visitor).await?, [three, two, six, five, four, one]);
    reply(&visitor, two, "beyond the limit").await?;
    assert_eq!(
        order(&stack, &visitor).await?,
        [three, two, six, five, four, one],
        "beyond its limit a thread is not bumped"
    );

    let page = visitor.get("/b/").await?;
    assert_eq!(page.texts("nav.pages [aria-current=page]")?, ["Page 1"]);
    assert_eq!(page.attributes("nav.pages a[rel=next]", "href")?, ["/b/2.html"]);
    let last = visitor.get("/b/3.html").await?;
    assert_eq!(last.attributes("nav.pages a[rel=prev]", "href")?, ["/b/2.html"]);
    assert_eq!(last.count("nav.pages a[rel=next]")?, 0);
    check_error_page(&visitor.get("/b/4.html").await?, 404)?;

    // A seventh thread pushes the last one off.
    let seven = new_thread(&visitor, "b", "the seventh").await?.no;
    assert_eq!(order(&stack, &visitor).await?, [seven, three, two, six, five, four]);
    check_archived(&stack, &visitor, one).await?;
    stack.stop().await
}

async fn check_archived(stack: &Stack, visitor: &Visitor, no: i64) -> Result<()> {
    for page in everywhere(stack, visitor, &format!("/b/res/{no}.html")).await? {
        page.expect(StatusCode::OK).context("an archived thread can be read")?;
        ensure!(page.count("form#post")? == 0, "an archived thread has a form");
        ensure!(page.texts(".op .badge")? == ["Archived"], "{:?}", page.texts(".op .badge")?);
        let told = page.texts("#post")?.join("");
        ensure!(told.contains("archived"), "it does not say why there is no form: {told:?}");
    }
    let answer = visitor.accepting(JSON).post("b", &Form::reply(no, "too late")).await?;
    check_problem(&answer, 403, "thread_archived")?;
    for archive in everywhere(stack, visitor, "/b/archive.json").await? {
        ensure!(archive.json::<Vec<i64>>()? == [no], "{}", archive.text());
    }
    for path in ["/b/catalog.json", "/b/threads.json"] {
        let pages = document(visitor, path).await?;
        for page in list(&pages, "")? {
            for thread in list(page, "/threads")? {
                ensure!(number(thread, "/no")? != no, "{path} still lists {no}");
            }
        }
    }
    ensure!(!visitor.get("/b/catalog.html").await?.text().contains(&format!("/b/res/{no}.html")), "the catalogue");
    Ok(())
}

#[tokio::test]
async fn an_index_shows_the_last_five_replies_and_tells_of_the_rest() -> Result<()> {
    let stack = small_board().await?;
    let visitor = Visitor::new(&stack.url())?;
    let thread = new_thread(&visitor, "b", "counted").await?.no;
    let mut replies = Vec::new();
    for at in 0..5 {
        let form = Form::reply(thread, &format!("reply {at}"));
        let form = if at == 0 { form.picture(&pictures::png(rand::random(), 30, 20)?) } else { form };
        replies.push(visitor.must_post("b", &form).await?.no);
    }
    let shown = async || {
        let page = visitor.get("/b/").await?;
        let numbers = page.attributes(".replies article", "aria-labelledby")?;
        let more = page.texts(".thread > .more")?;
        anyhow::Ok((numbers.iter().map(|no| no.parse::<i64>()).collect::<Result<Vec<_>, _>>()?, more))
    };
    assert_eq!(shown().await?, (replies.clone(), vec![]), "five replies are all shown");
    replies.push(reply(&visitor, thread, "reply 5").await?);
    let (numbers, more) = shown().await?;
    assert_eq!(numbers, replies[1..]);
    assert_eq!(more, [format!("1 reply and 1 picture are not shown. Open the thread {thread}")]);
    replies.push(reply(&visitor, thread, "reply 6").await?);
    let (numbers, more) = shown().await?;
    assert_eq!(numbers, replies[2..]);
    assert_eq!(more, [format!("2 replies and 1 picture are not shown. Open the thread {thread}")]);
    let whole = visitor.get(&format!("/b/res/{thread}.html")).await?;
    assert_eq!(whole.count(".replies article")?, 7, "the page of the thread shows all");
    let counts = whole.texts("nav.end span")?;
    assert_eq!(counts, ["7 of 1,000 replies, 2 pictures."]);

    // A long comment is folded on the index and whole on its own page.
    let long = (0..60).map(|line| format!("line {line}")).collect::<Vec<_>>().join("\n");
    let no = reply(&visitor, thread, &long).await?;
    let index = visitor.get("/b/").await?;
    assert_eq!(index.count(&format!("#p{no} .folded"))?, 1);
    let whole = visitor.get(&format!("/b/res/{thread}.html")).await?;
    assert_eq!(whole.count(&format!("#p{no} .folded"))?, 0);
    assert!(whole.texts(&format!("#p{no} .text"))?.concat().contains("line 59"));
    stack.stop().await
}

#[tokio::test]
async fn the_catalogue_sorts_and_filters() -> Result<()> {
    let stack = small_board().await?;
    let visitor = Visitor::new(&stack.url())?;
    let mut threads = Vec::new();
    for (subject, comment) in [("Cats", "fluffy 고양이"), ("Dogs", "loyal"), ("", "Birds & BEES")] {
        let form = Form::thread(comment).field("sub", subject).picture(&pictures::png(rand::random(), 30, 20)?);
        threads.push(visitor.must_post("b", &form).await?.no);
    }
    let [cats, dogs, birds] = threads[..] else { anyhow::bail!("three threads: {threads:?}") };
    for at in 0..3 {
        reply(&visitor, dogs, &format!("many {at}")).await?;
    }
    reply(&visitor, cats, "last").await?;
    let shown = async |query: &str| {
        let page = visitor.get(&format!("/b/catalog.html{query}")).await?;
        page.expect(StatusCode::OK).with_context(|| query.to_owned())?;
        let links = page.attributes(".tile h2 a", "href")?;
        let number = |link: &String| link.trim_start_matches("/b/res/").trim_end_matches(".html").parse::<i64>();
        anyhow::Ok(links.iter().map(number).collect::<Result<Vec<_>, _>>()?)
    };
    for (query, expected) in [
        ("", vec![cats, dogs, birds]),
        ("?sort=bump", vec![cats, dogs, birds]),
        ("?sort=new", vec![birds, dogs, cats]),
        ("?sort=replies", vec![dogs, cats, birds]),
        ("?sort=nonsense", vec![cats, dogs, birds]),
        ("?q=dogs", vec![dogs]),
        ("?q=LOYAL", vec![dogs]),
        ("?q=birds+bees", vec![birds]),
        ("?q=bees+birds", vec![birds]),
        ("?q=%26", vec![birds]),
        ("?q=%EA%B3%A0%EC%96%91", vec![cats]),
        ("?q=s&sort=new", vec![birds, dogs, cats]),
        ("?q=nothing+like+it", vec![]),
        ("?q=+", vec![cats, dogs, birds]),
        ("?q=many", vec![]),
    ] {
        assert_eq!(shown(query).await?, expected, "the catalogue with {query:?}");
    }
    // Every word is looked for in every thread: a query of kilobytes would take a second of CPU.
    let longest = "x".repeat(200);
    assert!(shown(&format!("?q={longest}")).await?.is_empty());
    let answer = visitor.get(&format!("/b/catalog.html?q={longest}x")).await?;
    check_error_page(&answer, 422)?;
    let page = visitor.get("/b/catalog.html?q=dogs&sort=replies").await?;
    assert_eq!(page.attributes("input[name=q]", "value")?, ["dogs"]);
    assert_eq!(page.attributes("option[selected]", "value")?, ["replies"]);
    assert!(page.texts(".note")?.concat().contains("1 thread matches"), "{:?}", page.texts(".note")?);
    let page = visitor.get("/b/catalog.html").await?;
    assert_eq!(page.texts(".tile .count")?.first().map(|text| text.trim()), Some("1 reply 1 picture"));
    stack.stop().await
}

#[tokio::test]
async fn the_home_page_shows_the_newest_pictures_and_counts() -> Result<()> {
    let stack = small_board().await?;
    let visitor = Visitor::new(&stack.url())?;
    let totals = async || {
        let mut seen: Option<Vec<String>> = None;
        for page in everywhere(&stack, &visitor, "/").await? {
            let texts = page.texts(".stats span")?;
            ensure!(seen.as_ref().is_none_or(|seen| *seen == texts), "{seen:?} and {texts:?}");
            seen = Some(texts);
        }
        seen.context("no replica")
    };
    assert_eq!(totals().await?, ["0 threads", "0 posts", "0 pictures"]);
    assert!(visitor.get("/").await?.texts(".note")?.concat().contains("No pictures yet"));
    let one = new_thread(&visitor, "b", "one").await?;
    assert_eq!(totals().await?, ["1 thread", "1 post", "1 picture"]);
    let other = new_thread(&visitor, "art", "other board").await?;
    let hidden = Form::reply(one.no, "").field("spoiler", "on").picture(&pictures::png(rand::random(), 30, 20)?);
    visitor.must_post("b", &hidden).await?;
    let shown = Form::reply(one.no, "").picture(&pictures::png(rand::random(), 30, 20)?);
    let shown = visitor.must_post("b", &shown).await?;
    reply(&visitor, one.no, "no picture").await?;
    assert_eq!(totals().await?, ["2 threads", "5 posts", "4 pictures"]);
    let page = visitor.get("/").await?;
    let links = page.attributes(".wall a", "href")?;
    let expected = [
        format!("/b/res/{}.html#{}", one.no, shown.no),
        format!("/art/res/{0}.html#{0}", other.no),
        format!("/b/res/{0}.html#{0}", one.no),
    ];
    assert_eq!(links, expected, "newest first, and no spoiler");
    assert_eq!(page.count(".wall img")?, 3);
    for at in 0..12 {
        let form = Form::reply(one.no, &at.to_string()).picture(&pictures::png(rand::random(), 30, 20)?);
        visitor.must_post("b", &form).await?;
    }
    assert_eq!(visitor.get("/").await?.count(".wall img")?, 12, "twelve at the most");
    stack.stop().await
}

async fn leads(visitor: &Visitor, path: &str) -> Result<(u16, String)> {
    let answer: Answer = visitor.get(path).await?;
    Ok((answer.status.as_u16(), answer.header("Location").to_owned()))
}

#[tokio::test]
async fn addresses_that_people_guess_lead_to_the_right_place() -> Result<()> {
    let stack = small_board().await?;
    let visitor = Visitor::new(&stack.url())?;
    let thread = new_thread(&visitor, "b", "led to").await?.no;
    let no = reply(&visitor, thread, "a reply").await?;
    for site in crate::shared::sites(&stack) {
        let visitor = visitor.at(&site);
        for (path, to) in [
            ("/b".to_owned(), "/b/".to_owned()),
            ("/b/1.html".into(), "/b/".into()),
            ("/b/index.html".into(), "/b/".into()),
            ("/b/catalog".into(), "/b/catalog.html".into()),
            (format!("/b/thread/{thread}"), format!("/b/res/{thread}.html")),
        ] {
            assert_eq!(leads(&visitor, &path).await?, (301, to), "{site}{path}");
        }
        // Where a post is may change, so this is not kept.
        let answer = visitor.get(&format!("/b/res/{no}.html")).await?;
        assert_eq!(
            (answer.status, answer.header("Location")),
            (StatusCode::FOUND, format!("/b/res/{thread}.html#{no}").as_str())
        );
        assert_eq!(answer.header("Cache-Control"), "no-store");
        let page = visitor.get(&format!("/b/res/{thread}.html")).await?;
        assert_eq!(page.count(&format!("[id='{no}']"))?, 1, "there is an anchor #{no}");
        assert_eq!(page.count(&format!("[id='p{no}']"))?, 1, "there is an anchor #p{no}");
        for path in [
            format!("/art/res/{thread}.html"),
            format!("/art/res/{no}.html"),
            "/b/res/2147483000.html".into(),
            "/b/res/0.html".into(),
            "/b/0.html".into(),
            "/b/2.html".into(),
            "/b/99999999999.html".into(),
            "/nosuch/".into(),
            "/nosuch/catalog.html".into(),
            "/B/".into(),
            "/b/res/".into(),
            "/nothing".into(),
            "/nothing/at/all".into(),
        ] {
            let answer = visitor.get(&path).await?;
            // `/nothing` could be a board, and its address has a slash.
            if path == "/nothing" {
                assert_eq!(leads(&visitor, &path).await?, (301, "/nothing/".to_owned()));
                continue;
            }
            check_error_page(&answer, 404).with_context(|| format!("{site}{path}"))?;
            ensure!(answer.count("a[href='/']")? > 0, "{path}: no way back");
        }
    }
    stack.stop().await
}

#[tokio::test]
async fn quotes_link_to_their_posts_and_back() -> Result<()> {
    let stack = small_board().await?;
    let visitor = Visitor::new(&stack.url())?;
    let (one, two) = (new_thread(&visitor, "b", "one").await?.no, new_thread(&visitor, "art", "two").await?.no);
    let a = reply(&visitor, one, &format!(">>{one} first")).await?;
    let b = reply(&visitor, one, &format!(">>{one} >>{a} >>{two}\n>not a >>{a} quote\n>>2147483000")).await?;
    for page in everywhere(&stack, &visitor, &format!("/b/res/{one}.html")).await? {
        let links = page.attributes(&format!("#p{b} .text a.quotelink"), "href")?;
        let here = |no: i64| format!("/b/res/{one}.html#{no}");
        assert_eq!(links, [here(one), here(a), format!("/art/res/{two}.html#{two}"), here(a)]);
        assert_eq!(page.texts(&format!("#p{b} .text .quote"))?, [format!(">not a >>{a} quote")]);
        assert!(
            page.texts(&format!("#p{b} .text"))?.concat().ends_with(">>2147483000"),
            "an unknown number stays text"
        );
        let back = |no: i64| page.attributes(&format!("#p{no} .back a"), "href");
        assert_eq!(back(one)?, [format!("#{a}"), format!("#{b}")]);
        assert_eq!(back(a)?, [format!("#{b}")]);
        assert_eq!(back(b)?, Vec::<String>::new());
    }
    let index = visitor.get("/b/").await?;
    assert_eq!(index.attributes(&format!("#p{a} .back a"), "href")?, [format!("/b/res/{one}.html#{b}")]);
    let elsewhere = visitor.get(&format!("/art/res/{two}.html")).await?;
    assert_eq!(elsewhere.count(".back a")?, 0, "a quote from another thread is no back-link");
    // A web address is a link that tells nobody where it stood.
    let c = reply(&visitor, one, "see https://example.org/a?b=1&c=2, and http://example.org.").await?;
    let page = visitor.get(&format!("/b/res/{one}.html")).await?;
    assert_eq!(
        page.attributes(&format!("#p{c} .text a"), "href")?,
        ["https://example.org/a?b=1&c=2", "http://example.org"]
    );
    assert_eq!(page.attributes(&format!("#p{c} .text a"), "rel")?, ["nofollow noopener noreferrer ugc"; 2]);
    stack.stop().await
}

#[tokio::test]
async fn two_boards_at_once_share_numbers_and_nothing_else() -> Result<()> {
    let stack = small_board().await?;
    let visitor = Visitor::new(&stack.url())?;
    let posting = (0..24).map(|at| {
        let visitor = visitor.at(&stack.replicas()[at % 2].url());
        async move {
            let board = if at % 3 == 0 { "art" } else { "b" };
            let form = Form::thread(&format!("thread {at}")).picture(&pictures::png(rand::random(), 20, 20)?);
            anyhow::Ok((board, visitor.must_post(board, &form).await?))
        }
    });
    let posted = futures_util::future::try_join_all(posting).await;
    let logs = || stack.replicas().iter().map(|replica| replica.log()).collect::<String>();
    let posted = posted.with_context(|| format!("the replicas say:\n{}", logs()))?;
    let mut numbers: Vec<i64> = posted.iter().map(|(_, posted)| posted.no).collect();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), 24, "a number is there twice");
    for (board, posted) in &posted {
        assert_eq!(posted.board, *board);
        let other = if *board == "b" { "art" } else { "b" };
        visitor.get(&format!("/{board}/res/{}.html", posted.no)).await?.expect(StatusCode::OK)?;
        check_error_page(&visitor.get(&format!("/{other}/res/{}.html", posted.no)).await?, 404)?;
    }
    for (board, threads) in [("art", 6), ("b", 6), ("photo", 0)] {
        let catalog = document(&visitor, &format!("/{board}/catalog.json")).await?;
        let pages: Vec<usize> =
            list(&catalog, "")?.iter().map(|page| list(page, "/threads").map(<[_]>::len)).collect::<Result<_>>()?;
        assert_eq!(pages.iter().sum::<usize>(), threads, "/{board}/ keeps six threads: {pages:?}");
        let archive = document(&visitor, &format!("/{board}/archive.json")).await?;
        let made = posted.iter().filter(|(of, _)| of == &board).count();
        assert_eq!(list(&archive, "")?.len(), made - threads, "the archive of /{board}/");
    }
    let boards = document(&visitor, "/boards.json").await?;
    let names: Vec<&str> =
        list(&boards, "/boards")?.iter().map(|board| text(board, "/board")).collect::<Result<_>>()?;
    assert_eq!(names, ["b", "art", "photo"]);
    stack.stop().await
}
