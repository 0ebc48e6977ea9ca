//! What every store of blobs promises.

use std::sync::Arc;

use bytes::Bytes;
use hob_store::{Blob, BlobError, Blobs, Store, StoreOptions};

async fn keeps_bytes_under_names(blobs: Arc<dyn Blobs>) {
    let content = Bytes::from_static(b"0123456789");
    assert!(matches!(blobs.get("p/a").await.unwrap_err(), BlobError::NotFound { .. }));
    assert!(!blobs.exists("p/a").await.unwrap());
    blobs.put("p/a", Bytes::from_static(b"old")).await.unwrap();
    blobs.put("p/a", content.clone()).await.unwrap();
    blobs.put("p/b-1.part", Bytes::new()).await.unwrap();
    blobs.put("pq/c", content.clone()).await.unwrap();
    assert!(blobs.exists("p/a").await.unwrap());
    assert_eq!(blobs.get("p/a").await.unwrap(), content);
    assert_eq!(blobs.get_range("p/a", 2..5).await.unwrap(), content.slice(2..5));
    assert_eq!(blobs.get_range("p/a", 8..500).await.unwrap(), content.slice(8..));
    assert_eq!(blobs.get_range("p/a", 50..60).await.unwrap(), Bytes::new());
    let blob = |name: &str, size| Blob { name: name.to_owned(), size };
    assert_eq!(blobs.list("p").await.unwrap(), [blob("p/a", 10), blob("p/b-1.part", 0)]);
    assert_eq!(blobs.list("").await.unwrap().len(), 3);
    assert_eq!(blobs.list("nothing").await.unwrap(), []);
    blobs.delete("p/a").await.unwrap();
    blobs.delete("p/a").await.unwrap();
    assert!(matches!(blobs.get("p/a").await.unwrap_err(), BlobError::NotFound { .. }));
}

async fn refuses_names_that_leave(blobs: Arc<dyn Blobs>) {
    for name in ["", "/", "/a", "a/", "a//b", "../a", "a/../b", ".", "a b", "a#1", "ä", "a\\b", "a\0"] {
        let error = blobs.put(name, Bytes::new()).await.unwrap_err();
        assert!(matches!(error, BlobError::BadName { .. }), "{name}: {error}");
        assert!(matches!(blobs.get(name).await.unwrap_err(), BlobError::BadName { .. }), "{name}");
    }
    assert_eq!(blobs.list("").await.unwrap(), []);
}

macro_rules! promises {
    ($($promise:ident),* $(,)?) => {$(
        #[tokio::test]
        async fn $promise() {
            let directory = tempfile::tempdir().unwrap();
            let store = Store::open(directory.path(), StoreOptions::default()).await.unwrap();
            super::$promise(Arc::clone(&store.blobs)).await;
        }
    )*};
}

mod directory {
    use super::*;

    promises!(keeps_bytes_under_names, refuses_names_that_leave);
}
