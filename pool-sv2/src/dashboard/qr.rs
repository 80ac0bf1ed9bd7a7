//! A text as a QR code, for a phone or a device with a camera.

use std::fmt::Write;

use maud::{Markup, html};
use qrcodegen::{QrCode, QrCodeEcc};

/// Modules of white around it, as its standard asks.
const QUIET: i32 = 4;

/// Nothing for a text that is too long for one.
pub(super) fn code(text: &str, label: &str) -> Markup {
    let Ok(code) = QrCode::encode_text(text, QrCodeEcc::Medium) else {
        return html! {};
    };
    let mut path = String::new();
    for y in 0..code.size() {
        for x in (0..code.size()).filter(|x| code.get_module(*x, y)) {
            // Writing to a string cannot fail.
            let _ = write!(path, "M{} {}h1v1h-1z", x + QUIET, y + QUIET);
        }
    }
    let size = code.size() + 2 * QUIET;
    html! {
        svg.qr viewBox={ "0 0 " (size) " " (size) } role="img" aria-label=(label)
            shape-rendering="crispEdges" {
            rect.qr-paper width=(size) height=(size) {}
            path.qr-ink d=(path) {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_becomes_a_code_and_what_is_too_long_nothing() {
        let svg = code("stratum2+tcp://127.0.0.1:34254/9auq", "Address").into_string();
        // The three corners that every code has begin at its edge.
        assert!(svg.contains("M4 4h1v1h-1z") && svg.contains("aria-label=\"Address\""), "{svg}");
        assert_eq!(code(&"x".repeat(5_000), "").into_string(), "");
    }
}
