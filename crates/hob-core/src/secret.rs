//! Tokens: random secrets that are shown once and kept only as a digest.

use std::fmt;

use crate::Digest;

/// Random bytes that nobody can guess, for keys and tokens.
pub fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0_u8; N];
    getrandom::fill(&mut bytes).expect("the operating system gives randomness");
    bytes
}

/// A secret text. It never shows itself in logs; its digest is what is stored.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// A new token with 256 random bits, recognisable by its prefix: `hob_<kind>_<hex>`.
    pub fn generate(kind: &str) -> Self {
        let hex: String = random_bytes::<32>().iter().map(|byte| format!("{byte:02x}")).collect();
        Self(format!("hob_{kind}_{hex}"))
    }

    /// A secret that came from elsewhere: a header, a file.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the one place that hands it over.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What is stored and compared. A digest suffices because the token is random, not chosen.
    pub fn digest(&self) -> Digest {
        Digest::of(self.0.as_bytes())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_do_not_show_themselves() {
        let secret = Secret::generate("admin");
        assert!(secret.expose().starts_with("hob_admin_"));
        assert!(!format!("{secret:?}").contains(secret.expose()));
    }
}
