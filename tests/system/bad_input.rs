//! Wrong input gets a clear 4xx as a page and as problem JSON, loses no typed text, and leaves nothing behind.

use std::{fs, time::Duration};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use reqwest::{Method, StatusCode, header};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::Mutex,
};
use triptych_tests::{
    Answer, Form, Replica, Stack, Visitor,
    http::{HTML, JSON},
    pictures,
};

use crate::shared::{Shared, check_error_page, check_problem, new_thread};

/// Two replicas: of what is asked directly, one; behind nginx, both.
static BOARD: Shared = Shared::new(|| {
    let boards = r#"[{"slug":"b","title":"Random"},{"slug":"art","title":"Art"},
                     {"slug":"shut","title":"Shut","locked":true}]"#;
    Stack::builder().replicas(2).env("TRIPTYCH_BOARDS", boards)
});
/// Tests that count posts and objects take turns.
static TURN: Mutex<()> = Mutex::const_new(());

const FILE_LIMIT: usize = 8 * 1024 * 1024;

/// Everything that can be typed into the form.
#[derive(Clone)]
struct Typed {
    name: String,
    subject: String,
    comment: String,
}

impl Typed {
    fn new() -> Self {
        Self {
            name: "Zoë \"Quote\" <O'Neill> & co".into(),
            subject: "Sub</textarea>ject & <b>bold</b>".into(),
            comment: "\nfirst line\n</textarea><b>second</b> &amp; line\n밤하늘 🙂".into(),
        }
    }

    /// The form as a browser sends it: pictures stand behind the comment, and boxes behind the pictures.
    fn form(&self, resto: &str, files: impl FnOnce(Form) -> Form) -> Form {
        let form = Form::new()
            .field("resto", resto)
            .field("name", &self.name)
            .field("sub", &self.subject)
            .field("com", &self.comment);
        files(form).field("spoiler", "on").field("email", "sage").field("pwd", "long enough")
    }
}

/// One wrong post.
struct Case {
    what: String,
    board: &'static str,
    typed: Typed,
    form: Form,
    /// The form is that of a reply.
    reply: bool,
    status: u16,
    code: &'static str,
}

fn case(
    what: &str,
    (board, resto): (&'static str, &str),
    (status, code): (u16, &'static str),
    files: impl FnOnce(Form) -> Form,
) -> Case {
    let typed = Typed::new();
    let form = typed.form(resto, files);
    let reply = resto.parse().is_ok_and(|no: i32| no > 0);
    Case { what: what.into(), board, typed, form, reply, status, code }
}

/// As [`case`], with other words.
fn typed_case(what: &str, typed: Typed, place: (&'static str, &str), answer: (u16, &'static str)) -> Case {
    let form = typed.form(place.1, |form| form);
    Case { typed, form, ..case(what, place, answer, |form| form) }
}

/// What must not change.
#[derive(Debug, PartialEq, Eq)]
struct Before {
    posts: i64,
    threads: i64,
    counted: i64,
    versions: i64,
    objects: Vec<String>,
}

async fn look(stack: &Stack) -> Result<Before> {
    let mut database = stack.database().await?;
    let (posts, threads, counted, versions) = sqlx::query_as(
        "select (select count(*) from post), (select count(*) from thread),
                (select sum(posts)::bigint from board_state), (select sum(version)::bigint from board_state)",
    )
    .fetch_one(&mut database)
    .await?;
    Ok(Before { posts, threads, counted, versions, objects: stack.s3.keys("").await? })
}

/// Sends each wrong post as a browser to a replica and through nginx, and as a program.
async fn check_cases(stack: &Stack, cases: &[Case]) -> Result<()> {
    ensure!(!cases.is_empty(), "there is nothing to check");
    let direct = Visitor::new(&stack.replica(0)?.url())?;
    let before = look(stack).await?;
    for case in cases {
        for visitor in [direct.clone(), direct.at(&stack.url())] {
            let said = || format!("{} to {}", case.what, visitor.url(&format!("/{}/post", case.board)));
            let answer = visitor.post(case.board, &case.form).await.with_context(said)?;
            check_error_page(&answer, case.status).with_context(said)?;
            check_typed(&answer, case).with_context(said)?;
            let answer = visitor.accepting(JSON).post(case.board, &case.form).await.with_context(said)?;
            check_problem(&answer, case.status, case.code).with_context(said)?;
        }
        ensure!(look(stack).await? == before, "{} has left something: {:?}", case.what, look(stack).await?);
    }
    Ok(())
}

/// Everything that was typed is in the form again.
fn check_typed(answer: &Answer, case: &Case) -> Result<()> {
    // HTML cannot say NUL; a parser reads U+FFFD in its place, and so would a browser.
    let shown = |text: &str| text.replace('\0', "\u{fffd}");
    let typed = &case.typed;
    let value = |field: &str| answer.attributes(&format!("#post input[name={field}]"), "value");
    ensure!(value("name")? == [shown(&typed.name)], "the name is {:?}", value("name")?);
    ensure!(value("sub")? == [shown(&typed.subject)], "the subject is {:?}", value("sub")?);
    let comment = answer.texts("#post textarea[name=com]")?;
    ensure!(
        comment == [shown(&typed.comment)],
        "the comment is {:?}, not {:?}",
        comment.first().map(|text| text.chars().take(200).collect::<String>()),
        typed.comment.chars().take(200).collect::<String>()
    );
    ensure!(answer.count("#post input[name=spoiler][checked]")? == 1, "the box for a spoiler is not ticked");
    if case.reply {
        ensure!(answer.count("#post input[name=email][checked]")? == 1, "the box for sage is not ticked");
    }
    let action = answer.attributes("form#post", "action")?;
    ensure!(action == [format!("/{}/post", case.board)], "the form leads to {action:?}");
    ensure!(answer.count("details.compose[open]")? == 1, "the form is folded");
    Ok(())
}

/// A file of the size that is asked for; the beginning is that of a picture.
fn large(size: usize) -> Result<Bytes> {
    let mut bytes = pictures::jpeg(1, 64, 64)?.bytes.to_vec();
    bytes.resize(size, 0);
    Ok(bytes.into())
}

fn half(picture: &pictures::Picture) -> Bytes {
    picture.bytes.slice(..picture.bytes.len() / 2)
}

#[tokio::test]
async fn wrong_pictures_are_refused_and_leave_nothing() -> Result<()> {
    let _turn = TURN.lock().await;
    let stack = BOARD.get().await?;
    let file =
        |name: &'static str, declared: &'static str, bytes: Bytes| move |form: Form| form.file(name, declared, bytes);
    let picture = pictures::jpeg(2, 300, 200)?;
    let new = ("b", "0");
    // A GIF whose canvas is small and whose frame is not: the sides stand behind a comma and the frame's place.
    let mut frame = pictures::gif(3, 16, 16, 1)?.bytes.to_vec();
    let descriptor =
        frame.windows(9).position(|bytes| bytes == [b',', 0, 0, 0, 0, 16, 0, 16, 0]).context("no frame")?;
    let sides = frame.get_mut(descriptor + 5..descriptor + 9).context("no frame")?;
    sides.copy_from_slice(&[0xff, 0xff, 0xff, 0xff]);
    let mut canvas = pictures::gif(3, 16, 16, 1)?.bytes.to_vec();
    canvas.get_mut(6..10).context("no canvas")?.copy_from_slice(&[0xff, 0xff, 0xff, 0xff]);

    let svg = &b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"[..];
    let mut cases = vec![
        case("no picture in a new thread", new, (422, "picture_required"), |form| form),
        case("an empty file field, as browsers send it", new, (422, "picture_required"), |form| {
            form.file("", "application/octet-stream", "")
        }),
        case("five pictures", new, (422, "too_many_files"), |form| (0..5).fold(form, |form, _| form.picture(&picture))),
        case("a file of 0 bytes", new, (422, "empty_file"), file("a.jpg", "image/jpeg", Bytes::new())),
        case("a text named .jpg", new, (415, "unsupported_format"), file("a.jpg", "image/jpeg", "just words".into())),
        case("an SVG", new, (415, "unsupported_format"), file("a.svg", "image/svg+xml", svg.into())),
        case("an SVG named .png", new, (415, "unsupported_format"), file("a.png", "image/png", svg.into())),
        case("a PDF", new, (415, "unsupported_format"), file("a.pdf", "application/pdf", "%PDF-1.7\n1 0 obj".into())),
        case("noise", new, (415, "unknown_format"), file("a.gif", "image/gif", vec![0xa5; 5000].into())),
        case("a huge frame in a GIF", new, (422, "picture_too_wide"), file("a.gif", "image/gif", frame.into())),
        case("a huge canvas of a GIF", new, (422, "picture_too_wide"), file("a.gif", "image/gif", canvas.into())),
        case(
            "a PNG header of 60000×60000",
            new,
            (422, "picture_too_wide"),
            file("a.png", "image/png", pictures::png_header(60_000, 60_000).into()),
        ),
        case(
            "a PNG header of 9000×9000",
            new,
            (422, "too_many_pixels"),
            file("a.png", "image/png", pictures::png_header(9_000, 9_000).into()),
        ),
    ];
    let whole = [pictures::jpeg(4, 300, 200)?, pictures::png(4, 300, 200)?, pictures::webp(4, 300, 200)?];
    for picture in whole.iter().chain([&pictures::gif(4, 300, 200, 3)?]) {
        let what = format!("half of {}", picture.name);
        let (name, declared, bytes) = (picture.name.clone(), picture.declared, half(picture));
        cases.push(case(&what, new, (422, "truncated_picture"), |form| form.file(&name, declared, bytes)));
        // A good one before it must not be stored either.
        let (name, bytes) = (picture.name.clone(), half(picture));
        let good = pictures::png(5, 80, 60)?;
        cases.push(case(&format!("a good picture and {what}"), new, (422, "truncated_picture"), |form| {
            form.picture(&good).file(&name, declared, bytes)
        }));
    }
    check_cases(stack, &cases).await
}

#[tokio::test]
async fn what_is_too_large_is_refused_and_the_text_comes_back() -> Result<()> {
    let _turn = TURN.lock().await;
    let stack = BOARD.get().await?;
    let just_too_large = large(FILE_LIMIT + 1)?;
    let cases = [
        case("a file of one byte too many", ("b", "0"), (413, "file_too_large"), |form| {
            form.file("a.jpg", "image/jpeg", just_too_large.clone())
        }),
        case("four files, all too large", ("b", "0"), (413, "file_too_large"), |form| {
            (0..4).fold(form, |form, _| form.file("a.jpg", "image/jpeg", just_too_large.clone()))
        }),
        typed_case(
            "a comment of 80 kB",
            Typed { comment: "밤 <b>\n".repeat(10_000), ..Typed::new() },
            ("b", "0"),
            (422, "text_too_long"),
        ),
        typed_case(
            "a name that is too long",
            Typed { name: "n".repeat(1000), ..Typed::new() },
            ("b", "0"),
            (422, "text_too_long"),
        ),
        typed_case(
            "a subject that is too long",
            Typed { subject: "가".repeat(101), ..Typed::new() },
            ("b", "0"),
            (422, "text_too_long"),
        ),
    ];
    check_cases(stack, &cases).await
}

#[tokio::test]
async fn of_a_comment_beyond_all_limits_comes_back_what_fits() -> Result<()> {
    let _turn = TURN.lock().await;
    let stack = BOARD.get().await?;
    let before = look(stack).await?;
    // Quotation marks, because these are the longest in HTML.
    let typed = Typed { comment: "밤'\"\"'".repeat(300_000), ..Typed::new() };
    let form = typed.form("0", |form| form);
    for site in [stack.replica(0)?.url(), stack.url()] {
        let visitor = Visitor::new(&site)?;
        let answer = visitor.post("b", &form).await.with_context(|| format!("2 MB of text to {site}"))?;
        check_error_page(&answer, 413)?;
        assert_eq!(answer.attributes("#post input[name=name]", "value")?, [typed.name.as_str()]);
        assert_eq!(answer.attributes("#post input[name=sub]", "value")?, [typed.subject.as_str()]);
        assert_eq!(answer.count("#post input[name=spoiler][checked]")?, 1, "the box behind the comment is lost");
        let texts = answer.texts("#post textarea")?;
        let comment = texts.first().context("no comment")?;
        assert!(typed.comment.starts_with(comment), "another comment comes back: {:?}", comment.chars().last());
        assert!((100_000..128 << 10).contains(&comment.len()), "{} bytes come back", comment.len());
        assert!(answer.body.len() < 1 << 20, "the page has {} bytes", answer.body.len());
        let told = answer.texts(".sorry p")?.join(" ");
        assert!(told.contains("too long to be shown whole"), "the page says: {told}");
        check_problem(&visitor.accepting(JSON).post("b", &form).await?, 413, "text_too_large")?;
    }
    assert_eq!(look(stack).await?, before);
    Ok(())
}

#[tokio::test]
async fn a_post_beyond_the_limit_of_nginx_gets_the_boards_own_page() -> Result<()> {
    let _turn = TURN.lock().await;
    let stack = BOARD.get().await?;
    let before = look(stack).await?;
    let picture = large(FILE_LIMIT)?;
    let form =
        Typed::new().form("0", |form| (0..5).fold(form, |form, _| form.file("a.jpg", "image/jpeg", picture.clone())));
    let visitor = Visitor::new(&stack.url())?;
    let page = visitor.post("b", &form).await.context("40 MB through nginx")?;
    check_error_page(&page, 413)?;
    assert!(!page.text().contains("nginx"), "{}", page.text());
    let told = page.texts(".sorry p")?.join(" ");
    assert!(told.contains("too large") && told.contains("8.4 MB"), "the page does not tell the limit: {told}");
    check_problem(&visitor.accepting(JSON).post("b", &form).await?, 413, "post_too_large")?;

    // A replica by itself reads on, so that the text can come back.
    let direct = Visitor::new(&stack.replica(0)?.url())?;
    let page = direct.post("b", &form).await.context("40 MB to a replica")?;
    check_error_page(&page, 413)?;
    assert_eq!(page.texts("#post textarea")?, [Typed::new().comment]);
    check_problem(&direct.accepting(JSON).post("b", &form).await?, 413, "post_too_large")?;
    assert_eq!(look(stack).await?, before);
    Ok(())
}

#[tokio::test]
async fn control_characters_are_refused_in_every_field() -> Result<()> {
    let _turn = TURN.lock().await;
    let stack = BOARD.get().await?;
    let mut cases = Vec::new();
    for control in ['\0', '\u{1}', '\u{8}', '\u{1b}', '\u{7f}', '\u{85}', '\u{9f}'] {
        let typed = Typed::new();
        let bad = |text: &str| format!("{text}{control}x");
        for (field, typed) in [
            ("name", Typed { name: bad(&typed.name), ..typed.clone() }),
            ("subject", Typed { subject: bad(&typed.subject), ..typed.clone() }),
            ("comment", Typed { comment: bad(&typed.comment), ..typed.clone() }),
        ] {
            let what = format!("U+{:04X} in the {field}", u32::from(control));
            cases.push(typed_case(&what, typed, ("b", "0"), (422, "control_character")));
        }
    }
    check_cases(stack, &cases).await?;

    // Fields that are only compared or hashed hold what they like, as long as nothing breaks.
    let visitor = Visitor::new(&stack.url())?.accepting(JSON);
    let thread = new_thread(&visitor, "b", "for control characters").await?;
    for (field, expected) in [("email", 201), ("pwd", 201), ("key", 201), ("unknown", 201), ("resto", 422)] {
        let form = Form::reply(thread.no, field).field("email", "");
        let form = if field == "resto" { Form::thread("x") } else { form };
        let answer = visitor.post("b", &form.field(field, "a\0\u{1}\r\nb")).await?;
        assert_eq!(answer.status.as_u16(), expected, "NUL in the field {field}: {}", answer.text());
    }
    for (name, expected) in [
        ("a\0b.png", 400),
        ("\u{1}.png", 400),
        ("a\r\nX-Evil: 1.png", 400),
        ("\u{85}\u{202e}.png", 201),
        ("../../../../etc/passwd", 201),
        ("", 201),
        (&"x".repeat(7000), 201),
        (&"x".repeat(100_000), 400),
    ] {
        let form = Form::reply(thread.no, "").file(name, "image/png", pictures::png(6, 20, 20)?.bytes);
        let answer = visitor.post("b", &form).await?;
        let shown: String = name.chars().take(30).collect();
        assert_eq!(answer.status.as_u16(), expected, "the file name {shown:?}: {}", answer.text());
        assert_eq!(answer.header("X-Evil"), "", "the file name {name:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_post_that_leads_nowhere_is_refused() -> Result<()> {
    let _turn = TURN.lock().await;
    let stack = BOARD.get().await?;
    let visitor = Visitor::new(&stack.url())?;
    let (here, elsewhere) = (new_thread(&visitor, "b", "here").await?, new_thread(&visitor, "art", "elsewhere").await?);
    let reply = visitor.must_post("b", &Form::reply(here.no, "a reply")).await?;
    let (locked, archived) =
        (new_thread(&visitor, "b", "to lock").await?, new_thread(&visitor, "b", "to archive").await?);
    let mut database = stack.database().await?;
    sqlx::query("update thread set locked = true where no = $1")
        .bind(i32::try_from(locked.no)?)
        .execute(&mut database)
        .await?;
    sqlx::query(
        "with gone as (delete from bump where thread_no = $1) update thread set archived_at = now() where no = $1",
    )
    .bind(i32::try_from(archived.no)?)
    .execute(&mut database)
    .await?;

    let picture = pictures::png(7, 50, 40)?;
    let with_picture = |form: Form| form.picture(&picture);
    let no = |no: i64| no.to_string();
    let mut cases = vec![
        case("an unknown thread", ("b", "2147483000"), (404, "unknown_thread"), with_picture),
        case("a thread of another board", ("b", &no(elsewhere.no)), (404, "unknown_thread"), with_picture),
        case("the number of a reply", ("b", &no(reply.no)), (404, "unknown_thread"), with_picture),
        case("a locked board", ("shut", "0"), (403, "board_locked"), with_picture),
        case("a reply on a locked board", ("shut", &no(here.no)), (403, "board_locked"), with_picture),
        case("a locked thread", ("b", &no(locked.no)), (403, "thread_locked"), with_picture),
        case("an archived thread", ("b", &no(archived.no)), (403, "thread_archived"), with_picture),
        typed_case(
            "an empty reply",
            Typed { comment: String::new(), ..Typed::new() },
            ("b", &no(here.no)),
            (422, "empty_reply"),
        ),
        typed_case(
            "a reply of blanks",
            Typed { comment: " \n\t\n ".into(), ..Typed::new() },
            ("b", &no(here.no)),
            (422, "empty_reply"),
        ),
    ];
    for resto in ["abc", "-1", "2147483648", "99999999999999999999", "1.5", "0x10", "1 2", "１２"] {
        cases.push(case(&format!("resto={resto}"), ("b", resto), (422, "bad_thread_number"), with_picture));
    }
    check_cases(stack, &cases).await
}

#[tokio::test]
async fn text_for_an_unknown_board_is_not_lost() -> Result<()> {
    let _turn = TURN.lock().await;
    let stack = BOARD.get().await?;
    let before = look(stack).await?;
    let typed = Typed::new();
    let form = typed.form("0", |form| form);
    for site in [stack.replica(0)?.url(), stack.url()] {
        let visitor = Visitor::new(&site)?;
        let answer = visitor.post("nosuch", &form).await?;
        check_error_page(&answer, 404)?;
        let kept = [answer.texts("main textarea")?, answer.attributes("main input", "value")?].concat();
        for wanted in [&typed.name, &typed.subject, &typed.comment] {
            assert!(kept.contains(wanted), "{wanted:?} is not in the page again: {kept:?}");
        }
        check_problem(&visitor.accepting(JSON).post("nosuch", &form).await?, 404, "unknown_board")?;
    }
    assert_eq!(look(stack).await?, before);
    Ok(())
}

#[tokio::test]
async fn a_replica_that_has_served_nothing_yet_loses_no_text_either() -> Result<()> {
    let _turn = TURN.lock().await;
    let stack = BOARD.get().await?;
    let replica = stack.replica(1)?;
    replica.kill()?;
    replica.start()?;
    replica.wait_ready().await?;
    let wrong = case("five pictures as the first request", ("b", "0"), (422, "too_many_files"), |form| {
        (0..5).fold(form, |form, _| form.file("a.jpg", "image/jpeg", "x"))
    });
    let answer = Visitor::new(&replica.url())?.post("b", &wrong.form).await?;
    check_error_page(&answer, wrong.status)?;
    check_typed(&answer, &wrong)
}

const BOUNDARY: &str = "----boundary";

/// A part with a text.
fn part(name: &str, value: &[u8]) -> Vec<u8> {
    let head = format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n");
    [head.as_bytes(), value, b"\r\n"].concat()
}

fn body(parts: &[Vec<u8>], end: &str) -> Vec<u8> {
    [parts.concat(), end.as_bytes().to_vec()].concat()
}

fn multipart_type() -> String {
    format!("multipart/form-data; boundary={BOUNDARY}")
}

#[tokio::test]
async fn a_body_that_is_no_form_is_refused() -> Result<()> {
    let _turn = TURN.lock().await;
    let stack = BOARD.get().await?;
    let before = look(stack).await?;
    let typed = [part("name", b"Somebody"), part("sub", b"About"), part("com", b"What was typed")];
    let whole = body(&typed, &format!("--{BOUNDARY}--\r\n"));
    let with_bad_text =
        body(&[part("name", b"Somebody"), part("com", b"bad \xff\xfe text")], &format!("--{BOUNDARY}--\r\n"));
    let json = br#"{"com":"hello"}"#.to_vec();
    let right = multipart_type();
    let cases: Vec<(&str, &str, Vec<u8>, u16, &str)> = vec![
        ("JSON", "application/json", json, 415, "unsupported_form"),
        ("plain text", "text/plain", b"hello".to_vec(), 415, "unsupported_form"),
        ("2 MB of plain text", "text/plain", vec![b'x'; 2_000_000], 415, "unsupported_form"),
        ("a form of another multipart type", "multipart/mixed; boundary=x", whole.clone(), 415, "unsupported_form"),
        ("no type", "", b"hello".to_vec(), 415, "unsupported_form"),
        ("no body and no type", "", Vec::new(), 415, "unsupported_form"),
        ("no body", &right, Vec::new(), 400, "malformed_form"),
        ("no boundary", "multipart/form-data", whole.clone(), 400, "malformed_form"),
        ("another boundary", "multipart/form-data; boundary=other", whole.clone(), 400, "malformed_form"),
        ("a form cut off after a part", &right, body(&typed, ""), 400, "malformed_form"),
        (
            "a form cut off in a part",
            &right,
            body(&typed, &format!("--{BOUNDARY}\r\nContent-Dispo")),
            400,
            "malformed_form",
        ),
        ("invalid UTF-8", &right, with_bad_text, 400, "not_utf8"),
        (
            "a new thread as a URL-encoded form",
            "application/x-www-form-urlencoded",
            b"com=What+was+typed&name=Somebody".to_vec(),
            422,
            "picture_required",
        ),
        ("nothing as a URL-encoded form", "application/x-www-form-urlencoded", Vec::new(), 422, "picture_required"),
        (
            "3 MB as a URL-encoded form",
            "application/x-www-form-urlencoded",
            vec![b'a'; 3_000_000],
            413,
            "text_too_large",
        ),
    ];
    for (what, content_type, bytes, status, code) in &cases {
        for site in [stack.replica(0)?.url(), stack.url()] {
            let visitor = Visitor::new(&site)?;
            let said = || format!("{what} to {site}");
            let send = |accept: &str| {
                let request = visitor.accepting(accept).request(Method::POST, "/b/post").body(bytes.clone());
                visitor.send(if content_type.is_empty() {
                    request
                } else {
                    request.header(header::CONTENT_TYPE, *content_type)
                })
            };
            check_problem(&send(JSON).await.with_context(said)?, *status, code).with_context(said)?;
            let page = send(HTML).await.with_context(said)?;
            check_error_page(&page, *status).with_context(said)?;
            if what.starts_with("a form cut off") {
                ensure!(page.texts("#post textarea")? == ["What was typed"], "the text is lost: {}", said());
            }
            if *what == "invalid UTF-8" {
                ensure!(page.texts("#post textarea")? == ["bad \u{fffd}\u{fffd} text"], "the text is lost: {}", said());
                ensure!(
                    page.attributes("#post input[name=name]", "value")? == ["Somebody"],
                    "the name is lost: {}",
                    said()
                );
            }
        }
    }
    assert_eq!(look(stack).await?, before);
    Ok(())
}

#[tokio::test]
async fn a_chunked_form_is_a_form_and_a_compressed_one_is_none() -> Result<()> {
    let _turn = TURN.lock().await;
    let stack = BOARD.get().await?;
    let visitor = Visitor::new(&stack.url())?;
    let thread = new_thread(&visitor, "b", "for chunks").await?;
    let parts = [part("resto", thread.no.to_string().as_bytes()), part("com", b"in chunks")];
    let whole = body(&parts, &format!("--{BOUNDARY}--\r\n"));
    for site in [stack.replica(0)?.url(), stack.url()] {
        let visitor = Visitor::new(&site)?.accepting(JSON);
        let chunks: Vec<_> = whole.chunks(7).map(|chunk| Ok::<_, std::io::Error>(chunk.to_vec())).collect();
        let request = visitor.request(Method::POST, "/b/post").header(header::CONTENT_TYPE, multipart_type());
        let request = request.body(reqwest::Body::wrap_stream(futures_util::stream::iter(chunks)));
        visitor.send(request).await?.expect(StatusCode::CREATED).with_context(|| format!("chunked to {site}"))?;
    }
    let before = look(stack).await?;
    for site in [stack.replica(0)?.url(), stack.url()] {
        for (coding, bytes) in [
            ("gzip", &b"\x1f\x8b\x08\0\0\0\0\0\0\x03\x03\0\0\0\0\0\0\0\0\0"[..]),
            ("gzip", &whole[..]),
            ("br", &whole[..]),
        ] {
            let visitor = Visitor::new(&site)?.accepting(JSON);
            let request = visitor.request(Method::POST, "/b/post").header(header::CONTENT_TYPE, multipart_type());
            let answer = visitor.send(request.header(header::CONTENT_ENCODING, coding).body(bytes.to_vec())).await?;
            check_problem(&answer, 415, "unsupported_encoding").with_context(|| format!("{coding} to {site}"))?;
        }
    }
    assert_eq!(look(stack).await?, before);
    Ok(())
}

#[tokio::test]
async fn a_wrong_method_is_told_which_are_right() -> Result<()> {
    let _turn = TURN.lock().await;
    let stack = BOARD.get().await?;
    let before = look(stack).await?;
    let visitor = Visitor::new(&stack.replica(0)?.url())?;
    for (path, allowed) in [
        ("/b/post", "POST"),
        ("/b/delete", "POST"),
        ("/", "GET, HEAD"),
        ("/b/", "GET, HEAD"),
        ("/b/catalog.html", "GET, HEAD"),
        ("/b/res/1.html", "GET, HEAD"),
        ("/boards.json", "GET, HEAD, OPTIONS"),
        ("/b/catalog.json", "GET, HEAD, OPTIONS"),
    ] {
        for method in ["GET", "POST", "PUT", "DELETE", "PATCH", "TRACE", "BREW"] {
            if allowed.contains(method) {
                continue;
            }
            let said = || format!("{method} {path}");
            let method = Method::from_bytes(method.as_bytes())?;
            let answer =
                visitor.send(visitor.accepting(JSON).request(method.clone(), path)).await.with_context(said)?;
            check_problem(&answer, 405, "method_not_allowed").with_context(said)?;
            // RFC 9110, section 15.5.6: the header is a must.
            ensure!(
                answer.header("Allow") == allowed,
                "{}: Allow is {:?}, not {allowed:?}",
                said(),
                answer.header("Allow")
            );
            if !allowed.contains("OPTIONS") {
                check_error_page(&visitor.send(visitor.request(method, path)).await?, 405).with_context(said)?;
            }
        }
    }
    assert_eq!(look(stack).await?, before);
    Ok(())
}

#[tokio::test]
async fn a_form_of_another_site_is_refused() -> Result<()> {
    let _turn = TURN.lock().await;
    let stack = BOARD.get().await?;
    let visitor = Visitor::new(&stack.url())?;
    let thread = new_thread(&visitor, "b", "for other sites").await?;
    for site in [stack.replica(0)?.url(), stack.url()] {
        let own = site.as_str();
        let visitor = Visitor::new(own)?;
        let matrix: [(&str, &str, bool); 16] = [
            ("", "", true),
            ("", own, true),
            ("same-origin", own, true),
            ("same-origin", "", true),
            ("none", "", true),
            ("cross-site", "", false),
            ("cross-site", own, false),
            ("cross-site", "http://evil.example", false),
            ("same-site", own, false),
            ("same-site", "", false),
            ("nonsense", own, false),
            ("", "http://evil.example", false),
            ("", "null", false),
            ("", "http://127.0.0.1", false),
            ("", "http://127.0.0.1:1", false),
            ("", "https://evil.example/", false),
        ];
        for (fetch, origin, passes) in matrix {
            for (path, form, code) in [
                ("/b/post", Form::reply(thread.no, "from where?").field("name", "Kim"), 201),
                ("/b/delete", Form::new().field("no", &thread.no.to_string()).field("pwd", "wrong"), 403),
            ] {
                let said = || format!("POST {own}{path} with Sec-Fetch-Site {fetch:?} and Origin {origin:?}");
                let with = |accept: &str| {
                    let mut request = visitor.accepting(accept).request(Method::POST, path);
                    for (name, value) in [("Sec-Fetch-Site", fetch), ("Origin", origin)] {
                        request = if value.is_empty() { request } else { request.header(name, value) };
                    }
                    anyhow::Ok(request.multipart(form.multipart()?))
                };
                let before = look(stack).await?;
                let answer = visitor.send(with(JSON)?).await.with_context(said)?;
                if passes {
                    ensure!(answer.status.as_u16() == code, "{}: {} {}", said(), answer.status, answer.text());
                    ensure!(!answer.text().contains("cross_site"), "{}: {}", said(), answer.text());
                } else {
                    check_problem(&answer, 403, "cross_site_form").with_context(said)?;
                    let page = visitor.send(with(HTML)?).await?;
                    check_error_page(&page, 403).with_context(said)?;
                    ensure!(page.header("Set-Cookie").is_empty(), "{}: a cookie is set", said());
                    if path == "/b/post" {
                        ensure!(page.texts("#post textarea")? == ["from where?"], "{}: the text is lost", said());
                    }
                    ensure!(look(stack).await? == before, "{} has left something", said());
                }
            }
        }
    }
    Ok(())
}

/// What a raw request came to.
#[derive(Debug)]
enum Outcome {
    Closed,
    Status(u16),
}

/// How the client ends its request.
#[derive(Clone, Copy, PartialEq)]
enum End {
    /// It waits for the answer.
    Wait,
    /// It says that nothing more comes.
    Close,
}

/// Sends bytes and reads the beginning of what comes back.
async fn raw(replica: &Replica, bytes: &[u8], end: End) -> Result<Outcome> {
    let (mut read, mut write) = TcpStream::connect(replica.address()).await?.into_split();
    let bytes = bytes.to_vec();
    let writing = tokio::spawn(async move {
        // The other end may have seen enough and closed.
        let _ = write.write_all(&bytes).await;
        if end == End::Close {
            let _ = write.shutdown().await;
        }
        write
    });
    let outcome = outcome(&mut read).await;
    writing.abort();
    outcome
}

async fn outcome(read: &mut (impl tokio::io::AsyncRead + Unpin)) -> Result<Outcome> {
    let mut head = Vec::new();
    let reading = async {
        let mut buffer = [0; 1024];
        while head.len() < 12 {
            match read.read(&mut buffer).await {
                Ok(0) | Err(_) => break,
                Ok(length) => head.extend(buffer.get(..length).unwrap_or_default()),
            }
        }
    };
    tokio::time::timeout(Duration::from_mins(1), reading).await.context("neither an answer nor an end in a minute")?;
    if head.is_empty() {
        return Ok(Outcome::Closed);
    }
    let text = String::from_utf8_lossy(&head);
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok());
    Ok(Outcome::Status(status.with_context(|| format!("not an answer: {text:?}"))?))
}

/// Resident memory of a process in bytes.
fn memory(replica: &Replica) -> Result<u64> {
    let pid = replica.pid().context("the replica is gone")?;
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
}

fn bad_requests() -> Vec<(&'static str, Vec<u8>, End)> {
    let post = |headers: &str, body: &str| {
        let form = multipart_type();
        format!("POST /b/post HTTP/1.1\r\nHost: a\r\nContent-Type: {form}\r\n{headers}\r\n{body}").into_bytes()
    };
    let chunked = |chunks: &str| post("Transfer-Encoding: chunked\r\n", chunks);
    let get = |headers: &str| format!("GET / HTTP/1.1\r\n{headers}\r\n").into_bytes();
    let form = String::from_utf8_lossy(&body(&[part("com", b"x")], &format!("--{BOUNDARY}--\r\n"))).into_owned();
    let length = form.len();
    vec![
        ("two hosts", get("Host: a\r\nHost: b\r\n"), End::Wait),
        (
            "length and chunks",
            post(&format!("Content-Length: {length}\r\nTransfer-Encoding: chunked\r\n"), &form),
            End::Close,
        ),
        (
            "chunks and length",
            post(&format!("Transfer-Encoding: chunked\r\nContent-Length: {length}\r\n"), "0\r\n\r\n"),
            End::Close,
        ),
        ("two lengths", post("Content-Length: 5\r\nContent-Length: 6\r\n", "hello!"), End::Close),
        ("a negative length", post("Content-Length: -5\r\n", "hello"), End::Close),
        ("a length with a sign", post("Content-Length: +5\r\n", "hello"), End::Close),
        ("a length that is no number", post("Content-Length: five\r\n", "hello"), End::Close),
        ("a length of thirty digits", post("Content-Length: 100000000000000000000000000000\r\n", "hello"), End::Close),
        ("a length of 10 GB behind a whole form", post("Content-Length: 10000000000\r\n", &form), End::Close),
        (
            "a length that is too long",
            post(&format!("Content-Length: {}\r\n", length + 100), form.get(..length - 5).unwrap_or_default()),
            End::Close,
        ),
        ("a length that is too short", post(&format!("Content-Length: {}\r\n", length - 20), &form), End::Close),
        ("an unknown transfer coding", post("Transfer-Encoding: xchunked\r\n", &form), End::Close),
        ("chunks that are not last", post("Transfer-Encoding: chunked, identity\r\n", "0\r\n\r\n"), End::Close),
        ("a chunk size that is no number", chunked("zz\r\nhello\r\n0\r\n\r\n"), End::Close),
        ("a negative chunk size", chunked("-1\r\nhello\r\n0\r\n\r\n"), End::Close),
        ("a chunk size of twenty digits", chunked("FFFFFFFFFFFFFFFFFFFF\r\nhello\r\n0\r\n\r\n"), End::Close),
        ("a chunk that is cut off", chunked("ff\r\nhello"), End::Close),
        (
            "an endless chunk extension",
            chunked(&format!("5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(1_000_000))),
            End::Close,
        ),
        ("a header without a colon", get("Host: a\r\nbroken\r\n"), End::Wait),
        ("a blank before the colon", get("Host: a\r\nX-A : b\r\n"), End::Wait),
        ("NUL in a header", get("Host: a\r\nX-A: b\0c\r\n"), End::Wait),
        ("a folded header", get("Host: a\r\nX-A: b\r\n c\r\n"), End::Wait),
        ("a header of 1 MB", get(&format!("Host: a\r\nX-A: {}\r\n", "x".repeat(1_000_000))), End::Wait),
        ("5000 headers", get(&format!("Host: a\r\n{}", "X-A: b\r\n".repeat(5000))), End::Wait),
        (
            "a path of 1 MB",
            format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(1_000_000)).into_bytes(),
            End::Wait,
        ),
        ("a version that is none", b"GET / HTTP/9.9\r\nHost: a\r\n\r\n".to_vec(), End::Wait),
        ("no request at all", b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03 hello\r\n\r\n".to_vec(), End::Wait),
        ("a blank in the path", b"GET /b /c HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(), End::Wait),
        (
            "a part header of 20 MB",
            post("Content-Length: 20000100\r\n", &format!("--{BOUNDARY}\r\nX-A: {}", "x".repeat(20_000_000))),
            End::Close,
        ),
        ("a form that never comes", post("Content-Length: 1000\r\n", ""), End::Close),
    ]
}

#[tokio::test]
async fn broken_requests_end_with_a_4xx_or_a_closed_connection() -> Result<()> {
    let _turn = TURN.lock().await;
    let stack = BOARD.get().await?;
    let replica = stack.replica(0)?;
    let (before, pid, visitor) = (look(stack).await?, replica.pid(), Visitor::new(&replica.url())?);
    visitor.get("/b/").await?.expect(StatusCode::OK)?;
    let resident = memory(replica)?;
    let requests = bad_requests();
    assert!(requests.len() >= 30, "{} requests", requests.len());
    for (what, bytes, end) in &requests {
        let outcome = raw(replica, bytes, *end).await.with_context(|| (*what).to_owned())?;
        let fine = matches!(outcome, Outcome::Closed | Outcome::Status(400..=499));
        ensure!(fine, "{what}: {outcome:?}, neither a 4xx nor a closed connection");
        visitor.get("/livez").await?.expect(StatusCode::OK).with_context(|| format!("after {what}"))?;
    }
    assert_eq!(replica.pid(), pid, "the replica is another process");
    assert_eq!(look(stack).await?, before);
    let grown = memory(replica)?.saturating_sub(resident);
    assert!(grown < 150_000_000, "the replica has grown by {grown} bytes");
    Ok(())
}

#[tokio::test]
async fn who_sends_headers_drop_by_drop_is_cut_off() -> Result<()> {
    let stack = BOARD.get().await?;
    let (mut read, mut write) = TcpStream::connect(stack.replica(0)?.address()).await?.into_split();
    let dripping = tokio::spawn(async move {
        write.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ").await?;
        loop {
            write.write_all(b"x").await?;
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        #[expect(unreachable_code, reason = "names the type of the errors above")]
        anyhow::Ok(())
    });
    let outcome = outcome(&mut read).await?;
    dripping.abort();
    assert!(matches!(outcome, Outcome::Closed | Outcome::Status(408)), "{outcome:?}");
    Visitor::new(&stack.replica(0)?.url())?.get("/livez").await?.expect(StatusCode::OK)?;
    Ok(())
}

/// A part with a file of `size` bytes.
fn file_part(size: usize) -> Vec<u8> {
    let head = format!(
        "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"upfile\"; filename=\"a.jpg\"\r\n\
         Content-Type: image/jpeg\r\n\r\n"
    );
    [head.as_bytes(), &vec![1; size], b"\r\n"].concat()
}

#[tokio::test]
async fn floods_of_parts_and_files_are_refused_and_do_not_grow_a_replica() -> Result<()> {
    let _turn = TURN.lock().await;
    let stack = BOARD.get().await?;
    let replica = stack.replica(0)?;
    let before = look(stack).await?;
    let typed = [part("name", b"Somebody"), part("sub", b"About"), part("com", b"What was typed")].concat();
    let flood =
        |parts: Vec<Vec<u8>>| Bytes::from(body(&[typed.clone(), parts.concat()], &format!("--{BOUNDARY}--\r\n")));
    let floods = [
        (
            "20,000 parts",
            flood((0..20_000).map(|number| part(&format!("f{number}"), b"x")).collect()),
            400,
            "too_many_parts",
        ),
        ("20,000 empty parts", flood((0..20_000).map(|_| part("com", b"")).collect()), 400, "too_many_parts"),
        ("500 files", flood(vec![file_part(20_000); 500]), 422, "too_many_files"),
        ("500 empty files", flood(vec![file_part(0); 500]), 422, "too_many_files"),
    ];
    // The first rounds fill what is kept for later.
    let mut resident = 0;
    for round in 0..4 {
        for (what, bytes, status, code) in &floods {
            for site in [replica.url(), stack.url()] {
                let visitor = Visitor::new(&site)?;
                let said = || format!("{what} to {site} in round {round}");
                let send = |accept: &str| {
                    let request = visitor.accepting(accept).request(Method::POST, "/b/post").body(bytes.clone());
                    visitor.send(request.header(header::CONTENT_TYPE, multipart_type()))
                };
                check_problem(&send(JSON).await.with_context(said)?, *status, code).with_context(said)?;
                let page = send(HTML).await.with_context(said)?;
                check_error_page(&page, *status).with_context(said)?;
                ensure!(page.texts("#post textarea")? == ["What was typed"], "{}: the text is lost", said());
            }
        }
        if round == 1 {
            resident = memory(replica)?;
        }
    }
    let grown = memory(replica)?.saturating_sub(resident);
    assert!(grown < 64_000_000, "two rounds have grown the replica by {grown} bytes");
    assert_eq!(look(stack).await?, before);
    Ok(())
}
