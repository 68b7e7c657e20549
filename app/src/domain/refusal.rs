//! Why a request is not granted, as data. The words are made in `web::words`, in the language of whoever reads them.

use super::post::PostNo;

/// What kind of refusal; `web` turns it into a status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalKind {
    /// The request cannot be read.
    Malformed,
    /// Not from here, or not allowed.
    Forbidden,
    /// Not there, or no longer.
    NotFound,
    /// There, but not with this method.
    MethodNotAllowed,
    /// It took too long to arrive.
    TooSlow,
    /// More bytes than are taken.
    TooLarge,
    /// Not a format that is taken.
    UnsupportedMedia,
    /// Readable, and against a rule.
    Invalid,
    /// May work a little later.
    Unavailable,
    /// There is no room for it, now or later.
    Exhausted,
}

/// A text field of the posting form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextField {
    /// Field `com`.
    Comment,
    /// Field `name`.
    Name,
    /// Field `sub`.
    Subject,
}

/// A refusal, with what whoever sent the request needs to know to do better.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.code())]
pub enum Refusal {
    /// No route has this address.
    NothingHere,
    /// The address takes other methods.
    MethodNotAllowed {
        /// The method of the request.
        method: String,
    },
    /// The request is not HTTP as we read it.
    MalformedRequest,
    /// The request as a whole is too large, whatever is in it.
    RequestTooLarge,
    /// No board has this name.
    UnknownBoard {
        /// As it stands in the address.
        slug: String,
    },
    /// The board has no such page.
    UnknownPage {
        /// As it stands in the address.
        page: String,
    },
    /// The board has no such thread.
    UnknownThread {
        /// As it stands in the address or the form.
        no: String,
    },
    /// The board has no such post.
    UnknownPost {
        /// Its number.
        no: PostNo,
    },
    /// No post shows such a picture.
    UnknownPicture,
    /// No post of the board has a file of this name.
    UnknownFile,
    /// There is no such style sheet or icon.
    UnknownAsset,
    /// The form was sent by a page of another site.
    CrossSiteForm,
    /// The form is in none of the two encodings of HTML forms.
    UnsupportedForm,
    /// The body of the form is compressed.
    UnsupportedEncoding,
    /// The form did not arrive in time.
    FormTooSlow {
        /// For the whole form.
        seconds: u64,
    },
    /// The form did not arrive whole.
    IncompleteForm {
        /// What the connection or the parser said.
        cause: String,
    },
    /// The form cannot be parsed.
    MalformedForm {
        /// What the parser said.
        cause: String,
    },
    /// A text field is not UTF-8.
    NotUtf8,
    /// The form has more text fields than anybody needs.
    TooManyFields {
        /// How many are taken.
        most: usize,
    },
    /// The form has more files than anybody can have meant.
    TooManyParts,
    /// More pictures than one post may have.
    TooManyFiles {
        /// How many are taken.
        most: usize,
    },
    /// One file is too large.
    FileTooLarge {
        /// Its name, cleaned for display.
        file_name: String,
        /// Its size.
        bytes: usize,
        /// The largest that is taken.
        most: usize,
    },
    /// The whole form is too large.
    PostTooLarge {
        /// How many pictures a post may have.
        files: usize,
        /// How large each may be, in bytes.
        file_bytes: usize,
    },
    /// All text together is too long to be read.
    TextTooLarge {
        /// The most characters that a comment may have.
        comment_chars: usize,
    },
    /// A text field is too long.
    TextTooLong {
        /// Which.
        field: TextField,
        /// Its length in characters.
        chars: usize,
        /// The most characters that it may have.
        most: usize,
    },
    /// A text field holds a character that no text may hold.
    ControlCharacter {
        /// Which field.
        field: TextField,
        /// Which character.
        character: char,
    },
    /// The words that a catalogue is filtered by are too long.
    FilterTooLong {
        /// The most characters that they may have.
        most: usize,
    },
    /// What stands in place of a number of days is not one that the traffic is told of.
    BadDays {
        /// The most that it can be.
        most: u16,
    },
    /// The password is too long.
    PasswordTooLong {
        /// The most bytes that it may have.
        most: usize,
    },
    /// `resto` is not the number of a thread.
    BadThreadNumber,
    /// `no` is not the number of a post.
    BadPostNumber,
    /// A thread begins with a picture.
    PictureRequired,
    /// A reply needs text or a picture.
    EmptyReply,
    /// Nobody may post on the board.
    BoardLocked {
        /// Its name in the address.
        slug: String,
    },
    /// The thread takes no replies.
    ThreadLocked,
    /// The thread fell off the last page and takes no replies.
    ThreadArchived,
    /// The thread has as many replies as it may have.
    ThreadFull {
        /// How many that is.
        most: i32,
    },
    /// The same form was sent before; its post has been deleted since.
    PostDeleted,
    /// No post, or too many, were chosen to be deleted.
    NoPostsChosen {
        /// How many can be deleted at a time.
        most: usize,
    },
    /// The password is not that of the post.
    WrongPassword {
        /// The first post that has another one.
        no: PostNo,
    },
    /// Too many pictures are being worked on.
    Busy,
    /// Too many posts are being written.
    Overloaded,
    /// Too many pages are being made.
    TooManyReaders,
    /// Too many event streams are open; at all, or, if a number is told, from one address.
    TooManyStreams {
        /// How many one address may have.
        most: Option<usize>,
    },
    /// Where an event stream is to go on is no position that a stream has told.
    BadPosition,
    /// Every post number has been given.
    PostNumbersExhausted,
}

impl Refusal {
    /// Stable, `snake_case`, for programs. Never changes once released.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NothingHere => "not_found",
            Self::MethodNotAllowed { .. } => "method_not_allowed",
            Self::MalformedRequest => "malformed_request",
            Self::RequestTooLarge => "too_large",
            Self::UnknownBoard { .. } => "unknown_board",
            Self::UnknownPage { .. } => "unknown_page",
            Self::UnknownThread { .. } => "unknown_thread",
            Self::UnknownPost { .. } => "unknown_post",
            Self::UnknownPicture => "unknown_picture",
            Self::UnknownFile => "unknown_file",
            Self::UnknownAsset => "unknown_asset",
            Self::CrossSiteForm => "cross_site_form",
            Self::UnsupportedForm => "unsupported_form",
            Self::UnsupportedEncoding => "unsupported_encoding",
            Self::FormTooSlow { .. } => "too_slow",
            Self::IncompleteForm { .. } => "incomplete_form",
            Self::MalformedForm { .. } => "malformed_form",
            Self::NotUtf8 => "not_utf8",
            Self::TooManyFields { .. } | Self::TooManyParts => "too_many_parts",
            Self::TooManyFiles { .. } => "too_many_files",
            Self::FileTooLarge { .. } => "file_too_large",
            Self::PostTooLarge { .. } => "post_too_large",
            Self::TextTooLarge { .. } => "text_too_large",
            Self::TextTooLong { .. } | Self::PasswordTooLong { .. } => "text_too_long",
            Self::FilterTooLong { .. } => "filter_too_long",
            Self::ControlCharacter { .. } => "control_character",
            Self::BadDays { .. } => "bad_days",
            Self::BadThreadNumber => "bad_thread_number",
            Self::BadPostNumber => "bad_post_number",
            Self::PictureRequired => "picture_required",
            Self::EmptyReply => "empty_reply",
            Self::BoardLocked { .. } => "board_locked",
            Self::ThreadLocked => "thread_locked",
            Self::ThreadArchived => "thread_archived",
            Self::ThreadFull { .. } => "thread_full",
            Self::PostDeleted => "post_deleted",
            Self::NoPostsChosen { .. } => "no_posts_chosen",
            Self::WrongPassword { .. } => "wrong_password",
            Self::Busy => "busy",
            Self::Overloaded => "overloaded",
            Self::TooManyReaders => "too_many_readers",
            Self::TooManyStreams { .. } => "too_many_streams",
            Self::BadPosition => "bad_position",
            Self::PostNumbersExhausted => "post_numbers_exhausted",
        }
    }

    /// What kind of refusal it is.
    #[must_use]
    pub const fn kind(&self) -> RefusalKind {
        match self {
            Self::MalformedRequest
            | Self::IncompleteForm { .. }
            | Self::MalformedForm { .. }
            | Self::NotUtf8
            | Self::TooManyFields { .. }
            | Self::TooManyParts => RefusalKind::Malformed,
            Self::CrossSiteForm
            | Self::BoardLocked { .. }
            | Self::ThreadLocked
            | Self::ThreadArchived
            | Self::ThreadFull { .. }
            | Self::WrongPassword { .. } => RefusalKind::Forbidden,
            Self::NothingHere
            | Self::UnknownBoard { .. }
            | Self::UnknownPage { .. }
            | Self::UnknownThread { .. }
            | Self::UnknownPost { .. }
            | Self::UnknownPicture
            | Self::UnknownFile
            | Self::UnknownAsset
            | Self::PostDeleted => RefusalKind::NotFound,
            Self::MethodNotAllowed { .. } => RefusalKind::MethodNotAllowed,
            Self::FormTooSlow { .. } => RefusalKind::TooSlow,
            Self::RequestTooLarge
            | Self::FileTooLarge { .. }
            | Self::PostTooLarge { .. }
            | Self::TextTooLarge { .. } => RefusalKind::TooLarge,
            Self::UnsupportedForm | Self::UnsupportedEncoding => RefusalKind::UnsupportedMedia,
            Self::TooManyFiles { .. }
            | Self::TextTooLong { .. }
            | Self::ControlCharacter { .. }
            | Self::PasswordTooLong { .. }
            | Self::FilterTooLong { .. }
            | Self::BadDays { .. }
            | Self::BadThreadNumber
            | Self::BadPostNumber
            | Self::BadPosition
            | Self::PictureRequired
            | Self::EmptyReply
            | Self::NoPostsChosen { .. } => RefusalKind::Invalid,
            Self::Busy | Self::Overloaded | Self::TooManyReaders | Self::TooManyStreams { .. } => {
                RefusalKind::Unavailable
            }
            Self::PostNumbersExhausted => RefusalKind::Exhausted,
        }
    }
}
