//! The policy's public keys.

use ed25519_dalek::pkcs8::DecodePublicKey as _;
use p256::ecdsa::signature::Verifier as _;
use palisade_policy::ImageKey;

use super::error::ImageError;

/// A key that signatures are held against.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) name: String,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    P256(p256::ecdsa::VerifyingKey),
    Ed25519(ed25519_dalek::VerifyingKey),
}

impl Key {
    pub(super) fn read(key: &ImageKey) -> Result<Self, ImageError> {
        let name = key.name.clone();
        if let Ok(key) = p256::ecdsa::VerifyingKey::from_public_key_pem(&key.pem) {
            return Ok(Self { name, kind: Kind::P256(key) });
        }
        match ed25519_dalek::VerifyingKey::from_public_key_pem(&key.pem) {
            Ok(key) => Ok(Self { name, kind: Kind::Ed25519(key) }),
            Err(_) => Err(ImageError::Key(name)),
        }
    }

    /// Whether the key has signed these bytes: ECDSA over their SHA-256, in DER, or Ed25519.
    pub(super) fn has_signed(&self, bytes: &[u8], signature: &[u8]) -> bool {
        match &self.kind {
            Kind::P256(key) => {
                p256::ecdsa::Signature::from_der(signature).is_ok_and(|signature| key.verify(bytes, &signature).is_ok())
            }
            // Strict: no key and no signature that stand for several.
            Kind::Ed25519(key) => ed25519_dalek::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify_strict(bytes, &signature).is_ok()),
        }
    }
}
