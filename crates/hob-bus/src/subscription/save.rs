//! Writes what a subscription must remember: dead letters first, then the cursor that has passed them.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use hob_core::Timestamp;
use hob_store::{Expected, Kv};

use super::Subscription;
use crate::error::Error;
use crate::rows::{CursorRow, LetterRow, ROW_VERSION, encode_json};
use crate::step::{Input, Item};
use crate::subscriptions::{cursor_key, letter_key};

impl Subscription {
    /// Writes what has changed.
    pub(crate) async fn save(&self, kv: &dyn Kv, now: Timestamp) -> Result<(), Error> {
        let _saving = self.saving.lock().await;
        self.is_unsaved.store(false, Ordering::Release);
        let saved = self.save_all(kv, now).await;
        if saved.is_err() {
            self.mark_unsaved();
        }
        saved
    }

    async fn save_all(&self, kv: &dyn Kv, now: Timestamp) -> Result<(), Error> {
        if self.is_gone() {
            return Ok(());
        }
        self.file_letters(kv, now).await?;
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
    async fn file_letters(&self, kv: &dyn Kv, now: Timestamp) -> Result<(), Error> {
        let body = self.body.lock().await;
        let (burying, forgotten) = body.state.to_file();
        let of = body.row.id.clone();
        drop(body);
        if burying.is_empty() && forgotten.is_empty() {
            return Ok(());
        }
        for (_, letter) in &burying {
            let row = LetterRow {
                version: ROW_VERSION,
                of: of.clone(),
                attempts: letter.attempts,
                first_failed: letter.first_failed,
                last_failed: letter.last_failed,
                subject: letter.error.subject.clone(),
                last_error: letter.error.clone(),
                replaying: false,
            };
            let key = letter_key(&self.key, letter.sequence);
            kv.put(&key, Expected::Any, Bytes::from(encode_json(&row))).await?;
        }
        for sequence in &forgotten {
            kv.delete(&letter_key(&self.key, *sequence), Expected::Any).await?;
        }
        let buried: Vec<Item> = burying.into_iter().map(|(item, _)| item).collect();
        let mut body = self.body.lock().await;
        self.step(&mut body, Input::Filed { buried, forgotten }, now);
        Ok(())
    }
}
