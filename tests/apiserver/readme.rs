//! The README's session with `kubectl`, as a person pastes it: each command gives the output below it.

use std::process::Command;

use larder_harness::need;

use crate::world::setup;

const README: &str = include_str!("../../README.md");

#[test]
fn its_commands_give_what_it_says() {
    let server = setup().start();
    let kubectl = need!(server.kubectl());
    let section = README.split_once("## Kubernetes API\n").unwrap().1;
    let block = section.split_once("```console\n").unwrap().1.split_once("```").unwrap().0;
    let steps: Vec<_> = block.split("$ ").skip(1).map(|it| it.split_once('\n').unwrap()).collect();
    assert!(steps.len() > 8, "{steps:?}");
    let mut script = "exec 2>&1\n".to_owned();
    for (command, _) in &steps {
        script.push_str(&format!("printf '\\0'\n{command}\n"));
    }
    let script = script.replace("larder-data-apiserver/kubeconfig", "kubeconfig");
    let path = format!("{}:{}", kubectl.directory().display(), std::env::var("PATH").unwrap());
    let mut bash = Command::new("bash");
    bash.args(["-c", &script]).current_dir(server.home()).env("HOME", server.home()).env("PATH", path);
    let output = bash.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let outputs: Vec<_> = text.split('\0').skip(1).collect();
    assert_eq!(outputs.len(), steps.len(), "{outputs:?}");
    for (output, (command, expected)) in outputs.iter().zip(&steps) {
        assert_eq!(steady(output), steady(expected), "$ {command}\n{output}");
    }
}

/// The words of each line, with `AGE` for an age.
fn steady(text: &str) -> Vec<Vec<&str>> {
    let is_age = |word: &str| word.strip_suffix('s').is_some_and(|it| it.parse::<u32>().is_ok());
    let word = |word| if is_age(word) { "AGE" } else { word };
    text.trim_end().lines().map(|line| line.split_whitespace().map(word).collect()).collect()
}
