//! The files that every page names: the style sheet, the script, the icon.

use service::site::View;

/// The file at `/assets/name`; none of another name.
pub fn file(name: &str) -> Option<View> {
    let (kind, bytes): (_, &[u8]) = match name {
        "style.css" => ("text/css", include_bytes!("assets/style.css")),
        "live.js" => ("text/javascript", include_bytes!("assets/live.js")),
        "icon.svg" => ("image/svg+xml", include_bytes!("assets/icon.svg")),
        _ => return None,
    };
    Some(View::File { kind, bytes })
}
