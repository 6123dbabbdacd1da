//! The configurations that were put into force, for the operator to look back at and to return to.

use aws_lc_rs::digest::{SHA256, digest};

use super::{Error, Service, audited_by};
use crate::audit::configuration::{ConfigurationVersion, How};
use crate::audit::{Actor, Event};
use crate::storage::codec::Record;
use crate::storage::{Batch, CommitOutcome, Expect, Table, Version};
use crate::x509::hex;

/// So many versions are kept; beyond it the oldest goes.
pub const KEPT: u64 = 100;

/// Where the last number lies in [`Table::Meta`].
const LAST: &[u8] = b"configuration";

/// A configuration that was put into force, with its number.
pub type Numbered = (u64, ConfigurationVersion);

/// The lower-case hex SHA-256 of a text.
pub fn text_digest(text: &str) -> String {
    hex::encode(&sha256(text))
}

fn sha256(text: &str) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest(&SHA256, text.as_bytes()).as_ref());
    out
}

impl Service {
    /// Keeps a configuration that is about to be put into force, and returns its number. One that says
    /// what the last one says is no new version: the last one's number is returned.
    pub async fn keep_configuration(
        &self,
        text: String,
        files: Vec<(String, String)>,
        how: How,
        by: Option<&Actor>,
    ) -> Result<u64, Error> {
        let (last, expected) = self.last_configuration().await?;
        if let Some((number, known)) = self.configuration(last).await?
            && known.text == text
            && known.files == files
        {
            return Ok(number);
        }
        let (number, at) = (last + 1, self.now());
        let event = Event::ConfigurationChanged { version: number, how, sha256: sha256(&text) };
        let record = ConfigurationVersion { at, how, text, files };
        let mut batch = Batch::new()
            .expect(Table::Meta, LAST, expected)
            .put(Table::Meta, LAST, number.to_be_bytes().to_vec())
            .put(Table::Configurations, number.to_be_bytes(), record.encode());
        if let Some(old) = number.checked_sub(KEPT).filter(|old| *old > 0) {
            batch = batch.delete(Table::Configurations, old.to_be_bytes());
        }
        match self.store.commit(audited_by(batch, at, event, by)).await? {
            CommitOutcome::Committed(_) => Ok(number),
            CommitOutcome::Conflict => Err(Error::Busy("another configuration was put into force just now")),
        }
    }

    /// What `of` makes of each that is kept, the oldest first: at most [`KEPT`], and read one after the
    /// other, since each may be as large as a row.
    pub async fn configurations<T>(&self, of: impl Fn(&Numbered) -> T) -> Result<Vec<T>, Error> {
        let (last, _) = self.last_configuration().await?;
        let mut all = Vec::new();
        for number in last.saturating_sub(KEPT) + 1..=last {
            // One may have gone meanwhile.
            all.extend(self.configuration(number).await?.as_ref().map(&of));
        }
        Ok(all)
    }

    /// One of them; 0 is the last. `None` if there is none of that number, or none any more.
    pub async fn configuration(&self, number: u64) -> Result<Option<Numbered>, Error> {
        let number = if number == 0 { self.last_configuration().await?.0 } else { number };
        let row = self.store.get(Table::Configurations, &number.to_be_bytes()).await?;
        row.map(|row| Ok((number, ConfigurationVersion::decode(&row.value)?))).transpose()
    }

    /// The last number, 0 if there is none yet, and what to expect of its row.
    async fn last_configuration(&self) -> Result<(u64, Expect), Error> {
        match self.store.get(Table::Meta, LAST).await? {
            None => Ok((0, Expect::Absent)),
            Some(row) => Ok((number(&row.value)?, Expect::Is(Version(row.version.0)))),
        }
    }
}

fn number(bytes: &[u8]) -> Result<u64, Error> {
    let bytes = bytes.try_into();
    bytes.map(u64::from_be_bytes).map_err(|_| Error::Internal("a configuration's number is malformed".into()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::service::stand::Stand;

    fn text(n: u64) -> String {
        format!("# {n}\n")
    }

    #[tokio::test]
    async fn versions_are_kept_once_and_not_for_ever() {
        let stand = Stand::new().await;
        let service = &stand.service;
        assert!(service.configuration(0).await.unwrap().is_none());
        assert!(service.configurations(Clone::clone).await.unwrap().is_empty());
        assert_eq!(service.keep_configuration(text(1), Vec::new(), How::Start, None).await.unwrap(), 1);
        // A start with the same file is none of its own.
        assert_eq!(service.keep_configuration(text(1), Vec::new(), How::Start, None).await.unwrap(), 1);
        let rules = vec![("policy.toml".to_owned(), "a".to_owned())];
        assert_eq!(service.keep_configuration(text(1), rules.clone(), How::Signal, None).await.unwrap(), 2);
        stand.clock.advance(Duration::from_secs(5));
        assert_eq!(service.keep_configuration(text(1), Vec::new(), How::Rollback(1), None).await.unwrap(), 3);
        let all = service.configurations(Clone::clone).await.unwrap();
        let hows: Vec<_> = all.iter().map(|(number, version)| (*number, version.how)).collect();
        assert_eq!(hows, [(1, How::Start), (2, How::Signal), (3, How::Rollback(1))]);
        assert_eq!(all[1].1.files, rules);
        assert_eq!(all[2].1.at, service.now());
        assert_eq!(service.configuration(0).await.unwrap().unwrap(), all[2]);
        assert_eq!(service.configuration(2).await.unwrap().unwrap(), all[1]);
        assert!(service.configuration(4).await.unwrap().is_none());

        for n in 4..=KEPT + 10 {
            assert_eq!(service.keep_configuration(text(n), Vec::new(), How::Apply, None).await.unwrap(), n);
        }
        let all = service.configurations(Clone::clone).await.unwrap();
        assert_eq!((all.len() as u64, all[0].0, all.last().unwrap().0), (KEPT, 11, KEPT + 10));
        assert!(service.configuration(10).await.unwrap().is_none());

        let events = stand.events().await;
        let changes = events.iter().filter(|event| matches!(event, Event::ConfigurationChanged { .. }));
        assert_eq!(changes.count() as u64, KEPT + 10);
    }

    #[tokio::test]
    async fn of_two_at_once_none_is_lost() {
        let stand = Stand::new().await;
        let both = tokio::join!(
            stand.service.keep_configuration(text(1), Vec::new(), How::Signal, None),
            stand.service.keep_configuration(text(2), Vec::new(), How::Apply, None),
        );
        let kept = [both.0.ok(), both.1.ok()].into_iter().flatten().count();
        assert_eq!(stand.service.configurations(|_| ()).await.unwrap().len(), kept);
        assert!(kept >= 1);
    }
}
