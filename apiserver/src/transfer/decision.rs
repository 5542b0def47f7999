//! Whom to believe about one object: a pure function of the two that stand in etcd and here.

use jiff::Timestamp;

use super::entrance::Old;
use super::shape;
use crate::store::Revision;

/// What stands here.
#[derive(Clone, Copy, Debug)]
pub(super) struct Here {
    pub(super) revision: Revision,
    /// Whether it is the same as what stands in etcd.
    pub(super) is_same: bool,
    /// Whether this mover wrote it, and nobody since.
    pub(super) is_ours: bool,
}

/// When this store became right.
#[derive(Clone, Debug)]
pub(super) struct Opened {
    /// The revision here: what was written by clients is above it.
    pub(super) at: Revision,
    /// The revision of etcd up to which everything had been copied.
    pub(super) behind: Revision,
    /// When that was, rounded down.
    pub(super) since: Timestamp,
    /// Whether what stands in etcd up to that revision was copied from there, and not to there.
    pub(super) are_originals: bool,
}

/// What is to be done with what stands in etcd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// It is copied, where there is nothing.
    Create,
    /// It is copied, over what stands here.
    Update,
    /// It is here.
    Same,
    /// It was here, and was changed here since.
    Succeeded,
    /// It was here, and was deleted here since.
    Deleted,
    /// It was written in etcd after this store had become right, and here too: what stands here stays.
    Overruled,
}

pub(super) fn decide(old: &Old, here: Option<Here>, opened: Option<&Opened>) -> Decision {
    let Some(opened) = opened else {
        return match here {
            None => Decision::Create,
            Some(here) if here.is_same => Decision::Same,
            Some(_) => Decision::Update,
        };
    };
    // What we wrote there ourselves is nobody's late write.
    let is_late = old.revision > opened.behind && !shape::is_released(old);
    match here {
        None if is_late && created(old).is_none_or(|it| it >= opened.since) => Decision::Create,
        None => Decision::Deleted,
        Some(here) if here.is_same => Decision::Same,
        Some(here) if here.revision > opened.at && !here.is_ours && is_late => Decision::Overruled,
        Some(here) if here.revision > opened.at && !here.is_ours => Decision::Succeeded,
        Some(_) if shape::is_released(old) || !is_late && !opened.are_originals => Decision::Succeeded,
        Some(_) => Decision::Update,
    }
}

fn created(old: &Old) -> Option<Timestamp> {
    old.object.meta("creationTimestamp")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::object::Object;
    use crate::store::Key;

    fn old(revision: Revision, created: &str, released: bool) -> Old {
        let annotations = if released { json!({shape::RELEASED: "true"}) } else { json!({}) };
        let object = json!({"metadata": {"creationTimestamp": created, "annotations": annotations}});
        let key = Key { namespace: "n".to_owned(), name: "a".to_owned() };
        Old { key, revision, object: Object(object.as_object().expect("an object").clone()) }
    }

    fn here(revision: Revision, is_same: bool, is_ours: bool) -> Option<Here> {
        Some(Here { revision, is_same, is_ours })
    }

    const BEFORE: &str = "2026-01-01T00:00:00Z";
    const SINCE: &str = "2026-01-01T00:00:10Z";

    #[test]
    fn etcd_is_right_until_the_store_is_opened() {
        let old = old(5, BEFORE, false);
        assert_eq!(decide(&old, None, None), Decision::Create);
        assert_eq!(decide(&old, here(1, true, false), None), Decision::Same);
        assert_eq!(decide(&old, here(1, false, false), None), Decision::Update);
    }

    #[test]
    fn then_only_late_writes_are_and_only_over_what_no_client_has_written() {
        let opened =
            Opened { at: 100, behind: 5, since: SINCE.parse().expect("a time"), are_originals: true };
        let decided = |old: &Old, here| decide(old, here, Some(&opened));
        let (copied, late) = (old(5, BEFORE, false), old(6, BEFORE, false));
        assert_eq!(decided(&copied, None), Decision::Deleted);
        assert_eq!(decided(&late, None), Decision::Deleted);
        assert_eq!(decided(&old(6, SINCE, false), None), Decision::Create);
        assert_eq!(decided(&copied, here(101, false, false)), Decision::Succeeded);
        assert_eq!(decided(&late, here(101, false, false)), Decision::Overruled);
        assert_eq!(decided(&late, here(101, false, true)), Decision::Update);
        assert_eq!(decided(&late, here(99, false, false)), Decision::Update);
        assert_eq!(decided(&late, here(99, true, false)), Decision::Same);
        assert_eq!(decided(&copied, here(99, false, false)), Decision::Update);
        let opened = Opened { are_originals: false, ..opened };
        assert_eq!(decide(&copied, here(99, false, false), Some(&opened)), Decision::Succeeded);
    }

    #[test]
    fn what_lost_its_finalizers_in_etcd_does_not_lose_them_here() {
        let opened =
            Opened { at: 100, behind: 5, since: SINCE.parse().expect("a time"), are_originals: true };
        let released = old(7, BEFORE, true);
        assert_eq!(decide(&released, here(99, false, false), Some(&opened)), Decision::Succeeded);
        assert_eq!(decide(&released, here(101, false, false), Some(&opened)), Decision::Succeeded);
        assert_eq!(decide(&released, None, Some(&opened)), Decision::Deleted);
    }
}
