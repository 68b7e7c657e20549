//! Deleting posts, or only their pictures, by the password that they were posted with.

use std::collections::BTreeMap;

use crate::db::changes::{self, Change, Changes};
use crate::db::posts::Deletable;
use crate::db::{self, PgPool, attachments, boards, posts, threads};
use crate::domain::{Board, PostNo, Refusal};
use crate::error::AppError;
use crate::freshness::CommitWait;
use crate::hashing::{KeyedHasher, equal};

/// What is to be deleted.
#[derive(Debug)]
pub struct Deletion {
    /// The board that all posts stand on.
    pub board: Board,
    /// The posts.
    pub posts: Vec<PostNo>,
    /// What the visitor knows.
    pub password: String,
    /// Leave the posts and delete their pictures.
    pub pictures_only: bool,
}

/// More posts than this at once are a mistake or an attack.
const MOST_AT_ONCE: usize = 100;

/// How often a transaction is tried that lost against another one. Deletions of posts that quote each other remove
/// the same rows of `quote`, each in its own order.
const ATTEMPTS: u32 = 5;

/// Why a transaction ended without a deletion.
enum DeletionFailure {
    /// Told to the sender.
    Refused(Refusal),
    /// Another attempt may succeed, if this is a conflict.
    Database(db::Error),
    /// The connection broke while the commit was on its way: nobody knows whether the posts are deleted.
    Unknown(String),
}

impl From<Refusal> for DeletionFailure {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<db::Error> for DeletionFailure {
    fn from(error: db::Error) -> Self {
        Self::Database(error)
    }
}

/// Deletes. An opening post takes its thread with it. All or nothing: one wrong password and everything stays.
/// Answers the first thread concerned that is still there, once no replica shows any more what was deleted.
pub async fn delete(
    pool: &PgPool,
    hasher: &KeyedHasher,
    commit_wait: CommitWait,
    deletion: &Deletion,
) -> Result<Option<PostNo>, AppError> {
    if deletion.posts.is_empty() || deletion.posts.len() > MOST_AT_ONCE {
        return Err(Refusal::NoPostsChosen { most: MOST_AT_ONCE }.into());
    }
    let deleted = delete_with_retries(pool, hasher, deletion).await;
    // Also after a refusal: that a post is gone already may be the news of a moment ago.
    commit_wait.pass().await;
    deleted
}

async fn delete_with_retries(
    pool: &PgPool,
    hasher: &KeyedHasher,
    deletion: &Deletion,
) -> Result<Option<PostNo>, AppError> {
    let mut attempt = 1;
    loop {
        let done = tokio::time::timeout(db::LONGEST * 2, delete_once(pool, hasher, deletion));
        match done.await.unwrap_or_else(|_| Err(DeletionFailure::Unknown("the transaction did not end".to_owned()))) {
            Ok(left) => return Ok(left),
            Err(DeletionFailure::Database(error)) if db::is_conflict(&error) && attempt < ATTEMPTS => attempt += 1,
            Err(DeletionFailure::Database(error)) => return Err(error.into()),
            Err(DeletionFailure::Refused(refusal)) => return Err(refusal.into()),
            Err(DeletionFailure::Unknown(cause)) => return Err(AppError::OutcomeUnknown(cause)),
        }
    }
}

async fn delete_once(
    pool: &PgPool,
    hasher: &KeyedHasher,
    deletion: &Deletion,
) -> Result<Option<PostNo>, DeletionFailure> {
    let mut connection = pool.acquire().await?;
    let mut transaction = connection.begin().await?;
    // Before anything is locked, so that who guesses passwords holds up nobody.
    check(deletion, &posts::deletable(&mut transaction, deletion.board.id, &deletion.posts).await?, hasher)?;
    // All threads before the first post: whoever replies holds a thread while it waits for a post that it quotes.
    threads::lock_those_of(&mut transaction, &deletion.posts).await?;
    // Somebody may have deleted them while the lock was waited for.
    let found = posts::deletable(&mut transaction, deletion.board.id, &deletion.posts).await?;
    check(deletion, &found, hasher)?;

    let mut by_thread: BTreeMap<PostNo, Vec<Deletable>> = BTreeMap::new();
    for post in found {
        by_thread.entry(post.thread).or_default().push(post);
    }
    let (mut changes, mut left) = (Vec::new(), None);
    for (thread, chosen) in by_thread {
        if !deletion.pictures_only && chosen.iter().any(|post| post.no == thread) {
            let (posts, pictures) = posts::count_in_thread(&mut transaction, thread).await?;
            threads::delete(&mut transaction, thread).await?;
            changes.push(Change::ThreadDeleted { thread, posts, pictures });
            continue;
        }
        left = left.or(Some(thread));
        for Deletable { no, .. } in chosen {
            let removed = attachments::remove_pictures(&mut transaction, no).await?;
            let pictures = i64::try_from(removed).unwrap_or(i64::MAX);
            if !deletion.pictures_only && posts::delete(&mut transaction, no).await? {
                changes.push(Change::Deleted { thread, no, pictures });
            } else {
                changes.push(Change::PicturesDeleted { thread, no, pictures });
            }
        }
    }
    boards::lock(&mut transaction, deletion.board.id).await?;
    changes::publish(&mut transaction, Changes::OnBoard(deletion.board.id, &changes)).await?;
    transaction.commit().await.map_err(|error| DeletionFailure::Unknown(error.to_string()))?;
    Ok(left)
}

fn check(deletion: &Deletion, found: &[Deletable], hasher: &KeyedHasher) -> Result<(), Refusal> {
    if let Some(missing) = deletion.posts.iter().find(|no| !found.iter().any(|post| post.no == **no)) {
        return Err(Refusal::UnknownPost { no: *missing });
    }
    let is_right = |post: &Deletable| {
        let given = hasher.password(post.password_salt.as_deref(), &deletion.password);
        post.password_hash.as_deref().is_some_and(|hash| equal(hash, &given))
    };
    // Every post is compared, so that the time says nothing about which one it was.
    let wrong: Vec<PostNo> = found.iter().filter(|post| !is_right(post)).map(|post| post.no).collect();
    wrong.first().map_or(Ok(()), |no| Err(Refusal::WrongPassword { no: *no }))
}

#[cfg(test)]
mod tests {
    use secrecy::SecretString;

    use super::*;
    use crate::domain::BoardId;
    use crate::hashing::new_salt;

    #[test]
    fn posts_with_and_without_a_salt_are_deleted_by_their_password() {
        let hasher = KeyedHasher::new(&SecretString::from("secret"));
        let post = |no, salt: Option<[u8; 16]>| Deletable {
            no: PostNo(no),
            thread: PostNo(1),
            password_hash: Some(hasher.password(salt.as_ref().map(|salt| &salt[..]), "right").to_vec()),
            password_salt: salt.map(Vec::from),
        };
        let found = [post(1, None), post(2, Some(new_salt())), post(3, Some(new_salt()))];
        let board = Board {
            id: BoardId(1),
            slug: "b".to_owned(),
            title: String::new(),
            description: String::new(),
            locked: false,
            worksafe: true,
        };
        let posts = found.iter().map(|post| post.no).collect();
        let mut deletion = Deletion { board, posts, password: "right".to_owned(), pictures_only: false };
        assert!(check(&deletion, &found, &hasher).is_ok());
        for wrong in ["wrong", ""] {
            wrong.clone_into(&mut deletion.password);
            assert_eq!(check(&deletion, &found, &hasher).unwrap_err().code(), "wrong_password");
        }
    }
}
