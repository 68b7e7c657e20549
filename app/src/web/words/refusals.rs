//! What each refusal says.

use crate::domain::Refusal;
use crate::domain::refusal::TextField;

#[expect(clippy::too_many_lines, reason = "one sentence per refusal, side by side")]
pub(super) fn detail(refusal: &Refusal) -> String {
    match refusal {
        Refusal::NothingHere => "There is nothing at this address. It may have been deleted.".to_owned(),
        Refusal::MethodNotAllowed { method } => format!("{method} is not possible at this address."),
        Refusal::MalformedRequest => "The request cannot be read.".to_owned(),
        Refusal::RequestTooLarge => "The request is too large.".to_owned(),
        Refusal::UnknownBoard { slug } => {
            let shown: String = slug.chars().take(20).collect();
            format!("There is no board /{shown}/ here.")
        }
        Refusal::UnknownPage { page } => format!("There is no page {page} on this board."),
        Refusal::UnknownThread { no } => {
            format!("There is no thread No.{no} on this board. It may have been deleted.")
        }
        Refusal::UnknownPost { no } => {
            format!("There is no post No.{no} on this board. It may have been deleted already.")
        }
        Refusal::UnknownPicture => "There is no such picture. It may have been deleted.".to_owned(),
        Refusal::UnknownFile => "There is no such file on this board. It may have been deleted.".to_owned(),
        Refusal::UnknownAsset => "There is no such file.".to_owned(),
        Refusal::CrossSiteForm => {
            "This form was sent from another site. Open the board itself and post from there.".to_owned()
        }
        Refusal::UnsupportedForm => {
            "The form is in an encoding that is not understood here. Send it as multipart/form-data.".to_owned()
        }
        Refusal::UnsupportedEncoding => {
            "The form is compressed, which is not understood here. Send it as it is.".to_owned()
        }
        Refusal::FormTooSlow { seconds } => {
            format!(
                "The form arrived too slowly: it has {seconds} seconds, and must not stop on the way. Check your connection and post again."
            )
        }
        Refusal::IncompleteForm { cause } => {
            format!("The form did not arrive whole: {cause}. Check your connection and post again.")
        }
        Refusal::MalformedForm { cause } => {
            format!("The form cannot be read: {cause}. It has to be multipart/form-data, complete and well-formed.")
        }
        Refusal::NotUtf8 => "A field of the form is not UTF-8 text. Send it as UTF-8.".to_owned(),
        Refusal::TooManyFields { most } => {
            format!("The form has more than {most} fields. Send only those that the board knows.")
        }
        Refusal::TooManyParts => "The form has too many files.".to_owned(),
        Refusal::TooManyFiles { most } => {
            format!("A post can have {most} pictures at the most. Leave some out and post again.")
        }
        Refusal::FileTooLarge { file_name, bytes, most } => format!(
            "{file_name} has {:.1} MB; a picture can have {:.1} MB at the most. Make it smaller and post again.",
            megabytes(*bytes),
            megabytes(*most)
        ),
        Refusal::PostTooLarge { files, file_bytes } => format!(
            "This post is too large. It can have {files} pictures of {:.1} MB each. Make them smaller, or post them one by one.",
            megabytes(*file_bytes)
        ),
        Refusal::TextTooLarge { comment_chars } => format!(
            "The text of this post is too long by far. A comment can have {comment_chars} characters at the most. Shorten it and post again."
        ),
        Refusal::TextTooLong { field, chars, most } => {
            format!("The {} has {chars} characters; {most} is the most. Shorten it and post again.", field_name(*field))
        }
        Refusal::ControlCharacter { field, character } => format!(
            "The {} holds the control character U+{:04X}. Remove it and post again.",
            field_name(*field),
            u32::from(*character)
        ),
        Refusal::PasswordTooLong { most } => {
            format!("The password has more than {most} bytes. Choose a shorter one and post again.")
        }
        Refusal::FilterTooLong { most } => {
            format!("The filter has more than {most} characters. Use fewer words.")
        }
        Refusal::BadDays { most } => {
            format!("The number of days has to be a number from 1, which is today alone, to {most}.")
        }
        Refusal::BadThreadNumber => "The number of the thread to answer is not a number.".to_owned(),
        Refusal::BadPostNumber => "What stands in place of a post number is not a number.".to_owned(),
        Refusal::PictureRequired => "A new thread needs a picture. Choose one and post again.".to_owned(),
        Refusal::EmptyReply => {
            "A reply needs a comment or a picture. Write something, or choose a picture, and post again.".to_owned()
        }
        Refusal::BoardLocked { slug } => format!("/{slug}/ is locked. It can be read, and nobody can post."),
        Refusal::ThreadLocked => "This thread is locked and takes no replies.".to_owned(),
        Refusal::ThreadArchived => "This thread is archived and takes no replies.".to_owned(),
        Refusal::ThreadFull { most } => {
            format!("This thread is full: {most} is the most replies that a thread can have. Start a new one to go on.")
        }
        Refusal::PostDeleted => {
            "This was posted before and has been deleted since. Open the page again to post it anew.".to_owned()
        }
        Refusal::NoPostsChosen { most } => {
            format!("Tick the posts that you want to delete, {most} at the most.")
        }
        Refusal::WrongPassword { no } => {
            format!("That is not the password of No.{no}. Nothing was deleted; enter the password you posted it with.")
        }
        Refusal::Busy => {
            "Too many pictures are being worked on at this moment. Nothing was posted; try again in a few seconds."
                .to_owned()
        }
        Refusal::PostNumbersExhausted => {
            let said = "This site has given every post number that it has. Nobody can post any more; what was posted can be read.";
            said.to_owned()
        }
        Refusal::TooManyReaders => "Too many people are reading at this moment. Try again in a few seconds.".to_owned(),
        Refusal::TooManyStreams { most: None } => {
            "Too many people are watching at this moment. Load the page now and then instead, or try again later."
                .to_owned()
        }
        Refusal::TooManyStreams { most: Some(most) } => {
            format!(
                "Your address has {most} event streams open, which is as many as one address may have. Close some of them."
            )
        }
        Refusal::BadPosition => {
            "The place where the stream is to go on is not one that a stream has told. Leave it out to begin now."
                .to_owned()
        }
        Refusal::Overloaded => {
            "Too many people are posting at this moment. Nothing was posted; try again in a few seconds.".to_owned()
        }
    }
}

const fn field_name(field: TextField) -> &'static str {
    match field {
        TextField::Comment => "comment",
        TextField::Name => "name",
        TextField::Subject => "subject",
    }
}

/// For people: a picture of 8 MiB has 8.4 MB.
fn megabytes(bytes: usize) -> f64 {
    f64::from(u32::try_from(bytes / 1000).unwrap_or(u32::MAX)) / 1000.0
}
