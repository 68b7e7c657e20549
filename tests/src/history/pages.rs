//! What an answer shows. Knows the element of a post in a page, and the fields of the documents.

use serde::Deserialize;

use super::{Excerpt, Listed, No, Shown};

/// A thread's page, or a part of it that begins after a post.
#[must_use]
pub fn thread_page(thread: No, after: Option<No>, html: &str) -> Shown {
    let posts = html.split("<article class=\"post").skip(1);
    let listed = posts.filter_map(|post| {
        let (_, id) = post.split_once("id=\"p")?;
        let (no, _) = id.split_once('"')?;
        Some(Listed { no: no.parse().ok()?, pictured: post.contains("href=\"/media/") })
    });
    Shown { threads: vec![excerpt(thread, after, None, listed.collect())], whole_board: None }
}

/// A thread's document, or a part of it that begins after a post.
pub fn thread_document(thread: No, after: Option<No>, json: &[u8]) -> serde_json::Result<Shown> {
    let document: ThreadDocument = serde_json::from_slice(json)?;
    // A part has no opening post, which alone counts the replies.
    let replies = document.posts.iter().find(|post| post.no == thread).and_then(|opening| opening.replies);
    let listed = document.posts.iter().map(PostDocument::listed).collect();
    Ok(Shown { threads: vec![excerpt(thread, after, replies, listed)], whole_board: None })
}

/// A thread that does not exist.
#[must_use]
pub fn no_thread(thread: No) -> Shown {
    Shown { threads: vec![excerpt(thread, None, None, Vec::new())], whole_board: None }
}

/// The first page of a board as a document. It lists the whole board if it has fewer threads than a page can have.
pub fn index_document(board: &'static str, per_page: usize, json: &[u8]) -> serde_json::Result<Shown> {
    let document: IndexDocument = serde_json::from_slice(json)?;
    let threads: Vec<Excerpt> = document.threads.iter().filter_map(|thread| preview(&thread.posts)).collect();
    let whole_board = (threads.len() < per_page).then_some(board);
    Ok(Shown { threads, whole_board })
}

/// A catalogue as a document, which lists the whole board.
pub fn catalog_document(board: &'static str, json: &[u8]) -> serde_json::Result<Shown> {
    let pages: Vec<CatalogPage> = serde_json::from_slice(json)?;
    let threads = pages.into_iter().flat_map(|page| page.threads);
    let threads = threads.filter_map(|mut opening| {
        let replies = std::mem::take(&mut opening.last_replies);
        preview(&[vec![opening], replies].concat())
    });
    Ok(Shown { threads: threads.collect(), whole_board: Some(board) })
}

fn excerpt(thread: No, after: Option<No>, replies: Option<usize>, mut posts: Vec<Listed>) -> Excerpt {
    posts.sort_by_key(|listed| listed.no);
    // What comes after a post is replies, even after one that is older than the thread.
    Excerpt { thread, from: after.map_or(0, |no| no.max(thread) + 1), replies, posts }
}

/// An opening post with its last replies.
fn preview(posts: &[PostDocument]) -> Option<Excerpt> {
    let opening = posts.first()?;
    let listed: Vec<Listed> = posts.iter().map(PostDocument::listed).collect();
    let mut excerpt = excerpt(opening.no, None, opening.replies, listed);
    if opening.omitted_posts > 0 {
        // Of the replies only the newest are listed; if none is, every one of them may be missing.
        let oldest = posts.iter().skip(1).map(|reply| reply.no).min();
        excerpt.from = oldest.unwrap_or(No::MAX);
    }
    Some(excerpt)
}

#[derive(Debug, Deserialize)]
struct ThreadDocument {
    posts: Vec<PostDocument>,
}

#[derive(Debug, Deserialize)]
struct IndexDocument {
    threads: Vec<ThreadDocument>,
}

#[derive(Debug, Deserialize)]
struct CatalogPage {
    threads: Vec<PostDocument>,
}

#[derive(Debug, Clone, Deserialize)]
struct PostDocument {
    no: No,
    media: Option<String>,
    replies: Option<usize>,
    #[serde(default)]
    omitted_posts: usize,
    #[serde(default)]
    last_replies: Vec<PostDocument>,
}

impl PostDocument {
    fn listed(&self) -> Listed {
        Listed { no: self.no, pictured: self.media.is_some() }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const PICTURED: Listed = Listed { no: 1, pictured: true };

    fn plain(no: No) -> Listed {
        Listed { no, pictured: false }
    }

    #[test]
    fn a_page_lists_posts_with_and_without_pictures() {
        let html = r##"<main><article class="post op" id="p1" aria-labelledby="1"><a href="/media/a.jpg">a</a></article>
            <article class="post" id="p3" aria-labelledby="3"><a href="#p1">&gt;&gt;1</a> id=&quot;p9&quot;</article></main>"##;
        let shown = thread_page(1, None, html);
        let expected = Excerpt { thread: 1, from: 0, replies: None, posts: vec![PICTURED, plain(3)] };
        assert_eq!(shown, Shown { threads: vec![expected], whole_board: None });
        for (after, from) in [(3, 4), (0, 2)] {
            assert_eq!(thread_page(1, Some(after), "").threads.first().map(|part| part.from), Some(from));
        }
    }

    #[test]
    fn a_document_lists_and_counts() -> serde_json::Result<()> {
        let document =
            json!({"posts": [{"no": 1, "media": "/media/a.jpg", "replies": 1}, {"no": 3, "filedeleted": 1}]});
        let shown = thread_document(1, None, document.to_string().as_bytes())?;
        let expected = Excerpt { thread: 1, from: 0, replies: Some(1), posts: vec![PICTURED, plain(3)] };
        assert_eq!(shown, Shown { threads: vec![expected], whole_board: None });
        let part = thread_document(1, Some(1), json!({"posts": [{"no": 3}]}).to_string().as_bytes())?;
        let expected = Excerpt { thread: 1, from: 2, replies: None, posts: vec![plain(3)] };
        assert_eq!(part, Shown { threads: vec![expected], whole_board: None });
        Ok(())
    }

    #[test]
    fn an_index_and_a_catalogue_are_complete_as_far_as_they_say() -> serde_json::Result<()> {
        let opening = |no, replies, omitted| json!({"no": no, "media": "/media/a.jpg", "replies": replies, "omitted_posts": omitted});
        let index = json!({"threads": [
            {"posts": [opening(1, 3, 1), {"no": 4}, {"no": 5}]},
            {"posts": [opening(2, 1, 0), {"no": 6}]},
        ]});
        let index = index.to_string();
        let shown = index_document("b", 3, index.as_bytes())?;
        let two = Listed { no: 2, pictured: true };
        let expected = vec![
            Excerpt { thread: 1, from: 4, replies: Some(3), posts: vec![PICTURED, plain(4), plain(5)] },
            Excerpt { thread: 2, from: 0, replies: Some(1), posts: vec![two, plain(6)] },
        ];
        assert_eq!(shown, Shown { threads: expected, whole_board: Some("b") });
        assert_eq!(index_document("b", 2, index.as_bytes())?.whole_board, None, "there may be a second page");

        let mut first = opening(1, 3, 3);
        let mut second = opening(2, 1, 0);
        if let (Some(first), Some(second)) = (first.as_object_mut(), second.as_object_mut()) {
            first.insert("last_replies".to_owned(), json!([]));
            second.insert("last_replies".to_owned(), json!([{"no": 6}]));
        }
        let catalog = json!([{"page": 0, "threads": [first]}, {"page": 1, "threads": [second]}]);
        let shown = catalog_document("b", catalog.to_string().as_bytes())?;
        let expected = vec![
            Excerpt { thread: 1, from: No::MAX, replies: Some(3), posts: vec![PICTURED] },
            Excerpt { thread: 2, from: 0, replies: Some(1), posts: vec![two, plain(6)] },
        ];
        assert_eq!(shown, Shown { threads: expected, whole_board: Some("b") });
        Ok(())
    }
}
