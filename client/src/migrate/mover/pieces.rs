//! Clearing away the pieces that are left of values that are gone: tails of longer reports that older controllers wrote, and what a mover left
//! that was killed while it removed a value of many pieces.
//!
//! A piece goes only if the other depot knows its report: then the value that it stood behind was brought over, or deleted. One of which
//! nobody knows anything stays, is counted and named.

use super::{Halt, Pass};
use crate::fallback::shelf::LoosePiece;
use crate::migrate::depot::Depot;

impl<F: Depot, T: Depot> Pass<F, T> {
    /// Clears away pieces that belong to nothing, after everything else is over.
    pub(super) async fn clear_pieces(&self) -> Result<(), Halt> {
        let pieces = self.from.loose_pieces().await.map_err(|it| self.here_failed(it))?;
        for few in pieces.chunks(self.pace.batch_reports.max(1)) {
            self.clear_few(few).await?;
        }
        Ok(())
    }

    async fn clear_few(&self, pieces: &[LoosePiece]) -> Result<(), Halt> {
        self.turn().await?;
        let keys: Vec<_> = pieces.iter().map(|it| it.key.clone()).collect();
        let there = self.to.look(&keys).await.map_err(|it| self.there_failed(it))?;
        self.leadership.confirm().await?;
        for (piece, there) in pieces.iter().zip(there) {
            if there.is_known() {
                self.from.remove_piece(piece).await.map_err(|it| self.here_failed(it))?;
            } else {
                self.name_piece(piece);
            }
        }
        Ok(())
    }

    fn name_piece(&self, piece: &LoosePiece) {
        self.progress.send_modify(|it| {
            it.total += 1;
            it.skip(piece.into());
        });
    }
}
