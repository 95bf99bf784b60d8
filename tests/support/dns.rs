//! A DNS server with a few TXT records, on port 53 of a loopback address of its own. It asks nobody else:
//! what it does not have does not exist.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, UdpSocket};
use std::sync::{Arc, Mutex};

/// A running server. It ends with the test's process.
pub struct Dns {
    /// Where it listens.
    pub address: Ipv4Addr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Dns {
    /// Serves these names, in lower case, with the text of each.
    ///
    /// # Panics
    /// When it may not listen on port 53; see [`missing`].
    pub fn start(records: BTreeMap<String, String>) -> Self {
        let (address, socket) = bind().expect("a port 53 on loopback");
        let asked = Arc::new(Mutex::new(Vec::new()));
        let memory = Arc::clone(&asked);
        std::thread::spawn(move || {
            let mut query = [0; 1500];
            while let Ok((length, client)) = socket.recv_from(&mut query) {
                let Some((question, name)) = question(&query[..length]) else { continue };
                let text = records.get(&name);
                memory.lock().unwrap().push(name);
                let _ = socket.send_to(&answer(&query[..length], question, text), client);
            }
        });
        Self { address, asked }
    }

    /// The names asked for so far.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

/// Why there can be no DNS server here, if so.
pub fn missing() -> Option<&'static str> {
    bind().is_none().then_some("a DNS server wants root, and port 53 of a loopback address")
}

/// All of 127/8 is this machine, so another server on 127.0.0.1 or 127.0.0.53 is not in the way.
fn bind() -> Option<(Ipv4Addr, UdpSocket)> {
    let addresses = (1..=250).map(|last| Ipv4Addr::new(127, 53, 53, last));
    addresses.into_iter().find_map(|address| Some((address, UdpSocket::bind((address, 53)).ok()?)))
}

/// The question's bytes and its name in lower case (RFC 1035 section 4.1.2).
fn question(query: &[u8]) -> Option<(&[u8], String)> {
    let (mut labels, mut at) = (Vec::new(), 12);
    loop {
        let length = usize::from(*query.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        labels.push(String::from_utf8_lossy(query.get(at..at + length)?).to_ascii_lowercase());
        at += length;
    }
    Some((query.get(12..at + 4)?, labels.join(".")))
}

/// The record, or that there is none; whatever type was asked for.
fn answer(query: &[u8], question: &[u8], text: Option<&String>) -> Vec<u8> {
    let mut answer = query[..2].to_vec();
    // It is an answer, and an authority's; NXDOMAIN is 3 (RFC 1035 section 4.1.1).
    answer.extend([0x85, if text.is_some() { 0x80 } else { 0x83 }]);
    answer.extend([0, 1, 0, u8::from(text.is_some()), 0, 0, 0, 0]);
    answer.extend(question);
    if let Some(text) = text {
        // The name of the question, TXT, IN, for no time; text in pieces of up to 255 bytes.
        let pieces: Vec<u8> = text
            .as_bytes()
            .chunks(255)
            .flat_map(|piece| [&[u8::try_from(piece.len()).unwrap()], piece].concat())
            .collect();
        answer.extend([0xc0, 12, 0, 16, 0, 1, 0, 0, 0, 0]);
        answer.extend(u16::try_from(pieces.len()).unwrap().to_be_bytes());
        answer.extend(pieces);
    }
    answer
}
