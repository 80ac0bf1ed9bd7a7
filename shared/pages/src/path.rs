//! Names within paths, with and without percent signs.

/// A part of a path, or a value of a query, with percent signs where they are needed.
pub fn encoded(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte));
            }
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// The other way round; none of what is no text.
pub fn decoded(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut out = Vec::new();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let digits = [bytes.next()?, bytes.next()?];
        let digits = std::str::from_utf8(&digits).ok()?;
        out.push(u8::from_str_radix(digits, 16).ok()?);
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_comes_back_and_what_is_none_does_not() {
        for text in ["", "a.b", "ü %/?&=#", "\"<>"] {
            let there = encoded(text);
            assert!(there.bytes().all(|it| it.is_ascii_alphanumeric() || b"-._~%".contains(&it)));
            assert_eq!(decoded(&there).as_deref(), Some(text));
        }
        assert_eq!((decoded("%zz"), decoded("%ff"), decoded("%4")), (None, None, None));
    }
}
