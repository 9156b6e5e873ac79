//! A listing that is sent page by page: memory does not grow with it.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use highwater_kafka::dead_letter::{DlqCursor, DlqPage, DlqReadError, RedriveProgress};
use tokio::sync::OnceCell;

use super::{DlqAdmin, body, request::ListQuery};

/// The number of dead letters that one request reads where the client gave no limit.
const AT_ONCE: usize = 200;

/// A listing.
pub(super) struct Listing {
    admin: Arc<DlqAdmin>,
    query: ListQuery,
    lines: bool,
    count: u64,
    /// The progress of the redrive of each partition, asked for once; `None` within it where Kafka did not tell.
    progress: OnceCell<Option<BTreeMap<i32, RedriveProgress>>>,
    /// The next step; `None` at the end.
    next: Option<Step>,
}

/// The next step of a listing.
enum Step {
    Read(Option<DlqCursor>),
    Close,
}

impl Listing {
    pub(super) fn begin(admin: Arc<DlqAdmin>, query: ListQuery, lines: bool) -> Self {
        let next = Some(Step::Read(query.cursor.clone()));
        Self { admin, query, lines, count: 0, progress: OnceCell::new(), next }
    }

    /// The query.
    pub(super) fn query(&self) -> &ListQuery {
        &self.query
    }

    /// The first piece, and the beginning of the next page, in case this is a page.
    pub(super) async fn first(&mut self) -> Result<(Bytes, Option<DlqCursor>), DlqReadError> {
        let mut piece = Vec::new();
        if !self.lines {
            piece.extend_from_slice(b"{\"deadLetters\":[");
        }
        let next = self.add(&mut piece).await?;
        Ok((piece.into(), next))
    }

    /// The next piece; `None` after the last one.
    pub(super) async fn piece(&mut self) -> Result<Option<Bytes>, DlqReadError> {
        let mut piece = Vec::new();
        while piece.is_empty() {
            match &self.next {
                None => return Ok(None),
                Some(Step::Read(_)) => drop(self.add(&mut piece).await?),
                Some(Step::Close) => {
                    self.next = None;
                    if self.lines {
                        return Ok(None);
                    }
                    // The count stands last, since it is known only now.
                    piece.extend_from_slice(format!("],\"count\":{}}}", self.count).as_bytes());
                }
            }
        }
        Ok(Some(piece.into()))
    }

    /// Adds a page; returns the beginning of the next one, in case this is the only one.
    async fn add(&mut self, piece: &mut Vec<u8>) -> Result<Option<DlqCursor>, DlqReadError> {
        let Some(Step::Read(cursor)) = &self.next else { return Ok(None) };
        let limit = self.query.limit.unwrap_or(AT_ONCE);
        let found = self.admin.reader.newest(&self.query.filter, cursor.as_ref(), limit).await?;
        let DlqPage { dead_letters, next, .. } = found;
        // Only now: the reader has waited for a topic that was just created, of which no progress is known.
        let progress = self.progress.get_or_init(|| progress(&self.admin)).await.as_ref();
        for dead_letter in &dead_letters {
            if self.count > 0 && !self.lines {
                piece.push(b',');
            }
            self.count += 1;
            body::push(piece, dead_letter, progress);
            if self.lines {
                piece.push(b'\n');
            }
        }
        let is_page = self.query.limit.is_some();
        self.next = Some(match &next {
            Some(cursor) if !is_page => Step::Read(Some(cursor.clone())),
            _ => Step::Close,
        });
        Ok(next.filter(|_| is_page))
    }
}

async fn progress(admin: &DlqAdmin) -> Option<BTreeMap<i32, RedriveProgress>> {
    let progress = admin.redriver.progress().await;
    progress.inspect_err(|error| log::debug!("what was sent back is not known: {error}")).ok()
}
