//! The store from outside: every operation there and back, contradictions, other processes, crashes, rebuilding.

use nocturne::flow::NightId;
use nocturne::layout::Layout;
use nocturne::store::Store;

#[tokio::test]
async fn smoke() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open_in(&Layout::new(folder.path())).await.unwrap();
    assert!(store.night(&"n".parse::<NightId>().unwrap()).await.unwrap().is_none());
    assert!(store.integrity_check().await.unwrap().is_empty());
}
