//! What the servers send that people have, in each dialect that they speak: an answer, a call and refusals of each, written
//! down by hand after the places that are named. A new version with new moods is a new line here.

use super::golden::Read;
use crate::model::Dialect;
use crate::model::openai::error::Failure;
use crate::run::error::Reason;

mod assistants;
mod chat_completions;
mod responses;

/// A server in one of its dialects: its streams, whole as they come from the wire, each with what it means, and its
/// refusals.
struct Server {
    name: &'static str,
    dialect: Dialect,
    streams: &'static [(&'static str, &'static str)],
    refusals: &'static [(u16, &'static str, Reason)],
}

fn servers() -> impl Iterator<Item = &'static Server> {
    let lists: [&[Server]; 3] = [
        &chat_completions::SERVERS,
        &responses::SERVERS,
        &assistants::SERVERS,
    ];
    lists.into_iter().flatten()
}

/// What came of an answer in [`Read`]'s shorthand, without the tokens, which may come behind its end.
fn without_tokens(shorthand: &str) -> Vec<&str> {
    let words = shorthand.split(' ');
    words.filter(|word| !word.starts_with("usage=")).collect()
}

#[test]
fn the_streams_of_every_server_are_read_and_nothing_of_them_is_unknown() {
    for server in servers() {
        for (stream, expected) in server.streams {
            let name = format!("{} in {:?}", server.name, server.dialect);
            let mut read = Read::new(server.dialect);
            read.feed(stream.as_bytes());
            assert_eq!(read.told(), *expected, "{name}: {stream}");
        }
    }
}

/// Byte by byte, and cut behind each: that is a failure, or all of the answer.
#[test]
fn the_streams_of_every_server_can_be_split_and_cut_anywhere() {
    for server in servers() {
        for (stream, expected) in server.streams {
            let name = format!("{} in {:?}", server.name, server.dialect);
            let mut read = Read::new(server.dialect);
            for (at, byte) in stream.bytes().enumerate() {
                let told = read.clone().told();
                let is_whole = without_tokens(&told) == without_tokens(expected);
                assert!(
                    is_whole || told.contains("error="),
                    "{name}, cut at {at}: {told}: {stream}"
                );
                read.feed(&[byte]);
            }
            assert_eq!(read.told(), *expected, "{name}, byte by byte: {stream}");
        }
    }
}

#[test]
fn the_refusals_of_every_server_become_their_reasons_and_words_of_ours() {
    for server in servers() {
        for (status, body, reason) in server.refusals {
            let failure = Failure::from_response(*status, body.as_bytes());
            let name = format!("{} in {:?}", server.name, server.dialect);
            assert_eq!(failure.reason(), *reason, "{name}: {status} {body}");
            assert_eq!(failure.status, Some(*status), "{name}: {body}");
            let text = failure.text.clone();
            let error = failure.into_error(str::to_owned);
            let is_ours = text.is_empty() || !error.message().contains(&text);
            assert!(is_ours, "{name}: {status} {body}: {error}");
        }
    }
}
