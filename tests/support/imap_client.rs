//! A bare IMAP client: what a colleague's program does to a mailbox, and the raw limit beside ours. It
//! understands nothing but tags.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;

/// A connection that is logged in.
pub struct ImapClient {
    stream: BufReader<TcpStream>,
    next_tag: u32,
}

impl ImapClient {
    /// Connects without TLS to a port of this machine, and logs in.
    ///
    /// # Panics
    /// When the server does not want that.
    pub fn login(port: u16, user: &str, password: &str) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("the server listens");
        stream.set_nodelay(true).expect("a socket");
        let mut client = Self { stream: BufReader::with_capacity(1 << 16, stream), next_tag: 1 };
        let password = password.replace('\\', "\\\\").replace('"', "\\\"");
        client.run(&[format!("LOGIN {user} \"{password}\"")]);
        client
    }

    /// Sends all commands at once, and reads over everything until each is answered with OK.
    ///
    /// # Panics
    /// When one is not.
    pub fn run(&mut self, commands: &[String]) {
        let mut text = String::new();
        for command in commands {
            text += &format!("tag-{} {command}\r\n", self.next_tag);
            self.next_tag += 1;
        }
        self.stream.get_mut().write_all(text.as_bytes()).expect("the server reads");
        let (mut line, mut open) = (Vec::new(), commands.len());
        while open > 0 {
            line.clear();
            let length = self.stream.read_until(b'\n', &mut line).expect("the server answers");
            assert!(length > 0, "the server hung up");
            if line.starts_with(b"tag-") {
                let reply = String::from_utf8_lossy(&line);
                assert!(reply.split(' ').nth(1) == Some("OK"), "{reply}");
                open -= 1;
            }
        }
    }
}
