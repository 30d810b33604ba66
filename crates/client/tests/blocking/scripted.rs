//! A server that gives scripted answers, one connection after the other.

use std::io::{Read, Write};
use std::net::TcpListener;

/// The text to wait for, and the answer to send then.
type Step = (&'static str, &'static str);

/// The greeting of a connection without a password, and its answer.
pub(super) const ENTER: Step = ("HELLO\r\n", "*0\r\n");
/// The answers to a post that first writes its binding.
pub(super) const POSTED: &str = ":1\r\n:1\r\n:1\r\n";

/// Starts a server that accepts these connections and falls silent at the end of each. Returns its
/// URL.
pub(super) fn scripted(connections: &'static [&'static [Step]]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let mut silent = Vec::new();
        for steps in connections {
            let mut stream = listener.accept().unwrap().0;
            for (until, answer) in *steps {
                let mut seen = Vec::new();
                while !String::from_utf8_lossy(&seen).contains(until) {
                    let mut byte = [0];
                    if stream.read(&mut byte).unwrap_or(0) == 0 {
                        break;
                    }
                    seen.push(byte[0]);
                }
                let _ = stream.write_all(answer.as_bytes());
            }
            silent.push(stream);
        }
        // Dropping the streams would close the connections, but they must stay open and silent.
        std::mem::forget(silent);
    });
    url
}
