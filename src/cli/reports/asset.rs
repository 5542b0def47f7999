//! What an asset is called, as flags.

use clap::Args;
use larder_client::reports::Asset;

/// What the report's asset is called and where it runs; findings are asked for by it.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Asset")]
pub(super) struct AssetFlags {
    /// Its name.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    name: String,
    /// The namespace that it runs in.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    namespace: String,
    /// The service or deployment that it belongs to.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    service: String,
    /// The image that it runs, or is.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    image: String,
    /// The operating system at its base, as ubuntu:22.04.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    os: String,
    /// The node that it runs on, or is.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    node: String,
    /// The repository of an image.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    repository: String,
    /// The tag of an image.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    tag: String,
}

impl From<AssetFlags> for Asset {
    fn from(flags: AssetFlags) -> Self {
        let AssetFlags { name, namespace, service, image, os, node, repository, tag } = flags;
        Self { name, namespace, service, image, os, node, repository, tag }
    }
}
