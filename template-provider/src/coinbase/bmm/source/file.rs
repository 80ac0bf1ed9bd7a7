//! h* from a file that something else writes.
//!
//! The file is read whole at each question; whoever writes it should rename a finished one into its
//! place.

use std::path::Path;

use tokio::fs::File;
use tokio::io::AsyncReadExt;

use super::{Answer, AskError, TEXT_BYTES_MAX, read_text};

/// Reads it now.
pub(super) async fn ask(path: &Path) -> Result<Answer, AskError> {
    // Reading a pipe could wait for ever, in a thread that nothing can end.
    if !tokio::fs::metadata(path).await?.is_file() {
        return Err(AskError::Malformed(format!("{} is no file", path.display())));
    }
    let mut text = Vec::new();
    let one_too_many = u64::try_from(TEXT_BYTES_MAX + 1).unwrap_or(u64::MAX);
    File::open(path).await?.take(one_too_many).read_to_end(&mut text).await?;
    read_text(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_is_read_anew_at_each_question() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for byte in ["ab", "cd"] {
            std::fs::write(file.path(), byte.repeat(32) + "\n").unwrap();
            let expected = u8::from_str_radix(byte, 16).unwrap();
            assert_eq!(ask(file.path()).await.unwrap().h_star, [expected; 32]);
        }
    }

    #[tokio::test]
    async fn a_directory_and_a_missing_file_are_no_answer() {
        let directory = tempfile::tempdir().unwrap();
        assert!(ask(directory.path()).await.is_err());
        assert!(ask(&directory.path().join("missing")).await.is_err());
    }
}
