//! The README, as a person pastes it: each command of its `console` blocks gives the output below it.

use larder_harness::{Server, setup};
use std::path::Path;
use std::process::Command;

const README: &str = include_str!("../../README.md");

/// What differs from run to run.
const VARYING: [&str; 7] = [
    r#""time":"#,
    r#""statement_time":"#,
    r#""seq":"#,
    r#""request_id":"#,
    r#""seconds":"#,
    r#""p50_ms":"#,
    r#""p99_ms":"#,
];

#[test]
fn its_commands_give_what_it_says() {
    let server = setup!().start();
    let steps: Vec<_> = consoles().flat_map(|block| block.split("$ ").skip(1)).collect();
    assert!(steps.len() > 15, "{steps:?}");
    let (commands, expected): (Vec<_>, Vec<_>) =
        steps.iter().map(|step| step.split_once('\n').unwrap()).unzip();
    let outputs = run(&server, &commands);
    assert_eq!(outputs.len(), commands.len(), "{outputs:?}");
    for (index, output) in outputs.iter().enumerate() {
        assert_eq!(steady(output), steady(expected[index]), "$ {}\n{output}", commands[index]);
    }
}

/// Those of the Kubernetes API are run before another server.
fn consoles() -> impl Iterator<Item = &'static str> {
    let blocks = README.split("```console\n").skip(1).map(|rest| rest.split_once("```").unwrap().0);
    blocks.filter(|it| !it.contains("$ kubectl "))
}

/// Runs the commands in one shell, with the server of this test in the place of the README's.
fn run(server: &Server, commands: &[&str]) -> Vec<String> {
    let mut script = "exec 2>&1\n".to_owned();
    for command in commands {
        script.push_str(&format!("printf '\\0'\n{command}\n"));
    }
    let script = script
        .replace("larder-data/certs/ca", "ca")
        .replace("larder-data/certs/client", "admin")
        .replace("https://localhost:4001", server.url())
        .replace(" --dev", "");
    let binary = Path::new(env!("CARGO_BIN_EXE_larder")).parent().unwrap();
    let path = format!("{}:{}", binary.display(), std::env::var("PATH").unwrap());
    let output = Command::new("bash")
        .args(["-c", &script])
        .current_dir(server.home())
        .env("PATH", path)
        .envs([("LARDER_CA", "ca.crt"), ("LARDER_CERT", "admin.crt"), ("LARDER_KEY", "admin.key")])
        .env("LARDER_URL", server.url())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.split('\0').skip(1).map(str::to_owned).collect()
}

/// The text without line ends of another kind, and with `…` for what varies.
fn steady(text: &str) -> String {
    let mut steady = text.replace("\r\n", "\n").trim_end().to_owned();
    for name in VARYING {
        let mut parts = steady.split(name);
        let first = parts.next().unwrap_or_default().to_owned();
        steady = parts.fold(first, |done, part| {
            let rest = part.find([',', '}']).map_or("", |end| &part[end..]);
            format!("{done}{name}…{rest}")
        });
    }
    steady
}
