//! The JSON documents. Field names and types are those of 4chan's read-only API, with vichan's additions where its
//! clients need them (`locked`, `cyclical`, `extra_files`). Most flags are 1 or absent, never true or false.
//!
//! Names, subjects and descriptions are HTML, as they are on 4chan and with vichan, because clients decode them: one that
//! was given `<b>` as it is would show nothing, and one that was given `&amp;` would show `&`. The name of a file is plain
//! text, as it is with vichan: those who download files call them so.

use std::borrow::Cow;

use base64::Engine as _;
use serde::Serialize;

use crate::config::ServeConfig;
use crate::domain::{Attachment, Board, Post, PostNo, Thread, ThreadPosts};
use crate::service::reading::ThreadContent;

#[derive(Debug, Serialize)]
pub(super) struct BoardsDocument<'a> {
    boards: Vec<BoardItem<'a>>,
}

#[derive(Debug, Serialize)]
struct BoardItem<'a> {
    board: &'a str,
    /// The only text about a board that is not HTML, here as on 4chan.
    title: &'a str,
    meta_description: Cow<'a, str>,
    ws_board: u8,
    per_page: u32,
    pages: u32,
    max_filesize: usize,
    max_webm_filesize: usize,
    max_webm_duration: u32,
    max_comment_chars: usize,
    bump_limit: u32,
    /// Ours: replies after which a thread is closed.
    reply_limit: i32,
    image_limit: i64,
    cooldowns: Cooldowns,
    spoilers: u8,
    is_archived: u8,
}

/// Seconds. None are enforced.
#[derive(Debug, Default, Serialize)]
struct Cooldowns {
    threads: u32,
    replies: u32,
    images: u32,
}

pub(super) fn boards<'a>(boards: &'a [Board], config: &ServeConfig) -> BoardsDocument<'a> {
    let item = |board: &'a Board| BoardItem {
        board: &board.slug,
        title: &board.title,
        meta_description: html(&board.description),
        ws_board: u8::from(board.worksafe),
        per_page: config.boards.threads_per_page,
        pages: config.boards.pages,
        max_filesize: config.posts.file_bytes,
        max_webm_filesize: 0,
        max_webm_duration: 0,
        max_comment_chars: config.posts.comment_chars,
        bump_limit: config.boards.bump_limit,
        reply_limit: config.boards.reply_limit,
        image_limit: image_limit(config),
        cooldowns: Cooldowns::default(),
        spoilers: 1,
        is_archived: 1,
    };
    BoardsDocument { boards: boards.iter().map(item).collect() }
}

/// Pictures of a thread without those of its opening post. Nothing limits them but the replies that they hang on.
fn image_limit(config: &ServeConfig) -> i64 {
    i64::from(config.boards.reply_limit).saturating_mul(i64::try_from(config.posts.files).unwrap_or(i64::MAX))
}

/// Text as the HTML that shows it, written as vichan does: quotes stay as they are.
fn html(text: &str) -> Cow<'_, str> {
    if text.contains(['&', '<', '>']) {
        text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").into()
    } else {
        text.into()
    }
}

#[derive(Debug, Serialize)]
pub(super) struct ThreadsPage {
    page: usize,
    threads: Vec<ThreadItem>,
}

#[derive(Debug, Serialize)]
struct ThreadItem {
    no: PostNo,
    last_modified: i64,
    replies: i32,
}

/// `threads.json`
pub(super) fn thread_pages(threads: &[ThreadPosts], per_page: u32) -> Vec<ThreadsPage> {
    let item = |posts: &ThreadPosts| ThreadItem {
        no: posts.thread.no,
        last_modified: posts.thread.last_modified,
        replies: posts.thread.replies,
    };
    pages(threads, per_page, |page, threads| ThreadsPage { page, threads: threads.iter().map(item).collect() })
}

#[derive(Debug, Serialize)]
pub(super) struct CatalogPage<'a> {
    page: usize,
    threads: Vec<PostItem<'a>>,
}

/// `catalog.json`
pub(super) fn catalog<'a>(threads: &'a [ThreadPosts], board: &Board, config: &ServeConfig) -> Vec<CatalogPage<'a>> {
    let item = |posts: &'a ThreadPosts| {
        let mut opening = opening(posts, board, config);
        if let Some(thread) = &mut opening.thread {
            thread.last_replies = Some(posts.replies.iter().map(post).collect());
        }
        opening
    };
    pages(threads, config.boards.threads_per_page, |page, threads| CatalogPage {
        page,
        threads: threads.iter().map(item).collect(),
    })
}

fn pages<'a, T>(threads: &'a [ThreadPosts], per_page: u32, page: impl Fn(usize, &'a [ThreadPosts]) -> T) -> Vec<T> {
    let per_page = usize::try_from(per_page).unwrap_or(usize::MAX).max(1);
    threads.chunks(per_page).enumerate().map(|(number, threads)| page(number, threads)).collect()
}

#[derive(Debug, Serialize)]
pub(super) struct IndexDocument<'a> {
    threads: Vec<ThreadDocument<'a>>,
}

#[derive(Debug, Serialize)]
pub(super) struct ThreadDocument<'a> {
    posts: Vec<PostItem<'a>>,
}

/// `{page}.json`
pub(super) fn index<'a>(threads: &'a [ThreadPosts], board: &Board, config: &ServeConfig) -> IndexDocument<'a> {
    let item = |posts: &'a ThreadPosts| with_replies(opening(posts, board, config), posts);
    IndexDocument { threads: threads.iter().map(item).collect() }
}

/// `res/{no}.json`
pub(super) fn thread<'a>(content: &'a ThreadContent, board: &Board, config: &ServeConfig) -> ThreadDocument<'a> {
    let mut opening = opening(&content.posts, board, config);
    if let Some(thread) = &mut opening.thread {
        thread.unique_ips = content.posters;
    }
    with_replies(opening, &content.posts)
}

/// `res/{no}.json?after={no}`: the posts that are newer, and nothing of the thread.
pub(super) fn new_posts(posts: &ThreadPosts) -> ThreadDocument<'_> {
    ThreadDocument { posts: posts.replies.iter().map(post).collect() }
}

fn with_replies<'a>(opening: PostItem<'a>, posts: &'a ThreadPosts) -> ThreadDocument<'a> {
    ThreadDocument { posts: std::iter::once(opening).chain(posts.replies.iter().map(post)).collect() }
}

#[derive(Debug, Serialize)]
struct PostItem<'a> {
    no: PostNo,
    resto: i32,
    /// `MM/DD/YY(Day)HH:MM:SS`, UTC.
    now: String,
    time: i64,
    name: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sub: Option<Cow<'a, str>>,
    /// Always there: some clients need it even when it is empty.
    com: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<&'a str>,
    #[serde(flatten)]
    file: Option<FileItem<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    extra_files: Vec<FileItem<'a>>,
    #[serde(flatten)]
    thread: Option<OpeningItem<'a>>,
}

/// A file, or what is left when it was deleted.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum FileItem<'a> {
    Kept {
        tim: i64,
        filename: &'a str,
        ext: String,
        fsize: i64,
        md5: String,
        w: i32,
        h: i32,
        tn_w: i32,
        tn_h: i32,
        #[serde(skip_serializing_if = "Option::is_none")]
        spoiler: Option<u8>,
        /// Ours: where original and thumbnail are, without a redirection.
        media: String,
        thumb: String,
    },
    Deleted {
        filedeleted: u8,
    },
}

/// What only an opening post has.
#[derive(Debug, Serialize)]
struct OpeningItem<'a> {
    replies: i32,
    images: i32,
    omitted_posts: i32,
    omitted_images: i32,
    last_modified: i64,
    sticky: u8,
    /// 4chan's name and vichan's name for the same thing.
    closed: u8,
    locked: u8,
    cyclical: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    bumplimit: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    imagelimit: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    archived: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    archived_on: Option<i64>,
    /// In the document of the thread alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    unique_ips: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_replies: Option<Vec<PostItem<'a>>>,
}

fn opening<'a>(posts: &'a ThreadPosts, board: &Board, config: &ServeConfig) -> PostItem<'a> {
    let Thread { sticky, archived_at, replies, pictures, last_modified, .. } = posts.thread;
    let closed = u8::from(posts.thread.closed().is_some() || board.locked);
    let own = posts.opening.attachments.iter().filter(|attachment| attachment.picture.is_some()).count();
    let own = i32::try_from(own).unwrap_or(i32::MAX);
    let images = (pictures - own).max(0);
    let thread = OpeningItem {
        replies,
        images,
        omitted_posts: posts.omitted_replies(),
        omitted_images: posts.omitted_pictures(),
        last_modified,
        sticky: u8::from(sticky),
        closed,
        locked: closed,
        cyclical: "0",
        bumplimit: u32::try_from(replies).is_ok_and(|replies| replies >= config.boards.bump_limit).then_some(1),
        imagelimit: (i64::from(images) >= image_limit(config)).then_some(1),
        archived: archived_at.map(|_| 1),
        archived_on: archived_at.map(|at| at.timestamp()),
        unique_ips: None,
        last_replies: None,
    };
    PostItem { thread: Some(thread), ..post(&posts.opening) }
}

fn post(post: &Post) -> PostItem<'_> {
    let mut files = post.attachments.iter().map(file);
    PostItem {
        no: post.no,
        resto: if post.is_opening() { 0 } else { post.thread.0 },
        now: post.created_at.format("%m/%d/%y(%a)%H:%M:%S").to_string(),
        time: post.created_at.timestamp(),
        name: html(post.name.as_deref().unwrap_or("Anonymous")),
        sub: post.subject.as_deref().map(html),
        com: &post.html,
        email: post.sage.then_some("sage"),
        file: files.next(),
        // Clients take for granted that every one of these can be downloaded.
        extra_files: files.filter(|file| matches!(file, FileItem::Kept { .. })).collect(),
        thread: None,
    }
}

fn file(attachment: &Attachment) -> FileItem<'_> {
    let Some(picture) = &attachment.picture else { return FileItem::Deleted { filedeleted: 1 } };
    FileItem::Kept {
        tim: attachment.tim,
        filename: stem(&attachment.file_name),
        ext: format!(".{}", picture.kind.extension()),
        fsize: picture.bytes,
        md5: base64::prelude::BASE64_STANDARD.encode(picture.md5),
        w: picture.width,
        h: picture.height,
        tn_w: picture.thumbnail_width,
        tn_h: picture.thumbnail_height,
        spoiler: attachment.spoiler.then_some(1),
        media: picture.media_path(),
        thumb: picture.thumbnail_path(),
    }
}

/// The name of a file without its extension. Never empty: clients take a post without a name of a file for one without
/// a file, and a file that is called `.png` has no other name.
fn stem(name: &str) -> &str {
    match name.rsplit_once('.') {
        Some(("", _)) => "picture",
        Some((stem, _)) => stem,
        None => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped_as_vichan_does() {
        assert_eq!(html("plain 한국어 \"it's\""), "plain 한국어 \"it's\"");
        assert_eq!(html("<b> & &amp;"), "&lt;b&gt; &amp; &amp;amp;");
    }

    #[test]
    fn a_file_has_a_name_beside_its_extension() {
        for (name, told) in [
            ("cat.jpg", "cat"),
            ("archive.tar.gz", "archive.tar"),
            ("no extension", "no extension"),
            (".png", "picture"),
            ("..png", "."),
            ("Tom & <Jerry>.png", "Tom & <Jerry>"),
        ] {
            assert_eq!(stem(name), told, "{name}");
        }
    }
}
