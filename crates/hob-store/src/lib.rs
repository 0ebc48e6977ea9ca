//! Where durable things are kept: logs, keys and blobs behind three small traits.
//!
//! Everything durable is a tail in a [`Log`], a sealed immutable part in [`Blobs`] or a small key in a [`Kv`].
//! Callers hold `Arc<dyn Log>`, `Arc<dyn Kv>` and `Arc<dyn Blobs>`; this crate alone knows the engines.
//! The store knows no topics, no subscriptions and no cursors: only tags, keys and names.
//! Start at [`Store::open`].

mod log;
mod segmented;

mod kv;
mod lease;

mod blobs;
mod part;

mod index;

mod examine;
mod lock;
mod open;
mod seek;
mod store;

pub mod varint;

pub use blobs::{BLOB_BYTES_MAX, BLOB_NAME_BYTES_MAX, Blob, BlobError, Blobs};
pub use examine::{Finding, examine};
pub use index::{Index, IndexCommit, IndexEntry, IndexError, IndexPut};
pub use kv::{
    Entry, Expected, KEY_BYTES_MAX, Kv, KvChange, KvError, KvWatch, Listing, Revision, VALUE_BYTES_MAX,
};
pub use lease::{Lease, LeaseError};
pub use log::{
    APPEND_BYTES_MAX, APPEND_RECORDS_MAX, AppendError, Appended, Batch, Durable, Gap, Log, LogCondition,
    LogStats, READ_SCAN_BYTES_MAX, RECORD_BYTES_MAX, ReadError, ReadLimits, Record, Stored, TAG_BYTES_MAX,
    Tag, TagError, TrimError,
};
pub use open::OpenError;
#[doc(hidden)]
pub use part::fuzz_decode_part;
pub use part::{
    FRAME_BYTES, Frame, KeyFilter, PART_FRAMES_MAX, PART_TAGS_MAX, PartCheck, PartError, PartIndex,
    PartWriter, TagRows, check_part, decode_frame, salvage_part,
};
pub use seek::seek;
#[doc(hidden)]
pub use segmented::{Faults, fuzz_decode_block};
pub use segmented::{LogOptions, SegmentedLog, SyncPolicy};
pub use store::{Store, StoreOptions};

/// A boxed future, so that the traits of this crate can be used as `Arc<dyn _>`.
pub type BoxFuture<'a, T> = futures_util::future::BoxFuture<'a, T>;
