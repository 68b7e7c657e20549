//! Boards and how they are configured.

use serde::Deserialize;

/// Primary key of a board. Never shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BoardId(pub i16);

/// A board as its pages show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Board {
    /// Primary key.
    pub id: BoardId,
    /// The name in the address: `b` for `/b/`.
    pub slug: String,
    /// "Random".
    pub title: String,
    /// One sentence; may be empty.
    pub description: String,
    /// Nobody may post.
    pub locked: bool,
    /// Can be looked at at work: nothing on it is for adults only.
    pub worksafe: bool,
}

/// A board as an operator configures it, one object of the JSON list in `TRIPTYCH_BOARDS`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BoardSettings {
    /// The name in the address: 1 to 16 lower-case letters and digits.
    pub slug: String,
    /// "Random".
    pub title: String,
    /// One sentence.
    #[serde(default)]
    pub description: String,
    /// Nobody may post.
    #[serde(default)]
    pub locked: bool,
    /// Nothing on it is for adults only; clients are told. True unless said otherwise.
    #[serde(default = "yes")]
    pub worksafe: bool,
}

const fn yes() -> bool {
    true
}

/// First parts of paths that mean something else than a board, or will: a board that had such a name would lose its
/// address with the release that needs it.
const RESERVED: [&str; 18] = [
    "account", "admin", "api", "boards", "error", "events", "livez", "login", "logout", "media", "metrics", "mod",
    "readyz", "rules", "search", "static", "thumb", "traffic",
];

/// The boards in `TRIPTYCH_BOARDS`, in the order in which the site shows them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfiguredBoards(pub Vec<BoardSettings>);

impl std::str::FromStr for ConfiguredBoards {
    type Err = String;

    /// Parses a JSON list and names the first thing that is wrong with it.
    fn from_str(json: &str) -> Result<Self, String> {
        let boards: Vec<BoardSettings> = serde_json::from_str(json)
            .map_err(|error| format!(r#"not a list of boards such as [{{"slug":"b","title":"Random"}}]: {error}"#))?;
        if boards.is_empty() {
            return Err("the list is empty; a site needs at least one board".to_owned());
        }
        for (index, board) in boards.iter().enumerate() {
            let slug = board.slug.as_str();
            let letters = slug.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
            if slug.is_empty() || slug.len() > 16 || !letters {
                return Err(format!("the slug {slug:?} is not 1 to 16 lower-case letters and digits"));
            }
            if RESERVED.contains(&slug) {
                return Err(format!("the slug {slug:?} is a path of the site itself"));
            }
            if board.title.trim().is_empty() {
                return Err(format!("the board {slug:?} has no title"));
            }
            if boards.iter().take(index).any(|other| other.slug == board.slug) {
                return Err(format!("the slug {slug:?} is there twice"));
            }
        }
        Ok(Self(boards))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_boards_is_read_in_order() {
        let list: ConfiguredBoards =
            r#"[{"slug":"b","title":"Random"},{"slug":"kor","title":"한국어","locked":true,"worksafe":false}]"#
                .parse()
                .unwrap();
        assert_eq!(list.0.iter().map(|board| board.slug.as_str()).collect::<Vec<_>>(), ["b", "kor"]);
        assert!(!list.0[0].locked && list.0[0].worksafe);
        assert!(list.0[1].locked && !list.0[1].worksafe);
    }

    #[test]
    fn the_chart_reserves_the_same_slugs() {
        let schema = include_str!("../../../helm/triptych/values.schema.json");
        let schema: serde_json::Value = serde_json::from_str(schema).unwrap();
        let reserved = schema.pointer("/properties/boards/items/properties/slug/not/enum").unwrap();
        assert_eq!(reserved, &serde_json::json!(RESERVED));
        let values = include_str!("../../../helm/triptych/values.yaml");
        assert!(RESERVED.iter().all(|slug| values.contains(slug)), "{RESERVED:?}");
    }

    #[test]
    fn every_mistake_is_named() {
        for (json, told) in [
            ("[]", "empty"),
            ("{}", "not a list of boards"),
            (r#"[{"slug":"b","title":"x","lokced":true}]"#, "lokced"),
            (r#"[{"slug":"B","title":"x"}]"#, "lower-case"),
            (r#"[{"slug":"media","title":"x"}]"#, "path of the site"),
            (r#"[{"slug":"b","title":" "}]"#, "no title"),
            (r#"[{"slug":"b","title":"x"},{"slug":"b","title":"y"}]"#, "twice"),
        ] {
            let error = json.parse::<ConfiguredBoards>().unwrap_err();
            assert!(error.contains(told), "{json}: {error}");
        }
    }
}
