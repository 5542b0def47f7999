//! The real stores start, answer only to those who may ask, and end with the test; the proxy does to a wire what it says.
#![expect(clippy::unwrap_used, reason = "a test says what it expects by failing")]

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use larder_harness::{Connection, Consul, Etcd, Proxy, need};

#[tokio::test]
async fn consul_answers_to_its_token() {
    let consul = need!(Consul::start());
    let mut connection = Connection::open(&consul.url(), None).await.unwrap();
    let token = [("x-consul-token", consul.token())];
    let written = connection.send(http::Method::PUT, "/v1/kv/a", &token, "1").await.unwrap();
    assert_eq!(written.text().trim(), "true");
    assert_eq!(connection.get("/v1/kv/a").await.status, 403);
}

#[test]
fn a_server_ends_when_it_is_dropped_even_by_a_panic() {
    let consul = need!(Consul::start());
    let address = consul.address();
    let test = std::thread::spawn(move || {
        let _consul = consul;
        std::panic::resume_unwind(Box::new(()));
    });
    test.join().unwrap_err();
    assert_eq!(TcpStream::connect(address).unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn tests_of_one_process_may_share_a_server() {
    let first = need!(Consul::shared());
    let second = need!(Consul::shared());
    assert!(Arc::ptr_eq(&first, &second));
}

#[tokio::test]
async fn etcd_keeps_what_it_has_when_it_is_killed() {
    let mut etcd = need!(Etcd::start());
    for _ in 0..2 {
        let mut connection = Connection::open(&etcd.url(), None).await.unwrap();
        let stranger = connection.post("/v3/kv/range", r#"{"key":"YQ=="}"#).await;
        assert_ne!(stranger.status, 200);
        let login = format!(r#"{{"name":"{}","password":"{}"}}"#, etcd.user(), etcd.password());
        let login = connection.post("/v3/auth/authenticate", login).await;
        assert!(login.json()["token"].is_string(), "{}", login.text());
        etcd.start_again();
    }
}

#[test]
fn the_wire() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = Proxy::start(server.local_addr().unwrap().to_string());
    let mut client = TcpStream::connect(proxy.address()).unwrap();
    let (mut peer, _) = server.accept().unwrap();
    let mut byte = [0];

    client.write_all(b"1").unwrap();
    peer.read_exact(&mut byte).unwrap();
    proxy.stall();
    client.write_all(b"2").unwrap();
    peer.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    assert_eq!(peer.read(&mut byte).unwrap_err().kind(), ErrorKind::WouldBlock);
    proxy.heal();
    peer.set_read_timeout(None).unwrap();
    peer.read_exact(&mut byte).unwrap();
    assert_eq!(&byte, b"2");

    proxy.lose_answers();
    client.write_all(b"3").unwrap();
    peer.read_exact(&mut byte).unwrap();
    assert_eq!(&byte, b"3");
    peer.write_all(b"4").unwrap();
    assert!(!matches!(client.read(&mut byte), Ok(1)), "an answer came through");

    proxy.cut();
    assert_eq!(TcpStream::connect(proxy.address()).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    proxy.heal();
    let _client = TcpStream::connect(proxy.address()).unwrap();
    server.accept().unwrap();
}
