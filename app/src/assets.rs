//! Style sheet and icon: built into the binary, named by a hash of their content, never changing under one name.
//!
//! Must not know HTTP: `web::media::assets` serves them, and `triptych assets` writes them for a web server in front.

use std::path::Path;

use sha2::{Digest, Sha256};

use crate::representation::Representation;

/// One file.
#[derive(Debug)]
pub struct Asset {
    /// `style.0123456789ab.css`
    pub name: String,
    /// What it holds.
    pub content: Representation,
    stem: &'static str,
    extension: &'static str,
}

impl Asset {
    fn new(stem: &'static str, extension: &'static str, content_type: &'static str, text: &str) -> Self {
        let hash = Sha256::digest(text.as_bytes());
        let hash = hash.iter().take(6).fold(0_u64, |hash, byte| hash << 8 | u64::from(*byte));
        let name = format!("{stem}.{hash:012x}.{extension}");
        Self { name, stem, extension, content: Representation::new(content_type, text.to_owned()) }
    }

    /// `/static/style.0123456789ab.css`
    #[must_use]
    pub fn path(&self) -> String {
        format!("/static/{}", self.name)
    }

    /// Whether this is the name of the same file in another release: everything as in ours but the hash.
    #[must_use]
    pub fn is_of_another_release(&self, name: &str) -> bool {
        let hash = name.strip_prefix(self.stem).and_then(|rest| rest.strip_suffix(self.extension));
        let hash = hash.and_then(|rest| rest.strip_prefix('.')?.strip_suffix('.')).unwrap_or_default();
        !hash.is_empty() && hash.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) && name != self.name
    }
}

/// All files, with their addresses at hand for the templates.
#[derive(Debug)]
pub struct Assets {
    /// Address of the style sheet.
    pub style: String,
    /// Address of the icon.
    pub icon: String,
    /// Every file.
    pub files: Vec<Asset>,
}

impl Default for Assets {
    fn default() -> Self {
        Self::new()
    }
}

impl Assets {
    /// Hashes and compresses what is built in; about a millisecond.
    #[must_use]
    pub fn new() -> Self {
        let style = Asset::new("style", "css", "text/css; charset=utf-8", include_str!("../static/style.css"));
        let icon = Asset::new("icon", "svg", "image/svg+xml", include_str!("../static/icon.svg"));
        Self { style: style.path(), icon: icon.path(), files: vec![style, icon] }
    }

    /// Writes every file, and a compressed twin beside it, for a web server to serve.
    pub fn export(&self, folder: &Path) -> std::io::Result<()> {
        std::fs::create_dir_all(folder)?;
        for file in &self.files {
            std::fs::write(folder.join(&file.name), &file.content.plain)?;
            std::fs::write(folder.join(format!("{}.gz", file.name)), &file.content.gzip)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_hash_is_another_release_and_nothing_else_is() {
        let assets = Assets::new();
        let is_ours = |name: &str| assets.files.iter().any(|file| file.is_of_another_release(name));
        for name in ["style.000000000000.css", "icon.0123456789ab.svg", "style.0123456789abcdef.css"] {
            assert!(is_ours(name), "{name}");
        }
        let own = assets.style.strip_prefix("/static/").unwrap();
        for name in [
            own,
            "style.css",
            "style..css",
            "style.xyz.css",
            "style.00/../00.css",
            "style.000000000000.svg",
            "none.000000000000.css",
            "mystyle.000000000000.css",
            "style.000000000000.css.gz",
            "",
        ] {
            assert!(!is_ours(name), "{name}");
        }
    }
}
