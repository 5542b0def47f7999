//! Reports in two stores from the command line: the database, and a directory beside it.

use larder_client::fallback::{Condition, Directory, KeyValue as _, Operation};
use larder_harness::{Server, setup};

use crate::reports::{generated, object, objects};
use crate::run::Run;
use crate::served::{run_as, succeeds};

/// A directory of the server's home as a fallback, as it is typed.
fn shelf(server: &Server) -> String {
    format!("directory={}", server.home().join("shelf").display())
}

/// A server with the directory in its home.
fn with_directory(server: Server) -> Server {
    std::fs::create_dir(server.home().join("shelf")).unwrap();
    server
}

/// `larder reports …` with that fallback.
fn with_shelf(server: &Server, role: &str, arguments: &[&str], input: &str) -> Run {
    run_as(server, role, &[&["reports"], arguments, &["--fallback", &shelf(server)]].concat(), input)
}

#[test]
fn a_fallback_that_is_not_there_is_no_empty_store() {
    let server = generated();
    for command in [&["get", "host/none"][..], &["list"], &["delete", "host/none"], &["put", "host/none"]] {
        let run = with_shelf(&server, "owner", command, "");
        assert_eq!((run.code, run.out.as_str()), (3, ""), "{command:?}: {run:?}");
        assert!(run.err.contains("there is no directory"), "{command:?}: {run:?}");
        assert!(
            !server.home().join("shelf").exists(),
            "{command:?} makes nothing where something was to be read"
        );
    }
}

#[test]
fn what_a_prefix_names_in_a_store_that_is_away_is_said_to_stay() {
    let mut server = with_directory(setup!().start());
    for key in ["host/a", "host/b"] {
        assert_eq!(with_shelf(&server, "owner", &["put", key], "x").code, 0);
    }
    assert!(server.terminate().success());
    let swept = with_shelf(&server, "owner", &["delete", "--prefix", "host/", "--yes"], "");
    assert_eq!((swept.code, &object(&swept.out)["complete"]), (3, &false.into()), "{swept:?}");
    assert!(swept.err.contains("what only it holds was not deleted"), "{swept:?}");
    // One that is named is deleted in both: the store that is back learns of it from the other.
    let gone = with_shelf(&server, "owner", &["delete", "host/a"], "");
    assert_eq!((gone.code, &object(&gone.out)["complete"]), (0, &false.into()), "{gone:?}");
    assert!(!gone.err.contains("not deleted"), "{gone:?}");
    server.start_again();
    let get = |key| with_shelf(&server, "reader", &["get", key], "").code;
    assert_eq!((get("host/a"), get("host/b")), (1, 0));
}

#[test]
fn a_write_that_the_database_did_not_take_is_told_with_the_reason() {
    let server = with_directory(generated());
    let put = with_shelf(&server, "reader", &["put", "host/a"], "x");
    assert_eq!((put.code, &object(&put.out)["store"]), (0, &"fallback".into()), "{put:?}");
    assert!(put.err.contains("the database did not take it"), "{put:?}");
    let (url, key) = ("https://127.0.0.1:1", "host/b");
    let put = with_shelf(&server, "owner", &["put", key, "--url", url], "x");
    assert_eq!((put.code, &object(&put.out)["store"]), (0, &"fallback".into()), "{put:?}");
    assert!(put.err.contains(url), "why the database is away: {put:?}");
    let lost = with_shelf(&server, "owner", &["get", "host/none", "--url", url], "");
    assert!(lost.code == 3 && lost.err.contains(url), "{lost:?}");
}

#[test]
fn a_fallback_takes_over_and_says_so() {
    let mut server = with_directory(setup!().start());
    let run =
        |server: &Server, arguments: &[&str], input: &str| with_shelf(server, "owner", arguments, input);
    let done = run(&server, &["put", "host/a"], "before");
    assert_eq!(object(&done.out)["store"], "database", "{done:?}");
    assert!(server.terminate().success());
    let done = run(&server, &["put", "host/b"], "while away");
    assert_eq!(object(&done.out)["store"], "fallback", "{done:?}");
    let found = run(&server, &["get", "host/b"], "");
    assert_eq!((found.code, found.out.as_str()), (0, "while away"), "{found:?}");
    assert!(found.err.contains("a store is away"), "{found:?}");
    let lost = run(&server, &["get", "host/a"], "");
    assert!(lost.code == 3 && !lost.err.contains("there is no report"), "{lost:?}");
    server.start_again();
    let found = run(&server, &["get", "host/b"], "");
    assert_eq!((found.code, found.out.as_str(), found.err.as_str()), (0, "while away", ""));
    let listed = run(&server, &["list"], "");
    assert_eq!((objects(&listed.out).len(), listed.err.as_str()), (2, ""), "{listed:?}");
    let gone = run(&server, &["delete", "host/b"], "");
    assert_eq!(object(&gone.out)["deleted"], 1, "{gone:?}");
    let lost = run(&server, &["get", "host/b"], "");
    assert!(lost.code == 1 && lost.err.contains("there is no report host/b"), "{lost:?}");
}

#[test]
fn a_database_without_tables_is_one_that_is_away() {
    let server = setup!().start();
    let generate = ["reports", "generate", "--count", "1", "--cves", "1", "--to", &shelf(&server)];
    succeeds(&server, "reader", &generate);
    let listed = with_shelf(&server, "reader", &["list"], "");
    assert!(listed.code == 3 && listed.err.contains("a store is away"), "{listed:?}");
    let key = objects(&listed.out)[0]["key"].as_str().unwrap().to_owned();
    let got = with_shelf(&server, "reader", &["get", "--meta", &key], "");
    assert_eq!((got.code, &object(&got.out)["complete"]), (0, &false.into()), "{got:?}");
    let lost = with_shelf(&server, "reader", &["get", "host/none"], "");
    assert!(lost.code == 3 && !lost.err.contains("there is no report"), "{lost:?}");
}

#[test]
fn what_cannot_be_read_is_not_absent() {
    let server = generated();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let store = Directory::open(server.home().join("shelf")).unwrap();
    for (key, value) in [
        ("scan/data/report/workload/x", "x"),
        ("larder/meta/workload/x", "{garbage"),
        ("scan/data/report/workload/y", "y"),
        ("larder/meta/workload/y", r#"{"form":2,"anything":"else"}"#),
    ] {
        let (key, value) = (key.to_owned(), value.into());
        let put = vec![Operation::Put { key, value, condition: Condition::Any }];
        assert!(runtime.block_on(store.commit(put)).unwrap());
    }
    let get = |key| with_shelf(&server, "reader", &["get", key], "");
    let damaged = get("workload/x");
    assert!(damaged.code == 4 && damaged.err.contains("damaged"), "{damaged:?}");
    let newer = get("workload/y");
    assert!(newer.code == 4 && newer.err.contains("its form is 2"), "{newer:?}");
    let listed = with_shelf(&server, "reader", &["list"], "");
    assert_eq!((listed.code, objects(&listed.out).len()), (4, 3), "{listed:?}");
    assert!(listed.err.contains("workload/x is left out") && listed.err.contains("2 of them"), "{listed:?}");
    let none = get("workload/none");
    assert!(none.code == 1 && none.err.contains("there is no report workload/none"), "{none:?}");
}
