//! A text body is refused, or is the one statement that it says.
#![no_main]

use larder_wire::{Request, Statement};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    match (Request::from_text(body), std::str::from_utf8(body)) {
        (Ok(request), Ok(sql)) => assert_eq!(request, Request::new([Statement::new(sql)])),
        (Ok(_), Err(_)) => panic!("SQL that is not UTF-8"),
        (Err(error), Ok(sql)) => assert!(sql.trim().is_empty(), "{error}"),
        (Err(error), Err(utf8)) => assert_eq!(error.offset, Some(utf8.valid_up_to())),
    }
});
