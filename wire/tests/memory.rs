//! What a body costs: a decoder allocates in proportion to what was sent, whatever lengths the body declares.
#![expect(unsafe_code, reason = "only an allocator sees what is allocated")]

use larder_wire::Request;
use proptest::prelude::*;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// Counts what each thread holds, so that tests do not see each other.
struct Counting;

thread_local! {
    static HELD: Cell<usize> = const { Cell::new(0) };
    static PEAK: Cell<usize> = const { Cell::new(0) };
}

fn held(change: impl Fn(usize) -> usize) {
    let now = change(HELD.get());
    HELD.set(now);
    PEAK.set(PEAK.get().max(now));
}

// SAFETY: every call is handed to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        held(|held| held + layout.size());
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        held(|held| held.saturating_sub(layout.size()));
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// A value is a struct of 24 bytes that takes two bytes of JSON or one of MessagePack, and a list that grows is held twice.
const PER_BYTE: usize = 96;
/// What a request of no length costs: buffers, messages, the list of statements (at most 10,000).
const AT_ONCE: usize = 4 << 20;

fn decodes_within_bounds(body: &[u8]) {
    for decode in [Request::from_json, Request::from_msgpack, Request::from_rqlite_json, Request::from_text] {
        let before = HELD.get();
        PEAK.set(before);
        let decoded = decode(body);
        let peak = PEAK.get() - before;
        drop(decoded);
        assert!(
            peak <= AT_ONCE + PER_BYTE * body.len(),
            "{peak} bytes for a body of {} that begins with {:02x?}",
            body.len(),
            &body[..body.len().min(40)]
        );
    }
}

#[test]
fn declared_lengths_are_not_believed() {
    let bodies: [&[u8]; 9] = [
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\xdb\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\x91\xdb\xff\xff\xff\xff",
        b"\x91\xdd\xff\xff\xff\xff\xa1S",
        b"\x91\x92\xa1S\xc6\xff\xff\xff\xff",
        b"\x91\x82\xa3sql\xa1S\xa4many\xdd\xff\xff\xff\xff",
        b"\x91\x82\xa3sql\xa1S\xa6params\xdf\xff\xff\xff\xff",
    ];
    bodies.into_iter().for_each(decodes_within_bounds);
}

#[test]
fn dense_bodies_are_bounded() {
    let array =
        |count: u32, item: &[u8]| [&[0xdd], &count.to_be_bytes()[..], &item.repeat(count as usize)].concat();
    let million = 1_000_000;
    let values = array(million, b"\xc0");
    let sets = array(million, b"\x90");
    decodes_within_bounds(&array(million, b"\xa0"));
    decodes_within_bounds(&[b"\x91\x82\xa3sql\xa1S\xa6params", &values[..]].concat());
    decodes_within_bounds(&[b"\x91\x82\xa3sql\xa1S\xa4many", &sets[..]].concat());
    decodes_within_bounds(&[&b"[[\"S\""[..], &b",0".repeat(million as usize), b"]]"].concat());
    decodes_within_bounds(&[&b"[[\"S\",[0"[..], &b",0".repeat(million as usize), b"]]]"].concat());
    decodes_within_bounds(&b"[".repeat(million as usize));
    decodes_within_bounds(&b"\x91".repeat(million as usize));
    decodes_within_bounds(&[&b"[\""[..], &b"\\u0001".repeat(million as usize), b"\", {}]"].concat());
}

proptest! {
    #[test]
    fn any_body_is_bounded(body in proptest::collection::vec(any::<u8>(), 0..400)) {
        decodes_within_bounds(&body);
        decodes_within_bounds(&[b"\x91\x92\xa1S", &body[..]].concat());
        decodes_within_bounds(&[b"\x91\x82\xa3sql\xa1S\xa4many", &body[..]].concat());
    }
}
