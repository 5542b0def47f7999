//! rqlite's own Python client against the dialect under `/db/`; the tests are in `tests/pyrqlite`.

use larder_harness::setup;
use std::process::Command;

#[test]
#[ignore = "needs pyrqlite: `make python-tests` brings it"]
fn drives_the_server() {
    let python = std::env::var_os("LARDER_PYTHON").expect("LARDER_PYTHON names a Python that has pyrqlite");
    let server = setup!().start();
    let owner = server.pair("owner");
    let status = Command::new(python)
        .args(["-m", "pytest", "-p", "no:cacheprovider", "-q", "tests/pyrqlite"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("LARDER_URL", server.url())
        .env("LARDER_CA", server.home().join("ca.crt"))
        .env("LARDER_CERT", owner.cert)
        .env("LARDER_KEY", owner.key)
        .status()
        .unwrap();
    assert!(status.success());
}
