//! Private keys in OpenSSH's format (PROTOCOL.key), and signatures by them.

use std::io::Read as _;
use std::path::Path;

use rsa::pkcs1v15;
use rsa::sha2::{Sha256, Sha512};
use rsa::signature::{SignatureEncoding as _, Signer as _};
use ssh_key::private::{KeypairData, RsaKeypair};
use ssh_key::{Algorithm, HashAlg, PrivateKey, Signature};

/// No key is longer than this many bytes.
const LONGEST: u64 = 64 << 10;

/// Flags of a request for an RSA signature (draft-miller-ssh-agent, section 4.5.1).
const RSA_SHA2_256: u32 = 2;
const RSA_SHA2_512: u32 = 4;

/// A private key.
#[derive(Clone, Debug)]
pub(super) struct Key {
    private: PrivateKey,
    /// What the public key is on the wire.
    pub public: Vec<u8>,
}

impl Key {
    /// Reads the key in the file at `path`; one with a passphrase is refused.
    pub fn read(path: &Path) -> Result<Key, String> {
        let mut text = String::new();
        let file = std::fs::File::open(path).map_err(|error| error.to_string())?;
        let not_openssh = "it is no private key in OpenSSH's format (ssh-keygen -p -f FILE converts others)";
        file.take(LONGEST).read_to_string(&mut text).map_err(|error| match error.kind() {
            std::io::ErrorKind::InvalidData => not_openssh.to_owned(),
            _ => error.to_string(),
        })?;
        let private = PrivateKey::from_openssh(&text).map_err(|_| not_openssh.to_owned())?;
        if private.is_encrypted() {
            return Err("the key has a passphrase: add it to an agent (ssh-add) and name none".into());
        }
        let is_usable = match private.key_data() {
            KeypairData::Rsa(pair) => rsa_key(pair).is_some(),
            KeypairData::Ed25519(_) | KeypairData::Ecdsa(_) => true,
            _ => false,
        };
        if !is_usable {
            return Err(format!(
                "keys of type {} are not supported, expected ed25519, ecdsa or rsa",
                private.algorithm()
            ));
        }
        let public = private.public_key().to_bytes().map_err(|error| error.to_string())?;
        Ok(Key { private, public })
    }

    /// The key's comment.
    pub fn comment(&self) -> &str {
        self.private.comment()
    }

    /// Signs `data`; the result is as it is on the wire. RSA by SHA-1, which no flag stands for, is
    /// refused.
    pub fn sign(&self, data: &[u8], flags: u32) -> Option<Vec<u8>> {
        let signature = match self.private.key_data() {
            KeypairData::Rsa(pair) => {
                let key = rsa_key(pair)?;
                let (hash, bytes) = if flags & RSA_SHA2_512 != 0 {
                    (HashAlg::Sha512, pkcs1v15::SigningKey::<Sha512>::new(key).try_sign(data).ok()?.to_vec())
                } else if flags & RSA_SHA2_256 != 0 {
                    (HashAlg::Sha256, pkcs1v15::SigningKey::<Sha256>::new(key).try_sign(data).ok()?.to_vec())
                } else {
                    return None;
                };
                Signature::new(Algorithm::Rsa { hash: Some(hash) }, bytes).ok()?
            }
            pair => pair.try_sign(data).ok()?,
        };
        Vec::try_from(signature).ok()
    }
}

/// From its parts by hand: ssh-key 0.6 takes one of the primes twice.
fn rsa_key(pair: &RsaKeypair) -> Option<rsa::RsaPrivateKey> {
    let number = |part: &ssh_key::Mpint| part.as_positive_bytes().map(rsa::BigUint::from_bytes_be);
    rsa::RsaPrivateKey::from_components(
        number(&pair.public.n)?,
        number(&pair.public.e)?,
        number(&pair.private.d)?,
        vec![number(&pair.private.p)?, number(&pair.private.q)?],
    )
    .ok()
}
