//! Writes what a subscription must remember: dead letters first, then the cursor that has passed them.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use hob_core::Timestamp;
use hob_store::{Expected, Kv};
use hob_wire::{Condition, sequence_text};

use super::Subscription;
use crate::error::Error;
use crate::read::{Reader, decode};
use crate::rows::{CursorRow, LetterRow, ROW_VERSION, encode_json};
use crate::step::{Input, Item, Letter};
use crate::subscriptions::{cursor_key, letter_key};

impl Subscription {
    /// Writes what has changed.
    pub(crate) async fn save(&self, kv: &dyn Kv, reader: &Reader<'_>, now: Timestamp) -> Result<(), Error> {
        let _saving = self.saving.lock().await;
        self.is_unsaved.store(false, Ordering::Release);
        let saved = self.save_all(kv, reader, now).await;
        if saved.is_err() {
            self.mark_unsaved();
        }
        saved
    }

    async fn save_all(&self, kv: &dyn Kv, reader: &Reader<'_>, now: Timestamp) -> Result<(), Error> {
        if self.is_gone() {
            return Ok(());
        }
        self.file_letters(kv, reader, now).await?;
        let mut body = self.body.lock().await;
        let state = &body.state;
        let progress = (state.done(), state.looked);
        let row = CursorRow::new(&body.row.id, progress, state.pending(), state.snapshot_place());
        body.saved = progress.1;
        drop(body);
        kv.put(&cursor_key(&self.key), Expected::Any, Bytes::from(encode_json(&row))).await?;
        Ok(())
    }

    /// Writes new dead letters and removes those that were delivered after all.
    async fn file_letters(&self, kv: &dyn Kv, reader: &Reader<'_>, now: Timestamp) -> Result<(), Error> {
        let body = self.body.lock().await;
        let (burying, forgotten) = body.state.to_file();
        let of = body.row.id.clone();
        drop(body);
        if burying.is_empty() && forgotten.is_empty() {
            return Ok(());
        }
        let mut buried: Vec<Item> = Vec::new();
        for (item, letter) in burying {
            self.bury(kv, reader, &of, letter).await?;
            buried.push(item);
        }
        for sequence in &forgotten {
            kv.delete(&letter_key(&self.key, *sequence), Expected::Any).await?;
        }
        self.letters_gone(&forgotten).await;
        let mut body = self.body.lock().await;
        self.step(&mut body, Input::Filed { buried, forgotten }, now);
        Ok(())
    }

    async fn bury(&self, kv: &dyn Kv, reader: &Reader<'_>, of: &str, letter: Letter) -> Result<(), Error> {
        let stored = reader.record(&self.key.scope, letter.sequence).await?;
        let subject = stored.as_ref().and_then(decode).and_then(|row| row.subject.map(str::to_owned));
        let row = LetterRow {
            version: ROW_VERSION,
            of: of.to_owned(),
            attempts: letter.attempts,
            first_failed: letter.first_failed,
            last_failed: letter.last_failed,
            subject: subject.clone(),
            last_error: letter.error,
        };
        let key = letter_key(&self.key, letter.sequence);
        kv.put(&key, Expected::Any, Bytes::from(encode_json(&row))).await?;
        let about = subject.unwrap_or_else(|| sequence_text(letter.sequence));
        let reason = format!("failed {} times; last: {}", letter.attempts, row.last_error.detail);
        self.unsaved.tell(&self.key, self.dead_letter(&about, true, reason));
        self.body.lock().await.letters.insert(letter.sequence, about);
        Ok(())
    }

    /// Letters that are stored, as they were found.
    pub(crate) async fn letters_known(&self, letters: Vec<(u64, LetterRow)>) {
        let mut body = self.body.lock().await;
        let about = |(sequence, row): (u64, LetterRow)| {
            (sequence, row.subject.unwrap_or_else(|| sequence_text(sequence)))
        };
        body.letters.extend(letters.into_iter().map(about));
    }

    /// Letters are no longer; what they were about has none left, perhaps.
    pub(crate) async fn letters_gone(&self, sequences: &[u64]) {
        let mut body = self.body.lock().await;
        for sequence in sequences {
            let Some(about) = body.letters.remove(sequence) else { continue };
            if !body.letters.values().any(|other| *other == about) {
                let condition = self.dead_letter(&about, false, "it has no dead letter any more".to_owned());
                self.unsaved.tell(&self.key, condition);
            }
        }
    }

    fn dead_letter(&self, about: &str, active: bool, reason: String) -> Condition {
        Condition {
            subject: format!("subscription/{}/{}/{about}", self.key.service, self.key.name),
            condition: "dead-letter".to_owned(),
            active,
            reason,
            environment: None,
            tenant: None,
        }
    }
}
