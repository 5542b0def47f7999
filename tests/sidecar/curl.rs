//! A session with curl, as a person pastes it: each command of `session.console` gives the output below it.

use larder_harness::{Server, setup};
use std::process::Command;

const SESSION: &str = include_str!("session.console");
const ADDRESS: &str = "https://localhost:4001";

/// What differs from run to run.
const VARYING: [&str; 4] = [r#""time":"#, r#""statement_time":"#, r#""seq":"#, r#""request_id":"#];

#[test]
fn a_session() {
    let server = setup!().start();
    let steps: Vec<_> = SESSION.split("$ ").skip(1).map(|step| step.split_once('\n').unwrap()).collect();
    assert!(steps.len() > 5);
    for (command, expected) in steps {
        let output = run(&server, command);
        assert_eq!(steady(&output), steady(expected), "$ {command}\n{output}");
    }
}

fn run(server: &Server, command: &str) -> String {
    let command = command.replace(ADDRESS, server.url());
    let output = Command::new("bash").args(["-c", &command]).current_dir(server.home()).output().unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "$ {command}\n{complaint}");
    String::from_utf8(output.stdout).unwrap()
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
