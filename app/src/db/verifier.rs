//! What Postgres keeps of a password (RFC 5803, with SCRAM-SHA-256 of RFC 7677). Made here, a password is in no statement, and so in
//! no log of the server, whatever it logs.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};

/// As Postgres does it (`scram_iterations`).
const ITERATIONS: u32 = 4096;

/// Of a password in ASCII; anything else would have to be normalised first (`SASLprep`), and is `None`.
pub(super) fn verifier(password: &str, salt: [u8; 16]) -> Option<String> {
    if !password.is_ascii() {
        return None;
    }
    let salted = salted(password, salt)?;
    let stored = Sha256::digest(mac(&salted, &[b"Client Key"])?);
    let server = mac(&salted, &[b"Server Key"])?;
    let [salt, stored, server] = [&salt[..], &stored[..], &server[..]].map(|bytes| BASE64_STANDARD.encode(bytes));
    Some(format!("SCRAM-SHA-256${ITERATIONS}:{salt}${stored}:{server}"))
}

/// PBKDF2 of one block (RFC 5802, section 2.2: `Hi`).
fn salted(password: &str, salt: [u8; 16]) -> Option<[u8; 32]> {
    let mut last = mac(password.as_bytes(), &[&salt, &1_u32.to_be_bytes()])?;
    let mut all = last;
    for _ in 1..ITERATIONS {
        last = mac(password.as_bytes(), &[&last])?;
        all.iter_mut().zip(last).for_each(|(all, last)| *all ^= last);
    }
    Some(all)
}

fn mac(key: &[u8], parts: &[&[u8]]) -> Option<[u8; 32]> {
    // A key of any length will do.
    let mut mac = Hmac::<Sha256>::new_from_slice(key).ok()?;
    for part in parts {
        mac.update(part);
    }
    Some(mac.finalize().into_bytes().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_rfc_has_the_verifier_that_postgres_makes() {
        let salt = BASE64_STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap().try_into().unwrap();
        let expected = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:\
                        wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";
        assert_eq!(verifier("pencil", salt).as_deref(), Some(expected));
        assert_eq!(verifier("pässword", salt), None);
    }
}
