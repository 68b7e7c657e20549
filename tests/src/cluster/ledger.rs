//! What was acknowledged, and whether it is there.
//!
//! A post is in the books before its request is sent, so that one whose answer was lost is known too: it may be
//! there once or not at all. One that was acknowledged is there once, with the picture that was sent.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// SHA-256 of a picture.
pub(crate) type Hash = [u8; 32];

pub(crate) fn hash(bytes: &[u8]) -> Hash {
    Sha256::digest(bytes).into()
}

/// A post that was sent.
#[derive(Debug, Clone)]
struct Sent {
    thread: i64,
    picture: Option<Hash>,
    /// The number that it was given, once it was acknowledged.
    no: Option<i64>,
}

/// The books. Every comment is unique.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    books: Mutex<Books>,
}

#[derive(Debug, Default)]
struct Books {
    /// By comment.
    posts: BTreeMap<String, Sent>,
    /// The numbers that were acknowledged, by thread.
    acknowledged: BTreeMap<i64, BTreeSet<i64>>,
}

/// A picture that a thread shows, where it is, and what it has to be if it is known.
#[derive(Debug, Clone)]
pub(crate) struct Shown {
    pub(crate) no: i64,
    pub(crate) media: String,
    pub(crate) thumb: String,
    pub(crate) hash: Option<Hash>,
}

/// A thread compared with the books.
#[derive(Debug, Default)]
pub(crate) struct Compared {
    /// Acknowledged posts that are there once.
    pub(crate) found: usize,
    /// Posts that are there although nobody was told so.
    pub(crate) unacknowledged: usize,
    pub(crate) pictures: Vec<Shown>,
    /// What must not be.
    pub(crate) wrong: Vec<String>,
}

impl Ledger {
    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a post that is about to be sent.
    pub(crate) fn sent(&self, thread: i64, comment: &str, picture: Option<Hash>) {
        self.books().posts.insert(comment.to_owned(), Sent { thread, picture, no: None });
    }

    /// Notes that it was acknowledged.
    pub(crate) fn acknowledged(&self, comment: &str, no: i64) {
        let mut books = self.books();
        if let Some(sent) = books.posts.get_mut(comment) {
            sent.no = Some(no);
            let thread = sent.thread;
            books.acknowledged.entry(thread).or_default().insert(no);
        }
    }

    /// All threads that acknowledged posts went to.
    pub(crate) fn threads(&self) -> Vec<i64> {
        self.books().acknowledged.keys().copied().collect()
    }

    /// The numbers of the posts of a thread that have been acknowledged so far.
    pub(crate) fn so_far(&self, thread: i64) -> BTreeSet<i64> {
        self.books().acknowledged.get(&thread).cloned().unwrap_or_default()
    }

    /// Compares a thread's document with the books.
    pub(crate) fn compare(&self, thread: i64, document: &Value) -> Compared {
        let books = self.books();
        let mut compared = Compared::default();
        let mut seen: BTreeMap<&str, Vec<i64>> = BTreeMap::new();
        for post in posts(document) {
            let text = |object: &Value, field: &str| object.get(field)?.as_str().map(str::to_owned);
            let (no, comment) = (number(post), post.get("com").and_then(Value::as_str).unwrap_or_default());
            seen.entry(comment).or_default().push(no);
            let files = post.get("extra_files").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
            let files = std::iter::once(post).chain(files);
            let mut shown: Vec<Shown> = files
                .filter_map(|file| Some((text(file, "media")?, text(file, "thumb")?)))
                .map(|(media, thumb)| Shown { no, media, thumb, hash: None })
                .collect();
            if let Some(sent) = books.posts.get(comment) {
                match (shown.first_mut(), sent.picture) {
                    (Some(first), Some(hash)) => first.hash = Some(hash),
                    (None, Some(_)) => compared.wrong.push(format!("No.{no} ({comment}) has lost its picture")),
                    (Some(_), None) => compared.wrong.push(format!("No.{no} ({comment}) shows a picture of others")),
                    (None, None) => {}
                }
            }
            compared.pictures.extend(shown);
        }
        for (comment, sent) in books.posts.iter().filter(|(_, sent)| sent.thread == thread) {
            match (seen.get(comment.as_str()).map(Vec::as_slice).unwrap_or_default(), sent.no) {
                ([one], Some(no)) if *one == no => compared.found += 1,
                ([], Some(no)) => compared.wrong.push(format!("No.{no} ({comment}) was acknowledged and is not there")),
                ([one], Some(no)) => compared.wrong.push(format!("No.{no} ({comment}) is there as No.{one}")),
                ([], None) => {}
                ([_], None) => compared.unacknowledged += 1,
                (more, _) => compared.wrong.push(format!("{comment:?} is there {} times: {more:?}", more.len())),
            }
        }
        compared
    }
}

/// The posts of a thread's document.
pub(crate) fn posts(document: &Value) -> &[Value] {
    document.get("posts").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// The number of a post; 0 for what is none.
pub(crate) fn number(post: &Value) -> i64 {
    post.get("no").and_then(Value::as_i64).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn ledger() -> Ledger {
        let ledger = Ledger::default();
        ledger.sent(1, "first", None);
        ledger.acknowledged("first", 2);
        ledger.sent(1, "second", Some(hash(b"bytes")));
        ledger.acknowledged("second", 3);
        ledger.sent(1, "unanswered", None);
        ledger
    }

    fn second() -> Value {
        json!({"no": 3, "com": "second", "media": "/media/3.jpg", "thumb": "/thumb/3.webp"})
    }

    #[test]
    fn what_is_there_once_is_right_whether_or_not_the_unanswered_post_is_there() {
        let ledger = ledger();
        let opening = json!({"no": 1, "com": "of nobody here", "media": "/media/1.jpg", "thumb": "/thumb/1.webp"});
        let mut posts = vec![opening, json!({"no": 2, "com": "first"}), second()];
        for unacknowledged in 0..2 {
            let compared = ledger.compare(1, &json!({"posts": posts}));
            assert_eq!((compared.found, compared.unacknowledged), (2, unacknowledged), "{compared:?}");
            assert!(compared.wrong.is_empty(), "{:?}", compared.wrong);
            let pictures: Vec<_> = compared.pictures.iter().map(|shown| (shown.no, shown.hash)).collect();
            assert_eq!(pictures, [(1, None), (3, Some(hash(b"bytes")))]);
            posts.push(json!({"no": 4, "com": "unanswered"}));
        }
        assert_eq!((ledger.threads(), ledger.so_far(1)), (vec![1], [2, 3].into()));
    }

    #[test]
    fn what_is_lost_doubled_renumbered_or_without_its_picture_is_wrong() {
        let ledger = ledger();
        let cases = [
            (json!([second()]), "No.2 (first) was acknowledged and is not there"),
            (
                json!([{"no": 2, "com": "first"}, {"no": 9, "com": "first"}, second()]),
                "\"first\" is there 2 times: [2, 9]",
            ),
            (json!([{"no": 9, "com": "first"}, second()]), "No.2 (first) is there as No.9"),
            (json!([{"no": 2, "com": "first"}, {"no": 3, "com": "second"}]), "No.3 (second) has lost its picture"),
            (
                json!([{"no": 2, "com": "first", "media": "/media/2.jpg", "thumb": "/thumb/2.webp"}, second()]),
                "No.2 (first) shows a picture of others",
            ),
            (
                json!([{"no": 2, "com": "first"}, second(), {"no": 4, "com": "unanswered"}, {"no": 5, "com": "unanswered"}]),
                "\"unanswered\" is there 2 times: [4, 5]",
            ),
        ];
        for (posts, wrong) in cases {
            assert_eq!(ledger.compare(1, &json!({"posts": posts})).wrong, [wrong], "{posts}");
        }
    }
}
