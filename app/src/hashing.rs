//! Keyed hashes: what the database holds of addresses and passwords, and how forms sent twice are told.
//!
//! Every use has a label of its own, so that a hash made for one purpose says nothing for another.

use std::net::IpAddr;

use hmac::digest::Key;
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use uuid::Uuid;

/// A hash. Safe to store, useless without the key.
pub type Hash = [u8; 32];

/// Makes keyed hashes.
#[derive(Clone)]
pub struct KeyedHasher {
    mac: Hmac<Sha256>,
}

impl std::fmt::Debug for KeyedHasher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeyedHasher(…)")
    }
}

impl KeyedHasher {
    /// With the secret of the site.
    #[must_use]
    pub fn new(secret: &SecretString) -> Self {
        // An HMAC key of the block size of its hash, so that a key of any length can be used (RFC 2104, section 2).
        let mut key = Key::<Hmac<Sha256>>::default();
        let digest = Sha256::digest(secret.expose_secret().as_bytes());
        key.iter_mut().zip(digest).for_each(|(key, byte)| *key = byte);
        Self { mac: Hmac::new(&key) }
    }

    /// Of a poster's address. IPv6 counts by its /64, which is what one customer has.
    #[must_use]
    pub fn address(&self, address: IpAddr) -> Hash {
        match address.to_canonical() {
            IpAddr::V4(address) => self.hash("address", &[&address.octets()]),
            IpAddr::V6(address) => self.hash("address", &[address.octets().get(..8).unwrap_or_default()]),
        }
    }

    /// Of the password that deletes a post. The salt of the post makes equal passwords differ; posts that are older than
    /// salts have none.
    #[must_use]
    pub fn password(&self, salt: Option<&[u8]>, password: &str) -> Hash {
        match salt {
            Some(salt) => self.hash("password", &[salt, password.as_bytes()]),
            None => self.hash("password", &[password.as_bytes()]),
        }
    }

    /// A password that nobody can guess who does not know the secret, and that is the same for the same parts.
    #[must_use]
    pub fn made_up_password(&self, parts: &[&[u8]]) -> String {
        self.uuid("made-up password", parts).simple().to_string()
    }

    /// Of everything that makes two submissions the same one.
    #[must_use]
    pub fn submission(&self, parts: &[&[u8]]) -> Hash {
        self.hash("submission", parts)
    }

    /// The key of the form on a page, the same on every replica: what is sent under one tag has to be the same bytes.
    #[must_use]
    pub fn form_key(&self, page: &str, stamp: &str) -> Uuid {
        self.uuid("form", &[page.as_bytes(), stamp.as_bytes()])
    }

    /// Of sums that are handed on: whoever made them knows the secret.
    #[must_use]
    pub fn sums(&self, text: &[u8]) -> Hash {
        self.hash("sums", &[text])
    }

    fn uuid(&self, label: &str, parts: &[&[u8]]) -> Uuid {
        let hash = self.hash(label, parts);
        let mut bytes = [0; 16];
        bytes.iter_mut().zip(hash).for_each(|(byte, of_hash)| *byte = of_hash);
        uuid::Builder::from_random_bytes(bytes).into_uuid()
    }

    /// Each part goes in with its length, so that no two lists of parts run together into the same bytes.
    fn hash(&self, label: &str, parts: &[&[u8]]) -> Hash {
        let mut mac = self.mac.clone();
        for part in std::iter::once(&label.as_bytes()).chain(parts) {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }
}

/// A new salt for a password.
#[must_use]
pub fn new_salt() -> [u8; 16] {
    Uuid::new_v4().into_bytes()
}

/// Whether two hashes are equal, in a time that does not tell how far.
#[must_use]
pub fn equal(one: &[u8], other: &[u8]) -> bool {
    one.ct_eq(other).into()
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    fn keyed(secret: &str) -> KeyedHasher {
        KeyedHasher::new(&SecretString::from(secret))
    }

    #[test]
    fn hashes_depend_on_secret_purpose_and_boundaries() {
        let one = keyed("one");
        assert_eq!(one.password(None, "x"), one.password(None, "x"));
        assert_ne!(one.password(None, "x"), keyed("two").password(None, "x"));
        assert_ne!(one.password(None, "x"), one.submission(&[b"x"]));
        assert_ne!(one.submission(&[b"ab", b"c"]), one.submission(&[b"a", b"bc"]));
    }

    #[test]
    fn equal_passwords_have_different_hashes_on_different_posts() {
        let one = keyed("one");
        let (salt, other) = (new_salt(), new_salt());
        assert_eq!(one.password(Some(&salt), "x"), one.password(Some(&salt), "x"));
        assert_ne!(one.password(Some(&salt), "x"), one.password(Some(&other), "x"));
        assert_ne!(one.password(Some(&salt), "x"), one.password(None, "x"));
    }

    #[test]
    fn passwords_of_posts_without_a_salt_stay_what_they_are() {
        let stored = STANDARD.encode(keyed("one").password(None, "x"));
        assert_eq!(stored, "JTHlObvaZPMnpeizCEbXBNYgjoIlXXsNUfV1CMaK15c=");
    }

    #[test]
    fn addresses_of_one_customer_are_one() {
        let address = |text: &str| keyed("one").address(text.parse().unwrap());
        assert_eq!(address("2001:db8:0:1::1"), address("2001:db8:0:1:ffff::9"));
        assert_ne!(address("2001:db8:0:1::1"), address("2001:db8:0:2::1"));
        assert_eq!(address("203.0.113.7"), address("::ffff:203.0.113.7"));
        assert_ne!(address("203.0.113.7"), address("203.0.113.8"));
    }
}
