//! The read API, field by field, as existing clients need it; and one of those clients itself.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use md5::{Digest as _, Md5};
use reqwest::{Method, StatusCode, header};
use serde_json::Value;
use triptych_tests::{Answer, Form, Stack, Visitor, http::JSON, pictures, scratch::Scratch};

use crate::shared::{
    HOSTILE_DESCRIPTION, HOSTILE_TITLE, SHARED, at, check_problem, document, everywhere, list, new_thread, number, text,
};

/// What a field has to be like.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Text,
    Number,
    Flag,
    List,
    Object,
}

impl Kind {
    fn holds(self, value: &Value) -> bool {
        match self {
            Self::Text => value.is_string(),
            Self::Number => value.as_i64().is_some(),
            Self::Flag => matches!(value.as_i64(), Some(0 | 1)),
            Self::List => value.is_array(),
            Self::Object => value.is_object(),
        }
    }
}

use Kind::{Flag, List, Number, Object, Text};

type Fields = &'static [(&'static str, Kind)];

const POST: Fields =
    &[("no", Number), ("resto", Number), ("now", Text), ("time", Number), ("name", Text), ("com", Text)];
const POST_MAYBE: Fields = &[("sub", Text), ("email", Text), ("extra_files", List)];
const FILE: Fields = &[
    ("tim", Number),
    ("filename", Text),
    ("ext", Text),
    ("fsize", Number),
    ("md5", Text),
    ("w", Number),
    ("h", Number),
    ("tn_w", Number),
    ("tn_h", Number),
    ("media", Text),
    ("thumb", Text),
];
const FILE_MAYBE: Fields = &[("spoiler", Flag)];
const OPENING: Fields = &[
    ("replies", Number),
    ("images", Number),
    ("omitted_posts", Number),
    ("omitted_images", Number),
    ("last_modified", Number),
    ("sticky", Flag),
    ("closed", Flag),
    ("locked", Flag),
    ("cyclical", Text),
];
const OPENING_MAYBE: Fields =
    &[("bumplimit", Flag), ("imagelimit", Flag), ("archived", Flag), ("archived_on", Number), ("unique_ips", Number)];

/// Checks that the fields of an object are these, all that must be there and none that is unknown.
fn check_fields(value: &Value, must: &[Fields], may: &[Fields]) -> Result<()> {
    let object = value.as_object().with_context(|| format!("not an object: {value}"))?;
    for (name, kind) in must.iter().copied().flatten() {
        let field = object.get(*name).with_context(|| format!("{name} is missing in {value:#}"))?;
        ensure!(kind.holds(field), "{name} is {field}, not a {kind:?}");
    }
    for (name, field) in object {
        let known = must.iter().chain(may).copied().flatten().find(|(known, _)| known == name);
        let (_, kind) = known.with_context(|| format!("{name} does not belong into {value:#}"))?;
        ensure!(kind.holds(field), "{name} is {field}, not a {kind:?}");
    }
    Ok(())
}

/// Checks a post with the rules on which fields go together.
fn check_post(post: &Value, opening: bool) -> Result<()> {
    let file = post.get("filename").is_some();
    let mut must: Vec<Fields> = vec![POST];
    let mut may: Vec<Fields> = vec![POST_MAYBE];
    if file {
        must.push(FILE);
        may.push(FILE_MAYBE);
    } else {
        may.push(&[("filedeleted", Flag)]);
        ensure!(post.get("extra_files").is_none(), "more files than one, but not one: {post:#}");
    }
    if opening {
        must.push(OPENING);
        may.extend([OPENING_MAYBE, &[("last_replies", List)]]);
        ensure!(number(post, "/resto")? == 0, "an opening post answers {post:#}");
        ensure!(at(post, "/closed")? == at(post, "/locked")?, "closed and locked differ: {post:#}");
        ensure!(matches!(text(post, "/cyclical")?, "0" | "1"), "cyclical: {post:#}");
    } else {
        ensure!(number(post, "/resto")? > 0, "a reply answers nothing: {post:#}");
    }
    check_fields(post, &must, &may)?;
    ensure!(i32::try_from(number(post, "/no")?).is_ok_and(|no| no > 0), "no does not fit 32 bits: {post:#}");
    let time = chrono::DateTime::from_timestamp(number(post, "/time")?, 0).context("no time")?;
    let now = time.format("%m/%d/%y(%a)%H:%M:%S").to_string();
    ensure!(text(post, "/now")? == now, "now is not {now}: {post:#}");
    if file {
        check_file(post)?;
    }
    for extra in post.get("extra_files").and_then(Value::as_array).into_iter().flatten() {
        check_fields(extra, &[FILE], &[FILE_MAYBE])?;
        check_file(extra)?;
    }
    Ok(())
}

fn check_file(file: &Value) -> Result<()> {
    let tim = number(file, "/tim")?;
    ensure!(tim > 0 && tim <= 1 << 53, "tim {tim} cannot be read exactly by everybody");
    ensure!(text(file, "/md5")?.len() == 24, "md5 is not Base64: {file:#}");
    ensure!(matches!(text(file, "/ext")?, ".jpg" | ".png" | ".gif" | ".webp"), "ext: {file:#}");
    let name = text(file, "/filename")?;
    ensure!(!name.is_empty() && !name.ends_with(text(file, "/ext")?), "filename: {file:#}");
    for side in ["/w", "/h", "/tn_w", "/tn_h"] {
        ensure!((1..=65535).contains(&number(file, side)?), "{side}: {file:#}");
    }
    Ok(())
}

/// Checks that what a file's fields say is true of the file.
async fn check_download(visitor: &Visitor, board: &str, file: &Value) -> Result<()> {
    let bytes = visitor.get(text(file, "/media")?).await?.expect(StatusCode::OK)?.body.clone();
    ensure!(i64::try_from(bytes.len())? == number(file, "/fsize")?, "fsize: {} bytes, {file:#}", bytes.len());
    let md5 = base64::prelude::BASE64_STANDARD.encode(Md5::digest(&bytes));
    ensure!(md5 == text(file, "/md5")?, "md5 is not {md5}: {file:#}");
    let sides = |bytes: &[u8]| -> Result<(i64, i64)> {
        let picture = image::load_from_memory(bytes)?;
        Ok((picture.width().into(), picture.height().into()))
    };
    ensure!(sides(&bytes)? == (number(file, "/w")?, number(file, "/h")?), "w, h: {file:#}");
    let thumbnail = visitor.get(text(file, "/thumb")?).await?.expect(StatusCode::OK)?.body.clone();
    ensure!(sides(&thumbnail)? == (number(file, "/tn_w")?, number(file, "/tn_h")?), "tn_w, tn_h: {file:#}");

    // Where clients look for the two, whatever extension they make up for the second.
    let (tim, ext) = (number(file, "/tim")?, text(file, "/ext")?);
    let originals = [format!("/{board}/src/{tim}{ext}"), format!("/{board}/{tim}{ext}")];
    let thumbnails = ["png", "jpg", "webp", "gif"].map(|ext| format!("/{board}/thumb/{tim}.{ext}"));
    let thumbnails = thumbnails.into_iter().chain([format!("/{board}/{tim}s.jpg")]);
    for (path, wanted) in
        originals.map(|path| (path, &bytes)).into_iter().chain(thumbnails.map(|path| (path, &thumbnail)))
    {
        let answer = visitor.get(&path).await?;
        answer.expect(StatusCode::FOUND).with_context(|| path.clone())?;
        ensure!(answer.header("Access-Control-Allow-Origin") == "*", "{path}: {:?}", answer.headers);
        let found = visitor.get(answer.header("Location")).await?;
        ensure!(found.expect(StatusCode::OK)?.body == *wanted, "{path} leads to another file");
        let head = visitor.head(&path).await?;
        ensure!(head.status == StatusCode::FOUND && head.body.is_empty(), "HEAD {path}: {}", head.status);
        let elsewhere = visitor.get(&path.replacen(board, "shut", 1)).await?;
        ensure!(elsewhere.status == StatusCode::NOT_FOUND, "{path} is found on another board");
    }
    Ok(())
}

/// A thread with everything: files of all kinds, a spoiler, sage, more replies than an index shows.
async fn full_thread(visitor: &Visitor, board: &str) -> Result<i64> {
    let form = Form::thread("opening\n>quote").field("name", "Kim").field("sub", "A subject");
    let opening = visitor.must_post(board, &form.picture(&pictures::jpeg(rand::random(), 300, 200)?)).await?.no;
    let reply = |comment: &str| Form::reply(opening, comment);
    let four = reply("four files")
        .picture(&pictures::png(rand::random(), 30, 300)?)
        .picture(&pictures::gif(rand::random(), 40, 40, 2)?)
        .picture(&pictures::webp(rand::random(), 400, 300)?)
        .picture(&pictures::jpeg(rand::random(), 20, 20)?);
    let spoiler =
        reply("").field("spoiler", "on").field("email", "sage").picture(&pictures::png(rand::random(), 40, 30)?);
    let forms = [
        four,
        spoiler,
        reply(&format!(">>{opening}")),
        reply("4"),
        reply("5"),
        reply("6"),
        reply("7").field("email", "sage"),
    ];
    for form in forms {
        visitor.must_post(board, &form).await?;
    }
    Ok(opening)
}

#[tokio::test]
async fn a_thread_has_the_fields_that_clients_need() -> Result<()> {
    let stack = SHARED.get().await?;
    let visitor = Visitor::new(&stack.url())?;
    let no = full_thread(&visitor, "b").await?;
    let thread = document(&visitor, &format!("/b/res/{no}.json")).await?;
    assert_eq!(thread.as_object().map(serde_json::Map::len), Some(1), "{thread:#}");
    let posts = list(&thread, "/posts")?;
    assert_eq!(posts.len(), 8);
    for (at, post) in posts.iter().enumerate() {
        check_post(post, at == 0)?;
        if post.get("filename").is_some() {
            check_download(&visitor, "b", post).await?;
        }
        for extra in post.get("extra_files").and_then(Value::as_array).into_iter().flatten() {
            check_download(&visitor, "b", extra).await?;
        }
    }
    let opening = &posts[0];
    assert_eq!(number(opening, "/no")?, no);
    assert_eq!((text(opening, "/name")?, text(opening, "/sub")?), ("Kim", "A subject"));
    assert_eq!(text(opening, "/com")?, r#"opening<br><span class="quote">&gt;quote</span>"#);
    assert_eq!(text(opening, "/ext")?, ".jpg");
    let counts = ["replies", "images", "omitted_posts", "omitted_images", "sticky", "closed", "unique_ips"];
    let told: Vec<i64> = counts.iter().map(|name| number(opening, &format!("/{name}"))).collect::<Result<_>>()?;
    assert_eq!(told, [7, 5, 0, 0, 0, 0, 1], "{counts:?}");
    let absent = ["email", "spoiler", "archived", "archived_on", "bumplimit", "imagelimit", "extra_files"];
    for absent in absent.iter().chain(&["filedeleted", "last_replies"]) {
        assert!(opening.get(absent).is_none(), "{absent}: {opening:#}");
    }
    assert_eq!(list(&posts[1], "/extra_files")?.len(), 3);
    let kinds: Vec<&str> =
        list(&posts[1], "/extra_files")?.iter().map(|file| text(file, "/ext")).collect::<Result<_>>()?;
    assert_eq!((text(&posts[1], "/ext")?, kinds), (".png", vec![".gif", ".webp", ".jpg"]));
    assert_eq!((number(&posts[2], "/spoiler")?, text(&posts[2], "/email")?, text(&posts[2], "/com")?), (1, "sage", ""));
    assert!(posts[1].get("spoiler").is_none() && posts[1].get("email").is_none(), "{:#}", posts[1]);
    assert_eq!(text(&posts[2], "/name")?, "Anonymous");
    assert_eq!(
        text(&posts[3], "/com")?,
        format!("<a class=\"quotelink\" href=\"/b/res/{no}.html#{no}\">&gt;&gt;{no}</a>")
    );
    let tims: std::collections::BTreeSet<i64> = posts
        .iter()
        .flat_map(|post| {
            let extra = post.get("extra_files").and_then(Value::as_array).into_iter().flatten();
            extra.chain([post]).filter_map(|file| file.get("tim").and_then(Value::as_i64)).collect::<Vec<_>>()
        })
        .collect();
    assert_eq!(tims.len(), 6, "tim is not unique");

    let alias = visitor.get(&format!("/b/thread/{no}.json")).await?;
    let original = visitor.get(&format!("/b/res/{no}.json")).await?;
    assert_eq!((alias.body.clone(), alias.header("ETag")), (original.body.clone(), original.header("ETag")));
    Ok(())
}

#[tokio::test]
async fn board_documents_agree_with_the_thread() -> Result<()> {
    // A board of its own, where nobody else moves threads from page to page.
    let stack = Stack::builder()
        .replicas(1)
        .env("TRIPTYCH_THREADS_PER_PAGE", "2")
        .env("TRIPTYCH_PAGES", "3")
        .env("TRIPTYCH_BUMP_LIMIT", "7");
    let stack = stack.start().await?;
    let visitor = Visitor::new(&stack.url())?;
    for path in ["/b/threads.json", "/b/catalog.json", "/b/archive.json"] {
        assert_eq!(document(&visitor, path).await?, serde_json::json!([]), "{path} of an empty board");
    }
    assert_eq!(document(&visitor, "/b/0.json").await?, serde_json::json!({"threads": []}));
    let mut threads = Vec::new();
    for at in 0..6 {
        threads.push(new_thread(&visitor, "b", &format!("thread {at}")).await?.no);
    }
    let full = full_thread(&visitor, "b").await?;
    threads.push(full);
    let archived = threads.remove(0);
    threads.reverse();

    let catalog = document(&visitor, "/b/catalog.json").await?;
    let pages: Vec<i64> = list(&catalog, "")?.iter().map(|page| number(page, "/page")).collect::<Result<_>>()?;
    assert_eq!(pages, [0, 1, 2], "pages count from 0");
    let mut shown = Vec::new();
    for page in list(&catalog, "")? {
        check_fields(page, &[&[("page", Number), ("threads", List)]], &[])?;
        for opening in list(page, "/threads")? {
            check_post(opening, true)?;
            let replies = list(opening, "/last_replies")?;
            for reply in replies {
                check_post(reply, false)?;
            }
            let replies = i64::try_from(replies.len())?;
            assert_eq!(number(opening, "/omitted_posts")?, number(opening, "/replies")? - replies);
            shown.push(number(opening, "/no")?);
        }
    }
    assert_eq!(shown, threads, "the catalogue is in bump order");
    let opening = at(&catalog, "/0/threads/0")?;
    // Seven replies, five shown; of five pictures in replies all hang on the two that are not.
    assert_eq!(
        (number(opening, "/omitted_posts")?, number(opening, "/omitted_images")?, number(opening, "/bumplimit")?),
        (2, 5, 1)
    );
    let last: Vec<i64> =
        list(opening, "/last_replies")?.iter().map(|post| number(post, "/no")).collect::<Result<_>>()?;
    let thread = document(&visitor, &format!("/b/res/{full}.json")).await?;
    let all: Vec<i64> = list(&thread, "/posts")?.iter().map(|post| number(post, "/no")).collect::<Result<_>>()?;
    assert_eq!(last.as_slice(), &all[3..], "the last replies, ascending");

    let threads_json = document(&visitor, "/b/threads.json").await?;
    let mut numbers = Vec::new();
    for (page, expected) in list(&threads_json, "")?.iter().zip(0_i64..) {
        check_fields(page, &[&[("page", Number), ("threads", List)]], &[])?;
        assert_eq!(number(page, "/page")?, expected);
        for item in list(page, "/threads")? {
            check_fields(item, &[&[("no", Number), ("last_modified", Number), ("replies", Number)]], &[])?;
            numbers.push(number(item, "/no")?);
        }
    }
    assert_eq!(numbers, threads);
    assert_eq!(at(&threads_json, "/0/threads/0/last_modified")?, at(&thread, "/posts/0/last_modified")?);
    assert_eq!(number(&threads_json, "/0/threads/0/replies")?, 7);

    let mut on_pages = Vec::new();
    for page in 0..3 {
        let index = document(&visitor, &format!("/b/{page}.json")).await?;
        check_fields(&index, &[&[("threads", List)]], &[])?;
        assert_eq!(list(&index, "/threads")?.len(), 2, "page {page}");
        for thread in list(&index, "/threads")? {
            check_fields(thread, &[&[("posts", List)]], &[])?;
            let posts = list(thread, "/posts")?;
            for (at, post) in posts.iter().enumerate() {
                check_post(post, at == 0)?;
            }
            assert!(posts.len() <= 6, "an opening post and five replies at the most");
            on_pages.push(number(thread, "/posts/0/no")?);
        }
    }
    assert_eq!(on_pages, threads, "0.json is the first page");
    for path in ["/b/3.json", "/b/99999999999.json"] {
        check_problem(&visitor.get(path).await?, 404, "unknown_page")?;
    }
    assert_eq!(document(&visitor, "/b/archive.json").await?, serde_json::json!([archived]));
    let old = document(&visitor, &format!("/b/res/{archived}.json")).await?;
    check_post(at(&old, "/posts/0")?, true)?;
    let flags: Vec<i64> = ["archived", "closed", "locked"]
        .iter()
        .map(|flag| number(&old, &format!("/posts/0/{flag}")))
        .collect::<Result<_>>()?;
    assert_eq!(flags, [1, 1, 1]);
    // Archived when the last thread was made: not before its own last change, and not after now.
    let archived_on = number(&old, "/posts/0/archived_on")?;
    assert!(archived_on >= number(&old, "/posts/0/time")? && archived_on <= chrono::Utc::now().timestamp(), "{old:#}");
    assert!(old.pointer("/posts/0/unique_ips").is_none(), "4chan does not tell it of archived threads: {old:#}");
    for path in ["/b/catalog.json", "/b/0.json"] {
        let listed = document(&visitor, path).await?;
        let posts = crate::board::posts(&listed);
        assert!(posts.iter().all(|post| post.get("unique_ips").is_none()), "{path} tells it only of one thread");
    }

    check_locked_board(&stack, &visitor, full).await?;
    stack.stop().await
}

/// Nobody can reply on a locked board, whatever the thread is like. This one also gets all the pictures that it can have.
async fn check_locked_board(stack: &Stack, visitor: &Visitor, thread: i64) -> Result<()> {
    let mut database = stack.database().await?;
    for change in [
        "update board set locked = true where slug = 'b'",
        "update thread_state set pictures = pictures + 4000",
        "update site_state set version = version + 1",
    ] {
        sqlx::query(change).execute(&mut database).await?;
    }
    for path in [format!("/b/res/{thread}.json"), "/b/catalog.json".into(), "/b/0.json".into()] {
        let document = document(visitor, &path).await?;
        let opening = crate::board::find_post(&document, thread).with_context(|| path.clone())?;
        check_post(opening, true)?;
        ensure!(number(opening, "/closed")? == 1 && number(opening, "/locked")? == 1, "{path}: {opening:#}");
        ensure!(number(opening, "/imagelimit")? == 1, "{path} of a thread full of pictures: {opening:#}");
    }
    Ok(())
}

#[tokio::test]
async fn the_list_of_boards_has_what_clients_read() -> Result<()> {
    let stack = SHARED.get().await?;
    let visitor = Visitor::new(&stack.url())?;
    let boards = document(&visitor, "/boards.json").await?;
    check_fields(&boards, &[&[("boards", List)]], &[])?;
    let must: Fields = &[
        ("board", Text),
        ("title", Text),
        ("meta_description", Text),
        ("ws_board", Flag),
        ("per_page", Number),
        ("pages", Number),
        ("max_filesize", Number),
        ("max_webm_filesize", Number),
        ("max_webm_duration", Number),
        ("max_comment_chars", Number),
        ("bump_limit", Number),
        ("reply_limit", Number),
        ("image_limit", Number),
        ("cooldowns", Object),
        ("spoilers", Flag),
        ("is_archived", Flag),
    ];
    let names: Vec<&str> =
        list(&boards, "/boards")?.iter().map(|board| text(board, "/board")).collect::<Result<_>>()?;
    assert_eq!(names, ["b", "art", "x", "shut"], "in the order of the configuration");
    for board in list(&boards, "/boards")? {
        check_fields(board, &[must], &[])?;
        check_fields(
            at(board, "/cooldowns")?,
            &[&[("threads", Number), ("replies", Number), ("images", Number)]],
            &[],
        )?;
        assert_eq!(
            (number(board, "/per_page")?, number(board, "/pages")?, number(board, "/bump_limit")?),
            (15, 10, 300)
        );
        assert_eq!((number(board, "/max_filesize")?, number(board, "/max_comment_chars")?), (8 << 20, 5000));
        // A thousand replies with four pictures each.
        assert_eq!((number(board, "/reply_limit")?, number(board, "/image_limit")?), (1000, 4000));
        let worksafe = number(board, "/ws_board")? == 1;
        assert_eq!(worksafe, text(board, "/board")? != "x", "only one board is not: {board:#}");
    }
    let description = HOSTILE_DESCRIPTION.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    assert_eq!(text(&boards, "/boards/2/meta_description")?, description, "a description is HTML");
    assert_eq!(text(&boards, "/boards/2/title")?, HOSTILE_TITLE, "a title is not");
    Ok(())
}

/// The paths of all documents.
async fn documents(stack: &Stack, board: &str) -> Result<Vec<String>> {
    let no = new_thread(&Visitor::new(&stack.url())?, board, "for documents").await?.no;
    let paths = ["threads.json", "catalog.json", "archive.json", "0.json"].map(|name| format!("/{board}/{name}"));
    let of_thread = [format!("/{board}/res/{no}.json"), format!("/{board}/thread/{no}.json"), "/boards.json".into()];
    Ok(paths.into_iter().chain(of_thread).collect())
}

fn check_headers(answer: &Answer) -> Result<()> {
    for (name, wanted) in
        [("Access-Control-Allow-Origin", "*"), ("Cache-Control", "no-cache"), ("Vary", "Accept-Encoding")]
    {
        ensure!(answer.header(name) == wanted, "{name} is {:?}, not {wanted:?}", answer.header(name));
    }
    let exposed = answer.header("Access-Control-Expose-Headers");
    ensure!(exposed.contains("ETag") && exposed.contains("Last-Modified"), "exposed: {exposed:?}");
    let tag = answer.header("ETag");
    ensure!(tag.len() > 2 && tag.starts_with('"') && tag.ends_with('"'), "not a strong tag: {tag:?}");
    chrono::DateTime::parse_from_rfc2822(answer.header("Last-Modified")).context("Last-Modified")?;
    Ok(())
}

#[tokio::test]
async fn every_document_answers_conditional_head_and_options_requests() -> Result<()> {
    // Nobody else posts here, so a document changes only when this test changes it.
    let stack = Stack::builder().replicas(2).start().await?;
    let visitor = Visitor::new(&stack.url())?;
    let origin = ("Origin", "https://client.example");
    for path in documents(&stack, "b").await? {
        let said = || path.clone();
        let get = async |headers: &[(&str, &str)]| {
            let request = headers
                .iter()
                .fold(visitor.request(Method::GET, &path), |request, (name, value)| request.header(*name, *value));
            visitor.send(request.header(origin.0, origin.1)).await
        };
        let whole = get(&[]).await?;
        whole.expect(StatusCode::OK).with_context(said)?;
        check_headers(&whole).with_context(said)?;
        // nginx adds the charset, which JSON always has.
        let media_type = whole.header("Content-Type").split(';').next();
        assert_eq!(media_type, Some("application/json"), "{path}");
        let (tag, modified) = (whole.header("ETag").to_owned(), whole.header("Last-Modified").to_owned());
        for answer in everywhere(&stack, &visitor, &path).await? {
            assert_eq!((answer.header("ETag"), &answer.body), (tag.as_str(), &whole.body), "{path}: replicas differ");
        }
        for (headers, status) in [
            (vec![("If-None-Match", tag.as_str())], 304),
            (vec![("If-None-Match", "*")], 304),
            (vec![("If-None-Match", "\"other\", W/\"more\"")], 200),
            (vec![("If-None-Match", "\"other\""), ("If-Modified-Since", modified.as_str())], 200),
            (vec![("If-Modified-Since", "Thu, 01 Jan 1970 00:00:00 GMT")], 200),
            (vec![("If-Modified-Since", "yesterday")], 200),
        ] {
            let answer = get(&headers).await?;
            ensure!(answer.status.as_u16() == status, "{path} with {headers:?}: {}, not {status}", answer.status);
            check_headers(&answer).with_context(said)?;
            ensure!(answer.body.is_empty() == (status == 304), "{path} with {headers:?}: {} bytes", answer.body.len());
        }
        let weak = format!("\"other\", W/{tag}");
        assert_eq!(
            get(&[("If-None-Match", &weak)]).await?.status,
            StatusCode::NOT_MODIFIED,
            "{path}: a weak comparison"
        );

        // As it is, because the length of a compressed body is another one.
        let request = visitor.request(Method::HEAD, &path).header(header::ACCEPT_ENCODING, "identity");
        let head = visitor.send(request).await?;
        check_headers(&head).with_context(said)?;
        assert_eq!(
            (head.status, head.body.len(), head.header("ETag")),
            (StatusCode::OK, 0, tag.replace("-gz", "").as_str()),
            "HEAD {path}"
        );
        assert_eq!(head.header("Content-Length"), whole.body.len().to_string(), "HEAD {path}");

        let preflight = visitor.request(Method::OPTIONS, &path).header("Access-Control-Request-Method", "GET");
        let answer = visitor
            .send(preflight.header("Access-Control-Request-Headers", "if-none-match").header(origin.0, origin.1))
            .await?;
        assert_eq!(answer.status, StatusCode::NO_CONTENT, "OPTIONS {path}");
        assert_eq!(answer.header("Access-Control-Allow-Origin"), "*", "OPTIONS {path}");
        assert_eq!(answer.header("Access-Control-Allow-Methods"), "GET, HEAD, OPTIONS", "OPTIONS {path}");
        let allowed = answer.header("Access-Control-Allow-Headers").to_lowercase();
        assert!(
            allowed.contains("if-none-match") && allowed.contains("if-modified-since"),
            "OPTIONS {path}: {allowed}"
        );
        assert!(answer.header("Access-Control-Allow-Credentials").is_empty(), "OPTIONS {path}");
    }
    stack.stop().await
}

#[tokio::test]
async fn a_date_is_a_validator_once_its_second_is_over() -> Result<()> {
    let stack = Stack::builder().replicas(1).start().await?;
    let visitor = Visitor::new(&stack.url())?;
    let no = new_thread(&visitor, "b", "for dates").await?.no;
    let path = format!("/b/res/{no}.json");
    let since = async |date: &str| {
        visitor.send(visitor.request(Method::GET, &path).header(header::IF_MODIFIED_SINCE, date)).await
    };
    // A page that changed a moment ago may change again in the same second.
    let fresh = visitor.get(&path).await?.header("Last-Modified").to_owned();
    // Dated back, which is quicker than waiting and the same to the application.
    let mut database = stack.database().await?;
    for settle in [
        "update thread_state set changed_at = changed_at - interval '1 minute'",
        "update site_state set changed_at = changed_at - interval '2 minutes'",
    ] {
        sqlx::query(settle).execute(&mut database).await?;
    }
    let settled = visitor.get(&path).await?.header("Last-Modified").to_owned();
    assert_ne!(fresh, settled);
    assert_eq!(since(&settled).await?.status, StatusCode::NOT_MODIFIED);
    assert_eq!(since(&fresh).await?.status, StatusCode::OK, "a date that is not the one");
    visitor.must_post("b", &Form::reply(no, "news")).await?;
    let answer = since(&settled).await?;
    assert_eq!(answer.status, StatusCode::OK, "news are not told");
    assert_eq!(list(&answer.json()?, "/posts")?.len(), 2);
    // While the second may go on, no date that was told leads to "nothing new".
    let told = answer.header("Last-Modified").to_owned();
    visitor.must_post("b", &Form::reply(no, "more news")).await?;
    let answer = since(&told).await?;
    assert_eq!(answer.status, StatusCode::OK, "a second reply in the same second is not told");
    assert_eq!(list(&answer.json()?, "/posts")?.len(), 3);
    stack.stop().await
}

#[tokio::test]
async fn what_is_not_there_is_told_as_a_problem() -> Result<()> {
    let stack = SHARED.get().await?;
    let visitor = Visitor::new(&stack.url())?;
    let elsewhere = new_thread(&visitor, "art", "elsewhere").await?.no;
    let thread = new_thread(&visitor, "b", "with a reply").await?.no;
    let reply = visitor.must_post("b", &Form::reply(thread, "a reply")).await?.no;
    for (path, code) in [
        ("/nosuch/threads.json".to_owned(), "unknown_board"),
        ("/nosuch/catalog.json".into(), "unknown_board"),
        ("/nosuch/archive.json".into(), "unknown_board"),
        ("/nosuch/0.json".into(), "unknown_board"),
        ("/nosuch/res/1.json".into(), "unknown_board"),
        ("/b/res/2147483000.json".into(), "unknown_thread"),
        ("/b/thread/2147483000.json".into(), "unknown_thread"),
        ("/b/res/99999999999999999999.json".into(), "unknown_thread"),
        ("/b/res/0.json".into(), "unknown_thread"),
        (format!("/b/res/{elsewhere}.json"), "unknown_thread"),
        (format!("/b/res/{reply}.json"), "unknown_thread"),
        ("/b/10.json".into(), "unknown_page"),
        ("/b/nothing.json".into(), "not_found"),
        ("/nothing/at/all.json".into(), "not_found"),
    ] {
        for answer in everywhere(stack, &visitor, &path).await? {
            check_problem(&answer, 404, code).with_context(|| path.clone())?;
            ensure!(answer.header("Access-Control-Allow-Origin") == "*", "{path}: {:?}", answer.headers);
        }
    }
    for path in ["/b/src/1.png", "/b/thumb/1.png", "/b/1.png", "/b/1s.jpg", "/b/src/99999999999999999999999.png"] {
        let answer = visitor.accepting(JSON).get(path).await?;
        check_problem(&answer, 404, "unknown_file").with_context(|| path.to_owned())?;
    }
    Ok(())
}

#[tokio::test]
async fn last_modified_rises_with_every_change_of_a_thread() -> Result<()> {
    let stack = SHARED.get().await?;
    let visitor = Visitor::new(&stack.url())?;
    let start = chrono::Utc::now().timestamp();
    let form = Form::thread("watched").picture(&pictures::png(rand::random(), 30, 20)?);
    let thread = visitor.must_post("b", &form).await?.no;
    let mut database = stack.database().await?;
    let mut told = Vec::new();
    let mut look = async || {
        let own = number(&document(&visitor, &format!("/b/res/{thread}.json")).await?, "/posts/0/last_modified")?;
        for path in ["/b/threads.json", "/b/catalog.json"] {
            let listed = document(&visitor, path).await?;
            let listed = crate::board::find_post(&listed, thread).context("the thread is not listed")?;
            ensure!(number(listed, "/last_modified")? == own, "{path} tells another time");
        }
        told.push(own);
        anyhow::Ok(())
    };
    look().await?;
    let mut replies = Vec::new();
    for turn in 0..4 {
        let form = Form::reply(thread, &format!("reply {turn}")).field("pwd", "a password");
        let form = if turn == 0 { form.picture(&pictures::png(rand::random(), 20, 20)?) } else { form };
        replies.push(visitor.must_post("b", &form).await?.no);
        look().await?;
    }
    let delete = |no: i64| Form::new().field("no", &no.to_string()).field("pwd", "a password");
    for form in [delete(replies[0]).field("file_only", "on"), delete(replies[1])] {
        visitor.accepting(JSON).submit("/b/delete", &form).await?.expect(StatusCode::OK)?;
        look().await?;
    }
    // As a release changes it that knows nothing of this number, while it is replaced by one that does.
    let older = "with changed as (
            update thread_state set version = version + 1, changed_at = clock_timestamp()
            where thread_no = $1 returning board_id
        )
        update board_state set version = version + 1, changed_at = clock_timestamp()
        where board_id in (select board_id from changed)";
    sqlx::query(older).bind(i32::try_from(thread)?).execute(&mut database).await?;
    look().await?;
    assert!(told.windows(2).all(|pair| pair[0] < pair[1]), "each change has to have a later time: {told:?}");
    // Ahead of the clock by no more than there were changes.
    let (now, changes) = (chrono::Utc::now().timestamp(), i64::try_from(told.len())?);
    let (first, last) = (told[0], told[told.len() - 1]);
    assert!((start - 1..=now + 1).contains(&first) && last <= now + changes, "{told:?} from {start} to {now}");
    Ok(())
}

/// A thread whose texts are HTML and entities, as they are typed, and files with such names. Answers its number, and its
/// subject, which is also the name of its author.
async fn thread_of_entities(visitor: &Visitor) -> Result<(i64, &'static str)> {
    const TYPED: &str = "Tom & <b>Jerry<b> &amp; 'co'";
    let picture = |name: &str| -> Result<Form> {
        Ok(Form::new().file(name, "image/png", pictures::png(rand::random(), 40, 30)?.bytes))
    };
    let opening = picture("Tom & <Jerry> &amp; co.png")?.field("com", "entities").field("sub", TYPED);
    let thread = visitor.must_post("b", &opening.field("name", TYPED)).await?.no;
    let nameless = picture(".png")?.field("resto", &thread.to_string());
    visitor.must_post("b", &nameless).await?;
    Ok((thread, TYPED))
}

/// The client `imageboard`, installed by npm into a directory that goes with the test.
async fn imageboard(scratch: &Scratch, site: &str, thread: i64) -> Result<Value> {
    let run = async |program: &str, arguments: &[&str]| -> Result<String> {
        let mut command = tokio::process::Command::new(program);
        command.args(arguments).current_dir(scratch.path()).stdin(Stdio::null()).kill_on_drop(true);
        let output = command.output().await.with_context(|| format!("cannot run {program} {arguments:?}"))?;
        let (printed, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        ensure!(output.status.success(), "{program} {arguments:?} failed:\n{printed}{errors}");
        Ok(printed.into_owned())
    };
    let install = ["install", "--no-audit", "--no-fund", "--silent", "--prefix", ".", "imageboard@0.11.5"];
    run("npm", &install).await.context("imageboard cannot be installed from npm")?;
    std::fs::write(scratch.join("read.mjs"), include_str!("imageboard.mjs"))?;
    Ok(serde_json::from_str(&run("node", &["read.mjs", site, "b", &thread.to_string()]).await?)?)
}

#[tokio::test]
async fn imageboard_shows_texts_as_they_were_typed_and_knows_what_boards_are_like() -> Result<()> {
    let stack = SHARED.get().await?;
    let visitor = Visitor::new(&stack.url())?;
    let (thread, typed) = thread_of_entities(&visitor).await?;
    let scratch = Scratch::new("imageboard")?;
    let read = imageboard(&scratch, &stack.url(), thread).await?;

    let opening = at(&read, "/thread/comments/0")?;
    assert_eq!((text(opening, "/title")?, text(opening, "/authorName")?), (typed, typed));
    assert_eq!(text(&read, "/thread/title")?, typed);
    assert_eq!(number(&read, "/thread/uniquePostersCount")?, 1);
    let listed = list(&read, "/threads")?;
    let listed = listed.iter().find(|listed| number(listed, "/id").is_ok_and(|no| no == thread));
    assert_eq!(text(listed.context("the thread is not in the catalogue")?, "/title")?, typed);
    let boards = list(&read, "/boards")?;
    let explicit: Vec<&str> = boards
        .iter()
        .filter(|board| board.get("explicitContent") == Some(&Value::Bool(true)))
        .map(|board| text(board, "/id"))
        .collect::<Result<_>>()?;
    assert_eq!((boards.len(), explicit), (4, vec!["x"]), "boards, and those that are not for work");
    assert_eq!(text(&boards[2], "/description")?, HOSTILE_DESCRIPTION);
    assert_eq!(number(&boards[0], "/post/threadAttachmentsMaxCount")?, 4000);
    Ok(())
}

/// The client `gallery-dl`, installed by pip into a directory that goes with the test.
async fn gallery_dl(scratch: &Scratch) -> Result<PathBuf> {
    let environment = scratch.join("python");
    let run = async |program: PathBuf, arguments: Vec<&str>| -> Result<()> {
        let mut command = tokio::process::Command::new(&program);
        let output =
            command.args(&arguments).env("HOME", scratch.path()).stdin(Stdio::null()).kill_on_drop(true).output().await;
        let output = output.with_context(|| format!("cannot run {} {arguments:?}", program.display()))?;
        let printed = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).join("");
        ensure!(output.status.success(), "{} {arguments:?} failed:\n{printed}", program.display());
        Ok(())
    };
    let path = environment.to_str().context("a directory that is no text")?;
    run("python3".into(), vec!["-m", "venv", path]).await.context("python3 with venv is needed")?;
    let install = vec!["install", "--quiet", "--disable-pip-version-check", "--no-input", "gallery-dl==1.32.*"];
    run(environment.join("bin/pip"), install).await.context("gallery-dl cannot be installed from PyPI")?;
    Ok(environment.join("bin/gallery-dl"))
}

/// Has `gallery-dl` download a thread; answers the files by the names that it gave them.
async fn download(
    program: &Path,
    scratch: &Scratch,
    site: &str,
    thread: i64,
    names: &str,
) -> Result<BTreeMap<String, bytes::Bytes>> {
    let folder = scratch.join(&thread.to_string());
    let mut command = tokio::process::Command::new(program);
    command.arg("--config-ignore").arg("-D").arg(&folder).args(["-f", names]);
    command.arg(format!("vichan:{site}/b/res/{thread}.html")).env("HOME", scratch.path()).env("no_proxy", "127.0.0.1");
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output().await.context("cannot run gallery-dl")?;
    let printed = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).join("");
    ensure!(output.status.success(), "gallery-dl failed ({}):\n{printed}", output.status);
    let mut found: BTreeMap<String, bytes::Bytes> = BTreeMap::new();
    for entry in std::fs::read_dir(&folder).with_context(|| format!("nothing was downloaded:\n{printed}"))? {
        let entry = entry?;
        found.insert(entry.file_name().to_string_lossy().into_owned(), std::fs::read(entry.path())?.into());
    }
    Ok(found)
}

#[tokio::test]
async fn gallery_dl_downloads_every_file_of_a_thread_and_names_it() -> Result<()> {
    let stack = SHARED.get().await?;
    let visitor = Visitor::new(&stack.url())?;
    let no = full_thread(&visitor, "b").await?;
    let thread = document(&visitor, &format!("/b/res/{no}.json")).await?;
    let mut expected: BTreeMap<String, bytes::Bytes> = BTreeMap::new();
    for post in list(&thread, "/posts")? {
        let extra = post.get("extra_files").and_then(Value::as_array).into_iter().flatten();
        for file in extra.chain([post]).filter(|file| file.get("media").is_some()) {
            let bytes = visitor.get(text(file, "/media")?).await?.expect(StatusCode::OK)?.body.clone();
            expected.insert(format!("{}{}", number(file, "/tim")?, text(file, "/ext")?), bytes);
        }
    }
    assert_eq!(expected.len(), 6);

    let scratch = Scratch::new("gallery-dl")?;
    let program = gallery_dl(&scratch).await?;
    let found = download(&program, &scratch, &stack.url(), no, "{tim}.{extension}").await?;
    let names = |files: &BTreeMap<String, bytes::Bytes>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&found), names(&expected));
    for (name, bytes) in &expected {
        assert!(found.get(name) == Some(bytes), "{name} has other bytes");
    }

    // By the subject and by the names that the files had.
    let (thread, typed) = thread_of_entities(&visitor).await?;
    let found = download(&program, &scratch, &stack.url(), thread, "{title} - {filename}.{extension}").await?;
    let wanted = ["Tom & <Jerry> &amp; co", "picture"].map(|name| format!("{typed} - {name}.png"));
    assert_eq!(names(&found), wanted);
    Ok(())
}
