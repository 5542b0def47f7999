//! `statefulset/README.md` as a person pastes it: each command of its `console` blocks gives the output below it.

use larder_harness::{need, prepared};
use std::path::Path;
use std::process::Command;

use crate::objects::{larder, printed};

const README: &str = include_str!("../../statefulset/README.md");

#[test]
fn its_commands_give_what_it_says() {
    let kubectl = need!(prepared("kubectl"));
    let blocks = README.split("```console\n").skip(1).map(|rest| rest.split_once("```").unwrap().0);
    let steps: Vec<_> = blocks.flat_map(|block| block.split("$ ").skip(1)).collect();
    let steps: Vec<_> = steps.iter().map(|step| step.split_once('\n').unwrap()).collect();
    assert!(steps.len() >= 5, "{steps:?}");
    let mut script = "exec 2>&1\n".to_owned();
    for (command, _) in &steps {
        script.push_str(&format!("printf '\\0'\n{command}\n"));
    }
    // The commands stand in the repository's root and leave a file there, which a link keeps away from it.
    let home = tempfile::tempdir().unwrap();
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
    std::os::unix::fs::symlink(repository.join("statefulset"), home.path().join("statefulset")).unwrap();
    let binary = larder();
    let tools = kubectl.parent().unwrap();
    let path = format!(
        "{}:{}:{}",
        binary.parent().unwrap().display(),
        tools.display(),
        std::env::var("PATH").unwrap()
    );
    let mut shell = Command::new("bash");
    let output =
        printed(shell.args(["-c", &format!("{script}\ntrue")]).current_dir(home.path()).env("PATH", path));
    let outputs: Vec<_> = output.split('\0').skip(1).collect();
    assert_eq!(outputs.len(), steps.len(), "{output}");
    for ((command, expected), output) in steps.iter().zip(outputs) {
        assert_eq!(output.trim_end(), expected.trim_end(), "$ {command}");
    }
}
