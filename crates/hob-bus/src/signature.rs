//! Signatures of pushes, as Standard Webhooks 1.0 has them: HMAC-SHA256 over `id.timestamp.body` under a secret that
//! Hob makes and the endpoint's owner is shown once.
//!
//! After a rotation both secrets sign for a day, so that an endpoint may change over in between without refusing
//! anything.

use std::time::Duration;

use hob_core::{Timestamp, random_bytes};
use hob_wire::webhook::SigningKey;

use crate::rows::SecretsRow;

/// How long the old secret signs beside the new one.
pub(crate) const ROTATION: Duration = Duration::from_secs(24 * 3600);
/// Bytes of a secret that Hob makes.
const SECRET_BYTES: usize = 32;
/// Fewest and most bytes of a secret.
const SECRET_BYTES_RANGE: std::ops::RangeInclusive<usize> = 24..=64;

/// A secret that signs: `whsec_` and the base64 of 24 to 64 bytes. It never shows itself in logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SigningSecret(SigningKey);

/// A text that is no signing secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("read a signing secret: it is not whsec_ and the base64 of 24 to 64 bytes")]
pub(crate) struct BadSecret;

impl SigningSecret {
    /// A new secret.
    pub(crate) fn generate() -> Self {
        Self(SigningKey::of(random_bytes::<SECRET_BYTES>().to_vec()))
    }

    /// A secret as it is stored.
    pub(crate) fn parse(text: &str) -> Result<Self, BadSecret> {
        let key = SigningKey::parse(text).filter(|key| SECRET_BYTES_RANGE.contains(&key.size()));
        key.map(Self).ok_or(BadSecret)
    }

    /// The text itself, for storing it and for the one answer that shows it.
    pub(crate) fn expose(&self) -> String {
        self.0.secret()
    }
}

/// The secrets of one endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Secrets {
    /// The one that its owner was shown last.
    pub(crate) current: SigningSecret,
    /// The one before, and until when it signs as well.
    pub(crate) previous: Option<(SigningSecret, Timestamp)>,
}

impl Secrets {
    /// The secrets as they are stored; none when they cannot be understood.
    pub(crate) fn from_row(row: &SecretsRow) -> Option<Self> {
        let previous = match &row.previous {
            Some((text, until)) => Some((SigningSecret::parse(text).ok()?, *until)),
            None => None,
        };
        Some(Self { current: SigningSecret::parse(&row.current).ok()?, previous })
    }

    /// The same for storing them.
    pub(crate) fn to_row(&self) -> SecretsRow {
        let previous = self.previous.as_ref().map(|(secret, until)| (secret.expose(), *until));
        SecretsRow { current: self.current.expose(), previous }
    }

    /// Those of a new endpoint.
    pub(crate) fn generate() -> Self {
        Self { current: SigningSecret::generate(), previous: None }
    }

    /// The same with a new secret; the one that was the newest signs beside it for a day.
    #[must_use]
    pub(crate) fn rotate(self, now: Timestamp) -> Self {
        Self { current: SigningSecret::generate(), previous: Some((self.current, now.plus(ROTATION))) }
    }

    /// The value of `webhook-signature`: one signature, or two while a rotation lasts, the newest first.
    pub(crate) fn sign(&self, id: &str, now: Timestamp, body: &[u8]) -> String {
        let time = unix_seconds(now).to_string();
        let mut signatures = self.current.0.sign(id, &time, body);
        if let Some((previous, until)) = &self.previous
            && now < *until
        {
            signatures.push(' ');
            signatures.push_str(&previous.0.sign(id, &time, body));
        }
        signatures
    }
}

/// The value of `webhook-timestamp`.
pub(crate) fn unix_seconds(now: Timestamp) -> i64 {
    now.as_micros().div_euclid(1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const BODY: &[u8] = br#"{"test": 2432232314}"#;
    const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000 + 999_999)
    }

    fn published() -> SigningSecret {
        SigningSecret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap()
    }

    #[test]
    fn the_published_example_is_signed_as_published() {
        let secrets = Secrets { current: published(), previous: None };
        assert_eq!(secrets.sign(ID, at(1_614_265_330), BODY), SIGNATURE);
        assert_ne!(secrets.sign(ID, at(1_614_265_331), BODY), SIGNATURE);
        assert_ne!(secrets.sign("msg_2", at(1_614_265_330), BODY), SIGNATURE);
        assert_ne!(secrets.sign(ID, at(1_614_265_330), b"{}"), SIGNATURE);
    }

    #[test]
    fn both_secrets_sign_for_a_day_after_a_rotation() {
        let start = at(1_614_265_330);
        let secrets = Secrets { current: published(), previous: None }.rotate(start);
        let both = secrets.sign(ID, start, BODY);
        let (new, old) = both.split_once(' ').unwrap();
        assert_eq!(old, SIGNATURE);
        assert_eq!(new, secrets.current.0.sign(ID, "1614265330", BODY));
        assert!(secrets.sign(ID, at(1_614_265_330 + 24 * 3600 - 1), BODY).contains(' '));
        assert!(!secrets.sign(ID, start.plus(ROTATION), BODY).contains(' '));
        assert_eq!(Secrets::from_row(&secrets.to_row()), Some(secrets));
    }

    #[test]
    fn secrets_are_random_and_hide_themselves() {
        let (one, two) = (SigningSecret::generate(), SigningSecret::generate());
        assert_ne!(one, two);
        assert_eq!(SigningSecret::parse(&one.expose()), Ok(one.clone()));
        let shown = format!("{:?}", Secrets { current: one.clone(), previous: None });
        assert!(!shown.contains(&one.expose()[6..]));
    }

    #[test]
    fn what_is_no_secret_is_refused() {
        use base64::Engine as _;
        use base64::engine::general_purpose::STANDARD;
        let of = |bytes: usize| format!("whsec_{}", STANDARD.encode(vec![7; bytes]));
        for (text, expect) in [(of(24), true), (of(64), true), (of(23), false), (of(65), false)] {
            assert_eq!(SigningSecret::parse(&text).is_ok(), expect, "{text}");
        }
        for text in
            ["", "whsec_", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_!!!!", "whsk_MfKQ9r8GKYqrTwjUPD8ILPZI"]
        {
            assert_eq!(SigningSecret::parse(text), Err(BadSecret), "{text}");
        }
    }
}
