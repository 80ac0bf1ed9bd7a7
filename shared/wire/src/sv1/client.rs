//! What a server asks of a miner: `client.show_message`, `client.reconnect`, `client.get_version`.
//!
//! Not every firmware obeys: a server that depends on one of them closes the connection as well.

use super::request::json_string;

/// `client.show_message`: a sentence for whoever looks at the miner.
pub fn show_message_line(text: &str) -> String {
    let text = json_string(text);
    format!("{{\"id\":null,\"method\":\"client.show_message\",\"params\":[{text}]}}\n")
}

/// `client.reconnect`: another server, at once. The port is a string, which every client reads.
pub fn reconnect_line(host: &str, port: u16) -> String {
    let host = json_string(host);
    let method = "client.reconnect";
    format!("{{\"id\":null,\"method\":\"{method}\",\"params\":[{host},\"{port}\",0]}}\n")
}

/// `client.get_version`: the miner answers with the name of its software.
pub fn get_version_line(id: u64) -> String {
    format!("{{\"id\":{id},\"method\":\"client.get_version\",\"params\":[]}}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sv1::request::Line;

    #[test]
    fn each_is_one_line_that_a_miner_reads() {
        for (line, method, first) in [
            (show_message_line("a \"b\"\n"), "client.show_message", Some("a \"b\"\n")),
            (reconnect_line("pool.example", 3333), "client.reconnect", Some("pool.example")),
            (get_version_line(7), "client.get_version", None),
        ] {
            assert_eq!(line.matches('\n').count(), 1);
            let Line::Request(request) = Line::parse(line.trim_end()).unwrap() else {
                panic!("no request: {line}");
            };
            assert_eq!(request.method, method);
            assert_eq!(request.params.elements().unwrap().text(0).as_deref(), first);
        }
    }
}
