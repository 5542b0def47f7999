//! Two rosters as one: who lives from the one, how they are set from the other.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;

use super::{Member, Roster, RosterError};

/// Members as one roster knows them, with the settings that they announce in another. Who lives in either of them lives.
pub struct Joined {
    members: Arc<dyn Roster>,
    announced: Arc<dyn Roster>,
}

impl Joined {
    /// Joins a roster that knows everybody to one that knows how they are set.
    pub fn new(members: Arc<dyn Roster>, announced: Arc<dyn Roster>) -> Self {
        Self { members, announced }
    }
}

#[async_trait]
impl Roster for Joined {
    async fn members(&self) -> Result<Vec<Member>, RosterError> {
        let announced = self.announced.members().await?;
        let mut announced: BTreeMap<_, _> = announced.into_iter().map(|it| (it.id.clone(), it)).collect();
        let mut members = self.members.members().await?;
        for member in &mut members {
            if let Some(own) = announced.remove(&member.id).filter(|own| own.alive) {
                member.mode = own.mode;
                // Two words on one version are none, unless they agree.
                if member.version != own.version {
                    member.version = None;
                }
            }
        }
        members.extend(announced.into_values());
        Ok(members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fallback::Mode;

    struct Fixed(Vec<Member>);

    #[async_trait]
    impl Roster for Fixed {
        async fn members(&self) -> Result<Vec<Member>, RosterError> {
            Ok(self.0.clone())
        }
    }

    fn member(id: &str, version: &str, mode: Option<Mode>, alive: bool) -> Member {
        Member { id: id.to_owned(), version: Some(version.to_owned()), mode, alive }
    }

    #[tokio::test]
    async fn settings_come_to_the_members_and_nobody_is_lost() {
        let known =
            [member("a", "1", None, true), member("b", "1", None, true), member("c", "1", None, true)];
        let announced = [
            member("a", "1", Some(Mode::Auto), true),
            member("b", "1", Some(Mode::Auto), false),
            member("c", "2", Some(Mode::Auto), true),
            member("d", "1", Some(Mode::Off), true),
        ];
        let joined = Joined::new(Arc::new(Fixed(known.into())), Arc::new(Fixed(announced.into())));
        let mut unsure = member("c", "1", Some(Mode::Auto), true);
        unsure.version = None;
        let expected = [
            member("a", "1", Some(Mode::Auto), true),
            member("b", "1", None, true),
            unsure,
            member("d", "1", Some(Mode::Off), true),
        ];
        assert_eq!(joined.members().await.expect("members"), expected);
    }
}
