//! Signatures of pushes, as Standard Webhooks 1.0 has them: HMAC-SHA256 over `id.timestamp.body`, in base64 behind `v1,`,
//! under a key that is shown as `whsec_` and base64. Hob signs with it and the SDK checks with it; which secrets there are,
//! and for how long, is theirs to know.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

const SECRET_PREFIX: &str = "whsec_";
const SIGNATURE_PREFIX: &str = "v1,";
/// Signatures of one push that are looked at.
const SIGNATURES_MAX: usize = 16;

/// The key of a signing secret. It never shows itself in logs.
#[derive(Clone, PartialEq, Eq)]
pub struct SigningKey(Vec<u8>);

impl SigningKey {
    /// The key of these bytes.
    pub fn of(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// The key of a secret as it is shown; none when the text is no secret.
    pub fn parse(secret: &str) -> Option<Self> {
        STANDARD.decode(secret.strip_prefix(SECRET_PREFIX)?).ok().map(Self)
    }

    /// How many bytes it has.
    pub fn size(&self) -> usize {
        self.0.len()
    }

    /// The secret as it is shown.
    pub fn secret(&self) -> String {
        format!("{SECRET_PREFIX}{}", STANDARD.encode(&self.0))
    }

    /// One signature of the header `webhook-signature`. `time` is the header `webhook-timestamp`.
    pub fn sign(&self, id: &str, time: &str, body: &[u8]) -> String {
        format!("{SIGNATURE_PREFIX}{}", STANDARD.encode(self.code(id, time, body).finalize().into_bytes()))
    }

    /// Whether one of the signatures of the header `webhook-signature` is this key's.
    pub fn verify(&self, id: &str, time: &str, body: &[u8], header: &str) -> bool {
        let code = self.code(id, time, body);
        let told = header.split(' ').take(SIGNATURES_MAX);
        let mut signatures =
            told.filter_map(|signature| STANDARD.decode(signature.strip_prefix(SIGNATURE_PREFIX)?).ok());
        // Compared in constant time: how long it takes tells nothing of the right one.
        signatures.any(|signature| code.clone().verify_slice(&signature).is_ok())
    }

    fn code(&self, id: &str, time: &str, body: &[u8]) -> Hmac<Sha256> {
        let mut code = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        code.update(format!("{id}.{time}.").as_bytes());
        code.update(body);
        code
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const TIME: &str = "1614265330";
    const BODY: &[u8] = br#"{"test": 2432232314}"#;
    const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    #[test]
    fn the_published_example_is_signed_and_checked_as_published() {
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let key = SigningKey::parse(secret).unwrap();
        assert_eq!((key.secret().as_str(), key.size()), (secret, 24));
        assert_eq!(key.sign(ID, TIME, BODY), SIGNATURE);
        let among = format!("v1,AAAA v2,x {SIGNATURE}");
        assert!(key.verify(ID, TIME, BODY, SIGNATURE) && key.verify(ID, TIME, BODY, &among));
        for (id, time, body) in [("msg_2", TIME, BODY), (ID, "1614265331", BODY), (ID, TIME, &b"{}"[..])] {
            assert!(!key.verify(id, time, body, SIGNATURE), "{id} {time}");
        }
        let late = format!("{}{SIGNATURE}", "v1,AAAA ".repeat(SIGNATURES_MAX));
        assert!(!key.verify(ID, TIME, BODY, &late), "no more are looked at");
        assert_eq!(format!("{key:?}"), "SigningKey(…)");
        for text in ["", "whsec_!!", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"] {
            assert_eq!(SigningKey::parse(text), None, "{text}");
        }
    }
}
