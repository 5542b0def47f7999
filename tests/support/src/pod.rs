//! A program as a pod with a service account sees its cluster: by two variables, and by files in a place that cannot be chosen.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::json;

use crate::apiserver::kubeconfig;
use crate::skip::Skip;

/// In a mount namespace of its own, the files are where they belong; the process stays the one that was started.
const SCRIPT: &str = r#"
    set -e
    mount -t tmpfs pod /run
    mkdir -p /run/secrets/kubernetes.io/serviceaccount
    mount --bind "$1" /run/secrets/kubernetes.io/serviceaccount
    shift
    exec "$@"
"#;

/// A service account of a cluster.
#[derive(Clone, Debug)]
pub struct Account {
    /// What a kubelet mounts.
    directory: PathBuf,
    /// Where the cluster is.
    port: u16,
}

impl Account {
    /// The account of this token in this namespace, with its files in `directory`.
    ///
    /// # Errors
    /// Processes cannot have mounts of their own on this machine.
    pub(crate) fn new(
        directory: PathBuf,
        (ca, port): (&Path, u16),
        namespace: &str,
        token: &str,
    ) -> Result<Self, Skip> {
        let mut tried = Command::new("unshare");
        tried.args(["--map-root-user", "--mount", "true"]).stdout(Stdio::null()).stderr(Stdio::null());
        if !tried.status().is_ok_and(|it| it.success()) {
            return Err(Skip::new("unshare --map-root-user --mount does not work here"));
        }
        fs::create_dir_all(&directory).unwrap();
        fs::copy(ca, directory.join("ca.crt")).unwrap();
        fs::write(directory.join("namespace"), namespace).unwrap();
        fs::write(directory.join("token"), token).unwrap();
        Ok(Self { directory, port })
    }

    /// A kubeconfig of this account, for a program that is in no pod.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        let file = self.directory.with_extension("kubeconfig");
        let url = format!("https://127.0.0.1:{}", self.port);
        let user = json!({"tokenFile": self.directory.join("token")});
        fs::write(&file, kubeconfig(&url, &self.directory.join("ca.crt"), user).to_string()).unwrap();
        file
    }

    /// A program in a pod of this account.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("unshare");
        command
            .args(["--map-root-user", "--mount", "sh", "-c", SCRIPT, "sh"])
            .arg(&self.directory)
            .arg(program);
        command.env("KUBERNETES_SERVICE_HOST", "127.0.0.1");
        command.env("KUBERNETES_SERVICE_PORT", self.port.to_string());
        command
    }
}
