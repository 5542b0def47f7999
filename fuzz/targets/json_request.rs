//! A JSON body is refused, or is a request that reads as the same again once it was written, in either form.
#![no_main]

use larder_wire::Request;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    match Request::from_json(body) {
        Ok(request) => {
            let json = serde_json::to_vec(&request).expect("a request can be written");
            assert_eq!(Request::from_json(&json).as_ref(), Ok(&request));
            let msgpack = rmp_serde::to_vec(&request).expect("a request can be written");
            assert_eq!(Request::from_msgpack(&msgpack).as_ref(), Ok(&request));
        }
        Err(error) => assert!(error.offset.is_none_or(|offset| offset <= body.len())),
    }
});
