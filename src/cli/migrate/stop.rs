//! How a migration is stopped: a signal closes the gate, and a mover looks at the gate before each batch. A second signal ends the process.

use larder_client::migrate::{GateState, Phase, Progress};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use crate::cli::Failure;

/// Whether a signal came, and a gate that it closes.
pub(super) struct Stop {
    gate: watch::Receiver<GateState>,
    signalled: watch::Receiver<bool>,
}

impl Stop {
    /// From now on SIGTERM and ctrl-C do not end the process.
    pub(super) fn on_signal(gate: watch::Receiver<GateState>) -> Result<Self, Failure> {
        let of = |kind| signal(kind).map_err(Failure::io("waiting for signals"));
        let signals = (of(SignalKind::terminate())?, of(SignalKind::interrupt())?);
        let (close, closable) = watch::channel(gate.borrow().clone());
        let (tell, signalled) = watch::channel(false);
        tokio::spawn(pass_on(gate, signals, close, tell));
        Ok(Self { gate: closable, signalled })
    }

    /// The gate.
    pub(super) fn gate(&self) -> watch::Receiver<GateState> {
        self.gate.clone()
    }

    pub(super) fn is_signalled(&self) -> bool {
        *self.signalled.borrow()
    }

    /// Returns when a signal came.
    pub(super) async fn signalled(&self) {
        // Who sends it lives as long as the process.
        drop(self.signalled.clone().wait_for(|it| *it).await);
    }

    /// Returns when a signal came and no batch is under way.
    pub(super) async fn between_batches(&self, mut progress: watch::Receiver<Progress>) {
        self.signalled().await;
        let rests = |it: &Progress| matches!(it.phase, Phase::Idle | Phase::Waiting(_));
        drop(progress.wait_for(rests).await);
    }
}

async fn pass_on(
    mut gate: watch::Receiver<GateState>,
    (mut terminate, mut interrupt): (Signal, Signal),
    close: watch::Sender<GateState>,
    tell: watch::Sender<bool>,
) {
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            Ok(()) = gate.changed() => drop(close.send_replace(gate.borrow_and_update().clone())),
        }
    }
    tell.send_replace(true);
    close.send_replace(GateState::Closed(Vec::new()));
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    std::process::exit(130);
}
