//! Who of a service's instances posts the rows: whoever holds the lease row of the file.

use std::time::Duration;

use hob_core::Timestamp;
use rusqlite::{Transaction, params};

use super::Error;

/// How long a lease lasts when it is not renewed.
pub(super) const LEASE: Duration = Duration::from_secs(3);
/// How long after it was taken or renewed a lease is renewed.
pub(super) const RENEW_AFTER: Duration = Duration::from_secs(1);

/// Takes or renews the lease; whether it is ours now.
pub(super) fn take(transaction: &Transaction<'_>, holder: &str, now: Timestamp) -> Result<bool, Error> {
    let changed = transaction.execute(
        "INSERT INTO hob_outbox_lease (one, holder, expires_us) VALUES (1, ?1, ?2)
         ON CONFLICT (one) DO UPDATE SET holder = excluded.holder, expires_us = excluded.expires_us
         WHERE holder = excluded.holder OR expires_us <= ?3",
        params![holder, now.plus(LEASE).as_micros(), now.as_micros()],
    )?;
    Ok(changed == 1)
}

/// Gives the lease back, when it is ours.
pub(super) fn give_back(transaction: &Transaction<'_>, holder: &str) -> Result<(), Error> {
    transaction.execute("DELETE FROM hob_outbox_lease WHERE holder = ?1", [holder])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outbox::rows;

    #[test]
    fn one_holds_it_until_it_is_given_back_or_runs_out() {
        let mut connection = rusqlite::Connection::open_in_memory().unwrap();
        let transaction = connection.transaction().unwrap();
        rows::create(&transaction).unwrap();
        let start = Timestamp::from_micros(1_000_000);
        let take = |holder: &str, now: Timestamp| take(&transaction, holder, now).unwrap();
        assert!(take("a", start));
        assert!(!take("b", start.plus(Duration::from_secs(2))));
        assert!(take("a", start.plus(Duration::from_secs(2))));
        assert!(!take("b", start.plus(Duration::from_secs(4))));
        assert!(take("b", start.plus(Duration::from_secs(5))));
        assert!(!take("a", start.plus(Duration::from_secs(5))));
        give_back(&transaction, "a").unwrap();
        assert!(!take("a", start.plus(Duration::from_secs(5))));
        give_back(&transaction, "b").unwrap();
        assert!(take("a", start.plus(Duration::from_secs(5))));
    }
}
