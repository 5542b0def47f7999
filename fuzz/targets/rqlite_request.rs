//! A body in rqlite's dialect is refused, or is a request that can be written in ours.
#![no_main]

use larder_wire::{Args, Request};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    match Request::from_rqlite_json(body) {
        Ok(request) => {
            assert!(request.statements.iter().all(|it| matches!(it.args, Args::One(_)) && it.expect_rows.is_none()));
            let json = serde_json::to_vec(&request).expect("a request can be written");
            assert_eq!(Request::from_json(&json).as_ref(), Ok(&request));
        }
        Err(error) => assert!(error.offset.is_some_and(|offset| offset <= body.len())),
    }
});
