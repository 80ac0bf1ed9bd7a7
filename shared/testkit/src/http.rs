//! HTTP/1.1 as the servers of tests speak it, over blocking streams: a request read, an answer
//! made.
//!
//! It knows no method, no JSON and no fault: what becomes of a request is its test's to say.

use std::io::BufRead;

/// A request, as it came.
#[derive(Debug, Clone)]
pub struct Request {
    /// The request line and the fields, with the empty line at their end.
    pub head: String,
    /// The body.
    pub body: Vec<u8>,
}

impl Request {
    /// The next one; `None` at the end of the connection, also in the middle of a request.
    pub fn read(stream: &mut impl BufRead) -> Option<Self> {
        let mut head = String::new();
        loop {
            let start = head.len();
            if stream.read_line(&mut head).ok()? == 0 {
                return None;
            }
            if head.get(start..)?.trim().is_empty() {
                break;
            }
        }
        let mut request = Self { head, body: Vec::new() };
        let length = request.field("content-length").map_or(Some(0), |text| text.parse().ok())?;
        request.body = vec![0; length];
        stream.read_exact(&mut request.body).ok()?;
        Some(request)
    }

    /// The value of the field `name`, in whatever case.
    pub fn field(&self, name: &str) -> Option<&str> {
        let mut fields = self.head.lines().filter_map(|line| line.split_once(':'));
        let (_, value) = fields.find(|(known, _)| known.eq_ignore_ascii_case(name))?;
        Some(value.trim())
    }
}

/// An answer, after which the next request may come.
pub fn answer(status: u16, body: &str) -> String {
    format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// An answer that is the last of its connection.
pub fn last_answer(status: u16, body: &str) -> String {
    answer(status, body).replacen("\r\n\r\n", "\r\nConnection: close\r\n\r\n", 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_read_one_after_the_other_until_the_connection_ends() {
        let mut stream =
            &b"POST /a HTTP/1.1\r\nhost: x\r\nCONTENT-LENGTH: 2\r\n\r\n{}GET / HTTP/1.1\r\n\r\n\
            POST /b HTTP/1.1\r\ncontent-length: 9\r\n\r\ntorn"[..];
        let first = Request::read(&mut stream).unwrap();
        assert_eq!(
            (first.head.lines().next(), &first.body[..]),
            (Some("POST /a HTTP/1.1"), &b"{}"[..])
        );
        assert_eq!((first.field("Host"), first.field("accept")), (Some("x"), None));
        assert!(Request::read(&mut stream).unwrap().body.is_empty());
        assert!(Request::read(&mut stream).is_none());
    }

    #[test]
    fn an_answer_states_the_length_of_its_body() {
        assert_eq!(answer(200, "{}"), "HTTP/1.1 200 X\r\nContent-Length: 2\r\n\r\n{}");
        let last = "HTTP/1.1 409 X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        assert_eq!(last_answer(409, ""), last);
    }
}
