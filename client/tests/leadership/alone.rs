//! The lead of somebody who is alone.

use larder_client::migrate::leadership::Always;
use larder_client::migrate::{Leader, Leadership as _, NotLeading};

#[tokio::test]
async fn who_is_alone_leads_until_it_resigns() {
    let alone = Always::default();
    assert_eq!((alone.leader().borrow().clone(), alone.confirm().await), (Leader::Me, Ok(())));
    alone.resign().await;
    assert_eq!(alone.confirm().await, Err(NotLeading::Deposed(None)));
}
