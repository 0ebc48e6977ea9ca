//! Tokens of instances: derived from a key, so that none has to be stored. A token is
//! `hob_instance_<instance id>_<HMAC-SHA256 of the id>` (RFC 2104) under the key in `<data>/instance.key`.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use hmac::{Hmac, KeyInit, Mac};
use hob_core::Secret;
use sha2::Sha256;

use crate::Error;

const KEY_FILE: &str = "instance.key";
const KEY_BYTES: usize = 32;
const PREFIX: &str = "hob_instance_";
/// Longest token looked at, in bytes.
const TOKEN_BYTES_MAX: usize = 512;

/// Mints and verifies tokens of instances.
#[derive(Clone)]
pub(crate) struct Tokens {
    key: [u8; KEY_BYTES],
}

impl Tokens {
    /// Reads the key, or makes one that only the owner may read.
    pub(crate) fn open(data: &Path) -> Result<Self, Error> {
        let path = data.join(KEY_FILE);
        let key = match fs::read(&path) {
            Ok(bytes) => bytes.try_into().map_err(|_| io::Error::other("it does not hold 32 bytes")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => make_key(&path),
            Err(error) => Err(error),
        };
        key.map(|key| Self { key }).map_err(|source| Error::KeyFile { path, source })
    }

    /// The token of an instance.
    pub(crate) fn mint(&self, instance: &str) -> Secret {
        let code = self.code(instance).finalize().into_bytes();
        let hex: String = code.iter().map(|byte| format!("{byte:02x}")).collect();
        Secret::new(format!("{PREFIX}{instance}_{hex}"))
    }

    /// The instance that a token was minted for. The comparison takes the same time wherever they differ.
    pub(crate) fn verify(&self, token: &str) -> Option<String> {
        if token.len() > TOKEN_BYTES_MAX {
            return None;
        }
        let (instance, hex) = token.strip_prefix(PREFIX)?.rsplit_once('_')?;
        let code = bytes_of_hex(hex)?;
        self.code(instance).verify_slice(&code).ok()?;
        Some(instance.to_owned())
    }

    fn code(&self, instance: &str) -> Hmac<Sha256> {
        let mut code = Hmac::<Sha256>::new_from_slice(&self.key).expect("HMAC takes keys of any length");
        code.update(instance.as_bytes());
        code
    }
}

fn make_key(path: &Path) -> io::Result<[u8; KEY_BYTES]> {
    let mut key = [0; KEY_BYTES];
    getrandom::fill(&mut key).map_err(|error| io::Error::other(error.to_string()))?;
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let fresh = path.with_extension("key.new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
    file.write_all(&key)?;
    file.sync_all()?;
    fs::rename(&fresh, path)?;
    fs::File::open(folder)?.sync_all()?;
    Ok(key)
}

fn bytes_of_hex(hex: &str) -> Option<Vec<u8>> {
    if hex.len() != 64 || !hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        return None;
    }
    (0..32).map(|index| u8::from_str_radix(&hex[2 * index..2 * index + 2], 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn tokens_name_their_instance_and_survive_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let token = Tokens::open(folder.path()).unwrap().mint("orders-web-3x7k2m9qza");
        let again = Tokens::open(folder.path()).unwrap();
        assert_eq!(again.verify(token.expose()).as_deref(), Some("orders-web-3x7k2m9qza"));
        let mode = fs::metadata(folder.path().join(KEY_FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn other_tokens_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let tokens = Tokens::open(folder.path()).unwrap();
        let token = tokens.mint("orders-web-1").expose().to_owned();
        let other = Tokens { key: [7; KEY_BYTES] };
        for bad in [
            "",
            "hob_instance_",
            "hob_admin_00",
            &token.replace("web-1", "web-2"),
            &token.to_uppercase(),
            &token[..token.len() - 1],
            &"é".repeat(400),
            other.mint("orders-web-1").expose(),
        ] {
            assert_eq!(tokens.verify(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_damaged_key_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(KEY_FILE), b"short").unwrap();
        let error = Tokens::open(folder.path()).err().unwrap();
        assert!(error.to_string().contains("instance.key"), "{error}");
    }
}
