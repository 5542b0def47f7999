//! A kube-controller-manager: the controllers of a cluster that have to do with objects of every kind.

use std::path::Path;

use tempfile::TempDir;

use super::binary;
use super::process::{Process, args};
use crate::log::Log;
use crate::skip::Skip;

/// The garbage collector says so when it knows every resource that the cluster had at the start.
const READY: &str = "Proceeding to collect garbage";

/// Running controllers of namespaces, of garbage and of quotas; killed when it is dropped.
pub struct ControllerManager {
    process: Process,
    _home: TempDir,
}

impl ControllerManager {
    /// Starts the controllers for the cluster of this kubeconfig, who may do everything, and waits until they know its resources. Of resources
    /// that come later they learn within half a minute.
    ///
    /// # Errors
    /// There is none on this machine.
    pub fn start(kubeconfig: &Path) -> Result<Self, Skip> {
        Self::start_with(kubeconfig, &[])
    }

    /// As [`ControllerManager::start`], with these controllers besides.
    ///
    /// # Errors
    /// There is none on this machine.
    pub fn start_with(kubeconfig: &Path, more: &[&str]) -> Result<Self, Skip> {
        let usual = ["namespace-controller", "garbage-collector-controller", "resourcequota-controller"];
        let binary = binary("kube-controller-manager")?;
        let home = tempfile::tempdir().unwrap();
        let args = args([
            format!("--kubeconfig={}", kubeconfig.display()),
            format!("--controllers={}", [&usual, more].concat().join(",")),
            "--leader-elect=false".to_owned(),
            "--secure-port=0".to_owned(),
            "--kube-api-qps=200".to_owned(),
            "--kube-api-burst=400".to_owned(),
        ]);
        let process = Process::start_at(&binary, &args, home.path(), READY);
        Ok(Self { process, _home: home })
    }

    /// What it has logged.
    #[must_use]
    pub fn log(&self) -> &Log {
        self.process.log()
    }
}
