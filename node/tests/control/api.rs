//! The control API as a script meets it: HTTP and JSON on a Unix socket that only the owner can open.

use std::process::Command;

use crate::scripted::{Running, start};
use nearmesh::control::api::{Code, SearchEvent, SearchRequest};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
};

/// Sends a request as it is and reads the whole answer.
async fn raw(alice: &Running, request: &[u8]) -> String {
    let mut stream = UnixStream::connect(alice.profile.control_socket()).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8(answer).unwrap()
}

async fn post(alice: &Running, path: &str, body: &str) -> (u16, Value) {
    let length = body.len();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: node\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
    );
    let answer = raw(alice, format!("{head}{body}").as_bytes()).await;
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    let body = answer.split("\r\n\r\n").nth(1).unwrap();
    (status, serde_json::from_str(body).unwrap_or(Value::Null))
}

fn search(words: &str) -> SearchRequest {
    SearchRequest { words: words.to_owned(), limit: 50, min_size: None, max_size: None, kind: None }
}

#[tokio::test]
async fn a_client_that_goes_away_ends_its_search() {
    let alice = start();
    let mut events = alice.client().search(&search("endless")).await.unwrap();
    assert!(matches!(events.next().await, Ok(SearchEvent::Result(_))));
    drop(events);
    alice.alice.search_dropped.notified().await;
}

#[tokio::test]
async fn an_error_in_the_middle_of_a_stream_reaches_the_client_as_it_is() {
    let alice = start();
    let mut events = alice.client().search(&search("broken")).await.unwrap();
    assert!(matches!(events.next().await, Ok(SearchEvent::Result(_))));
    let error = events.next().await.unwrap_err();
    assert_eq!((error.message.as_str(), error.hint.as_deref()), ("the home went away", Some("try again")));
}

#[tokio::test]
async fn a_stream_that_breaks_off_is_a_failure_and_not_an_end() {
    let alice = start();
    let mut events = alice.client().search(&search("cut")).await.unwrap();
    assert!(matches!(events.next().await, Ok(SearchEvent::Result(_))));
    assert_eq!(events.next().await.unwrap_err().code, Code::Failed);
}

#[tokio::test]
async fn requests_that_make_no_sense_are_refused_with_the_reason() {
    let alice = start();
    for (path, body, reason) in [
        ("/v1/search", "{", "makes no sense"),
        ("/v1/search", r#"{"words":"julia","limit":0}"#, "limit from 1"),
        ("/v1/search", r#"{"words":"julia","colour":"red"}"#, "colour"),
        ("/v1/search", r#"{"words":"julia","kind":"smell"}"#, "smell"),
        ("/v1/shares", r#"{"path":"Music"}"#, "not an absolute path"),
        ("/v1/downloads", r#"{"wanted":"0"}"#, "characters"),
        ("/v1/ping", r#"{"user":"bob@lab","count":100000}"#, "count from 1"),
        ("/v1/nonsense", "", "no such request"),
        ("/v1/status", "", "no such request"),
    ] {
        let (status, error) = post(&alice, path, body).await;
        assert_eq!(status, 400, "{path} {body}");
        assert_eq!(error["code"], "usage", "{path} {body}");
        assert!(error["message"].as_str().unwrap().contains(reason), "{path} {body}: {error}");
    }
}

#[tokio::test]
async fn a_request_beyond_the_limit_is_refused_before_it_is_read() {
    let alice = start();
    let mut stream = UnixStream::connect(alice.profile.control_socket()).await.unwrap();
    let head = b"POST /v1/search HTTP/1.1\r\nHost: node\r\nContent-Length: 1000000000\r\n\r\n";
    stream.write_all(head).await.unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 400");
}

#[tokio::test]
async fn garbage_costs_its_sender_the_connection_and_nobody_else_anything() {
    let alice = start();
    assert!(raw(&alice, b"\x16\x03\x01 no http\r\n\r\n").await.starts_with("HTTP/1.1 400"));
    alice.client().status().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_can_read_it_line_by_line() {
    let alice = start();
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--no-buffer", "--unix-socket"]).arg(alice.profile.control_socket()).args([
        "-d",
        r#"{"words":"twice"}"#,
        "http://node/v1/search",
    ]);
    let output = tokio::task::spawn_blocking(move || curl.output());
    let Ok(output) = output.await.unwrap() else {
        eprintln!("SKIPPED: curl is not installed here");
        return;
    };
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[1]["result"]["name"], "twice.ogg");
    assert_eq!(lines[2]["done"]["asked"], 3);
}

#[tokio::test]
async fn a_node_that_stops_does_not_wait_for_a_stream_that_never_ends() {
    let alice = start();
    let mut events = alice.client().search(&search("endless")).await.unwrap();
    assert!(matches!(events.next().await, Ok(SearchEvent::Result(_))));
    alice.stop.send(()).unwrap();
    alice.serving.await.unwrap().unwrap();
}
