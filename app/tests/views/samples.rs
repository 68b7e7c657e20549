//! Pages with sample data: pretty, empty, closed, and as hostile as a visitor can make them.

#[path = "traffic.rs"]
mod traffic;

use askama::Template;
use chrono::{DateTime, TimeDelta, Utc};
use triptych::domain::{Attachment, Board, BoardId, Missing, Picture, PictureKind, Post, PostNo, Thread, ThreadPosts};
use triptych::web::views::{
    CatalogPage, CatalogSort, Draft, ErrorPage, HomePage, IndexPage, Layout, NewPicture, PostForm, PostLimits,
    ThreadPage, Totals, with_as_of,
};
use uuid::Uuid;

/// Ends every quoting that a template may have opened, and would run if it got out.
pub(crate) const HOSTILE: &str = r#"'"></textarea></title><script>alert(1)</script><img src=x onerror=alert(2)>&amp;"#;

const LIMITS: PostLimits =
    PostLimits { files: 4, file_bytes: 8 << 20, comment_chars: 5_000, name_chars: 60, subject_chars: 100 };

/// Name, width and height of a thumbnail; the number is its place in the list.
const THUMBNAILS: [(&str, i32, i32); 6] = [
    ("ridge", 250, 170),
    ("poster", 185, 250),
    ("city", 250, 167),
    ("julia", 200, 250),
    ("stars", 250, 144),
    ("marble", 250, 250),
];

fn board(id: i16, slug: &str, title: &str, description: &str, locked: bool) -> Board {
    let (slug, title, description) = (slug.into(), title.into(), description.into());
    Board { id: BoardId(id), slug, title, description, locked, worksafe: true }
}

fn boards() -> Vec<Board> {
    vec![
        board(1, "b", "Random", "Anything goes, kindly", false),
        board(2, "art", "Art", "Drawings, paintings, work in progress", false),
        board(3, "photo", "Photography", "What you saw and how", false),
        board(4, "tech", "Technology", "Things that compute", false),
        board(5, "music", "Music", "Sleeves, scores, rooms", false),
        board(6, "kor", "한국어", "한국어로 이야기하는 곳", true),
    ]
}

fn at(minutes: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::minutes(29_937_041 + minutes)
}

fn file(thumbnail: usize, file_name: &str, bytes: i64, width: i32, height: i32) -> Attachment {
    let (_, thumbnail_width, thumbnail_height) = *THUMBNAILS.get(thumbnail).unwrap_or(&("", 250, 1));
    Attachment {
        tim: 1_796_000_000_000_000,
        file_name: file_name.into(),
        spoiler: false,
        picture: Some(Picture {
            id: Uuid::from_u128(thumbnail as u128),
            kind: PictureKind::Jpeg,
            bytes,
            md5: [7; 16],
            width,
            height,
            thumbnail_kind: PictureKind::WebP,
            thumbnail_width,
            thumbnail_height,
        }),
    }
}

/// Stands in for `markup`, which has its own tests.
fn html(comment: &str) -> String {
    let line = |line: &str| {
        let safe = line.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;");
        match (safe.strip_prefix("&gt;&gt;"), safe.starts_with("&gt;"), line.starts_with("https://")) {
            (Some(no), ..) => format!(r#"<a class="quotelink" href="/photo/res/48211.html#{no}">{safe}</a>"#),
            (None, true, _) => format!(r#"<span class="quote">{safe}</span>"#),
            (None, false, true) => format!(r#"<a href="{safe}" rel="nofollow noopener noreferrer ugc">{safe}</a>"#),
            _ => safe,
        }
    };
    comment.lines().map(line).collect::<Vec<_>>().join("<br>")
}

fn post(no: i32, thread: i32, minutes: i64, comment: &str) -> Post {
    Post {
        no: PostNo(no),
        thread: PostNo(thread),
        created_at: at(minutes),
        name: None,
        subject: None,
        sage: false,
        html: html(comment),
        comment: comment.into(),
        attachments: Vec::new(),
        backlinks: Vec::new(),
    }
}

fn thread(opening: Post, replies: Vec<Post>, counts: (i32, i32)) -> ThreadPosts {
    let thread = Thread {
        no: opening.no,
        sticky: false,
        locked: false,
        archived_at: None,
        replies: counts.0,
        reply_limit: 1_000,
        pictures: counts.1,
        bumped_at: Some(opening.created_at),
        last_modified: opening.created_at.timestamp(),
    };
    ThreadPosts { thread, opening, replies }
}

/// A thread of a subject, a picture and a comment.
fn simple(no: i32, subject: &str, comment: &str, picture: usize, counts: (i32, i32)) -> ThreadPosts {
    let mut opening = post(no, no, i64::from(no % 900), comment);
    opening.subject = (!subject.is_empty()).then(|| subject.into());
    opening.attachments = vec![file(picture, "picture.png", 210_000 + i64::from(no), 1360, 1840)];
    thread(opening, Vec::new(), counts)
}

fn ridges() -> ThreadPosts {
    let mut all = simple(
        48211,
        "First light over the three ridges",
        "Went up before sunrise, the fog in the second valley did not lift until nine.\nShot on a ten year old phone, so be kind.\n>waiting two hours for thirty seconds of light\nWorth it. What is the best light you ever had?",
        0,
        (23, 9),
    );
    all.opening.attachments = vec![file(0, "IMG_2231.jpg", 1_990_000, 4032, 2742)];
    all.opening.backlinks = vec![PostNo(48214), PostNo(48219)];
    all.thread.sticky = true;
    let mut quarry = post(
        48216,
        48211,
        50,
        ">>48214\nNone, only the fog. Here is the marble quarry on the way down, it is closed to visitors.",
    );
    quarry.attachments = vec![file(5, "quarry.png", 3_300_000, 2400, 2400)];
    let mut korean = post(
        48219,
        48211,
        133,
        ">>48211\n새벽 안개가 정말 아름답네요. 세 봉우리가 한 장에 다 들어간 사진은 처음 봅니다.\n다음에는 가을에도 찍어 주세요!",
    );
    korean.name = Some("산지기".into());
    let mut roofs = post(48225, 48211, 162, "Posting three of mine, all from the same roof, an hour apart.");
    roofs.attachments = vec![
        file(2, "roof-1.jpg", 840_000, 1920, 1280),
        file(4, "roof-2.jpg", 1_100_000, 2600, 1500),
        file(3, "roof-3.webp", 655_000, 1600, 2000),
    ];
    let mut hidden = post(48226, 48211, 170, "Do not look at this one before breakfast.");
    hidden.attachments = vec![Attachment { spoiler: true, ..file(1, "secret.png", 500_000, 900, 1200) }];
    let mut gone = post(
        48227,
        48211,
        171,
        "I took mine down again.\nhttps://example.org/a/very/long/address/that/does/not/end?with=a&query=in&it=and-more-and-more-and-more",
    );
    gone.attachments = vec![Attachment { picture: None, ..file(1, "gone.png", 1, 1, 1) }];
    gone.sage = true;
    let mut wide = post(48228, 48211, 173, "");
    wide.attachments = vec![file(
        99,
        "a-panorama-that-is-far-wider-than-it-is-high-and-has-a-name-to-match-it-in-every-way.jpg",
        7_900_000,
        20_000,
        80,
    )];
    all.replies = vec![
        post(48214, 48211, 17, ">>48211\nThe purple in the far ridge is unreal. Any filter on the lens?"),
        quarry,
        korean,
        roofs,
        hidden,
        gone,
        wide,
    ];
    all
}

fn board_threads() -> Vec<ThreadPosts> {
    let mut first = ridges();
    first.replies.drain(..2);
    first.replies.truncate(2);
    let mut second = simple(
        48102,
        "Make a triptych",
        "Which three panels would you hang side by side? One rule: they must share a colour.",
        1,
        (2, 2),
    );
    second.replies = vec![post(48140, 48102, 80, "Left: rust. Middle: rust. Right: a slightly different rust.")];
    let mut closed =
        simple(48090, "밤하늘 스레드", "오늘 밤 남쪽 하늘이 맑습니다. 별 사진을 올려 주세요.", 4, (18, 15));
    closed.thread.locked = true;
    vec![
        first,
        second,
        simple(48101, "", "The crane is gone from my window for the first time in four years.", 2, (7, 2)),
        simple(
            48100,
            "Long exposures of mathematics",
            "Set c, walk away, come back to a dragon. Post yours with the constant.",
            3,
            (1, 1),
        ),
        closed,
        simple(48080, "Textures", "", 5, (1_064, 960)),
        simple(48070, "", "", 0, (0, 1)),
    ]
}

/// Long, foreign and malicious text in every field.
fn hostile() -> ThreadPosts {
    let long = "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft".repeat(4);
    let comment = format!(
        "{HOSTILE}\n>{HOSTILE}\n{long}\nمرحبا بالعالم، هذه صورة جميلة\n世界の皆さん、こんにちは 👩‍👩‍👧‍👦🏳️‍🌈\n{}",
        "word ".repeat(860)
    );
    let mut opening = post(1, 1, 0, &comment);
    opening.name = Some(format!("{HOSTILE}{long}"));
    opening.subject = Some(format!("{HOSTILE} {long}"));
    opening.sage = true;
    opening.attachments = vec![file(0, &format!("{HOSTILE}{long}.jpg"), i64::MAX, i32::MAX, i32::MAX)];
    opening.backlinks = (2..22).map(|no| PostNo(2_147_483_000 + no)).collect();
    let mut arabic = post(2_147_483_002, 1, 5, "مرحبا بالعالم، هذه صورة جميلة\n>اقتباس\n>>1");
    arabic.name = Some("مصور من الجبل".into());
    arabic.subject = Some("صورة".into());
    arabic.attachments = (0..4)
        .map(|n| file(n, "صورة طويلة الاسم جدا.jpg", 1_023 + 1_000_000 * i64::try_from(n).unwrap_or(0), 800, 600))
        .collect();
    arabic.backlinks.clone_from(&opening.backlinks);
    let mut emoji = post(2_147_483_003, 1, 6, &"🦊".repeat(400));
    emoji.name = Some("👨‍👩‍👧‍👦".repeat(15));
    emoji.attachments = vec![Attachment { file_name: String::new(), ..file(2, "", 0, 0, 0) }];
    thread(opening, vec![arabic, emoji], (2, 6))
}

fn typed() -> Draft {
    Draft {
        name: "산지기".into(),
        email: "sage".into(),
        subject: "Light".into(),
        comment: "\nThe text that I typed\n>and more of it".into(),
        spoiler: true,
        missing: Missing::Nothing,
    }
}

fn hostile_draft() -> Draft {
    Draft {
        name: HOSTILE.into(),
        email: HOSTILE.into(),
        subject: HOSTILE.into(),
        comment: HOSTILE.into(),
        spoiler: true,
        missing: Missing::TooLong,
    }
}

fn render(page: &impl Template) -> String {
    page.render().unwrap_or_else(|error| format!("not rendered: {error}"))
}

fn form<'a>(board: &'a Board, thread: Option<PostNo>, draft: &'a Draft, open: bool) -> PostForm<'a> {
    PostForm { board, thread, key: Uuid::nil(), draft, limits: &LIMITS, replies_left: None, open }
}

/// A page with the line that it has while the database does not answer.
pub(crate) fn as_of(page: &str) -> Option<String> {
    with_as_of(page, at(1000).into())
}

/// The page of one thread in the states that it goes through.
fn thread_pages(layout: Layout<'_>, board: &Board) -> Vec<(&'static str, String)> {
    let long = ridges();
    let mut short = long.clone();
    (short.thread.replies, short.thread.pictures) = (7, 7);
    let mut full = short.clone();
    full.thread.reply_limit = 7;
    let mut archived = long.clone();
    archived.thread.archived_at = Some(at(900));
    archived.opening.subject = None;
    let draft = Draft::default();
    let form = |replies_left| {
        Some(PostForm { replies_left: Some(replies_left), ..form(board, Some(PostNo(48211)), &draft, true) })
    };
    let page = |posts: &ThreadPosts, form| render(&ThreadPage { layout, board, posts, form });
    vec![
        ("thread", page(&short, form(993))),
        ("thread-nearly-full", page(&short, form(1))),
        ("thread-full", page(&full, None)),
        ("thread-long", page(&long, None)),
        ("thread-archived", page(&archived, None)),
        ("thread-as-of", as_of(&page(&short, form(993))).unwrap_or_default()),
    ]
}

/// Every page in every state, by name.
pub(crate) fn pages() -> Vec<(&'static str, String)> {
    let boards = boards();
    let hostile_boards = vec![board(1, "photo", HOSTILE, HOSTILE, false), board(2, HOSTILE, HOSTILE, "", true)];
    let (threads, ridges, hostile_threads) = (board_threads(), ridges(), vec![hostile()]);
    let photo = board(3, "photo", "Photography", "What you saw and how", false);
    let locked = board(6, "kor", "한국어", "한국어로 이야기하는 곳", true);
    let bad_board = board(1, "photo", HOSTILE, HOSTILE, false);
    let layout = Layout {
        site: "Triptych",
        boards: &boards,
        style: "/static/style.css",
        icon: "/static/icon.svg",
        has_traffic: true,
    };
    let bad_layout = Layout { site: HOSTILE, boards: &hostile_boards, ..layout };
    let (blank, bad_draft) = (Draft::default(), hostile_draft());
    let index = |layout, board, threads, page, pages, draft| {
        render(&IndexPage { layout, board, threads, page, pages, form: form(board, None, draft, false) })
    };
    let catalog = |layout, board, threads, sort, filter| render(&CatalogPage { layout, board, threads, sort, filter });
    let whole = |layout, board, posts: &ThreadPosts, form| render(&ThreadPage { layout, board, posts, form });

    let numbers = Totals { threads: 1, posts: 48_225, pictures: 31_070 };
    let pictures: Vec<Attachment> = (0..6).map(|n| file(n, "new.png", 1_000, 100, 100)).collect();
    let mut newest: Vec<NewPicture<'_>> = pictures
        .iter()
        .map(|attachment| NewPicture { board: "photo", thread: PostNo(48211), no: PostNo(48219), attachment })
        .collect();
    let covered = Attachment { spoiler: true, ..file(1, "secret.png", 1, 1, 1) };
    newest.push(NewPicture { board: "art", thread: PostNo(1), no: PostNo(2), attachment: &covered });
    let bad_picture = file(0, HOSTILE, 1, 1, 1);
    let bad_newest = [NewPicture { board: HOSTILE, thread: PostNo(1), no: PostNo(1), attachment: &bad_picture }];
    let mut pages = vec![
        ("home", render(&HomePage { layout, newest: &newest, totals: numbers })),
        (
            "home-empty",
            render(&HomePage {
                layout: Layout { boards: &[], has_traffic: false, ..layout },
                newest: &[],
                totals: Totals::default(),
            }),
        ),
        ("home-hostile", render(&HomePage { layout: bad_layout, newest: &bad_newest, totals: numbers })),
        ("index", index(layout, &photo, &threads, 1, 3, &blank)),
        ("index-far", index(layout, &photo, &threads, 9, 20, &blank)),
        ("index-empty", index(layout, &photo, &[], 1, 1, &blank)),
        ("index-locked", index(layout, &locked, &threads, 1, 1, &blank)),
        ("index-locked-empty", index(layout, &locked, &[], 1, 0, &blank)),
        ("index-hostile", index(bad_layout, &bad_board, &hostile_threads, 1, 1, &bad_draft)),
        ("catalog", catalog(layout, &photo, &threads, CatalogSort::Bump, "")),
        ("catalog-filtered", catalog(layout, &photo, &threads, CatalogSort::Replies, "light")),
        ("catalog-nothing", catalog(layout, &photo, &[], CatalogSort::Newest, "nothing like this")),
        ("catalog-empty", catalog(layout, &photo, &[], CatalogSort::Bump, "")),
        ("catalog-locked", catalog(layout, &locked, &[], CatalogSort::Bump, "")),
        ("catalog-hostile", catalog(bad_layout, &bad_board, &hostile_threads, CatalogSort::Bump, HOSTILE)),
        (
            "thread-hostile",
            whole(
                bad_layout,
                &bad_board,
                hostile_threads.first().unwrap_or(&ridges),
                Some(form(&bad_board, Some(PostNo(1)), &bad_draft, true)),
            ),
        ),
    ];
    pages.extend(thread_pages(layout, &photo));
    pages.extend(traffic::pages(layout, bad_layout, &photo, &bad_board));
    pages.extend(error_pages(layout, bad_layout, &photo, &bad_board));
    pages
}

fn error_pages(
    layout: Layout<'_>,
    bad_layout: Layout<'_>,
    photo: &Board,
    bad_board: &Board,
) -> Vec<(&'static str, String)> {
    let form = |board, thread, draft| form(board, thread, draft, true);
    let (typed, bad_draft) = (typed(), hostile_draft());
    let half_typed = Draft { missing: Missing::Unread, ..typed.clone() };
    let missing = ErrorPage {
        layout,
        status: 404,
        title: "Not found",
        detail: "There is no such thread. It may have been deleted, or have fallen off the last page.",
        request_id: "018f2f3e-7b1c-7000-8000-1c2d3e4f5a6b",
        form: None,
        typed: None,
        back: Some("/photo/"),
    };
    let refused = ErrorPage {
        status: 422,
        title: "A new thread needs a picture",
        detail: "Choose at least one picture and post again.",
        form: Some(form(photo, Some(PostNo(48211)), &typed)),
        back: None,
        ..missing
    };
    let too_slow = ErrorPage {
        status: 408,
        title: "That took too long",
        detail: "The form arrived too slowly.",
        form: Some(form(photo, Some(PostNo(48211)), &half_typed)),
        ..refused
    };
    let hostile = ErrorPage {
        layout: bad_layout,
        status: 400,
        title: HOSTILE,
        detail: HOSTILE,
        request_id: HOSTILE,
        form: Some(form(bad_board, None, &bad_draft)),
        typed: None,
        back: Some(HOSTILE),
    };
    let unknown_board = ErrorPage { layout: bad_layout, title: HOSTILE, typed: Some(&bad_draft), ..missing };
    vec![
        ("error", render(&missing)),
        ("error-refused", render(&refused)),
        ("error-too-slow", render(&too_slow)),
        ("error-hostile", render(&hostile)),
        ("error-unknown-board-hostile", render(&unknown_board)),
    ]
}
